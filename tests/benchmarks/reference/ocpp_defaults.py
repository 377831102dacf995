"""O, the straight line with the ocpp library's ChargePoint, everything at its default."""

# The ocpp library has no types: what is imported from it, its base class and its decorators are Any.
# mypy: disable-error-code="import-untyped,misc,untyped-decorator"

import argparse
import asyncio
import json
from typing import Any

import aiomqtt
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.datatypes import KeyValue
from ocpp.v16.enums import Action, ChargingProfileStatus, ConfigurationStatus
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks.reference.straight_line import NO_DELAY, OCPP_16, configuration_keys, options


class OcppDefaults(ChargePoint):
    def __init__(self, arguments: argparse.Namespace, mqtt: aiomqtt.Client, websocket: ClientConnection) -> None:
        super().__init__("O", websocket)
        self.base = arguments.base
        self.mqtt = mqtt
        self.keys = {name: KeyValue(**key) for name, key in configuration_keys(arguments.keys).items()}

    async def run(self) -> None:
        await self.mqtt.subscribe(f"{self.base}/request/data_transfer", qos=1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.start())
            await self.call(call.BootNotification(charge_point_vendor="Example", charge_point_model="Model 1"))
            tasks.create_task(self.read_mqtt())

    async def read_mqtt(self) -> None:
        async for message in self.mqtt.messages:
            await self.data_transfer(json.loads(message.payload))

    async def data_transfer(self, request: dict[str, Any]) -> None:
        result = await self.call(
            call.DataTransfer(vendor_id=request["vendor_id"], message_id=request["message_id"], data=request["data"])
        )
        data = {"status": result.status, "data": result.data}
        await self.publish("response/data_transfer", {"id": request.get("id"), "status": "ok", "data": data})

    async def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        await self.mqtt.publish(f"{self.base}/{topic}", json.dumps(payload), qos=1, retain=retain)

    @on(Action.get_configuration)
    def get_configuration(self, **_: Any) -> call_result.GetConfiguration:
        return call_result.GetConfiguration(configuration_key=list(self.keys.values()), unknown_key=[])

    @on(Action.set_charging_profile)
    def set_charging_profile(self, **_: Any) -> call_result.SetChargingProfile:
        return call_result.SetChargingProfile(status=ChargingProfileStatus.accepted)

    @on(Action.change_configuration)
    def change_configuration(self, key: str, value: str) -> call_result.ChangeConfiguration:
        self.keys[key] = KeyValue(key=key, readonly=False, value=value)
        return call_result.ChangeConfiguration(status=ConfigurationStatus.accepted)

    @after(Action.change_configuration)
    async def publish_configuration_key(self, key: str, value: str) -> None:
        for topic in ("configuration_key", f"configuration_key/{key}"):
            await self.publish(topic, {"key": key, "value": value, "read_only": False}, retain=True)


async def main(arguments: argparse.Namespace) -> None:
    async with (
        aiomqtt.Client("127.0.0.1", arguments.mqtt_port, socket_options=NO_DELAY) as mqtt,
        connect(arguments.csms, subprotocols=OCPP_16) as websocket,
    ):
        await OcppDefaults(arguments, mqtt, websocket).run()


if __name__ == "__main__":
    asyncio.run(main(options()))
