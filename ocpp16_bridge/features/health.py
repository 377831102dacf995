"""Self-description: who this daemon is and how it fares (contract 1)."""

from datetime import datetime
from pathlib import Path
from resource import getpagesize

from ocpp16_bridge import __version__
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.delivery import Delivery
from ocpp16_bridge.features.security import Security
from ocpp16_bridge.handlers import on_change
from ocpp16_bridge.timestamps import format_time

PUBLISH_EVERY = 60.0  # s
_STATM = Path("/proc/self/statm")


class Health(Feature):
    def __init__(self, context: Context, security: Security, delivery: Delivery) -> None:
        super().__init__(context)
        self._security = security
        self._queue = delivery.queue
        self._started_at = context.clock.monotonic()
        self._connections = 0
        context.csms.endpoint.on_connected.append(self._connected)
        context.csms.endpoint.on_disconnected.append(lambda _reason: self._show_health())
        context.csms.on_registration.append(self._show_health)

    def start(self) -> None:
        self._show_info()
        self._show_health()
        self.context.timers.every(PUBLISH_EVERY, "health", self._show_health)

    def _connected(self) -> None:
        self._connections += 1
        self._show_health()

    @on_change("SecurityProfile")
    def _url_changed(self, _former: int) -> None:
        self._show_info()

    def _show_info(self) -> None:
        own = self.context.settings.charge_point
        self.context.variables.set(
            "info",
            {
                "version": __version__,
                "charge_point_id": own.id,
                "vendor": own.vendor,
                "model": own.model,
                "csms_url": self._security.public_url(),
                "connectors": len(self.context.settings.connectors),
                "ocpp_version": "1.6",
                "started_at": format_time(self._started()),
            },
        )

    def _started(self) -> datetime:
        return self.context.clock.at_monotonic(self._started_at)

    def _show_health(self) -> None:
        csms = self.context.csms
        self.context.variables.set(
            "health",
            {
                "uptime_s": int(self.context.clock.monotonic() - self._started_at),
                "rss_bytes": resident_bytes(),
                "queued_transaction_messages": len(self._queue.calls),
                "oldest_queued_at": self._queue.oldest_queued_at(),
                "csms": {
                    "connected": csms.connected,
                    "registration": csms.registration,
                    "last_message_at": self._last_message_at(),
                    "reconnects": max(self._connections - 1, 0),
                },
                "errors": dict(self.context.errors),
            },
        )

    def _last_message_at(self) -> str | None:
        received = self.context.csms.endpoint.last_received_at
        return None if received is None else format_time(self.context.clock.at_monotonic(received))


def resident_bytes() -> int:
    """The memory this process holds, 0 where the system doesn't say."""
    try:
        return int(_STATM.read_text().split()[1]) * getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
