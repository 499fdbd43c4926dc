"""The test of the storm itself: it finds a bug that only connections at the same moment can show."""

import asyncio

from refill.simulate.mutants import planted
from refill.simulate.storm import blow


def test_the_storm_finds_a_key_that_is_looked_up_and_kept_apart(fresh_dsn: str) -> None:
    with planted(["check_then_insert"]):
        _, findings = asyncio.run(blow(fresh_dsn, 10))
    assert any(finding.startswith("I3") for finding in findings), findings[:5]
