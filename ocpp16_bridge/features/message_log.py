"""OCPP frames for people: on `event/ocpp_message`, in a rotated file, in the log at DEBUG; without secrets."""

import json
import logging
from logging.handlers import RotatingFileHandler
from typing import Any

from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.timestamps import format_time

logger = logging.getLogger(__name__)

MAX_FILE = 5 * 1024 * 1024  # bytes, then the file is rotated
FILES = 3


class MessageLog(Feature):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = context.settings.logging
        frames = context.csms.endpoint.on_frame
        if settings.publish_ocpp_messages:
            frames.append(self._publish)
        if settings.message_log is not None:
            self._file = RotatingFileHandler(settings.message_log, maxBytes=MAX_FILE, backupCount=FILES, delay=True)
            frames.append(self._write)
        if logger.isEnabledFor(logging.DEBUG):
            frames.append(lambda direction, frame: logger.debug("%s %s", direction, json.dumps(frame, default=str)))

    def _publish(self, direction: str, frame: list[Any]) -> None:
        self.context.variables.event("ocpp_message", {"direction": direction, "frame": frame})

    def _write(self, direction: str, frame: list[Any]) -> None:
        moment = format_time(self.context.clock.now())
        line = f"{moment} {direction} {json.dumps(frame, ensure_ascii=False, default=str)}"
        self._file.emit(logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None))
