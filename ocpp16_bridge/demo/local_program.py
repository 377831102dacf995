"""A program on the board, such as a display: it hears all topics, sends requests, and answers those of the daemon."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any, Never

import aiomqtt
from aiomqtt import MqttError
from ocpp.v16.enums import DataTransferStatus
from paho.mqtt.subscribeoptions import SubscribeOptions

from ocpp16_bridge.demo.happenings import DemoError, Happening, MqttMessage
from ocpp16_bridge.simulator.connection import heed_cancellation, publisher

_DATA_TRANSFER = {"status": DataTransferStatus.accepted, "data": "hello, CSMS"}


class LocalProgram:
    """Speaks through ``client``, which is connected with MQTT 5, while `run` runs."""

    def __init__(self, client: aiomqtt.Client, base_topic: str, happened: Callable[[Happening], None]) -> None:
        self._client = client
        self._base = base_topic + "/"
        self._happened = happened
        self._ids = (f"demo-{number}" for number in itertools.count(1))
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}  # by the id of the request

    async def subscribe(self) -> None:
        """What is retained comes at once; what is published from now on says whether it is retained."""
        await self._client.subscribe(self._base + "#", options=SubscribeOptions(1, retainAsPublished=True))
        heed_cancellation()

    async def request(self, command: str, **arguments: Any) -> Any:
        """Carry out a command and return the `data` of its reply; `subscribe` first.

        Raises:
            DemoError: the reply is an error.

        """
        request_id = next(self._ids)
        reply = self._replies[request_id] = asyncio.get_running_loop().create_future()
        await self._publish(f"request/{command}", {"id": request_id, **arguments})
        try:
            content = await reply
        finally:
            del self._replies[request_id]
        if content["status"] != "ok":
            raise DemoError(f"{command} was refused: {content['error']}")
        return content["data"]

    async def run(self) -> Never:
        """Hear messages until cancelled.

        Raises:
            DemoError: the broker is gone.

        """
        try:
            async for message in self._client.messages:
                topic = message.topic.value.removeprefix(self._base)
                await self._heard(MqttMessage(topic, _read(message.payload), bool(message.retain)))
        except MqttError as error:
            raise DemoError(f"the connection to the broker was lost: {error}") from error
        raise AssertionError("the messages of a client never end")

    async def _heard(self, message: MqttMessage) -> None:
        self._happened(message)
        request = message.payload if isinstance(message.payload, dict) else {}
        if message.topic == "hardware/request/data_transfer":
            answer = {"id": request.get("id"), "status": "ok", "data": _DATA_TRANSFER}
            await self._publish("hardware/response/data_transfer", answer)
        elif message.topic.startswith("response/") and request.get("id") in self._replies:
            reply = self._replies[request["id"]]
            if not reply.done():
                reply.set_result(request)

    async def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        await publisher(self._client)(self._base + topic, json.dumps(payload), retain=False)


def _read(payload: bytes) -> Any:
    text = payload.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
