"""`simulate` with the real daemon and a CSMS: a session as integrators see it."""

import subprocess

import pytest

from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE, command_line
from tests.end_to_end.site import Site
from tests.scripted_csms import Payload


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(configuration_keys={"MeterValueSampleInterval": 1})


def calls(site: Site, action: str) -> list[Payload]:
    return [call.payload for call in site.csms.calls if call.action == action]


def test_simulated_sessions_reach_the_csms_whole(site: Site) -> None:
    """Two sessions with a fault in each, of 4 min each, in 4 s each."""
    options = ("--sessions", "2", "--speed", "60", "--id-tag", "TAG-1", "--fault")
    command = command_line("simulate", "--config", str(site.daemon.configuration), *options)

    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    site.csms.wait_until(lambda: calls(site, "StatusNotification")[-1]["status"] == "Available", PATIENCE)
    starts, stops = calls(site, "StartTransaction"), calls(site, "StopTransaction")
    assert [start["idTag"] for start in starts] == ["TAG-1", "TAG-1"]
    assert [(stop["transactionId"], stop["reason"], stop["idTag"]) for stop in stops] == [
        (1, "Local", "TAG-1"),
        (2, "Local", "TAG-1"),
    ]
    registers = [start["meterStart"] for start in starts] + [stop["meterStop"] for stop in stops]
    assert sorted(registers) == [registers[0], registers[2], registers[1], registers[3]]
    assert all(stop["meterStop"] - start["meterStart"] > 400 for start, stop in zip(starts, stops, strict=True))
    assert len(calls(site, "MeterValues")) >= 4
    statuses = [told["status"] for told in calls(site, "StatusNotification") if told["connectorId"] == 1]
    charged = ["Preparing", "Charging", "SuspendedEV", "Charging", "Faulted", "Charging", "Finishing", "Available"]
    assert [status for status in statuses if status != "SuspendedEVSE"] == ["Available", *charged, *charged]
