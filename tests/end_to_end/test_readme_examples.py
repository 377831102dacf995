"""The two controllers that README shows, run as they stand there: they carry a whole session."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker import Broker
from tests.end_to_end.charge_point import ID_TAG
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE, REPOSITORY, eventually
from tests.end_to_end.site import Site
from tests.scripted_csms import Call

README = (REPOSITORY / "README.md").read_text()


def example(name: str) -> str:
    """The fenced block after the comment with this name."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


@contextmanager
def running(broker: Broker, *command: str) -> Iterator[Path]:
    """An example as a process group of its own; the group ends with the block, without a word on stderr before."""
    environment = {"PATH": os.environ["PATH"], "PORT": str(broker.port), "PYTHONWARNINGS": "error"}
    log = broker.folder / "example"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
    assert "Error" not in log.read_text(), log.read_text()


def await_call(site: Site, action: str, **members: object) -> Call:
    return site.csms.wait_for_call(action, lambda payload: members.items() <= payload.items(), PATIENCE)


def await_energy(site: Site) -> None:
    site.program.wait_for(
        "ocpp16/connector/1/transaction",
        lambda message: bool(message.json and message.json["energy_wh"] > 0),
        PATIENCE,
    )


def test_the_controller_in_python_carries_a_session(make_site: MakeSite, broker: Broker, tmp_path: Path) -> None:
    script = tmp_path / "controller.py"
    script.write_text(example("controller.py"))
    site = make_site()

    with running(broker, sys.executable, str(script), str(broker.port)) as log:
        await_call(site, "StatusNotification", connectorId=1, status="Preparing")
        assert site.program.request("present_id_tag", id_tag=ID_TAG)["data"]["action"] == "start"
        start = await_call(site, "StartTransaction", connectorId=1, idTag=ID_TAG)
        await_call(site, "StatusNotification", connectorId=1, status="Charging")
        await_energy(site)
        eventually(lambda: "contactor closed" in log.read_text(), "the contactor closes")
        assert site.program.request("present_id_tag", id_tag=ID_TAG)["data"]["action"] == "stop"
        stop = await_call(site, "StopTransaction", reason="Local")
        eventually(lambda: log.read_text().endswith("contactor open\n"), "the contactor opens")

    assert start.payload["meterStart"] == 100_000
    assert stop.payload["meterStop"] > start.payload["meterStart"]
    await_call(site, "StatusNotification", connectorId=1, status="Faulted")  # by the last will


def test_the_controller_in_python_is_short() -> None:
    assert len(example("controller.py").splitlines()) <= 35


def test_the_controller_in_shell_carries_a_session(make_site: MakeSite, broker: Broker, tmp_path: Path) -> None:
    script = tmp_path / "controller.sh"
    script.write_text(example("controller.sh"))
    site = make_site()

    with running(broker, "sh", str(script)):
        start = await_call(site, "StartTransaction", connectorId=1, idTag=ID_TAG, meterStart=100_000)
        await_call(site, "StatusNotification", connectorId=1, status="Charging")
        site.program.publish(
            "ocpp16/hardware/connector/1/meter", {"Energy.Active.Import.Register": 100_250}, retain=True
        )
        await_energy(site)
        assert site.program.request("present_id_tag", id_tag=ID_TAG)["data"]["action"] == "stop"
        await_call(site, "StopTransaction", reason="Local", meterStop=100_250)
        await_call(site, "StatusNotification", connectorId=1, status="Finishing")

    assert start.payload["meterStart"] == 100_000
