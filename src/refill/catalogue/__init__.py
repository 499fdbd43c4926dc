"""Operators, denominations, prices and who supplies them."""

from refill.catalogue import importing, margins, rates, routing
from refill.catalogue.offers import HOME, Catalogue, Offer, Operator, Quote, load, refresh
from refill.catalogue.routing import Route

__all__ = [
    "HOME",
    "Catalogue",
    "Offer",
    "Operator",
    "Quote",
    "Route",
    "importing",
    "load",
    "margins",
    "rates",
    "refresh",
    "routing",
]
