"""A simulator's connection to the broker."""

import asyncio
import logging
from typing import Never

import aiomqtt

from ocpp16_bridge.simulator.simulator import Publish, Simulator

# aiomqtt warns of acknowledgements of what was cancelled, at each interruption: not on anybody's terminal.
logging.getLogger("mqtt").addHandler(logging.NullHandler())


def last_will(base_topic: str) -> aiomqtt.Will:
    """What the broker says if the simulator dies: without hardware the connectors are Faulted."""
    return aiomqtt.Will(f"{base_topic}/hardware/state", "offline", qos=1, retain=True)


def heed_cancellation() -> None:
    """Call it after each await of aiomqtt: before Python 3.12 its `wait_for` may swallow a cancellation.

    Raises:
        CancelledError: the task was to be cancelled.

    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def publisher(client: aiomqtt.Client) -> Publish:
    async def publish(topic: str, payload: str, *, retain: bool) -> None:
        await client.publish(topic, payload, qos=1, retain=retain)
        heed_cancellation()

    return publish


async def subscribe(client: aiomqtt.Client, simulator: Simulator) -> None:
    await client.subscribe([(topic, 1) for topic in simulator.topics])
    heed_cancellation()


async def listen(client: aiomqtt.Client, simulator: Simulator) -> Never:
    """Hand over what is heard, until cancelled.

    Raises:
        MqttError: the broker is gone.

    """
    async for message in client.messages:
        await simulator.hear(message.topic.value, message.payload)
    raise AssertionError("the messages of a client never end")
