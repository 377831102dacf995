"""`ocpp16-bridge simulate`: the simulated EVSE against the configured broker, to try a CSMS without hardware."""

# ruff: noqa: T201 - a command prints

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt

from ocpp16_bridge.cli.broker import BrokerError, connected
from ocpp16_bridge.configuration_file import ConfigurationError, load_settings
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.simulator.connection import last_will, listen, publisher, subscribe
from ocpp16_bridge.simulator.evse import Evse
from ocpp16_bridge.simulator.pace import Pace
from ocpp16_bridge.simulator.sessions import daemon_online, play_sessions
from ocpp16_bridge.simulator.simulator import Simulator

EXIT_FAILURE = 1
METER_EVERY = 1.0  # s of real time
RETAINED_WITHIN = 1.0  # s in which the broker hands out what it keeps


@dataclass(frozen=True)
class Play:
    """What is asked for."""

    connector_id: int
    sessions: int | None  # None: until interrupted
    speed: float
    id_tag: str
    with_fault: bool


def simulate(config: Path, play: Play) -> int:
    """Play sessions at the configured connector; the exit status: 1 if one of them did not go through."""
    try:
        settings = load_settings(config, os.environ)
        if not 1 <= play.connector_id <= len(settings.connectors):
            print(f"there is no connector {play.connector_id}, only 1 to {len(settings.connectors)}", file=sys.stderr)
            return EXIT_FAILURE
        return asyncio.run(_simulate(settings, play))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except BrokerError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILURE


async def _simulate(settings: Settings, play: Play) -> int:
    async with connected(settings.mqtt, last_will(settings.mqtt.base_topic)) as client:
        simulator = _simulator(settings, play, client)
        await subscribe(client, simulator)
        try:
            failed = await _first(listen(client, simulator), simulator.run(), _play(simulator, play), _interruption())
        finally:
            if simulator.has_begun:
                await simulator.end()
                _say("the connector is free; good bye")
    return EXIT_FAILURE if failed else 0


async def _interruption() -> int:
    """Wait for a signal; being interrupted is no failure."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, interrupted.set)
    await interrupted.wait()
    return 0


async def _first(*works: Coroutine[Any, Any, int]) -> int:
    """What the first one that ends comes to; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()


def _simulator(settings: Settings, play: Play, client: aiomqtt.Client) -> Simulator:
    connector = settings.connectors[play.connector_id - 1]
    return Simulator(
        Evse(connector.phases, connector.max_current, connector.lock),
        play.connector_id,
        settings.mqtt.base_topic,
        publisher(client),
        pace=Pace(play.speed),
        new_id=lambda: str(uuid.uuid4()),
        say=_say,
        meter_every=METER_EVERY * play.speed,
    )


async def _play(simulator: Simulator, play: Play) -> int:
    """How many sessions did not go through."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RETAINED_WITHIN):
            await simulator.until_at_last(lambda: simulator.is_daemon_online)
    await daemon_online(simulator, _say)
    if simulator.is_other_online:
        _say(
            "warning: hardware/state is online: another program plays the hardware, and we shall contradict each other"
        )
    await simulator.begin()
    return await play_sessions(simulator, play.id_tag, _say, count=play.sessions, with_fault=play.with_fault)


def _say(text: str) -> None:
    print(text, flush=True)
