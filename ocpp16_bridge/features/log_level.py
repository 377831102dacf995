"""The log level, changed while the daemon runs (contract 3)."""

import logging
from typing import Literal

from ocpp16_bridge import logs
from ocpp16_bridge.feature import Feature
from ocpp16_bridge.handlers import command
from ocpp16_bridge.mqtt.model import Arguments

logger = logging.getLogger(__name__)


class SetLogLevel(Arguments):
    level: Literal["error", "warning", "info", "debug"]


class LogLevel(Feature):
    @command()
    def set_log_level(self, request: SetLogLevel) -> None:
        """Until the daemon ends or reads its file again; nothing is stored."""
        logs.set_level(request.level)
        logger.info("the log level is %s", request.level)
