"""`ocpp16-bridge call`: send a request to the daemon, print its reply (contract 3 and 5)."""

# ruff: noqa: T201 - a command prints

import asyncio
import json
import os
import secrets
import sys
import uuid
from pathlib import Path
from typing import Any

import aiomqtt

from ocpp16_bridge.cli.broker import BrokerError, connected
from ocpp16_bridge.configuration_file import ConfigurationError, load_settings
from ocpp16_bridge.settings import MqttSettings

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_TIMEOUT = 2


def call(config: Path, name: str, arguments_json: str, timeout: float) -> int:
    """Send request ``name``, wait ``timeout`` seconds, print the reply as one line of JSON; the exit status."""
    try:
        arguments = _arguments(arguments_json)
        settings = load_settings(config, os.environ).mqtt
        return asyncio.run(_call(settings, name, arguments, timeout))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except (BrokerError, ValueError) as error:
        print(error, file=sys.stderr)
        return EXIT_ERROR


def _arguments(text: str) -> dict[str, Any]:
    """The arguments of the request.

    Raises:
        ValueError: ``text`` isn't one JSON object.

    """
    expectation = """expected one JSON object such as '{"keys":["HeartbeatInterval"]}'"""
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expectation}, but this is no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ValueError(f"{expectation}, got {text[:80]}")  # noqa: TRY004 - text of a person, not a type of ours
    return arguments


async def _call(settings: MqttSettings, name: str, arguments: dict[str, Any], timeout: float) -> int:  # noqa: ASYNC109 - s
    base = settings.base_topic
    reply_topic = f"{base}/reply/{_user(settings)}/{secrets.token_hex(8)}"
    request = {"id": str(uuid.uuid4()), **arguments, "reply_to": reply_topic}
    heard: dict[str, bytes] = {}
    async with connected(settings) as client:
        await client.subscribe([(f"{base}/state", 0), (reply_topic, 1)])
        await client.publish(f"{base}/request/{name}", json.dumps(request), qos=1)
        try:
            async with asyncio.timeout(timeout):
                await _listen(client, reply_topic, heard)
        except TimeoutError:
            state = heard.get(f"{base}/state", b"").decode(errors="replace")
            print(f"no reply within {timeout:g} s: {_presumption(state, base)}", file=sys.stderr)
            return EXIT_TIMEOUT
    reply = json.loads(heard[reply_topic])
    print(json.dumps(reply, separators=(",", ":")))
    return EXIT_OK if reply["status"] == "ok" else EXIT_ERROR


def _user(settings: MqttSettings) -> str:
    """The level of the reply topic that access lists give to a user (`pattern read BASE/reply/%u/#`)."""
    has_wildcard = set("+#") & set(settings.username)
    return "cli" if has_wildcard else settings.username or "cli"


async def _listen(client: aiomqtt.Client, reply_topic: str, heard: dict[str, bytes]) -> None:
    async for message in client.messages:
        heard[message.topic.value] = message.payload
        if reply_topic in heard:
            return


def _presumption(state: str, base: str) -> str:
    match state:
        case "online":
            return f"{base}/state is online, so the daemon is busy, or may not write to the reply topic (access list)"
        case "offline":
            return f"{base}/state is offline, so the daemon does not run; `systemctl status ocpp16-bridge` says why"
    return (
        f"nothing is known of {base}/state: is the daemon running, with this broker and mqtt.base_topic, "
        "and may we read it (access list)?"
    )
