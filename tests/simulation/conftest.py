"""One place for all seeded days of a test run: the worker's own database, emptied before each day."""

from collections.abc import Iterator
from typing import Any

import pytest

from refill.simulate.crew import Runner


@pytest.fixture(scope="session")
def days(worker_database: Any) -> Iterator[Runner]:
    """Lives seeds; other tests of this worker empty the same database, which does no harm to either."""
    runner = Runner(worker_database.dsn)
    yield runner
    runner.close()
