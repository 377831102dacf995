"""Whole sessions: plug, card, charge, pause, charge, card, unplug."""

import itertools
from collections.abc import Callable

from ocpp16_bridge.simulator.simulator import Simulator, SimulatorError

# Simulated seconds.
BEFORE_CARD = 5.0
CHARGE = 90.0  # before the pause and after it
PAUSE = 30.0
FAULT = 20.0
BEFORE_UNPLUGGING = 5.0
BETWEEN = 20.0
SLICE = 5.0  # after which is looked whether the transaction still runs

Say = Callable[[str], None]


async def play_sessions(
    simulator: Simulator, id_tag: str, say: Say, *, count: int | None = None, with_fault: bool = False
) -> int:
    """Play ``count`` sessions, None: for ever, one after the other; how many did not go through."""
    failed = 0
    for number in itertools.count(1):
        await daemon_online(simulator, say)
        say(f"session {number}: a car is plugged in at connector {simulator.connector_id}")
        try:
            await play_session(simulator, id_tag, say, with_fault=with_fault)
        except SimulatorError as error:
            say(f"session {number} failed: {error}; the car leaves")
            failed += 1
            await simulator.recover()
            await simulator.unplug()
        if number == count:
            return failed
        await simulator.pace.sleep(BETWEEN)
    raise AssertionError("counts for ever")  # pragma: no cover


async def daemon_online(simulator: Simulator, say: Say) -> None:
    """Wait for the daemon, however long."""
    if not simulator.is_daemon_online:
        say("the daemon is not online: waiting for it")
        await simulator.until_at_last(lambda: simulator.is_daemon_online)


async def play_session(simulator: Simulator, id_tag: str, say: Say, *, with_fault: bool = False) -> None:
    """From plugging in to the free connector.

    Raises:
        SimulatorError: it doesn't come to that; the car is still there.

    """
    await simulator.plug()
    await simulator.pace.sleep(BEFORE_CARD)
    await _start(simulator, id_tag, say)
    await _charge(simulator, say)
    say("the car makes a pause")
    await simulator.pause()
    await simulator.pace.sleep(PAUSE)
    say("the car goes on")
    await simulator.go_on()
    if with_fault:
        await _fail(simulator, say)
    await _charge(simulator, say)
    await _stop(simulator, id_tag, say)
    await simulator.pace.sleep(BEFORE_UNPLUGGING)
    say("the car is unplugged")
    await simulator.unplug()


async def _start(simulator: Simulator, id_tag: str, say: Say) -> None:
    """A card starts it, unless that has happened: remotely, by a card before, or without any."""
    if simulator.has_transaction:
        say("a transaction has begun without a card")
    else:
        say(f"the card {id_tag} is held before the reader")
        decision = await simulator.present(id_tag)
        if decision["action"] != "start":
            raise SimulatorError(f"the card does not start: {decision['status']}, action {decision['action']}")
    await simulator.until("a transaction", lambda: simulator.has_transaction)
    await simulator.until("charging_permitted true", lambda: simulator.evse.is_permitted)


async def _charge(simulator: Simulator, say: Say) -> None:
    passed = 0.0
    while simulator.has_transaction and passed < CHARGE:
        await simulator.pace.sleep(SLICE)
        passed += SLICE
    evse = simulator.evse
    say(f"it charges with {evse.power / 1000:.1f} kW; the register is {evse.register:.0f} Wh, SoC {evse.soc:.0f} %")


async def _fail(simulator: Simulator, say: Say) -> None:
    say("a fault: GroundFailure")
    await simulator.fail()
    await simulator.pace.sleep(FAULT)
    say("the fault is gone")
    await simulator.recover()


async def _stop(simulator: Simulator, id_tag: str, say: Say) -> None:
    """The card stops it, unless somebody else has."""
    if simulator.has_transaction:
        say(f"the card {id_tag} is held before the reader once more")
        decision = await simulator.present(id_tag)
        if decision["action"] != "stop":
            raise SimulatorError(f"the card does not stop: {decision['status']}, action {decision['action']}")
        await simulator.until("the end of the transaction", lambda: not simulator.has_transaction)
    else:
        say("the transaction has been ended by somebody else")
    await simulator.until("charging_permitted false", lambda: not simulator.evse.is_permitted)
    await simulator.until("an unlocked cable", lambda: not simulator.evse.is_locked)
