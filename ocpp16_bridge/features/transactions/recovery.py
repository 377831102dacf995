"""Transactions that were open when a former process ended (obligations TX-40 … TX-46; contract 4)."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from ocpp.v16.enums import Reason

from ocpp16_bridge.feature import Context
from ocpp16_bridge.features.transactions.outlet import Outlet
from ocpp16_bridge.features.transactions.record import End, Transaction

logger = logging.getLogger(__name__)


class Recovery:
    """Decides whether a transaction goes on: by the first state of its connector, since no other fact says it.

    Args:
        context: shared by all features.
        outlets: by connector id.
        go_on: a transaction goes on.
        close: a transaction has ended, as it says; its connector may be no longer there.
        ends_with_unplugging: StopTransactionOnEVSideDisconnect.

    """

    def __init__(
        self,
        context: Context,
        outlets: Mapping[int, Outlet],
        go_on: Callable[[Outlet, Transaction], None],
        close: Callable[[Transaction], None],
        ends_with_unplugging: Callable[[], bool],
    ) -> None:
        self._context = context
        self._outlets = outlets
        self._go_on = go_on
        self._close = close
        self._ends_with_unplugging = ends_with_unplugging

    def take_up(self, record: Transaction) -> None:
        """Its process is gone. Those that nothing can decide any more end as they were."""
        outlet = self._outlets.get(record.connector_id)
        if outlet is None or record.end is not None:  # or the process ended while it waited for the meter
            self._lose(record)
        else:
            outlet.occupy(record.session_id)
            outlet.is_undecided = True

    def watch(self) -> None:
        """Say what is still undecided when the hardware should have spoken."""
        limit = self._context.settings.hardware.start_timeout
        self._context.timers.after(limit, "open transactions", self._warn)

    def _warn(self) -> None:
        for number, outlet in self._outlets.items():
            if outlet.is_undecided:
                logger.warning(
                    "connector %s: a transaction is open, and the hardware has not said yet whether the EV is there "
                    "(hardware/connector/%s/state): it stays open",
                    number,
                    number,
                )

    def decide(self, outlet: Outlet, record: Transaction) -> None:
        """The first state is there."""
        outlet.is_undecided = False
        if self._survives(outlet, record):
            self.go_on(outlet, record)
        else:
            outlet.connector.finishing = outlet.connector.state.has_cable
            self._lose(record)

    def _survives(self, outlet: Outlet, record: Transaction) -> bool:
        plugged = outlet.connector.state.plugged
        if record.boot_id == self._context.boot_id:
            return plugged or not self._ends_with_unplugging()
        return plugged and self._context.settings.transactions.on_power_loss == "resume"

    def go_on(self, outlet: Outlet, record: Transaction) -> None:
        """By its connector's state, or since it is to be ended now, whatever the state."""
        logger.info("connector %s: the transaction goes on after a restart", record.connector_id)
        outlet.is_undecided = False
        self._go_on(outlet, replace(record, boot_id=self._context.boot_id))

    def _lose(self, record: Transaction) -> None:
        """It ended with its last known reading, never now (TX-42)."""
        end = record.end or End(Reason.power_loss, record.register.at)
        logger.warning(
            "connector %s: a transaction did not survive the restart: StopTransaction %s with %s Wh",
            record.connector_id,
            end.reason,
            record.register.wh,
        )
        self._close(replace(record, end=end))
