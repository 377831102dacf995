"""`ocpp16-bridge schedule`: the composite schedules of all connectors as tables and small plots (contract 5)."""

# ruff: noqa: T201 - a command prints

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiomqtt

from ocpp16_bridge.cli.broker import BrokerError, connected
from ocpp16_bridge.configuration_file import ConfigurationError, load_settings
from ocpp16_bridge.settings import MqttSettings
from ocpp16_bridge.timestamps import parse_time

EXIT_FAILURE = 1
RETAINED_WITHIN = 2.0  # s in which the broker hands out what it keeps
WIDTH = 50  # characters of a plot
_BARS = "▁▂▃▄▅▆▇█"


def schedule(config: Path, within: float = RETAINED_WITHIN) -> int:
    """Print what the broker hands out ``within`` s; the exit status: 0 only if it is valid, for the daemon runs."""
    try:
        settings = load_settings(config, os.environ).mqtt
        state, payload = asyncio.run(_retained(settings, within))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except BrokerError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILURE
    return _show(settings.base_topic, state, payload)


async def _retained(settings: MqttSettings, within: float) -> tuple[str, bytes]:
    """What the topics `state` and `charging_schedules` say; empty where nothing."""
    heard: dict[str, bytes] = {}
    topics = [f"{settings.base_topic}/{name}" for name in ("state", "charging_schedules")]
    async with connected(settings) as client:
        for topic in topics:
            await client.subscribe(topic, 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await _hear(client, topics, heard)
    state, payload = (heard.get(topic, b"") for topic in topics)
    return state.decode(errors="replace"), payload


async def _hear(client: aiomqtt.Client, topics: list[str], heard: dict[str, bytes]) -> None:
    async for message in client.messages:
        if isinstance(message.payload, bytes | bytearray):
            heard[str(message.topic)] = bytes(message.payload)
        if len(heard) == len(topics):
            return


def _show(base: str, state: str, payload: bytes) -> int:
    topic = f"{base}/charging_schedules"
    if not payload:
        print(f"nothing is retained on {topic}: has the daemon run with this broker?", file=sys.stderr)
        return EXIT_FAILURE
    try:
        text = text_of(json.loads(payload))
    except (ValueError, TypeError, KeyError, AttributeError):
        print(f"what is retained on {topic} is no set of schedules: who wrote it?", file=sys.stderr)
        return EXIT_FAILURE
    print(text)
    if state != "online":
        said = state[:20] or "not there"
        print(f"{base}/state is {said}: this is what the daemon said last, not what holds now", file=sys.stderr)
        return EXIT_FAILURE
    return 0


class _Period(NamedTuple):
    start: int  # s from the start of the window
    end: int
    limit: float
    phases: str


def text_of(schedules: dict[str, Any]) -> str:
    """One block for each connector, the whole charge point first; no line is longer than 80 characters.

    Raises:
        ValueError: what is given is no set of schedules; or a TypeError, KeyError, AttributeError.

    """
    if not schedules:
        raise ValueError("there is always that of the whole charge point")
    return "\n\n".join("\n".join(_block(connector, schedules[connector])) for connector in sorted(schedules, key=int))


def _block(connector: str, schedule: dict[str, Any]) -> Iterator[str]:
    start, unit, periods = parse_time(schedule["startSchedule"]), schedule["chargingRateUnit"], _periods(schedule)
    name = "whole charge point" if connector == "0" else f"connector {connector}"
    yield f"{name}: {schedule['duration']} s from {start:%Y-%m-%d %H:%M:%S} UTC"
    yield f"  {'from':19}  {'seconds':>8}  {'limit':>12}  phases"
    for period in periods:
        begins = start + timedelta(seconds=period.start)
        limit = f"{period.limit:.10g} {unit}"
        yield f"  {begins:%Y-%m-%d %H:%M:%S}  {period.end - period.start:>8}  {limit:>12}  {period.phases}".rstrip()
    highest = max(period.limit for period in periods)
    yield f"  |{_plot(periods, schedule['duration'], highest)}|  0 to {highest:.10g} {unit}"


def _periods(schedule: dict[str, Any]) -> list[_Period]:
    items = schedule["chargingSchedulePeriod"]
    ends = [*(item["startPeriod"] for item in items[1:]), schedule["duration"]]
    return [
        _Period(item["startPeriod"], end, item["limit"], str(item.get("numberPhases", "")))
        for item, end in zip(items, ends, strict=True)
    ]


def _plot(periods: list[_Period], duration: int, highest: float) -> str:
    """One character for each slice of the window, as high as the least limit in it; a blank for 0."""
    slices = [(duration * n // WIDTH, duration * (n + 1) // WIDTH) for n in range(WIDTH)]
    return "".join(_bar(_least(periods, start, max(end, start + 1)), highest) for start, end in slices)


def _least(periods: list[_Period], start: int, end: int) -> float:
    return min(period.limit for period in periods if period.start < end and period.end > start)


def _bar(limit: float, highest: float) -> str:
    if limit <= 0:
        return " "
    return _BARS[min(int(limit / highest * len(_BARS)), len(_BARS) - 1)]
