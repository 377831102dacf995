"""The small CSMS, with the test in the place of the charge point."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ocpp16_bridge.demo.csms import Csms
from ocpp16_bridge.demo.happenings import DemoError, Happening, Link, OcppMessage


class ChargePoint:
    """A websocket to a CSMS, and what happened to that."""

    def __init__(self, csms: Csms, socket: ClientConnection, happened: list[Happening]) -> None:
        self.csms = csms
        self.socket = socket
        self.happened = happened

    async def call(self, action: str, payload: dict[str, Any], message_id: str = "1") -> list[Any]:
        await self.socket.send(json.dumps([2, message_id, action, payload]))
        return await self.receive()

    async def receive(self) -> list[Any]:
        frame: list[Any] = json.loads(await self.socket.recv())
        return frame


@asynccontextmanager
async def charge_point() -> AsyncIterator[ChargePoint]:
    happened: list[Happening] = []
    async with (
        asyncio.timeout(5),
        Csms(happened.append) as csms,
        connect(f"{csms.url}/CP001", subprotocols=[Subprotocol("ocpp1.6")]) as socket,
    ):
        assert socket.subprotocol == "ocpp1.6"
        yield ChargePoint(csms, socket, happened)


async def answered(frame: list[Any]) -> tuple[object, list[Happening]]:
    """What the CSMS makes of an answer to its Reset, and what happened."""
    async with charge_point() as one:
        call = asyncio.create_task(one.csms.call("Reset", type="Soft"))
        _, message_id, action, payload = await one.receive()
        assert (action, payload) == ("Reset", {"type": "Soft"})
        await one.socket.send(json.dumps([frame[0], message_id, *frame[1:]]))
        (result,) = await asyncio.gather(call, return_exceptions=True)
        return result, one.happened


@pytest.mark.parametrize(
    ("action", "member"),
    [
        ("BootNotification", "interval"),
        ("Heartbeat", "currentTime"),
        ("DataTransfer", "status"),
        ("Authorize", "idTagInfo"),
        ("StopTransaction", "idTagInfo"),
    ],
)
def test_it_answers(action: str, member: str) -> None:
    async def converse() -> None:
        async with charge_point() as one:
            kind, message_id, payload = await one.call(action, {})

            assert (kind, message_id) == (3, "1")
            assert member in payload
            assert one.happened[1:] == [
                OcppMessage("charge point", action, {}),
                OcppMessage("CSMS", f"{action}.conf", payload),
            ]

    asyncio.run(converse())


def test_transactions_are_counted_and_one_that_is_sent_again_keeps_its_id() -> None:
    async def converse() -> None:
        async with charge_point() as one:
            ids = [
                (await one.call("StartTransaction", {}, message_id))[2]["transactionId"]
                for message_id in ("a", "b", "a")
            ]

            assert ids == [1, 2, 1]

    asyncio.run(converse())


def test_it_goes_away_and_comes_back_where_it_was() -> None:
    async def converse() -> None:
        async with charge_point() as one:
            url = one.csms.url

            await one.csms.leave()

            with pytest.raises(ConnectionClosed):
                await one.receive()
            with pytest.raises(OSError, match="Connect call failed"):
                await connect(url)
            await one.csms.come_back()
            async with connect(url, subprotocols=[Subprotocol("ocpp1.6")]) as socket:
                assert one.csms.url == url
                assert socket.subprotocol == "ocpp1.6"

    asyncio.run(converse())


def test_what_it_does_not_know_is_not_implemented() -> None:
    async def converse() -> None:
        async with charge_point() as one:
            answer = await one.call("SignCertificate", {})

            assert answer[:3] == [4, "1", "NotImplemented"]

    asyncio.run(converse())


def test_an_answer_is_handed_on() -> None:
    result, happened = asyncio.run(answered([3, {"status": "Accepted"}]))

    assert result == {"status": "Accepted"}
    assert OcppMessage("charge point", "Reset.conf", {"status": "Accepted"}) in happened


def test_a_callerror_is_an_error() -> None:
    result, happened = asyncio.run(answered([4, "InternalError", "oh", {}]))

    assert isinstance(result, DemoError)
    assert str(result) == "the charge point refused Reset: InternalError oh"
    assert OcppMessage("charge point", "Reset.error", ["InternalError", "oh"]) in happened


def test_a_call_without_a_charge_point_is_an_error() -> None:
    async def call() -> None:
        async with Csms(lambda _: None) as csms:
            await csms.call("Reset", type="Soft")

    with pytest.raises(DemoError, match="the charge point is not connected"):
        asyncio.run(call())


def test_the_end_of_the_connection_is_told_with_its_code() -> None:
    async def leave() -> list[Happening]:
        async with charge_point() as one:
            await one.socket.close(1000)
        return one.happened

    assert asyncio.run(leave()) == [Link(is_open=True), Link(is_open=False, close_code=1000)]
