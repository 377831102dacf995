"""TLS towards the CSMS and towards the broker, with certificates made for the test."""

import shutil
from pathlib import Path

import pytest

from tests.broker import Broker, free_port
from tests.end_to_end.certificates import Authority, server_context
from tests.end_to_end.daemon import Daemon, eventually
from tests.end_to_end.site import IMPATIENT, Site, await_topic
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import ScriptedCsms

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt install openssl")

KEY = "00112233445566778899aabbccddeeff"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.mark.parametrize("profile", [2, 3], ids=["profile 2: password", "profile 3: certificate"])
def test_a_csms_with_tls_is_connected(
    tmp_path: Path, broker: Broker, program: LocalProgram, authority: Authority, profile: int
) -> None:
    own = authority.client("CP001")
    asked_for = authority.certificate if profile == 3 else None
    secret = {
        2: {"authorization_key": KEY},
        3: {"client_certificate": str(own.certificate), "client_key": str(own.key)},
    }
    with ScriptedCsms(ssl_context=server_context(authority.server(), asked_for)) as csms:
        settings = {"url": csms.url, "security_profile": profile, "ca_file": str(authority.certificate)}
        sections = {"csms": {**settings, **secret[profile], **IMPATIENT}, "mqtt": {"port": broker.port}}
        with Daemon(tmp_path / "daemon", sections) as daemon:
            daemon.start()
            site = Site(broker, csms, program, daemon)
            site.await_registration()

            assert site.works()
            assert ("authorization" in csms.connections[0].headers) == (profile == 2)


def test_a_csms_whose_certificate_is_of_somebody_else_is_not_connected(
    tmp_path: Path, broker: Broker, program: LocalProgram, authority: Authority
) -> None:
    stranger = Authority(tmp_path / "stranger")
    with ScriptedCsms(ssl_context=server_context(stranger.server())) as csms:
        settings = {"url": csms.url, "security_profile": 2, "authorization_key": KEY}
        sections = {
            "csms": {**settings, "ca_file": str(authority.certificate), **IMPATIENT},
            "mqtt": {"port": broker.port},
        }
        with Daemon(tmp_path / "daemon", sections) as daemon:
            daemon.start()

            eventually(lambda: "check csms.ca_file" in daemon.log, "the reason with its remedy")
            await_topic(program, "state", "online")
            assert (csms.attempts, daemon.running) == ([], True)


def test_a_broker_with_tls_is_served(tmp_path: Path, authority: Authority, csms: ScriptedCsms) -> None:
    port = free_port()
    lines = ("certfile {folder}/server.pem", "keyfile {folder}/server.key")
    broker = Broker(f"listener {port} 127.0.0.1", *lines)
    issued = authority.server()
    shutil.copy(issued.certificate, broker.folder / "server.pem")
    shutil.copy(issued.key, broker.folder / "server.key")
    (broker.folder / "server.key").chmod(0o644)  # for the user mosquitto
    tls = {"port": port, "tls": True, "ca_file": str(authority.certificate)}
    sections = {"csms": {"url": csms.url, **IMPATIENT}, "mqtt": tls}
    with broker, LocalProgram(broker.port) as program, Daemon(tmp_path / "daemon", sections) as daemon:
        program.subscribe("ocpp16/#")
        daemon.start()
        site = Site(broker, csms, program, daemon)
        site.await_registration()
        site.await_topic("state", "online")

        assert site.works()
