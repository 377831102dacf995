"""OCTT: the local authorisation list."""

from typing import Any

import pytest

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger

LISTED = {"idTag": "TAG", "idTagInfo": {"status": "Accepted"}}


def send_list(cs: CentralSystem, kind: str, version: int, *entries: dict[str, Any]) -> dict[str, Any]:
    return cs.call("SendLocalList", listVersion=version, updateType=kind, localAuthorizationList=list(entries))


def list_version(cs: CentralSystem) -> int:
    version: int = cs.call("GetLocalListVersion")["listVersion"]
    return version


@pytest.fixture
def listed_tag(cs: CentralSystem) -> None:
    """TAG is in the list, which is consulted before the CSMS is asked."""
    cs.configure(LocalAuthListEnabled="true", LocalPreAuthorize="true", AuthorizeRemoteTxRequests="true")
    assert send_list(cs, "Full", 1, LISTED) == ACCEPTED


def expect_charging(charger: Charger, cs: CentralSystem) -> None:
    cs.expect("StartTransaction", connectorId=1, idTag="TAG")
    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")


@pytest.mark.usefixtures("listed_tag")
def test_tc_008_1_cs_regular_start_id_in_local_authorization_list(charger: Charger, cs: CentralSystem) -> None:
    """Regular Start Charging Session - Id in Local Authorization List."""
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")

    charger.present("TAG")

    expect_charging(charger, cs)


@pytest.mark.usefixtures("listed_tag")
def test_tc_008_2_cs_remote_start_id_in_local_authorization_list(charger: Charger, cs: CentralSystem) -> None:
    """Remote Start Charging Session - Id in Local Authorization List."""
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    expect_charging(charger, cs)


def test_tc_042_1_cs_get_local_list_version_not_supported(cs: CentralSystem) -> None:
    """Get Local List Version (not supported)."""
    cs.configure(LocalAuthListEnabled="false")

    assert list_version(cs) == -1


def test_tc_042_2_cs_get_local_list_version_empty(cs: CentralSystem) -> None:
    """Get Local List Version (empty)."""
    cs.configure(LocalAuthListEnabled="true")
    assert send_list(cs, "Full", 1) == ACCEPTED

    assert list_version(cs) == 0


def test_tc_043_cs_send_local_authorization_list(cs: CentralSystem) -> None:
    """Send Local Authorization List."""
    assert send_list(cs, "Full", 1, LISTED) == ACCEPTED
    assert list_version(cs) == 1

    assert send_list(cs, "Differential", 2, {"idTag": "OTHER", "idTagInfo": {"status": "Blocked"}}) == ACCEPTED

    assert list_version(cs) == 2


def test_tc_043_1_cs_send_local_authorization_list_not_supported(charger: Charger, cs: CentralSystem) -> None:
    """Send Local Authorization List - NotSupported."""
    charger.power_cut(config='[configuration_keys]\nSupportedFeatureProfiles = "Core"\n')
    cs.expect("BootNotification")
    cs.expect_statuses("Available", "Available", "Available")

    charger.on_settled = lambda: None  # the answer is no result, which the CSMS of the other cases does not expect
    charger.csms_sends("SendLocalList", listVersion=1, updateType="Full")

    (answer,) = charger.sent()
    assert (answer[0], answer[2]) == (4, "NotSupported")


def test_tc_043_2_cs_send_local_authorization_list_version_mismatch(cs: CentralSystem) -> None:
    """Send Local Authorization List - VersionMismatch."""
    assert send_list(cs, "Full", 2, LISTED) == ACCEPTED
    assert send_list(cs, "Differential", 5, {"idTag": "OTHER", "idTagInfo": {"status": "Accepted"}}) == ACCEPTED

    assert send_list(cs, "Differential", 4, {"idTag": "OTHER"}) == {"status": "VersionMismatch"}

    assert list_version(cs) == 5


def test_tc_043_3_cs_send_local_authorization_list_failed(cs: CentralSystem) -> None:
    """Send Local Authorization List - Failed."""
    assert send_list(cs, "Full", 1, LISTED) == ACCEPTED
    limit = int(cs.configuration("SendLocalListMaxLength")["value"])
    too_many = [{"idTag": f"T{number}", "idTagInfo": {"status": "Accepted"}} for number in range(limit + 1)]

    assert send_list(cs, "Full", 2, *too_many) == {"status": "Failed"}

    assert list_version(cs) == 1
