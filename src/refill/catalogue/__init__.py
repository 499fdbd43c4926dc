"""Operators, denominations, prices and who supplies them."""

from refill.catalogue import rates
from refill.catalogue.offers import HOME, Catalogue, Offer, Operator, Quote, Route, load, refresh

__all__ = ["HOME", "Catalogue", "Offer", "Operator", "Quote", "Route", "load", "rates", "refresh"]
