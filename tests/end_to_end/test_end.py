"""How the daemon ends: SIGTERM, Reset, SIGHUP that ends nothing, SIGKILL and the will (contract 1, 5; operations 2)."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Prepare
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually
from tests.end_to_end.site import Site, retained
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import ScriptedCsms

WELL_UNDER_A_SECOND = 0.9  # s; some 0.1 where nobody is slow
AFTER_A_FAREWELL = WELL_UNDER_A_SECOND + 0.5  # s; so long a farewell may wait for its answer


def seconds_to_end(daemon: Daemon) -> float:
    """SIGTERM; it must be obeyed with exit status 0."""
    begun = time.monotonic()
    daemon.terminate()
    assert daemon.wait() == 0, daemon.log
    return time.monotonic() - begun


def test_sigterm_ends_the_daemon_with_status_0_well_within_a_second(site: Site) -> None:
    assert seconds_to_end(site.daemon) < WELL_UNDER_A_SECOND


def test_at_the_end_the_csms_is_told_that_the_charge_point_goes_away(site: Site) -> None:
    """TR-12."""
    seconds_to_end(site.daemon)

    site.csms.wait_until(lambda: site.csms.connections[0].closed_at is not None)
    assert site.csms.connections[0].close_code == 1001


def test_at_the_end_the_link_is_shown_as_lost_before_the_daemon_is_shown_as_offline(site: Site) -> None:
    site.program.clear()

    seconds_to_end(site.daemon)

    site.await_topic("state", "offline")
    heard = [(message.topic, message.text) for message in site.program.messages()]
    assert heard.index(("ocpp16/is_connected", "false")) < heard.index(("ocpp16/state", "offline")) == len(heard) - 1
    shown = retained(site.program)
    assert (shown["is_connected"], shown["connection"]["connected"], shown["state"]) == (False, False, "offline")


def test_sigterm_counts_while_the_csms_lets_the_upgrade_wait(
    csms: ScriptedCsms, program: LocalProgram, prepare: Prepare
) -> None:
    csms.hang_upgrade = True
    daemon = prepare()
    daemon.start()
    csms.wait_for_attempts(1, PATIENCE)

    assert seconds_to_end(daemon) < WELL_UNDER_A_SECOND
    assert retained(program)["state"] == "offline"


def test_sigterm_counts_while_the_broker_is_away(site: Site) -> None:
    site.broker.kill()
    eventually(
        lambda: "no connection to the MQTT broker" in site.daemon.log, "the daemon knows that the broker is gone"
    )

    assert seconds_to_end(site.daemon) < WELL_UNDER_A_SECOND


def test_sigterm_counts_while_the_broker_hears_nothing(site: Site) -> None:
    assert site.broker._process is not None
    site.broker._process.send_signal(signal.SIGSTOP)

    assert seconds_to_end(site.daemon) < AFTER_A_FAREWELL


def test_sigterm_counts_while_the_csms_hears_nothing(site: Site) -> None:
    site.csms.freeze_connection()

    assert seconds_to_end(site.daemon) < AFTER_A_FAREWELL


def test_a_request_that_waits_for_the_csms_is_answered_before_the_daemon_ends(site: Site) -> None:
    site.csms.answers["DataTransfer"] = ScriptedCsms.SILENT
    site.program.publish("ocpp16/request/data_transfer", {"id": 1, "vendor_id": "Example"})
    site.csms.wait_for_call("DataTransfer")

    assert seconds_to_end(site.daemon) < WELL_UNDER_A_SECOND

    reply = site.program.wait_for("ocpp16/response/data_transfer").json
    assert (reply["id"], reply["error"]["code"]) == (1, "timeout")


@pytest.fixture
def dead_name_server(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A command that starts another one where every name server is silent."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a process another resolv.conf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.53.77", 53))
        except OSError as error:
            pytest.skip(f"no name server can be played here: {error}")
        resolver = tmp_path / "resolv.conf"
        resolver.write_text("nameserver 127.0.53.77\noptions timeout:20 attempts:1\n")
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        yield "unshare", "--mount", "sh", "-c", mount, str(resolver)


@pytest.mark.parametrize("section", ["csms", "mqtt"])
def test_sigterm_counts_while_a_name_server_is_silent(
    prepare: Prepare, dead_name_server: tuple[str, ...], section: str
) -> None:
    setting = {"csms": {"url": "ws://csms.invalid/ocpp"}, "mqtt": {"host": "broker.invalid"}}[section]
    daemon = prepare(wrapper=dead_name_server, **{section: setting})
    daemon.start()
    eventually(lambda: threads(daemon) > 1, "a thread asks the name server")

    assert seconds_to_end(daemon) < WELL_UNDER_A_SECOND


def threads(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/task").iterdir())) if "charge point CP001" in daemon.log else 0


def test_sigint_ends_the_daemon_as_sigterm_does(site: Site) -> None:
    site.daemon.signal(signal.SIGINT)

    assert site.daemon.wait() == 0


def test_sighup_reads_the_log_level_again_and_ends_nothing(site: Site) -> None:
    text = site.daemon.configuration.read_text()
    site.daemon.configuration.write_text(text + '[logging]\nlevel = "debug"\n')

    site.daemon.signal(signal.SIGHUP)

    eventually(lambda: "the log level is read again" in site.daemon.log, "the file is read again")
    site.program.request("no_such_command")
    eventually(lambda: " DEBUG " in site.daemon.log, "the new level holds")
    assert site.works()


def test_sighup_with_a_bad_file_says_so_and_ends_nothing(site: Site) -> None:
    text = site.daemon.configuration.read_text()
    site.daemon.configuration.write_text(text + '[logging]\nlevel = "loud"\n')

    site.daemon.signal(signal.SIGHUP)

    eventually(lambda: "logging.level" in site.daemon.log, "the problem is named")
    assert site.works()


@pytest.mark.parametrize("kind", ["Hard", "Soft"])
def test_reset_is_answered_and_announced_and_ends_the_daemon_with_status_0(site: Site, kind: str) -> None:
    assert site.csms.call("Reset", {"type": kind}) == {"status": "Accepted"}

    assert site.daemon.wait() == 0
    assert site.program.wait_for("ocpp16/event/reset").json == {"type": kind}
    site.csms.wait_until(lambda: site.csms.connections[0].closed_at is not None)
    assert site.csms.connections[0].close_code == 1001
    assert retained(site.program)["state"] == "offline"


def test_when_the_daemon_is_killed_the_broker_says_so(site: Site) -> None:
    site.daemon.kill()

    site.await_topic("state", "offline")
    assert retained(site.program)["state"] == "offline"


def test_after_a_kill_the_next_daemon_puts_everything_right(site: Site) -> None:
    site.daemon.kill()
    site.await_topic("state", "offline")

    site.daemon.start()

    site.await_topic("is_connected", value=False)  # what the killed one left behind does not stay
    site.await_topic("state", "online")
    site.await_registration()
    assert site.works()
    assert retained(site.program)["is_connected"] is True


def test_a_late_will_of_an_old_connection_is_put_right(site: Site) -> None:
    site.program.publish("ocpp16/state", b"offline", retain=True)

    site.await_topic("state", "online")
    assert retained(site.program)["state"] == "online"
