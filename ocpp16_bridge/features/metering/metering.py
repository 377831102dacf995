"""Meter values: sampled and clock-aligned (OCPP 1.6, 3.16 and 4.7; obligations 5.5)."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, Measurand, Phase, ReadingContext

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, IntegerKey, ListKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import HardwareError
from ocpp16_bridge.features.delivery import TRANSACTION_QUEUE
from ocpp16_bridge.features.metering.readings import REGISTER, MeterReading, Readings, Register, meter_value
from ocpp16_bridge.handlers import on_change, on_hardware, on_trigger
from ocpp16_bridge.store import DiskQueue
from ocpp16_bridge.timestamps import format_time

logger = logging.getLogger(__name__)

PERSIST_EVERY = 60.0  # s: what a power cut costs at most of the last register (TX-05)
_DAY = timedelta(days=1)

_MEASURANDS = frozenset(map(str, Measurand))
_PHASES = frozenset(map(str, Phase))
MAX_MEASURANDS = 40  # a list may name every measurand, and single phases of some
_DEFAULT = (str(REGISTER),)
_METER_IS_SILENT = HardwareError(
    error_code=ChargePointErrorCode.power_meter_failure, faulted=False, info="no meter reading"
)


def is_measurand(item: str) -> bool:
    """A measurand, or one with a phase: `Voltage.L1-N` (OCPP 1.6, 9.1.17)."""
    measurand, _, phase = item.rpartition(".")
    return item in _MEASURANDS or (measurand in _MEASURANDS and phase in _PHASES)


def _measurands(name: str, default: tuple[str, ...]) -> ListKey:
    return ListKey(name, default, is_item=is_measurand, maximum_items=MAX_MEASURANDS)


def _max_length(name: str) -> IntegerKey:
    return IntegerKey(name, MAX_MEASURANDS, access=Access.READ_ONLY)


@dataclass
class Sampling:
    """A running transaction, as far as its meter values go."""

    session_id: str
    counts_from: int  # Wh
    since: datetime  # of the last sample: where the next interval begins
    timer: Timer | None = None
    silence: Timer | None = None


class Metering(Feature):
    clock_aligned_data_interval = IntegerKey("ClockAlignedDataInterval", 0, maximum=86400)  # s; 0: off
    meter_value_sample_interval = IntegerKey("MeterValueSampleInterval", 60)  # s; 0: off
    meter_values_aligned_data = _measurands("MeterValuesAlignedData", _DEFAULT)
    meter_values_aligned_data_max_length = _max_length("MeterValuesAlignedDataMaxLength")
    meter_values_sampled_data = _measurands("MeterValuesSampledData", _DEFAULT)
    meter_values_sampled_data_max_length = _max_length("MeterValuesSampledDataMaxLength")
    stop_txn_aligned_data = _measurands("StopTxnAlignedData", ())
    stop_txn_aligned_data_max_length = _max_length("StopTxnAlignedDataMaxLength")
    stop_txn_sampled_data = _measurands("StopTxnSampledData", ())
    stop_txn_sampled_data_max_length = _max_length("StopTxnSampledDataMaxLength")
    stop_transaction_max_meter_values = IntegerKey("StopTransactionMaxMeterValues", 500, access=Access.READ_ONLY)

    def __init__(self, context: Context, connectors: Connectors) -> None:
        super().__init__(context)
        self._connectors = connectors
        self._readings = {number: Readings(number) for number in range(len(connectors.all) + 1)}
        self._registers = context.store.collection("register", Register)
        self._sampling: dict[int, Sampling] = {}  # by connector
        self._aligned: Timer | None = None
        connectors.on_source_offline.append(self._drop_source)
        # Who knows the transactions says the id that the CSMS gave one.
        self.transaction_id: Callable[[str], int | None] = lambda _session_id: None
        self.on_reading: list[Callable[[Connector], None]] = []
        self.on_persist: list[Callable[[], None]] = []

    def start(self) -> None:
        self.context.timers.every(PERSIST_EVERY, "last registers", self._persist)
        self._arm_aligned()

    # -- readings in

    @on_hardware("connector/+/meter")
    def meter(self, reading: MeterReading, level: str) -> None:
        self.meter_of_source(reading, level, "")

    @on_hardware("connector/+/meter/+")
    def meter_of_source(self, reading: MeterReading, level: str, source: str) -> None:
        """Several programs may publish: each measurand keeps its last value and time."""
        connector = self._connectors.addressed(level)
        readings = self._readings[connector.id]
        moment = reading.moment or self.context.clock.now()
        sampling = self._sampling.get(connector.id)
        for key, value in reading.values.items():
            if sampling is not None and self._falls(readings, key, value):
                logger.warning(
                    "connector %s: the register fell to %s Wh during a transaction: ignored", connector.id, value
                )
                continue
            readings.values[key] = (value, moment)
            readings.sources[key] = source
        readings.signed = reading.signed or readings.signed
        readings.read_at = moment
        if sampling is not None:
            self._watch_for_silence(connector, sampling)
        for listener in self.on_reading:
            listener(connector)

    @staticmethod
    def _falls(readings: Readings, key: tuple[str, str | None], value: float) -> bool:
        """Registers never fall within a transaction (TX-04)."""
        former = readings.values.get(key)
        return key[0].endswith(".Register") and former is not None and value < former[0]

    def _drop_source(self, source: str) -> None:
        """A program is gone: what it said is no longer known."""
        for readings in self._readings.values():
            for key in [key for key, known in readings.sources.items() if known == source]:
                del readings.values[key], readings.sources[key]

    def register(self, connector: Connector) -> Register | None:
        """The import register as the meter has it now; None before a reading."""
        reading = self._readings[connector.id].register()
        return None if reading is None else Register(reading[0], format_time(reading[1]))

    def read_at(self, connector: Connector) -> datetime | None:
        """When the register was read last."""
        reading = self._readings[connector.id].register()
        return None if reading is None else reading[1]

    def stored_register(self, connector: Connector) -> Register | None:
        """The last register that is on disk."""
        return self._registers.get(str(connector.id))

    def _persist(self) -> None:
        """One commit for all connectors."""
        for connector in self._connectors.all:
            register = self.register(connector)
            if register is not None:
                self._registers.put(str(connector.id), register)
        for listener in self.on_persist:
            listener()

    def count_from(self, connector: Connector, register: int) -> None:
        """The transaction's register begins to count at this reading, Wh."""
        self._sampling[connector.id].counts_from = register

    # -- a silent meter

    def _watch_for_silence(self, connector: Connector, sampling: Sampling) -> None:
        limit = self.context.settings.transactions.meter_stale_after
        if limit:
            if sampling.silence is not None:
                sampling.silence.cancel()
            self._connectors.set_error(connector, "meter", None)
            sampling.silence = self.context.timers.after(
                limit, "meter is silent", lambda: self._connectors.set_error(connector, "meter", _METER_IS_SILENT)
            )

    # -- a transaction's samples

    def begin(self, connector: Connector, session_id: str, counts_from: int, *, resumed: bool = False) -> None:
        """Sample for a transaction from now on."""
        now = self.context.clock.now()
        sampling = self._sampling[connector.id] = Sampling(session_id, counts_from, now)
        if not resumed:
            self._keep(connector, self.stop_txn_sampled_data, ReadingContext.transaction_begin, now)
        self._watch_for_silence(connector, sampling)
        self._arm(connector, sampling)

    def end(self, connector: Connector) -> None:
        """The transaction's last values are taken; nothing is sampled any more (MV-20)."""
        sampling = self._sampling[connector.id]
        self._keep(connector, self.stop_txn_sampled_data, ReadingContext.transaction_end, self.context.clock.now())
        for timer in (sampling.timer, sampling.silence):
            if timer is not None:
                timer.cancel()
        self._connectors.set_error(connector, "meter", None)
        del self._sampling[connector.id]

    def _kept(self, session_id: str) -> DiskQueue[dict[str, Any]]:
        """The samples kept for StopTransaction, oldest first, on disk only."""
        return self.context.store.queue("transaction_data/" + session_id, dict[str, Any])

    def transaction_data(self, session_id: str) -> list[dict[str, Any]] | None:
        """For StopTransaction.transactionData; None where nothing was configured (MV-09)."""
        return [value for _, value in self._kept(session_id)] or None

    def forget(self, session_id: str) -> None:
        """StopTransaction is queued, with all its data."""
        self._kept(session_id).clear()

    def _arm(self, connector: Connector, sampling: Sampling) -> None:
        if sampling.timer is not None:
            sampling.timer.cancel()
        interval = self.meter_value_sample_interval
        sampling.timer = (
            self.context.timers.after(interval, "MeterValueSampleInterval", lambda: self._sample(connector, sampling))
            if interval
            else None
        )

    @on_change("MeterValueSampleInterval")
    def _sample_interval_changed(self, _former: int) -> None:
        """Takes effect with the next sample, counted from the change (MV-21)."""
        for number, sampling in self._sampling.items():
            self._arm(self._connectors[number], sampling)

    def _sample(self, connector: Connector, sampling: Sampling) -> None:
        """MV-02."""
        now = self.context.clock.now()
        items = self.meter_values_sampled_data or _DEFAULT  # MV-15
        self._queue(connector, items, ReadingContext.sample_periodic, now, sampling.since)
        self._keep(connector, self.stop_txn_sampled_data, ReadingContext.sample_periodic, now)
        sampling.since = now
        self._arm(connector, sampling)

    # -- clock-aligned values

    @on_change("ClockAlignedDataInterval")
    def _aligned_interval_changed(self, _former: int) -> None:
        self._arm_aligned()

    def _arm_aligned(self) -> None:
        if self._aligned is not None:
            self._aligned.cancel()
            self._aligned = None
        interval = self.clock_aligned_data_interval
        if interval:
            now = self.context.clock.now()
            instant = next_aligned(now, interval)
            self._aligned = self.context.timers.after(
                (instant - now).total_seconds(), "ClockAlignedDataInterval", lambda: self._align(instant)
            )

    def _align(self, instant: datetime) -> None:
        """MV-03, MV-04: also without a transaction; connector 0 where there is a main meter."""
        began = instant - timedelta(seconds=self.clock_aligned_data_interval)
        if instant - self.context.clock.now() < timedelta(seconds=1):  # else the clock was set back: not yet
            for connector in (self._connectors.charge_point, *self._connectors.all):
                items = self.meter_values_aligned_data or _DEFAULT
                self._queue(connector, items, ReadingContext.sample_clock, instant, began)
                self._keep(connector, self.stop_txn_aligned_data, ReadingContext.sample_clock, instant)
        self._arm_aligned()

    # -- out

    @on_trigger("MeterValues")
    def trigger_meter_values(self, connector_id: int | None) -> bool:
        """The latest values of one connector, or of all that have some (MV-12)."""
        if connector_id is not None and connector_id != 0 and connector_id not in self._connectors:
            return False
        if connector_id is None:
            asked = [self._connectors.charge_point, *self._connectors.all]
        else:
            asked = [self._connectors[connector_id]]
        messages = [message for connector in asked if (message := self._latest(connector)) is not None]
        for message in messages:
            self.context.csms.send(message, triggered=True)
        return bool(messages)

    def _latest(self, connector: Connector) -> call.MeterValues | None:
        sampled = self._sampled(connector, self.meter_values_sampled_data or _DEFAULT, ReadingContext.trigger)
        if not sampled:
            return None
        sampling = self._sampling.get(connector.id)
        transaction_id = None if sampling is None else self.transaction_id(sampling.session_id)
        return call.MeterValues(connector.id, [meter_value(self.context.clock.now(), sampled)], transaction_id)

    def _sampled(self, connector: Connector, items: Iterable[str], context: ReadingContext) -> list[dict[str, Any]]:
        sampling = self._sampling.get(connector.id)
        counts_from = 0 if sampling is None else sampling.counts_from
        return self._readings[connector.id].sample(items, context, counts_from=counts_from, signed=sampling is not None)

    def _values(
        self, connector: Connector, items: Iterable[str], context: ReadingContext, moment: datetime, began: datetime
    ) -> list[dict[str, Any]]:
        """What belongs to the interval bears its start (MV-05), the rest the moment."""
        sampled = self._sampled(connector, items, context)
        of_interval = [value for value in sampled if value["measurand"].endswith(".Interval")]
        of_moment = [value for value in sampled if not value["measurand"].endswith(".Interval")]
        parts = ((began, of_interval), (moment, of_moment))
        return [meter_value(at, values) for at, values in parts if values]

    def _queue(
        self, connector: Connector, items: Iterable[str], context: ReadingContext, moment: datetime, began: datetime
    ) -> None:
        values = self._values(connector, items, context, moment, began)
        if values:
            sampling = self._sampling.get(connector.id)
            about = "" if sampling is None else sampling.session_id
            self.context.csms.send_durable(TRANSACTION_QUEUE, call.MeterValues(connector.id, values), about=about)

    def _keep(self, connector: Connector, items: tuple[str, ...], context: ReadingContext, moment: datetime) -> None:
        """Keep a sample for StopTransaction where one is configured."""
        sampling = self._sampling.get(connector.id)
        if sampling is None or not items:
            return
        sampled = self._sampled(connector, items, context)
        if not sampled:
            return
        kept = self._kept(sampling.session_id)
        if len(kept) >= self.stop_transaction_max_meter_values - 1:  # one place is the end's
            # The middle ones go, evenly; the first stays (MV-10, MV-11).
            for sequence, _ in list(kept)[1::2]:
                kept.remove(sequence)
        kept.append(meter_value(moment, sampled))


def next_aligned(now: datetime, interval: int) -> datetime:
    """The next multiple of ``interval`` s since midnight UTC; a length that doesn't divide the day restarts there."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = (now - midnight) // timedelta(seconds=interval)
    return min(midnight + timedelta(seconds=interval) * (passed + 1), midnight + _DAY)
