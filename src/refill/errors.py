"""Errors that speak to the person who will read them; each has a stable `code` that doors translate."""

from typing import ClassVar


class RefillError(Exception):
    """Something we refuse or cannot do. `str(error)` is a sentence that says what to do next."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400  # what an HTTP door answers
    retryable: ClassVar[bool] = False  # may the very same request succeed later?


class BadInput(RefillError):
    """What was typed or sent cannot be read."""

    code = "bad_input"
    status = 422


class NotANumber(BadInput):
    """This is not a telephone number that exists."""

    code = "not_a_number"


class NotAnAmount(BadInput):
    """This is not an amount of money in that currency."""

    code = "not_an_amount"


class BadStatement(BadInput):
    """A statement that cannot be read, or whose totals are not the sums of its rows: nothing of it is taken."""

    code = "bad_statement"


class NotFound(RefillError):
    """There is no such thing, or it is not yours to see."""

    code = "not_found"
    status = 404


class NotForSale(RefillError):
    """No operator, product or price on sale fits this request."""

    code = "not_for_sale"
    status = 422


class PriceTooHigh(RefillError):
    """Our price is above the highest price that the client accepts."""

    code = "price_too_high"
    status = 409


class NotEnough(RefillError):
    """The float, wallet or balance that must pay holds too little; nothing was taken."""

    code = "insufficient_funds"
    status = 402
    retryable = True


class OtherContent(RefillError):
    """This key or reference was used before for another request."""

    code = "key_reused"
    status = 409


class CannotHappen(RefillError):
    """The order is in a state from which this step is not legal."""

    code = "illegal_transition"
    status = 409


class NotVerified(RefillError):
    """A notice's signature, age, merchant or amount does not hold; it is kept, never believed."""

    code = "not_verified"
    status = 400


class NotAllowed(RefillError):
    """This key, person or address may not do that."""

    code = "not_allowed"
    status = 403


class Busy(RefillError):
    """More work arrives than can be kept; nothing was accepted, ask again a little later."""

    code = "busy"
    status = 503
    retryable = True
