"""Logs: one JSON object a line on stderr, UTC, with every secret taken out, whoever wrote the line."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

REDACTED = "[redacted]"
DEPTH_MAX = 6

_SECRET_NAMES = re.compile(
    r"authorization|cookie|passw(or)?d|secret|token(?!s)|api_?key|private|credential(?!_in)", re.IGNORECASE
)
_TOKEN = re.compile(r"\b((?:pt|sk)_[0-9a-f]{16})_[A-Za-z0-9_-]{20,}", re.ASCII)
_META_TOKEN = re.compile(r"\bEAA[A-Za-z0-9]{8,}", re.ASCII)
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")


def configure(level: int = logging.INFO) -> None:
    """Send structlog's lines and those of the libraries through one pipeline."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what a secret's name holds, tokens wherever they stand, and passwords in URLs."""
    for name, value in event.items():
        event[name] = _clean(name, value, DEPTH_MAX)
    return event


def _clean(name: str, value: Any, depth: int) -> Any:
    if _SECRET_NAMES.search(name) and not name.startswith("_") and value is not None:
        return REDACTED
    if isinstance(value, str):
        value = _META_TOKEN.sub(REDACTED, _TOKEN.sub(rf"\1_{REDACTED}", value))
        return _URL_PASSWORD.sub(rf"\1:{REDACTED}@", value)
    if depth and isinstance(value, dict):
        return {key: _clean(str(key), item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_clean("", item, depth - 1) for item in value]
    return value
