"""Where the money of a payment method comes from, and goes back to: a firm that owes us, or what we hold ourselves."""

from refill import vouchers

# Methods that are captured inside our own transaction; `wallet` also names the supplier of an order that fills one.
VOUCHER, WALLET = "voucher", "wallet"
OURSELVES = "refill"  # the merchant of what is captured inside


def wallet_account(payer: str, currency: str) -> str:
    """A payer's balance with us."""
    return f"wallet:{payer}/{currency}"


def purse(method: str, payer: str, currency: str) -> str:
    """The account that is debited when `payer` pays by a method, and credited when it pays back."""
    if method == VOUCHER:
        return vouchers.liability(currency)
    if method == WALLET:
        return wallet_account(payer, currency)
    return f"clearing:{method}/{currency}"
