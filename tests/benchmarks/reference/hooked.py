"""T, the straight line with aiomqtt hooked: no task per message, no wait for the broker's acknowledgement.

Messages leave aiomqtt through its public `queue_type`; what is published is written to the socket at once, with the
paho client that aiomqtt keeps to itself.
"""

import argparse
import asyncio
import json
from typing import Any

import aiomqtt
from websockets.asyncio.client import connect

from tests.benchmarks.reference.straight_line import NO_DELAY, OCPP_16, StraightLine, options


class Hooked(StraightLine):
    requests: asyncio.Queue[aiomqtt.Message]

    def hook(self) -> None:
        """Has paho's wish to write come true at once.

        aiomqtt adds the writer a loop turn later; when the packet has been written by then, nothing removes it again
        and the loop spins.
        """
        loop = asyncio.get_running_loop()
        paho = self.mqtt._client
        paho.on_socket_register_write = lambda _, __, sock: loop.add_writer(sock.fileno(), paho.loop_write)

    async def read_mqtt(self) -> None:
        while True:
            message = await self.requests.get()
            await self.data_transfer(json.loads(message.payload))

    async def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        self.mqtt._client.publish(f"{self.base}/{topic}", json.dumps(payload), qos=1, retain=retain)
        self.mqtt._client.loop_write()


async def main(arguments: argparse.Namespace) -> None:
    requests: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()

    class Hook(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            requests.put_nowait(item)

    async with (
        aiomqtt.Client("127.0.0.1", arguments.mqtt_port, socket_options=NO_DELAY, queue_type=Hook) as mqtt,
        connect(arguments.csms, subprotocols=OCPP_16) as websocket,
    ):
        hooked = Hooked(arguments, mqtt, websocket)
        hooked.requests = requests
        hooked.hook()
        await hooked.run()


if __name__ == "__main__":
    asyncio.run(main(options()))
