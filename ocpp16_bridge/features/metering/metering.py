"""Meter values: sampled and clock-aligned (OCPP 1.6, 3.16 and 4.7; obligations 5.5)."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, ReadingContext

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, IntegerKey, ListKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import ConnectorState, HardwareError
from ocpp16_bridge.features.delivery import TRANSACTION_QUEUE
from ocpp16_bridge.features.metering.readings import (
    MEASURANDS,
    PHASES,
    REGISTER,
    REGISTERS,
    MeterReading,
    MeterValue,
    Reading,
    Readings,
    Register,
    SampledValue,
    divided,
    meter_value,
)
from ocpp16_bridge.handlers import on_change, on_hardware, on_trigger
from ocpp16_bridge.store import DiskQueue
from ocpp16_bridge.timestamps import format_time

logger = logging.getLogger(__name__)

PERSIST_EVERY = 60.0  # s: what a power cut costs at most of the last register (TX-05)
# Samples that are due within so many s are taken together: one commit for all connectors, not one for each.
TOGETHER = 1.0
# Clocks are set without telling us: while an aligned instant is waited for the clock is looked at every so many s …
LOOK_AT_CLOCK = 15.0
# … and an instant that the clock jumped over by more than this was missed.
TOO_LATE = timedelta(seconds=60)
# A reading's own time may be so far off; beyond that its program has no idea of the time.
_EARLIEST, _LATEST = timedelta(days=3653), timedelta(days=-1)  # ago

MAX_MEASURANDS = 40  # a list may name every measurand, and single phases of some
_DAY = timedelta(days=1)
_DEFAULT = (REGISTER,)
_METER_IS_SILENT = HardwareError(
    error_code=ChargePointErrorCode.power_meter_failure, faulted=False, info="no meter reading"
)
_NEVER_DROPPED = frozenset({ReadingContext.transaction_begin, ReadingContext.transaction_end})


def is_measurand(item: str) -> bool:
    """A measurand, or one with a phase: `Voltage.L1-N` (OCPP 1.6, 9.1.17)."""
    measurand, _, phase = item.rpartition(".")
    return item in MEASURANDS or (measurand in MEASURANDS and phase in PHASES)


def _measurands(name: str, default: tuple[str, ...]) -> ListKey:
    return ListKey(name, default, is_item=is_measurand, maximum_items=MAX_MEASURANDS)


def _max_length(name: str) -> IntegerKey:
    return IntegerKey(name, MAX_MEASURANDS, access=Access.READ_ONLY)


# A sample is what was taken at one moment: a MeterValue, or two where some of it belongs to the interval before.
Sample = list[MeterValue]


@dataclass
class Sampling:
    """A running transaction, as far as its meter values go. Moments without a type are monotonic."""

    connector: Connector
    session_id: str
    counts_from: int  # Wh that are taken off the import register
    since: datetime  # of the last sample: where the next interval begins
    kept: DiskQueue[Sample]  # for StopTransaction
    heard_at: float  # of the last reading, or of what else excuses the meter for its silence
    began: datetime = field(init=False)
    due: float | None = None  # the next sample
    needs_begin: bool = False  # there was no reading at the beginning
    registers: dict[str, dict[str | None, float]] = field(default_factory=dict)  # the last ones: they never fall
    fallen: set[str] = field(default_factory=set)  # registers that are too low now
    taken: Counter[ReadingContext] = field(default_factory=Counter)
    keeps_each: int = 1  # one of so many samples, since StopTransaction got too long
    silence: Timer | None = None
    is_silent: bool = False

    def __post_init__(self) -> None:
        self.began = self.since

    def falls(self, measurand: str, phases: dict[str | None, float]) -> bool:
        """Registers never fall within a transaction (TX-04)."""
        known = self.registers.get(measurand, {})
        if any(value < known.get(phase, value) for phase, value in phases.items()):
            return True
        self.registers[measurand] = known | phases
        self.fallen.discard(measurand)
        return False


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
        self._next_samples: Timer | None = None
        self._next_aligned: Timer | None = None
        self._last_aligned: datetime | None = None
        connectors.on_state.append(self._state_changed)
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
        moment = self._moment(reading.moment)
        sampling = self._sampling.get(connector.id)
        values = self._readings[connector.id].values
        for measurand, phases in reading.values.items():
            if sampling is None or not self._is_too_low(sampling, measurand, phases):
                values[measurand] = Reading(phases, moment, source)
        self._take_signed(connector, reading, source)
        if sampling is not None:
            self._heard(sampling)
        for listener in self.on_reading:
            listener(connector)
        if sampling is not None and sampling.needs_begin and REGISTER in values:
            self._keep_begin(sampling)

    def _moment(self, moment: datetime | None) -> datetime:
        """When a reading was made; never later than now.

        A program stamps by the CSMS's clock or by the machine's, which may be far apart.
        """
        clock = self.context.clock
        now = clock.now()
        if moment is None:
            return now
        age = now - moment
        for possible in (age, age - clock.offset):
            if _LATEST <= possible <= _EARLIEST:
                return now - max(possible, timedelta(0))
        raise ValueError(f"timestamp: {format_time(moment)} can't be, it is {format_time(now)}")

    @staticmethod
    def _is_too_low(sampling: Sampling, measurand: str, phases: dict[str | None, float]) -> bool:
        if measurand not in REGISTERS or not sampling.falls(measurand, phases):
            return False
        if measurand not in sampling.fallen:  # once, not with each reading that follows
            sampling.fallen.add(measurand)
            logger.warning(
                "connector %s: %s fell during a transaction: ignored until it is back", sampling.connector.id, measurand
            )
        return True

    def _take_signed(self, connector: Connector, reading: MeterReading, source: str) -> None:
        signed = reading.signed
        if signed is None:
            return
        if signed.context == ReadingContext.transaction_end and connector.id not in self._sampling:
            logger.warning("connector %s: the signed end of a transaction comes when none runs", connector.id)
        else:
            self._readings[connector.id].signed[signed.context] = (signed, source)

    def _drop_source(self, source: str) -> None:
        """A program is gone: what it said is no longer known. Transactions have its last register (TX-04)."""
        self._persist()
        for readings in self._readings.values():
            readings.drop(source)

    def register(self, connector: Connector) -> Register | None:
        """The import register as the meter has it now; None before a reading."""
        reading = self._readings[connector.id].register()
        return None if reading is None else Register(reading[0], format_time(reading[1]))

    def read_at(self, connector: Connector) -> datetime | None:
        """When the register was read last."""
        reading = self._readings[connector.id].values.get(REGISTER)
        return None if reading is None else reading.at

    def stored_register(self, connector: Connector) -> Register | None:
        """The last register that is on disk."""
        return self._registers.get(str(connector.id))

    def _persist(self) -> None:
        """One commit for all connectors; none where nothing was counted."""
        for connector in self._connectors.all:
            register, stored = self.register(connector), self.stored_register(connector)
            if register is not None and (stored is None or register.wh != stored.wh):
                self._registers.put(str(connector.id), register)
        for listener in self.on_persist:
            listener()

    def count_from(self, connector: Connector, register: int) -> None:
        """The transaction's register begins to count at this reading, Wh."""
        sampling = self._sampling.get(connector.id)
        if sampling is not None:  # else it is told when the transaction goes on
            sampling.counts_from = register

    # -- a silent meter

    def _state_changed(self, connector: Connector, _former: ConnectorState) -> None:
        """What it does now may be new to the meter: its time to speak begins anew."""
        sampling = self._sampling.get(connector.id)
        if sampling is not None:
            sampling.heard_at = self.context.clock.monotonic()

    def _heard(self, sampling: Sampling) -> None:
        sampling.heard_at = self.context.clock.monotonic()
        if sampling.is_silent:
            sampling.is_silent = False
            self._connectors.set_error(sampling.connector, "meter", None)
            self._watch(sampling)

    def _watch(self, sampling: Sampling) -> None:
        """Look again when the meter may have been silent for too long; a reading doesn't move the timer."""
        limit = self.context.settings.transactions.meter_stale_after
        if limit:
            wait = sampling.heard_at + limit - self.context.clock.monotonic()
            sampling.silence = self.context.timers.after(
                wait, "meter is silent", lambda: self._look_for_silence(sampling)
            )

    def _look_for_silence(self, sampling: Sampling) -> None:
        now = self.context.clock.monotonic()
        if sampling.connector.transaction != ChargePointStatus.charging:
            sampling.heard_at = now  # where nothing flows a meter may have nothing to say
        if now - sampling.heard_at < self.context.settings.transactions.meter_stale_after:
            self._watch(sampling)
        else:
            sampling.is_silent = True
            self._connectors.set_error(sampling.connector, "meter", _METER_IS_SILENT)

    # -- a transaction's samples

    def begin(self, connector: Connector, session_id: str, counts_from: int, *, resumed: bool = False) -> None:
        """Sample for a transaction from now on."""
        clock = self.context.clock
        kept = self._kept(session_id)
        sampling = Sampling(connector, session_id, counts_from, clock.now(), kept, clock.monotonic())
        self._sampling[connector.id] = sampling
        values = self._readings[connector.id].values
        sampling.registers = {key: dict(values[key].phases) for key in REGISTERS & values.keys()}
        if REGISTER in values and not resumed:
            self._keep_begin(sampling)
        else:
            sampling.needs_begin = not resumed
        self._watch(sampling)
        self._count_interval(sampling)
        self._arm_samples()

    def end(self, connector: Connector) -> None:
        """The transaction's last values are taken; nothing is sampled any more (MV-20)."""
        sampling = self._sampling.get(connector.id)
        if sampling is None:  # of a former process, and nobody knows yet whether it goes on
            return
        sampling.needs_begin = False
        self._keep_bound(sampling, ReadingContext.transaction_end)
        self._readings[connector.id].forget_signed()
        del self._sampling[connector.id]
        if sampling.silence is not None:
            sampling.silence.cancel()
        if sampling.is_silent:
            self._connectors.set_error(connector, "meter", None)
        self._arm_samples()

    def _count_interval(self, sampling: Sampling) -> None:
        interval = self.meter_value_sample_interval
        sampling.due = self.context.clock.monotonic() + interval if interval else None

    @on_change("MeterValueSampleInterval")
    def _sample_interval_changed(self, former: int) -> None:
        """Takes effect with the next sample, counted from the change (MV-21)."""
        if self.meter_value_sample_interval != former:
            for sampling in self._sampling.values():
                self._count_interval(sampling)
            self._arm_samples()

    def _arm_samples(self) -> None:
        """One timer for all transactions."""
        if self._next_samples is not None:
            self._next_samples.cancel()
            self._next_samples = None
        due = [sampling.due for sampling in self._sampling.values() if sampling.due is not None]
        if due:
            wait = min(due) - self.context.clock.monotonic()
            self._next_samples = self.context.timers.after(wait, "MeterValueSampleInterval", self._take_samples)

    def _take_samples(self) -> None:
        due = list(self._due_samples(self.context.clock.monotonic()))
        self._arm_samples()  # first: what fails below must not end the sampling
        for sampling in due:
            self._sample(sampling)

    def _due_samples(self, now: float) -> Iterator[Sampling]:
        """Those to sample now. They are due again a whole number of intervals after their beginning."""
        interval = self.meter_value_sample_interval
        for sampling in self._sampling.values():
            if sampling.due is not None and sampling.due < now + TOGETHER:
                missed = max(now - sampling.due, 0) // interval
                sampling.due += interval * (1 + missed)
                yield sampling

    def _sample(self, sampling: Sampling) -> None:
        """MV-02."""
        context, now = ReadingContext.sample_periodic, self.context.clock.now()
        items = self.meter_values_sampled_data or _DEFAULT  # MV-15
        self._queue(sampling.connector, self._values(sampling.connector, items, context, now, sampling.since))
        kept = self._values(sampling.connector, self.stop_txn_sampled_data, context, now, sampling.since)
        self._keep_some(sampling, context, kept)
        self._readings[sampling.connector.id].forget_signed()
        sampling.since = now

    # -- clock-aligned values

    @on_change("ClockAlignedDataInterval")
    def _aligned_interval_changed(self, _former: int) -> None:
        self._arm_aligned()

    def _arm_aligned(self) -> None:
        if self._next_aligned is not None:
            self._next_aligned.cancel()
            self._next_aligned = None
        interval = self.clock_aligned_data_interval
        if interval:
            now = self.context.clock.now()
            instant = aligned_after(now, interval)
            if instant == self._last_aligned:  # the clock was set back a little
                instant = aligned_after(instant, interval)
            wait = min((instant - now).total_seconds(), LOOK_AT_CLOCK)
            self._next_aligned = self.context.timers.after(
                wait, "ClockAlignedDataInterval", lambda: self._look_at_clock(instant)
            )

    def _look_at_clock(self, instant: datetime) -> None:
        passed = self.context.clock.now() - instant
        if passed >= timedelta(0):
            self._last_aligned = instant
        self._arm_aligned()  # first: what fails below must not end the sampling
        if timedelta(0) <= passed <= TOO_LATE:
            self._align(instant)

    def _align(self, instant: datetime) -> None:
        """MV-03, MV-04: also without a transaction; connector 0 where there is a main meter."""
        context = ReadingContext.sample_clock
        items = self.meter_values_aligned_data or _DEFAULT
        began = aligned_before(instant, self.clock_aligned_data_interval)
        for connector in (self._connectors.charge_point, *self._connectors.all):
            sampling = self._sampling.get(connector.id)
            if sampling is None:
                self._queue(connector, self._values(connector, items, context, instant, began))
            else:
                since = max(began, min(sampling.began, instant))  # a part of the interval counts only its part (MV-05)
                self._queue(connector, self._values(connector, items, context, instant, since))
                kept = self._values(connector, self.stop_txn_aligned_data, context, instant, since)
                self._keep_some(sampling, context, kept)

    # -- what a sample is

    @on_trigger("MeterValues")
    def trigger_meter_values(self, connector_id: int | None) -> bool:
        """The latest values of one connector, or of all that have some (MV-12)."""
        if connector_id is None:
            asked = [self._connectors.charge_point, *self._connectors.all]
        elif connector_id == 0 or connector_id in self._connectors:
            asked = [self._connectors[connector_id]]
        else:
            return False
        messages = [message for connector in asked if (message := self.meter_values(connector)) is not None]
        for message in messages:
            self.context.csms.send(message, triggered=True)
        return bool(messages)

    def meter_values(self, connector: Connector) -> call.MeterValues | None:
        """The latest values with the context Trigger; None where there are none."""
        sampled = self._sampled(connector, self.meter_values_sampled_data or _DEFAULT, ReadingContext.trigger)
        if not sampled:
            return None
        sampling = self._sampling.get(connector.id)
        transaction_id = None if sampling is None else self.transaction_id(sampling.session_id)
        return call.MeterValues(connector.id, [meter_value(self.context.clock.now(), sampled)], transaction_id)

    def _sampled(self, connector: Connector, items: Iterable[str], context: ReadingContext) -> list[SampledValue]:
        readings = self._readings[connector.id]
        sampling = self._sampling.get(connector.id)
        sampled = readings.sample(items, context, counts_from=0 if sampling is None else sampling.counts_from)
        if sampling is not None and REGISTER in items:
            is_of_transaction = context != ReadingContext.sample_clock
            sampled += readings.sample_signed(context, with_own_context=is_of_transaction)
        return sampled

    def _values(
        self, connector: Connector, items: Iterable[str], context: ReadingContext, moment: datetime, began: datetime
    ) -> Sample:
        return divided(moment, began, self._sampled(connector, items, context))

    def _queue(self, connector: Connector, values: Sample) -> None:
        """Send them; the transaction's id is filled in when it is known (MV-06, TX-28)."""
        if values:
            sampling = self._sampling.get(connector.id)
            about = "" if sampling is None else sampling.session_id
            self.context.csms.send_durable(TRANSACTION_QUEUE, call.MeterValues(connector.id, values), about=about)

    # -- StopTransaction.transactionData

    def _kept(self, session_id: str) -> DiskQueue[Sample]:
        """The samples kept for StopTransaction, oldest first, on disk only."""
        return self.context.store.queue("transaction_data/" + session_id, Sample)

    def transaction_data(self, session_id: str) -> list[MeterValue] | None:
        """For StopTransaction.transactionData; None where nothing was configured (MV-09)."""
        return [value for _, sample in self._kept(session_id) for value in sample] or None

    def forget(self, session_id: str) -> None:
        """StopTransaction is queued, with all its data."""
        self._kept(session_id).clear()

    def _keep_begin(self, sampling: Sampling) -> None:
        sampling.needs_begin = False
        self._keep_bound(sampling, ReadingContext.transaction_begin)

    def _keep_bound(self, sampling: Sampling, context: ReadingContext) -> None:
        """All that is configured has a value at the beginning and at the end (MV-10)."""
        items = dict.fromkeys((*self.stop_txn_sampled_data, *self.stop_txn_aligned_data))
        values = self._values(sampling.connector, items, context, self.context.clock.now(), sampling.since)
        if values:
            sampling.kept.append(values)

    def _keep_some(self, sampling: Sampling, context: ReadingContext, values: Sample) -> None:
        """Keep a sample between the two, unless there are too many; the rest is spread evenly then (MV-11)."""
        if not values:
            return
        sampling.taken[context] += 1
        if self._is_full(sampling, values) and _thin(sampling.kept):
            sampling.keeps_each *= 2
        if sampling.taken[context] % sampling.keeps_each == 0 and not self._is_full(sampling, values):
            sampling.kept.append(values)

    def _is_full(self, sampling: Sampling, values: Sample) -> bool:
        """Whether there is room for ``values`` and the end."""
        return (len(sampling.kept) + 2) * len(values) > self.stop_transaction_max_meter_values


def _thin(kept: DiskQueue[Sample]) -> bool:
    """Drop the 1st, 3rd, 5th … of each kind between begin and end (MV-11); False where there is nothing to drop."""
    seen: Counter[str] = Counter()
    dropped = 0
    for sequence, sample in list(kept):
        contexts = [sampled["context"] for value in sample for sampled in value["sampledValue"]]
        if _NEVER_DROPPED.isdisjoint(contexts):
            seen[contexts[0]] += 1
            if seen[contexts[0]] % 2:
                kept.remove(sequence)
                dropped += 1
    return dropped > 0


def aligned_after(moment: datetime, interval: int) -> datetime:
    """The next multiple of ``interval`` s since midnight UTC; a length that doesn't divide the day restarts there."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = (moment - midnight) // timedelta(seconds=interval)
    return min(midnight + timedelta(seconds=interval) * (passed + 1), midnight + _DAY)


def aligned_before(moment: datetime, interval: int) -> datetime:
    """The last multiple of ``interval`` s since midnight UTC that is earlier than ``moment``."""
    earlier = moment - timedelta(microseconds=1)
    midnight = earlier.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(seconds=interval) * ((earlier - midnight) // timedelta(seconds=interval))
