"""Where log records go: the journal, a service manager's stream, or a person's terminal."""

import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from ocpp16_bridge import systemd

_TERMINAL_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


MAX_RECENT = 256 * 1024  # characters kept in memory, for diagnostics


class LatestLines:
    """The latest lines with their moments, as many as have up to ``limit`` characters together; for any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: deque[tuple[float, str]] = deque()  # Unix time
        self._length = 0  # characters

    def add(self, moment: float, line: str) -> None:
        kept = line[: self._limit]
        self._lines.append((moment, kept))
        self._length += len(kept)
        while self._length > self._limit:
            self._length -= len(self._lines.popleft()[1])

    def __iter__(self) -> Iterator[tuple[datetime, str]]:
        """Oldest first."""
        for moment, line in self._lines.copy():
            yield datetime.fromtimestamp(moment, UTC), line


_recent = LatestLines(MAX_RECENT)


def recent() -> Iterator[tuple[datetime, str]]:
    """The latest lines and when they were written, oldest first."""
    return iter(_recent)


class RecentLines(logging.Handler):
    """Keeps the latest lines in memory."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _recent.add(record.created, self.format(record))
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)


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
