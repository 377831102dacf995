"""The connection of a simulator."""

import asyncio

import pytest

from ocpp16_bridge.simulator.connection import heed_cancellation, last_will


def test_if_it_dies_the_hardware_is_offline_for_all() -> None:
    will = last_will("base")

    assert (will.topic, will.payload, will.qos, will.retain) == ("base/hardware/state", "offline", 1, True)


def test_a_cancellation_that_was_swallowed_is_heeded() -> None:
    async def swallow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heed_cancellation()

    async def cancel() -> None:
        task = asyncio.create_task(swallow())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())


def test_without_a_cancellation_it_goes_on() -> None:
    async def go_on() -> str:
        heed_cancellation()
        return "on"

    assert asyncio.run(go_on()) == "on"
