"""Looking back in windows: no moment is looked at twice, none is left out, and a year takes about ten looks."""

from datetime import UTC, datetime, timedelta

from refill.db import backwards
from refill.db.backwards import BEGINNING

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_windows_join_from_now_to_the_beginning() -> None:
    windows = list(backwards(NOW))
    assert windows[0][1] == NOW
    assert windows[-1][0] == BEGINNING
    assert [start for start, _ in windows[:-1]] == [until for _, until in windows[1:]]
    assert len(windows) < 12


def test_windows_end_where_they_are_told_to() -> None:
    since = NOW - timedelta(minutes=3)
    assert list(backwards(NOW, since))[-1][0] == since
    assert list(backwards(since, NOW)) == []


def test_all_of_time_can_be_looked_through() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert list(backwards(last, first))[-1][0] == first
