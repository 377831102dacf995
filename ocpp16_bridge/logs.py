"""Where log records go: the journal, a service manager's stream, or a person's terminal."""

import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from ocpp16_bridge import systemd

_TERMINAL_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


MAX_RECENT = 1000  # lines kept in memory, for diagnostics
_recent: deque[tuple[float, str]] = deque(maxlen=MAX_RECENT)


def recent() -> Iterator[tuple[datetime, str]]:
    """The latest lines and when they were written, oldest first."""
    for moment, line in list(_recent):
        yield datetime.fromtimestamp(moment, UTC), line


class RecentLines(logging.Handler):
    """Keeps the latest lines in memory."""

    def emit(self, record: logging.LogRecord) -> None:
        _recent.append((record.created, self.format(record)))


class PriorityFormatter(logging.Formatter):
    """Each line with the `<N>` prefix from which a service manager reads the priority (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{systemd.priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def configure_logging(level: str, environ: Mapping[str, str]) -> None:
    """Log from `level` (`error`, `warning`, `info`, `debug`) on; a second call replaces what the first one set."""
    in_memory = RecentLines()
    in_memory.setFormatter(logging.Formatter(_TERMINAL_FORMAT))
    logging.basicConfig(handlers=[_handler(environ), in_memory], level=logging.WARNING, force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level of this package's own records.

    The libraries stay at warning: at debug websockets writes the request headers, Authorization among them.
    """
    logging.getLogger("ocpp16_bridge").setLevel(level.upper())


def _handler(environ: Mapping[str, str]) -> logging.Handler:
    journal = systemd.journal_handler(environ)
    if journal is not None:
        return journal
    handler = logging.StreamHandler(sys.stderr)
    under_systemd = "INVOCATION_ID" in environ and not sys.stderr.isatty()
    handler.setFormatter(
        PriorityFormatter("%(name)s: %(message)s") if under_systemd else logging.Formatter(_TERMINAL_FORMAT)
    )
    return handler
