"""The story that the demo tells, step by step; each step is checked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ocpp.v16.enums import (
    Action,
    ChargePointStatus,
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingProfileStatus,
    ChargingRateUnitType,
    ConfigurationStatus,
    DataTransferStatus,
    Reason,
    ResetStatus,
    ResetType,
)

from ocpp16_bridge.demo.books import Books
from ocpp16_bridge.demo.happenings import DaemonEnded, DemoError, Happenings, Link, MqttMessage, OcppMessage
from ocpp16_bridge.simulator.simulator import SimulatorError
from ocpp16_bridge.timestamps import parse_time

STEP_WITHIN = 10.0  # s

KEY = "HeartbeatInterval"
NEW_VALUE = "60"  # s
LIMIT = 10  # A

ID_TAG = "DE-EXAMPLE-1"
SOME_ENERGY = 20  # Wh

# What the books must show of the sessions: statuses and messages, in the order in which they happened.
SESSIONS = (
    ChargePointStatus.preparing,
    Action.start_transaction,
    ChargePointStatus.charging,
    Action.meter_values,
    ChargePointStatus.suspended_ev,
    ChargePointStatus.charging,
    Action.stop_transaction,
    ChargePointStatus.finishing,
    ChargePointStatus.available,
    ChargePointStatus.faulted,
    ChargePointStatus.available,
    Action.start_transaction,
    Action.stop_transaction,
)


class Csms(Protocol):
    books: Books

    async def call(self, action: str, **payload: Any) -> dict[str, Any]: ...
    async def leave(self) -> None: ...
    async def come_back(self) -> None: ...


class LocalProgram(Protocol):
    async def subscribe(self) -> None: ...
    async def request(self, command: str, **arguments: Any) -> Any: ...


class Evse(Protocol):
    async def plug(self) -> None: ...
    async def unplug(self) -> None: ...
    async def pause(self) -> None: ...
    async def go_on(self) -> None: ...
    async def fail(self) -> None: ...
    async def recover(self) -> None: ...
    async def present(self, id_tag: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Stage:
    """Who plays, besides the daemon."""

    csms: Csms
    program: LocalProgram
    evse: Evse
    happenings: Happenings

    async def csms_receives(self, action: str, **payload: Any) -> None:
        """Wait for a CALL of the charge point whose payload has at least these members."""

        def fits(happening: object) -> bool:
            return (
                isinstance(happening, OcppMessage)
                and (happening.sender, happening.name) == ("charge point", action)
                and payload.items() <= happening.payload.items()
            )

        which = " ".join(map(str, [action, *payload.values()]))
        await self.happenings.until(f"{which} of the charge point", fits)

    async def csms_is_told(self, status: ChargePointStatus) -> None:
        await self.csms_receives(Action.status_notification, connectorId=1, status=status)

    async def shown(self, topic: str, *, payload: Any = None) -> None:
        """Wait for a message of the daemon; without ``payload`` any will do."""

        def fits(happening: object) -> bool:
            return (
                isinstance(happening, MqttMessage)
                and happening.topic == topic
                and (payload is None or happening.payload == payload)
            )

        await self.happenings.until(topic if payload is None else f"{topic} {payload}", fits)

    async def some_energy(self) -> None:
        """Wait until the transaction has some."""

        def fits(happening: object) -> bool:
            return (
                isinstance(happening, MqttMessage)
                and happening.topic == "connector/1/transaction"
                and happening.payload is not None
                and happening.payload["energy_wh"] >= SOME_ENERGY
            )

        await self.happenings.until(f"a transaction with {SOME_ENERGY} Wh", fits)

    async def card(self, action: str) -> None:
        """Hold the card before the reader; it must do this."""
        check("what the card does", (await self.evse.present(ID_TAG))["action"], action)


@dataclass(frozen=True)
class Step:
    title: str
    act: Callable[[Stage], Awaitable[None]]


async def tell(steps: Sequence[Step], stage: Stage, say: Callable[[str], None], within: float = STEP_WITHIN) -> None:
    """Play ``steps`` one after the other.

    Raises:
        DemoError: one did not come true within ``within`` seconds; the text says which.

    """
    for number, step in enumerate(steps, start=1):
        say(f"\n{number}. {step.title}")
        stage.happenings.begin()
        try:
            async with asyncio.timeout(within):
                await step.act(stage)
        except TimeoutError:
            awaited = stage.happenings.awaited
            raise DemoError(f"step {number} is not done within {within:g} s, it waits for: {awaited}") from None
        except (DemoError, SimulatorError) as error:
            raise DemoError(f"step {number} failed: {error}") from error


def check(what: str, value: object, expected: object) -> None:
    """Raises DemoError where ``value`` is another than ``expected``."""
    if value != expected:
        raise DemoError(f"{what}: expected {expected}, got {value}")


async def _registered(stage: Stage) -> None:
    await stage.csms_receives(Action.boot_notification)
    await stage.csms_receives(Action.status_notification, connectorId=1)


async def _show_everything(stage: Stage) -> None:
    await stage.program.subscribe()
    await stage.shown("info")
    await stage.shown("boot_notification_response")
    await stage.shown("is_connected", payload=True)
    await stage.shown("state", payload="online")


async def _monitor(stage: Stage) -> None:
    await stage.program.request("monitor_configuration_keys", keys=[KEY])
    await stage.shown(f"configuration_key/{KEY}")


async def _change(stage: Stage, key: str, value: str) -> None:
    answer = await stage.csms.call(Action.change_configuration, key=key, value=value)
    check("the answer to ChangeConfiguration", answer, {"status": ConfigurationStatus.accepted})


async def _change_configuration(stage: Stage) -> None:
    await _change(stage, KEY, NEW_VALUE)
    changed = {"key": KEY, "read_only": False, "value": NEW_VALUE}
    await stage.shown("configuration_key", payload=changed)
    await stage.shown(f"configuration_key/{KEY}", payload=changed)


async def _transfer_up(stage: Stage) -> None:
    answer = await stage.program.request("data_transfer", vendor_id="com.example", message_id="greet", data="hello")
    check("the reply to data_transfer", answer.get("status"), DataTransferStatus.accepted)


async def _transfer_down(stage: Stage) -> None:
    answer = await stage.csms.call(Action.data_transfer, vendorId="com.example", messageId="greet", data="hello")
    check("the answer to DataTransfer", answer.get("status"), DataTransferStatus.accepted)
    await stage.shown("hardware/response/data_transfer")


async def _stop(stage: Stage) -> None:
    check("the reply to stop", await stage.program.request("stop"), expected=True)
    await stage.shown("is_connected", payload=False)
    await stage.happenings.until("the end of the websocket", lambda it: isinstance(it, Link) and not it.is_open)


async def _restart(stage: Stage) -> None:
    check("the reply to restart", await stage.program.request("restart"), expected=True)
    await _registered(stage)
    await stage.shown("is_connected", payload=True)
    await stage.shown(f"configuration_key/{KEY}")  # which BootNotification.conf has set


async def _reset(stage: Stage) -> None:
    answer = await stage.csms.call(Action.reset, type=ResetType.soft)
    check("the answer to Reset", answer, {"status": ResetStatus.accepted})
    await stage.shown("event/reset", payload={"type": ResetType.soft})
    await stage.happenings.until("the end of the daemon, exit status 0", lambda it: it == DaemonEnded(0))
    stage.happenings.begin()
    await _registered(stage)
    await stage.shown("state", payload="online")
    await stage.shown(f"configuration_key/{KEY}")  # monitored still


async def _sample_often(stage: Stage) -> None:
    await _change(stage, "MeterValueSampleInterval", "1")


async def _plug(stage: Stage) -> None:
    await stage.evse.plug()
    await stage.csms_is_told(ChargePointStatus.preparing)


async def _start(stage: Stage) -> None:
    await stage.card("start")
    await stage.csms_receives(Action.authorize, idTag=ID_TAG)
    await stage.shown("connector/1/charging_permitted", payload=True)
    await stage.csms_receives(Action.start_transaction, connectorId=1, idTag=ID_TAG)
    await stage.csms_is_told(ChargePointStatus.charging)


async def _charge(stage: Stage) -> None:
    await stage.csms_receives(Action.meter_values, connectorId=1)
    await stage.some_energy()


async def _limit(stage: Stage) -> None:
    answer = await stage.csms.call(
        Action.set_charging_profile,
        connectorId=1,
        csChargingProfiles={
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": ChargingProfilePurposeType.tx_profile,
            "chargingProfileKind": ChargingProfileKindType.relative,
            "chargingSchedule": {
                "chargingRateUnit": ChargingRateUnitType.amps,
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": LIMIT}],
            },
        },
    )
    check("the answer to SetChargingProfile", answer, {"status": ChargingProfileStatus.accepted})
    await stage.happenings.until(f"a limit of {LIMIT} A", _is_limited)
    await stage.csms_receives(Action.meter_values, connectorId=1)


def _is_limited(happening: object) -> bool:
    return (
        isinstance(happening, MqttMessage)
        and happening.topic == "connector/1/limit"
        and happening.payload["limit"] == LIMIT
    )


async def _pause(stage: Stage) -> None:
    await stage.evse.pause()
    await stage.csms_is_told(ChargePointStatus.suspended_ev)
    await stage.evse.go_on()
    await stage.csms_is_told(ChargePointStatus.charging)


async def _stop_by_card(stage: Stage) -> None:
    await stage.card("stop")
    await stage.shown("connector/1/charging_permitted", payload=False)
    await stage.csms_is_told(ChargePointStatus.finishing)
    await stage.csms_receives(Action.stop_transaction, idTag=ID_TAG, reason=Reason.local)


async def _unplug(stage: Stage) -> None:
    await stage.evse.unplug()
    await stage.csms_is_told(ChargePointStatus.available)


async def _fault(stage: Stage) -> None:
    await stage.evse.fail()
    await stage.csms_is_told(ChargePointStatus.faulted)
    await stage.evse.recover()
    await stage.csms_is_told(ChargePointStatus.available)


async def _lose_the_csms(stage: Stage) -> None:
    await stage.csms.leave()
    await stage.shown("is_connected", payload=False)


async def _charge_offline(stage: Stage) -> None:
    await stage.evse.plug()
    await stage.card("start")
    await stage.shown("connector/1/charging_permitted", payload=True)
    await stage.some_energy()
    await stage.card("stop")
    await stage.shown("connector/1/charging_permitted", payload=False)
    await stage.happenings.until("the end of the transaction", _is_ended)
    await stage.evse.unplug()


def _is_ended(happening: object) -> bool:
    return (
        isinstance(happening, MqttMessage)
        and happening.topic == "event/transaction"
        and happening.payload["event"] == "ended"
    )


async def _find_the_csms(stage: Stage) -> None:
    await stage.csms.come_back()
    await stage.happenings.until("the websocket", lambda it: it == Link(is_open=True))
    reconnected_at = datetime.now(UTC)
    await stage.csms_receives(Action.start_transaction, idTag=ID_TAG)
    await stage.csms_receives(Action.stop_transaction, idTag=ID_TAG)
    for entry in list(stage.csms.books.transactions().values())[-1]:
        happened_before = parse_time(entry.timestamp) < reconnected_at
        check(f"{entry.action} of {entry.timestamp} happened before the CSMS was back", happened_before, expected=True)


async def _audit(stage: Stage) -> None:
    problems = stage.csms.books.problems(SESSIONS)
    if problems:
        raise DemoError("\n".join(problems))


async def _sample_rarely(stage: Stage) -> None:
    await _change(stage, "MeterValueSampleInterval", "10")


STORY = (
    Step("The daemon starts, finds the CSMS and registers with it.", _registered),
    Step("A local program subscribes. What is retained tells it at once how things stand.", _show_everything),
    Step(f"It wants to know when {KEY} changes.", _monitor),
    Step(f"The CSMS changes {KEY}: two topics show it.", _change_configuration),
    Step("The local program sends something to the CSMS.", _transfer_up),
    Step("The CSMS sends something to the local program, which answers.", _transfer_down),
    Step("The local program stops OCPP: the websocket is closed, the daemon goes on.", _stop),
    Step("It starts OCPP again: the charge point registers anew.", _restart),
    Step("The CSMS resets the charge point: the daemon ends, and is started again as systemd would.", _reset),
    Step("The CSMS wants meter values every second.", _sample_often),
    Step("A car is plugged in.", _plug),
    Step("A card is held before the reader: the transaction begins, the cable is locked, current may flow.", _start),
    Step("The car charges: the register rises, the CSMS has meter values.", _charge),
    Step(f"The CSMS limits this transaction to {LIMIT} A: the EVSE is told at once.", _limit),
    Step("The car makes a pause and goes on.", _pause),
    Step("The same card ends the transaction.", _stop_by_card),
    Step("The car is unplugged: the connector is free.", _unplug),
    Step("The EVSE has a fault, which goes away.", _fault),
    Step("The CSMS goes away.", _lose_the_csms),
    Step("A card that is known may charge nevertheless: a whole session without a CSMS.", _charge_offline),
    Step("The CSMS is back: it hears of all that, each at its own time.", _find_the_csms),
    Step("The CSMS looks through its books: both sessions are complete, their ids, times and registers right.", _audit),
    Step("The CSMS is content with meter values every ten seconds.", _sample_rarely),
)
