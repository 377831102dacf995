"""The references answer as the daemon does, and stay small enough to be read. No test here depends on a time."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.benchmarks import calls, reference
from tests.benchmarks.stage import Member, Run, Stage

REFERENCES = ["S", "T", "O"]
FILES = sorted(Path(reference.__file__).parent.glob("*.py"))


async def answers(name: str) -> tuple[int, list[str]]:
    """What a reference does with each input: the commands it answered, and its frames to the CSMS."""
    run = Run(frozenset(), "daemon", rounds=1, burst=1, memory_commands=0, idle_seconds=0, settle=0)
    async with Stage.built(run) as stage:
        member = await stage.start(name)
        commands = await member.commands.burst(3, in_flight=2)
        return len(commands), [frame for _, frame in await frames(stage, member)]


async def frames(stage: Stage, member: Member) -> list[tuple[float, str]]:
    watcher = await calls.Watcher.of(stage.port, member.base, "Some")
    arrived = watcher.expect("7")
    change = await member.station.call("ChangeConfiguration", '{"key":"Some","value":"7"}')
    await asyncio.wait_for(arrived, 5)
    profile = await member.station.call("SetChargingProfile", calls.charging_profile(16))
    return [change, profile, await member.station.call("GetConfiguration", "{}")]


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_answers_commands_and_calls(name: str) -> None:
    commands, texts = asyncio.run(answers(name))

    change, profile, configuration = (json.loads(text) for text in texts)
    assert commands == 3
    assert change[2] == profile[2] == {"status": "Accepted"}
    assert len(configuration[2]["configurationKey"]) == calls.KEYS + 1
    assert {"key": "Some", "readonly": False, "value": "7"} in configuration[2]["configurationKey"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_reference_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 150
