"""OCPP frames for people: on `event/ocpp_message`, in a rotated file, in the log at DEBUG; without secrets."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ocpp16_bridge import logs
from ocpp16_bridge.csms import ocppj
from ocpp16_bridge.csms.redaction import Frame
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.mqtt.variables import to_json
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

MAX_FILE = 5 * 1024 * 1024  # bytes, then the file is rotated
FILES = 3
MAX_RECENT = 512 * 1024  # characters of frames kept in memory where there is no file


class _FrameFile(RotatingFileHandler):
    """A rotated file for the owner's eyes only. Where it can't be written the daemon goes on, with one warning."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_FILE, backupCount=FILES, encoding="utf-8", delay=True)
        self._has_failed = False

    def _open(self) -> TextIOWrapper:
        return open(
            self.baseFilename, "a", encoding=self.encoding, opener=lambda path, flags: os.open(path, flags, 0o600)
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's own name
        if not self._has_failed:
            self._has_failed = True
            logger.warning("logging.message_log can't be written, OCPP frames are lost: %s", sys.exc_info()[1])


class MessageLog(Feature):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = context.settings.logging
        frames = context.csms.endpoint.on_frame
        self._recent = logs.LatestLines(MAX_RECENT)
        frames.append(self._log)
        if settings.publish_ocpp_messages:
            frames.append(self._publish)
        if settings.message_log is not None:
            self._file = _FrameFile(settings.message_log)
            frames.append(self._write)
        else:
            frames.append(self._remember)

    def recent(self) -> Iterator[tuple[datetime, str]]:
        """The lines of the file where there is one, else the latest frames; for diagnostics. It blocks."""
        file = self.context.settings.logging.message_log
        return self._remembered() if file is None else _lines_of(file)

    def _remember(self, direction: str, frame: Frame) -> None:
        """As it was on the wire: secrets are hidden when it is asked for, which is seldom."""
        self._recent.add(self.context.clock.now().timestamp(), f"{direction} {frame.text}")

    def _remembered(self) -> Iterator[tuple[datetime, str]]:
        for moment, line in self._recent:
            direction, _, text = line.partition(" ")
            try:
                frame = Frame(ocppj.parse(text), text)
            except (ocppj.UnusableError, ocppj.BrokenCallError, ocppj.BrokenAnswerError):
                continue  # it was cut, or our own parser does not take it: better not shown than shown with a secret
            yield moment, _line(moment, direction, frame)

    def _log(self, direction: str, frame: Frame) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s", direction, to_json(frame.shown).decode())

    def _publish(self, direction: str, frame: Frame) -> None:
        self.context.variables.event("ocpp_message", {"direction": direction, "frame": frame.shown})

    def _write(self, direction: str, frame: Frame) -> None:
        line = _line(self.context.clock.now(), direction, frame)
        self._file.emit(logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None))


def _line(moment: datetime, direction: str, frame: Frame) -> str:
    return f"{format_time(moment)} {direction} {to_json(frame.shown).decode()}"


def _lines_of(file: Path) -> Iterator[tuple[datetime, str]]:
    """The lines of a rotated file, oldest first; each begins with its moment."""
    for path in (*(Path(f"{file}.{number}") for number in range(FILES, 0, -1)), file):
        with suppress(OSError), path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError):  # the end of a line that a power cut left
                    yield parse_time(line.partition(" ")[0]), line.rstrip("\n")
