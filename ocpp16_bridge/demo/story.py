"""The story that the demo tells, step by step; each step is checked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ocpp.v16.enums import Action, ConfigurationStatus, DataTransferStatus, ResetStatus, ResetType

from ocpp16_bridge.demo.happenings import DaemonEnded, DemoError, Happenings, Link, MqttMessage, OcppMessage

STEP_WITHIN = 10.0  # s

KEY = "HeartbeatInterval"
NEW_VALUE = "60"  # s


class Csms(Protocol):
    async def call(self, action: str, **payload: Any) -> dict[str, Any]: ...


class LocalProgram(Protocol):
    async def subscribe(self) -> None: ...
    async def request(self, command: str, **arguments: Any) -> Any: ...


@dataclass(frozen=True)
class Stage:
    """Who plays, besides the daemon."""

    csms: Csms
    program: LocalProgram
    happenings: Happenings

    async def csms_receives(self, action: str, **payload: Any) -> None:
        """Wait for a CALL of the charge point whose payload has at least these members."""

        def fits(happening: object) -> bool:
            return (
                isinstance(happening, OcppMessage)
                and (happening.sender, happening.name) == ("charge point", action)
                and payload.items() <= happening.payload.items()
            )

        await self.happenings.until(f"{action} of the charge point", fits)

    async def shown(self, topic: str, *, payload: Any = None) -> None:
        """Wait for a message of the daemon; without ``payload`` any will do."""

        def fits(happening: object) -> bool:
            return (
                isinstance(happening, MqttMessage)
                and happening.topic == topic
                and (payload is None or happening.payload == payload)
            )

        await self.happenings.until(topic if payload is None else f"{topic} {payload}", fits)


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
        except DemoError as error:
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


async def _change_configuration(stage: Stage) -> None:
    answer = await stage.csms.call(Action.change_configuration, key=KEY, value=NEW_VALUE)
    check("the answer to ChangeConfiguration", answer, {"status": ConfigurationStatus.accepted})
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
)
