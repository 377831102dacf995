"""`ocpp16-bridge schedule`: the composite schedules of all connectors as a table and a small plot (contract 5)."""

# ruff: noqa: T201 - a command prints

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt

from ocpp16_bridge.cli.broker import BrokerError, connected
from ocpp16_bridge.settings import ConfigurationError, MqttSettings, load_settings
from ocpp16_bridge.timestamps import parse_time

EXIT_FAILURE = 1
RETAINED_WITHIN = 2.0  # s in which the broker hands out what it keeps
WIDTH = 60  # characters of a plot
_BARS = "▁▂▃▄▅▆▇█"


def schedule(config: Path) -> int:
    """Print what is retained on `charging_schedules`; the exit status."""
    try:
        settings = load_settings(config, os.environ).mqtt
        state, schedules = asyncio.run(_retained(settings))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except BrokerError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILURE
    if schedules is None:
        print(f"nothing is retained on {settings.base_topic}/charging_schedules: has the daemon run?", file=sys.stderr)
        return EXIT_FAILURE
    if state != "online":
        print(
            f"{settings.base_topic}/state is {state or 'not there'}: this is what the daemon said last", file=sys.stderr
        )
    print("\n\n".join(text_of(schedules)))
    return 0


async def _retained(settings: MqttSettings) -> tuple[str, dict[str, Any] | None]:
    """The daemon's state and its schedules; None where there are none."""
    heard: dict[str, bytes] = {}
    async with connected(settings) as client:
        wanted = [f"{settings.base_topic}/{name}" for name in ("state", "charging_schedules")]
        for topic in wanted:
            await client.subscribe(topic, 1)
        try:
            async with asyncio.timeout(RETAINED_WITHIN):
                await _hear(client, wanted, heard)
        except TimeoutError:
            pass
    state, schedules = (heard.get(topic, b"") for topic in wanted)
    return state.decode(errors="replace"), json.loads(schedules) if schedules else None


async def _hear(client: aiomqtt.Client, wanted: list[str], heard: dict[str, bytes]) -> None:
    async for message in client.messages:
        heard[str(message.topic)] = bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else b""
        if len(heard) == len(wanted):
            return


def text_of(schedules: dict[str, Any]) -> Iterator[str]:
    """One block of text for each connector, 0 first."""
    highest = max(period["limit"] for one in schedules.values() for period in one["chargingSchedulePeriod"])
    for connector in sorted(schedules, key=int):
        yield "\n".join(_block(connector, schedules[connector], highest))


def _block(connector: str, one: dict[str, Any], highest: float) -> Iterator[str]:
    unit, duration, periods = one["chargingRateUnit"], one["duration"], one["chargingSchedulePeriod"]
    start = parse_time(one["startSchedule"])
    name = "whole charge point" if connector == "0" else f"connector {connector}"
    yield f"{name}, {duration} s from {start:%Y-%m-%d %H:%M:%S} UTC"
    yield f"  {'from':8}  {'seconds':>8}  {'limit':>10}  phases"
    ends = [period["startPeriod"] for period in periods[1:]] + [duration]
    for period, end in zip(periods, ends, strict=True):
        begins = start + timedelta(seconds=period["startPeriod"])
        limit = f"{period['limit']:g} {unit}"
        phases = period.get("numberPhases", "")
        yield f"  {begins:%H:%M:%S}  {end - period['startPeriod']:>8}  {limit:>10}  {phases}"
    yield "  " + _plot(periods, duration, highest) + f"  0 … {highest:g} {unit}"


def _plot(periods: list[dict[str, Any]], duration: int, highest: float) -> str:
    """One character for each slice of time: the least limit in it, a blank for 0."""
    return "".join(
        _bar(_least(periods, duration * n // WIDTH, duration * (n + 1) // WIDTH), highest) for n in range(WIDTH)
    )


def _least(periods: list[dict[str, Any]], begins: int, ends: int) -> float:
    starts = [period["startPeriod"] for period in periods[1:]]
    return min(
        float(period["limit"])
        for period, until in zip(periods, [*starts, float("inf")], strict=True)
        if period["startPeriod"] < max(ends, begins + 1) and until > begins
    )


def _bar(limit: float, highest: float) -> str:
    if limit <= 0 or highest <= 0:
        return " "
    return _BARS[min(int(limit / highest * len(_BARS)), len(_BARS) - 1)]
