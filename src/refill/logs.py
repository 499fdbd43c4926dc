"""Logs for machines to read, in which no telephone number, card number or key is ever whole."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Eight to nineteen digits in a row, or grouped as people write them; our own ids have letters around their digits.
_NUMBER = re.compile(r"(?<![0-9A-Za-z_.])\+?[0-9](?:[ -]?[0-9]){7,18}(?![0-9A-Za-z_])")
_KEY = re.compile(r"rk_(?:live|test)_[0-9a-z]+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d")


def mask(text: str) -> str:
    """ "paid by 13800138000" -> "paid by 138****00"; dates stay as they are."""
    return _NUMBER.sub(_masked, _KEY.sub("rk_****", text))


def _masked(match: re.Match[str]) -> str:
    whole = match[0]
    if _MOMENT.match(whole):
        return whole
    return f"{whole[:3]}****{whole[-2:]}"


def configure(level: str) -> None:
    """Sends our own and libraries' logs to standard error, one JSON object a line, masked last of all."""
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask_event,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Masking())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def _mask_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value if name == "timestamp" else _mask_value(value) for name, value in event.items()}


def _mask_value(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None) else mask(str(value))


class _Masking(logging.Formatter):
    """Libraries' logs, in the same form."""

    def format(self, record: logging.LogRecord) -> str:
        text = mask(super().format(record))
        return str(
            structlog.processors.JSONRenderer(ensure_ascii=False)(
                None,
                "",
                {
                    "event": text,
                    "level": record.levelname.lower(),
                    "logger": record.name,
                },
            )
        )
