"""Stop and restart of OCPP, and the link to the CSMS as others see it (contract 2 and 3)."""

import asyncio
import logging

from ocpp.v16.enums import Reason

from ocpp16_bridge.configuration_keys import IntegerKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.registration import Registration
from ocpp16_bridge.features.security import Security
from ocpp16_bridge.features.starting import Starting
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import command, on_change
from ocpp16_bridge.timestamps import format_time

logger = logging.getLogger(__name__)

DELIVER_WITHIN = 5.0  # s for StopTransaction to be answered before the link is closed
CLOSE_WITHIN = 5.0  # s for the websocket to close before `stop` replies


class Lifecycle(Feature):
    websocket_ping_interval = IntegerKey("WebSocketPingInterval", 30)  # s; 0: the charge point sends no pings (TR-41)
    message_timeout = IntegerKey(
        "MessageTimeout", lambda settings: settings.csms.call_timeout, minimum=1, maximum=600
    )  # s (TR-40)

    def __init__(
        self,
        context: Context,
        registration: Registration,
        security: Security,
        starting: Starting,
        transactions: Transactions,
    ) -> None:
        super().__init__(context)
        self._starting = starting
        self._transactions = transactions
        self._registration = registration
        self._security = security
        self._since = context.clock.now()
        self._closed: asyncio.Future[object] | None = None  # what `stop` waits for
        csms = context.csms
        csms.endpoint.calls.timeout = lambda: self.message_timeout
        csms.endpoint.on_connected.append(self._link_changed)
        csms.endpoint.on_disconnected.append(lambda _reason: self._link_changed())
        csms.on_registration.append(self._show_connection)

    def start(self) -> None:
        self._show()

    @command()
    async def stop(self) -> bool:
        """True: OCPP was running and is now stopped."""
        csms = self.context.csms
        if csms.stopped:
            return False
        logger.info("OCPP is stopped by command")
        with self.context.turns.turn():
            self._transactions.end_all(Reason.other, at_once=True)
        await self._transactions.until_delivered(DELIVER_WITHIN)
        with self.context.turns.turn():
            self._starting.drop_all()
            self._transactions.end_all(Reason.other, at_once=True)  # what began meanwhile
            csms.stopped = True
            self._transactions.refresh_all()
        csms.line.close(1000, "stopped")
        if csms.connected:
            await self._until_closed()
        return True

    async def _until_closed(self) -> None:
        closed = self._closed = self.context.conversations.future()
        limit = self.context.timers.after(CLOSE_WITHIN, "close of the websocket", self._settle_closed)
        await closed
        limit.cancel()

    def _settle_closed(self) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self._closed = None

    @command()
    def restart(self) -> bool:
        """True: OCPP was stopped and is being started; the CSMS is not waited for."""
        csms = self.context.csms
        if not csms.stopped:
            return False
        logger.info("OCPP is started again by command")
        csms.stopped = False
        self._registration.begin()
        self._security.begin()
        self.context.turns.ending(csms.line.open)
        return True

    @on_change("WebSocketPingInterval")
    def _ping_interval_changed(self, _former: int) -> None:
        """Applied at once (TR-43)."""
        self.context.turns.ending(self.context.csms.line.ping_interval_changed)

    @on_change("SecurityProfile")
    def _security_profile_changed(self, _former: int) -> None:
        self._show_connection()

    # -- what others see

    def _link_changed(self) -> None:
        self._since = self.context.clock.now()
        if not self.context.csms.connected:
            self._settle_closed()
        self._show()

    def _show(self) -> None:
        self.context.variables.set("is_connected", self.context.csms.connected)
        self._show_connection()

    def _show_connection(self) -> None:
        csms = self.context.csms
        self.context.variables.set(
            "connection",
            {
                "connected": csms.connected,
                "csms_url": self._security.public_url(),
                "security_profile": self._security.security_profile,
                "registration": csms.registration,
                "since": format_time(self._since),
            },
        )
