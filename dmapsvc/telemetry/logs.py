"""Log lines on standard error, as text for a person or as JSON for a machine.

Every line says which request or job it is of, if any (`context`), those of uvicorn and of the engine too.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

from dmapsvc.telemetry.context import current

_LONGEST = 12  # characters of an id in a text line; `dmapsvc jobs` shows as many


def start_logging(service: str, style: str) -> None:
    """Send the log of this process, called `service`, to standard error, one line a message.

    `style` is `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_context)
    handler.setFormatter(_json(service) if style == "json" else _Text())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    # The engine writes to the terminal in a form of its own unless its logger has a handler already.
    logging.getLogger("dbos").addHandler(logging.NullHandler())
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    hush_readers()


def hush_readers() -> None:
    """Let the libraries that read volumes warn of nothing: they quote the file, and so perhaps a patient."""
    for library in ("pydicom", "nrrd", "nibabel"):
        warnings.filterwarnings("ignore", module=library)
        logging.getLogger(library).setLevel(logging.CRITICAL)


class _Text(logging.Formatter):
    """Time, level, logger and message, then whom the line is about; a traceback stands on lines below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        names = [f"{key} {name[:_LONGEST]}" for key, name in current().items() if key != "run"]
        line = _one_line(super().formatMessage(record))
        return line + (f" [{', '.join(names)}]" if names else "")


def _one_line(text: str) -> str:
    """`text` with what would break the line, or turn it about, written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _json(service: str) -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
        static_fields={"service": service, "pid": os.getpid()},
        timestamp="time",
    )


def _add_context(record: logging.LogRecord) -> bool:
    for key, name in current().items():
        setattr(record, key, name)
    return True
