"""One leg of a bench: what is sent, and what came back."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Load:
    """What to send. `kind` names the shape of the requests, `rows` how many top-ups are in each."""

    kind: str  # single | bulk
    port: int
    connections: int
    seconds: float
    bearer: str
    numbers: list[str]
    seed: int
    expected_per_s: int  # how many requests to prepare for each second
    rows: int = 1
    replayed: float = 0.02  # the share of requests that were sent before
    old: list[tuple[str, str]] = field(default_factory=list)  # (key, body) of top-ups placed long ago: replay these too
    core: int | None = None
    warm_up_s: float = 1.0


@dataclass
class Outcome:
    """What came back in the measured time."""

    seconds: float
    answered: int
    rows: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    replayed: int  # by the header of the answer
    refused: int  # any status but 200, 201, 202; or rows refused in a bulk
    example: str = ""  # the first refusal, to be read by a person
    total_answered: int = 0  # with the warm-up
    total_distinct: int = 0  # different top-ups among them

    @property
    def per_s(self) -> float:
        """Top-ups answered per second."""
        return self.rows / self.seconds
