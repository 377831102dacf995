"""A command line tool's connection to the broker that the configuration file names."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiomqtt
from aiomqtt import MqttCodeError, MqttError, ProtocolVersion, TLSParameters

from ocpp16_bridge.settings import MqttSettings

ANSWER_TIMEOUT = 5.0  # s


class BrokerError(Exception):
    """There is no connection to the broker, or no longer; the text says why, and what to check."""


@asynccontextmanager
async def connected(settings: MqttSettings, will: aiomqtt.Will | None = None) -> AsyncIterator[aiomqtt.Client]:
    """A clean session, its client id left to chance; MQTT 3.1.1 where MQTT 5 does not work.

    Raises:
        BrokerError: at the start, or because the connection is lost within the block.

    """
    try:
        async with AsyncExitStack() as stack:
            yield await _connect(settings, will, stack)
    except MqttError as error:
        raise BrokerError(f"the connection to {_name(settings)} was lost: {error}") from error


async def _connect(settings: MqttSettings, will: aiomqtt.Will | None, stack: AsyncExitStack) -> aiomqtt.Client:
    try:
        try:
            return await stack.enter_async_context(_client(settings, will, ProtocolVersion.V5))
        except MqttError:  # brokers that don't know MQTT 5 refuse it, hang up or are silent: not to be told apart
            return await stack.enter_async_context(_client(settings, will, ProtocolVersion.V311))
    except (MqttError, OSError, UnicodeError) as error:  # files of TLS, a host name that is none
        raise BrokerError(f"no connection to {_name(settings)}: {error} ({_remedy(error, settings)})") from error


def _client(settings: MqttSettings, will: aiomqtt.Will | None, protocol: ProtocolVersion) -> aiomqtt.Client:
    return aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username or None,
        password=settings.password.get_secret_value() or None,
        protocol=protocol,
        will=will,
        timeout=ANSWER_TIMEOUT,
        tls_params=_tls(settings) if settings.tls else None,
    )


def _tls(settings: MqttSettings) -> TLSParameters:
    def path(file: Path | None) -> str | None:
        return None if file is None else str(file)

    return TLSParameters(path(settings.ca_file), path(settings.client_certificate), path(settings.client_key))


def _name(settings: MqttSettings) -> str:
    return f"the MQTT broker at {settings.host}:{settings.port}"


def _remedy(error: Exception, settings: MqttSettings) -> str:
    if isinstance(error, MqttCodeError):
        return "check mqtt.username, mqtt.password and the broker's access list"
    if settings.tls:
        return "check mqtt.host, mqtt.port, mqtt.tls and the files of certificates; is the broker running there?"
    return "check mqtt.host, mqtt.port and mqtt.tls; is the broker running there? `systemctl status mosquitto`"
