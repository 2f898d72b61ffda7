"""Logs: one JSON object a line on stdout, with what is known of the call in every line."""

import logging
import sys
from collections.abc import Iterable
from typing import Any

import structlog

from kit import calls


def configure(service: str, level: str) -> None:
    """Send structlog and the libraries' own logging to stdout as JSON lines."""

    # Not a context variable: threads of Envoy, which start calls, have none of ours.
    def name_service(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        name_service,
        calls.name_call,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the frames' variables: they hold what customers wrote, and passwords.
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
        _without_rows,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # In one piece: doors in processes of their own write to the same stdout.
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # A broker that is away is told by our own line; the client's logger repeats it at every try.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _without_rows(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Cut off PostgreSQL's detail of an error: it quotes the row that was refused."""
    _cut(event.get("exception", ()))
    return event


def _cut(traces: Iterable[dict[str, Any]]) -> None:
    for trace in traces:
        trace["exc_value"] = trace["exc_value"].partition("\nDETAIL:")[0]
        for group in trace.get("exceptions", ()):
            _cut(group)
