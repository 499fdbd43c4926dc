"""Logs never show a whole number or key, whoever wrote them."""

import io
import json
import logging

import pytest
import structlog

from refill import logs


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("topped up 13800138000", "topped up 138****00"),
        ("to +8613800138000.", "to +86****00."),
        ("138 0013 8000 again", "138****00 again"),
        ("card 4111-1111-1111-1111", "card 411****11"),
        ("key rk_live_cy4ctfja8xttybv29jwqe783d0tkyybb", "key rk_****"),
        ("order tu_1m822pzaj1hhfe2fa3595mkx", "order tu_1m822pzaj1hhfe2fa3595mkx"),
        ("at 2026-11-22 17:06:50", "at 2026-11-22 17:06:50"),
        ("50.00 CNY", "50.00 CNY"),
    ],
)
def test_numbers_and_keys_are_masked_and_the_rest_stays(said: str, shown: str) -> None:
    assert logs.mask(said) == shown


def test_what_we_and_our_libraries_log_is_masked_json(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    try:
        logs.configure("info")
        structlog.get_logger().info("sent", to="13800138000", count=7)
        logging.getLogger("library").warning("called %s", "+8613800138000")
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers
    ours, theirs = (json.loads(line) for line in shown.getvalue().splitlines())
    assert (ours["to"], ours["count"]) == ("138****00", 7)
    assert theirs["event"] == "called +86****00"
