"""S, the straight line: aiomqtt, websockets and json as their own documentation shows them, without validation."""

import argparse
import asyncio
import importlib
import itertools
import json
import socket
from pathlib import Path
from typing import Any

import aiomqtt
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

BOOT = {"chargePointVendor": "Example", "chargePointModel": "Model 1"}
SIXTY_KEYS: list[dict[str, Any]] = [
    {"key": f"ConfigurationKey{n:02}", "readonly": False, "value": str(n)} for n in range(60)
]
OCPP_16 = [Subprotocol("ocpp1.6")]
# Not aiomqtt's default, but without it every reply waits 44 ms for a delayed acknowledgement: too easy to beat.
NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


def options() -> argparse.Namespace:
    """The command line, the same for every reference."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mqtt-port", type=int, required=True)
    parser.add_argument("--csms", required=True, help="URL with the identity as its last segment")
    parser.add_argument("--base", required=True, help="base topic")
    parser.add_argument("--keys", type=Path, help="file with the configurationKey list to answer")
    parser.add_argument("--import", dest="modules", default="", help="modules to import before the start")
    arguments = parser.parse_args()
    for module in filter(None, arguments.modules.split(",")):
        importlib.import_module(module)
    return arguments


def configuration_keys(file: Path | None) -> dict[str, dict[str, Any]]:
    """The configuration keys by name."""
    keys = json.loads(file.read_text()) if file else SIXTY_KEYS
    return {key["key"]: key for key in keys}


class StraightLine:
    """A charge point that believes everything it reads."""

    def __init__(self, arguments: argparse.Namespace, mqtt: aiomqtt.Client, websocket: ClientConnection) -> None:
        self.base = arguments.base
        self.mqtt = mqtt
        self.websocket = websocket
        self.keys = configuration_keys(arguments.keys)
        self.unique_ids = itertools.count(1)
        self.pending: dict[str, asyncio.Future[Any]] = {}

    async def run(self) -> None:
        await self.mqtt.subscribe(f"{self.base}/request/data_transfer", qos=1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.read_websocket())
            await self.call("BootNotification", BOOT)
            tasks.create_task(self.read_mqtt())

    async def read_mqtt(self) -> None:
        async for message in self.mqtt.messages:
            await self.data_transfer(json.loads(message.payload))

    async def data_transfer(self, request: dict[str, Any]) -> None:
        data = await self.call(
            "DataTransfer",
            {"vendorId": request["vendor_id"], "messageId": request["message_id"], "data": request["data"]},
        )
        reply = {"id": request.get("id"), "status": "ok", "data": data}
        await self.publish("response/data_transfer", reply)

    async def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        await self.mqtt.publish(f"{self.base}/{topic}", json.dumps(payload), qos=1, retain=retain)

    async def call(self, action: str, payload: dict[str, Any]) -> Any:
        """Sends a CALL; returns the payload of its CALLRESULT."""
        unique_id = str(next(self.unique_ids))
        self.pending[unique_id] = asyncio.get_running_loop().create_future()
        await self.websocket.send(json.dumps([2, unique_id, action, payload]))
        return await self.pending[unique_id]

    async def read_websocket(self) -> None:
        async for text in self.websocket:
            frame = json.loads(text)
            if frame[0] == 2:
                await self.answer(*frame[1:])
            else:
                self.pending.pop(frame[1]).set_result(frame[2])

    async def answer(self, unique_id: str, action: str, payload: dict[str, Any]) -> None:
        if action == "GetConfiguration":
            result: dict[str, Any] = {"configurationKey": list(self.keys.values()), "unknownKey": []}
        else:
            result = {"status": "Accepted"}
        await self.websocket.send(json.dumps([3, unique_id, result]))
        if action == "ChangeConfiguration":
            await self.change_configuration(payload["key"], payload["value"])

    async def change_configuration(self, key: str, value: str) -> None:
        self.keys[key] = {"key": key, "readonly": False, "value": value}
        for topic in ("configuration_key", f"configuration_key/{key}"):
            await self.publish(topic, {"key": key, "value": value, "read_only": False}, retain=True)


async def main(arguments: argparse.Namespace) -> None:
    async with (
        aiomqtt.Client("127.0.0.1", arguments.mqtt_port, socket_options=NO_DELAY) as mqtt,
        connect(arguments.csms, subprotocols=OCPP_16) as websocket,
    ):
        await StraightLine(arguments, mqtt, websocket).run()


if __name__ == "__main__":
    asyncio.run(main(options()))
