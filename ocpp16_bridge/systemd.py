"""The service manager: readiness, watchdog and the journal (sd_notify(3), systemd.exec(5), systemd.journal-fields(7)).

Nothing here does anything, or fails, where the process does not run under systemd.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping

JOURNAL_SOCKET = "/run/systemd/journal/socket"

# A datagram on a unix socket holds some 200 KiB by default; whoever logs more than this has a defect, not a message.
_LONGEST_VALUE = 48 * 1024  # bytes

_JOURNAL_PATIENCE = 0.1  # s; a journal that does not read costs a line, it must not stop the charge point

_EXTRA_FIELDS = ("OCPP_ACTION", "OCPP_MESSAGE_ID", "MQTT_TOPIC")


def notify(*lines: str) -> None:
    """Send assignments such as `READY=1` to the service manager, if there is one that listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager,
    ):
        manager.sendto("\n".join(lines).encode(), address)


def ready() -> None:
    notify("READY=1")


def reloading() -> None:
    """Say that the configuration is read again; `ready` says when that is done."""
    notify("RELOADING=1")


def stopping() -> None:
    notify("STOPPING=1")


def status(text: str) -> None:
    """Show `text` as one line in `systemctl status`."""
    notify(f"STATUS={' '.join(text.split())}")


def watchdog() -> None:
    notify("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Seconds between two calls of `watchdog`, a third of the time allowed; None: nobody watches this process."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not allowed.isdecimal() or watched != str(os.getpid()):
        return None
    return int(allowed) / 1e6 / 3 or None


def priority(level: int) -> int:
    """The syslog priority of a logging level: 3 error, 4 warning, 6 info, 7 debug."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((number for least, number in steps if level >= least), 7)


def journal_handler(environ: Mapping[str, str], path: str = JOURNAL_SOCKET) -> logging.Handler | None:
    """A handler that writes native journal entries, or None where stderr is not connected to the journal."""
    stderr = os.fstat(2)
    # A JOURNAL_STREAM inherited across a redirection is somebody else's (systemd.exec(5)).
    if environ.get("JOURNAL_STREAM") != f"{stderr.st_dev}:{stderr.st_ino}":
        return None
    try:
        return JournalHandler(path)
    except OSError:
        return None


class JournalHandler(logging.Handler):
    """Log records as journal entries; `extra={"ocpp_action": …}` becomes the field OCPP_ACTION, see `_EXTRA_FIELDS`."""

    def __init__(self, path: str) -> None:
        """Connect to the journal's socket. Raises: OSError."""
        super().__init__()
        self._journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._journal.settimeout(_JOURNAL_PATIENCE)
        try:
            self._journal.connect(path)
        except OSError:
            self._journal.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._journal.send(b"".join(_encoded(name, value) for name, value in self._fields(record)))
        except Exception:  # noqa: BLE001 - logging never raises into the code that logs (logging.Handler.handleError)
            self.handleError(record)

    def close(self) -> None:
        self._journal.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
        yield "PRIORITY", str(priority(record.levelno))
        yield "SYSLOG_IDENTIFIER", "ocpp16-bridge"
        yield "MESSAGE", self.format(record)  # with the traceback
        yield "LOGGER", record.name
        yield "CODE_FILE", record.pathname
        yield "CODE_LINE", str(record.lineno)
        for field in _EXTRA_FIELDS:
            value = getattr(record, field.lower(), None)
            if value is not None:
                yield field, str(value)


def _encoded(name: str, value: str) -> bytes:
    """One field in the journal's native protocol: a value of several lines is preceded by its length."""
    data = value.encode(errors="replace")[:_LONGEST_VALUE]
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
