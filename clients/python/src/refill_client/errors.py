"""What can go wrong, in two kinds that must never be mistaken for each other: refused, and unknown."""


class RefillClientError(Exception):
    """Anything this package raises by itself."""


class Refused(RefillClientError):
    """The server said no, and nothing happened. `code` is stable; `retryable` tells whether later may be different."""

    def __init__(self, status: int, code: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retryable = retryable


class Unknown(RefillClientError):
    """No answer, though the request may have been carried out. Make the same call with the same `name` until it answers."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"no answer ({why}); ask again with the same name, {name}")
        self.name = name
        self.why = why


class NotSigned(RefillClientError):
    """A webhook whose signature or age does not hold; answer it with 400 and do nothing else."""
