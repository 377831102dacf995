"""OCTT: the authorisation cache, and id tags that the CSMS refuses."""

import pytest

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger


@pytest.fixture(autouse=True)
def known_tag(cs: CentralSystem) -> None:
    """TAG is in the cache, which is consulted before the CSMS is asked."""
    cs.configure(AuthorizationCacheEnabled="true", LocalPreAuthorize="true", AuthorizeRemoteTxRequests="true")
    cs.know("TAG")


def plug(charger: Charger, cs: CentralSystem) -> None:
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")


def expect_charging(charger: Charger, cs: CentralSystem) -> None:
    cs.expect("StartTransaction", connectorId=1, idTag="TAG")
    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")


def test_tc_007_1_cs_regular_start_cached_id(charger: Charger, cs: CentralSystem) -> None:
    """Regular Start Charging Session - Cached Id."""
    plug(charger, cs)

    charger.present("TAG")

    expect_charging(charger, cs)


def test_tc_007_2_cs_remote_start_cached_id(charger: Charger, cs: CentralSystem) -> None:
    """Remote Start Charging Session - Cached Id."""
    plug(charger, cs)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    expect_charging(charger, cs)


def test_tc_061_1_cs_clear_authorization_data_local(charger: Charger, cs: CentralSystem) -> None:
    """Clear Authorization Data in Authorization Cache - Local."""
    assert cs.call("ClearCache") == ACCEPTED
    plug(charger, cs)

    charger.present("TAG")

    cs.expect("Authorize", idTag="TAG")
    expect_charging(charger, cs)


def test_tc_061_2_cs_clear_authorization_data_remote(charger: Charger, cs: CentralSystem) -> None:
    """Clear Authorization Data in Authorization Cache - Remote."""
    assert cs.call("ClearCache") == ACCEPTED
    plug(charger, cs)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    cs.expect("Authorize", idTag="TAG")
    expect_charging(charger, cs)


def test_tc_023_4_cs_start_local_charging_session_authorize_invalid(charger: Charger, cs: CentralSystem) -> None:
    """Start local Charging Session - Authorize invalid."""
    cs.id_tags["BAD"] = {"status": "Invalid"}

    charger.present("BAD")
    cs.expect("Authorize", idTag="BAD")
    cs.expect_nothing()

    plug(charger, cs)
    charger.advance(10)
    assert charger.shown("connector/1/charging_permitted") is False


def test_tc_023_5_cs_start_remote_charging_session_authorize_invalid(charger: Charger, cs: CentralSystem) -> None:
    """Start remote Charging Session - Authorize invalid."""
    cs.id_tags["BAD"] = {"status": "Invalid"}
    plug(charger, cs)

    assert cs.call("RemoteStartTransaction", idTag="BAD", connectorId=1) == ACCEPTED

    cs.expect("Authorize", idTag="BAD")
    charger.advance(10)
    assert charger.shown("connector/1/charging_permitted") is False
