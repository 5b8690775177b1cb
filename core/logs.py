"""Structured logs: static event names, ids from context variables, no text, no secret."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(*, json: bool, quiet: bool = False) -> None:
    """Write log lines to standard error, for people or as JSON; quiet ones only from errors up.

    Lines of other people's libraries come in the same form.
    """
    renderer: structlog.typing.Processor
    if json:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    chain: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json:
        chain.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.ERROR if quiet else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(chain, renderer, logging.ERROR if quiet else logging.WARNING)


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
