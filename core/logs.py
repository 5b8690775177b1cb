"""Structured logs: static event names, ids from context variables, no text, no secret.

No line of ours holds a secret on purpose. What exceptions and other people's libraries say is
not ours: every value of every line goes through the redaction before it is written.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, WrappedLogger

from core.redact import redact_now

_MAX_VALUE_CHARS = 32_000
"""Of one value; a traceback is rarely longer, and its end says the most."""
_DEEPEST = 4


def configure_logs(*, json: bool, quiet: bool = False) -> None:
    """Write log lines to standard error, for people or as JSON; quiet ones only from errors up.

    Lines of other people's libraries come in the same form.
    """
    renderer: structlog.typing.Processor
    if json:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=_traceback
        )
    chain: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json:
        chain.append(structlog.processors.format_exc_info)
    chain.append(without_secrets)
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.ERROR if quiet else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(chain, renderer, logging.ERROR if quiet else logging.WARNING)


def without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The line with what looks like a secret hidden, in every value, however deep."""
    return {name: value if name in _OURS else _clean(name, value) for name, value in event.items()}


_OURS = frozenset({"exc_info", "_record", "_from_structlog", "level", "timestamp"})
"""What structlog itself put there for its own later steps."""


def _clean(name: str, value: object, depth: int = 0) -> object:
    match value:
        case bool() | int() | float() | None:
            return value
        case str():
            # With its name, since it may be the name that says what it is.
            shown = redact_now(f"{name}={value[-_MAX_VALUE_CHARS:]}")
            return shown.removeprefix(f"{name}=")
        case Mapping() if depth < _DEEPEST:
            return {key: _clean(str(key), item, depth + 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() if depth < _DEEPEST:
            return [_clean(name, item, depth + 1) for item in value]
        case _:
            return _clean(name, repr(value), depth)


def _traceback(stream: TextIO, failure: ExcInfo) -> None:
    """Write a traceback for people, without the secrets that an exception may quote."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, failure)
    stream.write(redact_now(text.getvalue()[-_MAX_VALUE_CHARS:]))


def _adopt_standard_logging(
    chain: list[structlog.typing.Processor], renderer: structlog.typing.Processor, level: int
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("it0")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *chain],
        )
    )
    root = logging.getLogger()
    for known in [known for known in root.handlers if known.get_name() == "it0"]:
        root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel(level)
    # It repeats the bytes of requests that it cannot parse; what crashes in a request is
    # logged by our own middleware.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
