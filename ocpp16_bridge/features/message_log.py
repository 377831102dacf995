"""OCPP frames for people: on `event/ocpp_message`, in a rotated file, in the log at DEBUG; without secrets."""

import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.mqtt.variables import to_json
from ocpp16_bridge.timestamps import format_time

logger = logging.getLogger(__name__)

MAX_FILE = 5 * 1024 * 1024  # bytes, then the file is rotated
FILES = 3


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
        frames.append(self._log)
        if settings.publish_ocpp_messages:
            frames.append(self._publish)
        if settings.message_log is not None:
            self._file = _FrameFile(settings.message_log)
            frames.append(self._write)

    def _log(self, direction: str, frame: list[Any]) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s", direction, to_json(frame).decode())

    def _publish(self, direction: str, frame: list[Any]) -> None:
        self.context.variables.event("ocpp_message", {"direction": direction, "frame": frame})

    def _write(self, direction: str, frame: list[Any]) -> None:
        moment = format_time(self.context.clock.now())
        line = f"{moment} {direction} {to_json(frame).decode()}"
        self._file.emit(logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None))
