"""Who may ask us for something: partners and the API keys they show."""

from refill.accounts.partners import (
    PINS,
    SCOPES,
    SUBSCRIBER,
    KeyRing,
    NameTaken,
    Partner,
    PartnerKey,
    create_key,
    create_partner,
    float_account,
    load_keys,
    partner,
    revoke_key,
    set_time_zone,
    suspend,
)

__all__ = [
    "PINS",
    "SCOPES",
    "SUBSCRIBER",
    "KeyRing",
    "NameTaken",
    "Partner",
    "PartnerKey",
    "create_key",
    "create_partner",
    "float_account",
    "load_keys",
    "partner",
    "revoke_key",
    "set_time_zone",
    "suspend",
]
