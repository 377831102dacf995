"""Security profile and AuthorizationKey: obligations 9.1 and 9.2."""

import base64
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.csms.connection import ConnectFailure
from tests.conftest import MakeStation
from tests.station import Station

KEY = "a secret of ours"
HEX_KEY = "4F43415F4F4354545F61646D696E5F74657374"


def header(station: Station) -> bytes:
    """User name and password of the next upgrade request, or nothing."""
    headers = dict(station.charge_point.security.target().headers)
    return base64.b64decode(headers["Authorization"].removeprefix("Basic ")) if headers else b""


def raise_profile(station: Station, profile: int | str) -> str:
    return str(station.csms_calls("ChangeConfiguration", key="SecurityProfile", value=str(profile))["status"])


def profile(station: Station) -> Any:
    return station.ask("get_configuration_key", keys=["SecurityProfile"])["configuration_keys"][0]["value"]


def events(station: Station) -> list[str]:
    """The security events shown since the last look."""
    return [event["type"] for event in station.published("security_event")]


def registered(station: Station) -> Station:
    station.advance(20)
    station.register()
    station.published()
    return station


@pytest.fixture
def secured(make_station: MakeStation) -> Station:
    """In profile 1."""
    return registered(make_station(f'security_profile = 1\nauthorization_key = "{KEY}"\n'))


# -- AuthorizationKey


@pytest.mark.parametrize(
    ("key", "password"),
    [
        pytest.param(HEX_KEY, b"OCA_OCTT_admin_test", id="TC_073: hexadecimal"),
        pytest.param(HEX_KEY.lower(), b"OCA_OCTT_admin_test", id="lower case"),
        pytest.param("ff" * 20, b"\xff" * 20, id="any bytes"),
        pytest.param("OCTT_admin_test_1", b"OCTT_admin_test_1", id="TC_085: text"),
        pytest.param("0123456789abcdef", b"0123456789abcdef", id="16 digits are text"),
        pytest.param("eight888", b"eight888", id="shortest text"),
        pytest.param("ü" * 20, ("ü" * 20).encode(), id="longest text, in characters"),
    ],
)
@pytest.mark.parametrize("way", ["csms", "file"])
def test_password_is_what_the_key_stands_for(make_station: MakeStation, key: str, password: bytes, way: str) -> None:
    """SE-10, SE-11, SE-15; TC_073_CS, TC_085_CS; trap 24."""
    if way == "file":
        station = make_station(f'security_profile = 1\nauthorization_key = "{key}"\n')
    else:
        station = registered(make_station(f'security_profile = 1\nauthorization_key = "{KEY}"\n'))
        assert station.csms_calls("ChangeConfiguration", key="AuthorizationKey", value=key) == {"status": "Accepted"}

    assert header(station) == b"CP001:" + password


def test_new_key_is_answered_before_the_link_is_made_anew(secured: Station) -> None:
    """SE-12; TC_073_CS: twice."""
    for key in ("a second secret", "a third secret"):
        secured.advance(1)
        secured.csms_calls("ChangeConfiguration", key="AuthorizationKey", value=key)

        assert secured.line.events[-2:] == ["send", "redial 1000 new AuthorizationKey"]
        assert header(secured) == b"CP001:" + key.encode()
        assert events(secured) == ["ReconfigurationOfSecurityParameters"]
        secured.disconnect()
        secured.connect()


def test_key_set_by_a_local_program_has_the_same_effect(secured: Station) -> None:
    secured.ask("set_configuration_key", key="AuthorizationKey", value="a second secret")

    assert secured.line.events[-1] == "redial 1000 new AuthorizationKey"


def test_new_key_survives_the_process(secured: Station) -> None:
    """SE-14."""
    secured.csms_calls("ChangeConfiguration", key="AuthorizationKey", value="a second secret")

    secured.kill()

    assert header(secured) == b"CP001:a second secret"


def test_rejected_key_leaves_the_old_one(secured: Station) -> None:
    """SE-12."""
    answer = secured.csms_calls("ChangeConfiguration", key="AuthorizationKey", value="short")

    assert answer == {"status": "Rejected"}
    assert header(secured) == b"CP001:" + KEY.encode()
    assert "redial" not in repr(secured.line.events)


def test_in_profile_0_the_key_is_only_stored(station: Station) -> None:
    """SE-14."""
    registered(station).csms_calls("ChangeConfiguration", key="AuthorizationKey", value=KEY)

    assert header(station) == b""
    assert "redial" not in repr(station.line.events)


def test_while_stopped_a_new_key_does_not_dial(secured: Station) -> None:
    secured.ask("stop")

    secured.ask("set_configuration_key", key="AuthorizationKey", value="a second secret")

    assert secured.line.events[-1] == "close 1000 stopped"


# -- refused by the CSMS


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_one_event_an_outage(secured: Station, status: int) -> None:
    """TR-08, 9.5: not sent, as it is not critical."""
    for _ in range(2):
        secured.disconnect()
        secured.published()
        for _ in range(5):
            secured.refuse(ConnectFailure(f"HTTP {status}: refused", status, kind="http"))
            secured.advance(10)
        assert events(secured) == ["FailedToAuthenticateAtCentralSystem"]
        secured.connect()
        assert [frame[2] for frame in secured.sent()] == []


@pytest.mark.parametrize("failure", [ConnectFailure("HTTP 404", 404, kind="http"), ConnectFailure("no network")])
def test_other_failures_are_no_security_event(secured: Station, failure: ConnectFailure) -> None:
    secured.disconnect()
    secured.published()

    secured.refuse(failure)

    assert events(secured) == []


# -- SecurityProfile


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key, for either side."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, private_key = folder / "certificate.pem", folder / "certificate.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=SN-1", "-keyout", private_key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, private_key


MakeSettings = Callable[..., str]


@pytest.fixture
def csms_settings(certificates: tuple[Path, Path]) -> MakeSettings:
    def make(*, key: bool = False, ca: bool = False, client: bool = False, **more: object) -> str:
        values: dict[str, object] = dict(more)
        certificate, private_key = certificates
        if key:
            values["authorization_key"] = KEY
        if ca:
            values["ca_file"] = certificate
        if client:
            values |= {"client_certificate": certificate, "client_key": private_key}
        return "".join(
            f"{name} = {value if isinstance(value, int) else repr(str(value))}\n" for name, value in values.items()
        )

    return make


@pytest.mark.parametrize(
    ("given", "new", "status"),
    [
        pytest.param({"key": True}, 0, "Rejected", id="SE-02: equal"),
        pytest.param({"key": True, "security_profile": 1}, 1, "Rejected", id="SE-02: equal, 1"),
        pytest.param({"key": True, "security_profile": 1}, 0, "Rejected", id="SE-02: lower (TC_084)"),
        pytest.param({}, 1, "Rejected", id="SE-03: no key"),
        pytest.param({"ca": True}, 2, "Rejected", id="SE-03: no key, 2"),
        pytest.param({"key": True}, 2, "Rejected", id="SE-04: no root certificate"),
        pytest.param({"client": True}, 3, "Rejected", id="SE-04: no root certificate, 3"),
        pytest.param({"ca": True}, 3, "Rejected", id="SE-05: no certificate of ours"),
        pytest.param({"key": True, "ca_file": "/nonexistent"}, 2, "Rejected", id="SE-04: no valid root certificate"),
        pytest.param({"key": True, "ca": True, "client": True}, 4, "Rejected", id="SE-08: there is no 4"),
        pytest.param({"key": True, "ca": True, "client": True}, "x", "Rejected", id="SE-08: no number"),
        pytest.param({"key": True}, 1, "Accepted", id="SE-06: 1"),
        pytest.param({"key": True, "ca": True}, 2, "Accepted", id="SE-06: 2 (TC_083)"),
        pytest.param({"key": True, "ca": True, "security_profile": 1}, 2, "Accepted", id="SE-06: from 1 to 2"),
        pytest.param({"ca": True, "client": True}, 3, "Accepted", id="SE-06: 3, which needs no key"),
    ],
)
def test_profile_is_raised_where_all_it_needs_is_there(
    make_station: MakeStation, csms_settings: MakeSettings, given: dict[str, Any], new: int | str, status: str
) -> None:
    """SE-02 … SE-06, SE-08; TC_083_CS, TC_084_CS."""
    station = registered(make_station(csms_settings(**given)))
    before = profile(station)

    assert raise_profile(station, new) == status

    assert profile(station) == (str(new) if status == "Accepted" else before)
    assert ("redial" in repr(station.line.events)) is (status == "Accepted")


@pytest.mark.parametrize(
    ("new", "url", "with_key", "with_tls"),
    [
        pytest.param(1, "ws://csms.example/ocpp/CP001", True, False, id="1"),
        pytest.param(2, "wss://csms.example/ocpp/CP001", True, True, id="2"),
        pytest.param(3, "wss://csms.example/ocpp/CP001", False, True, id="3"),
    ],
)
def test_raised_profile_is_dialled_after_the_answer(
    make_station: MakeStation, csms_settings: MakeSettings, new: int, url: str, *, with_key: bool, with_tls: bool
) -> None:
    """SE-06, SE-08, SE-25; 9.1."""
    station = registered(make_station(csms_settings(key=True, ca=True, client=True)))

    raise_profile(station, new)

    assert station.line.events[-2:] == ["send", f"redial 1000 security profile {new}"]
    target = station.charge_point.security.target()
    assert (target.url, bool(target.headers), target.ssl is not None) == (url, with_key, with_tls)
    assert station.shown("connection")["security_profile"] == new
    assert station.shown("connection")["csms_url"] == url.removesuffix("/CP001")
    assert station.shown("info")["csms_url"] == url.removesuffix("/CP001")
    assert events(station) == ["ReconfigurationOfSecurityParameters"]


def test_identity_with_a_colon_has_no_profile_with_a_password(
    make_station: MakeStation, csms_settings: MakeSettings
) -> None:
    """TR-04."""
    station = make_station(csms_settings(key=True))
    own = station.settings.charge_point.model_copy(update={"id": "CP:001"})
    station.settings = station.settings.model_copy(update={"charge_point": own})
    station.kill()
    station.connect_broker()

    assert raise_profile(registered(station), 1) == "Rejected"


@pytest.fixture
def raised(make_station: MakeStation, csms_settings: MakeSettings) -> Station:
    """Just raised from 0 to 2, and not connected since."""
    station = registered(make_station(csms_settings(key=True, ca=True)))
    station.ask("monitor_configuration_keys", keys=["SecurityProfile"])
    assert raise_profile(station, 2) == "Accepted"
    station.disconnect()
    return station


def fallbacks(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in caplog.records if "is used again" in r.getMessage()]


def test_profile_that_does_not_connect_in_time_is_given_up(raised: Station, caplog: pytest.LogCaptureFixture) -> None:
    """SE-07."""
    raised.advance(29)
    assert profile(raised) == "2"

    raised.advance(1)

    assert profile(raised) == "0"
    assert raised.line.events[-1] == "redial 1000 security profile 0"
    assert raised.charge_point.security.target().url == "ws://csms.example/ocpp/CP001"
    assert fallbacks(caplog) == [(logging.ERROR, "no connection with security profile 2: profile 0 is used again")]
    assert raised.shown("configuration_key/SecurityProfile")["value"] == "0"
    assert raised.shown("connection")["security_profile"] == 0
    raised.connect()
    raised.advance(1000)
    assert len(fallbacks(caplog)) == 1


def test_profile_that_connects_is_kept(raised: Station, caplog: pytest.LogCaptureFixture) -> None:
    """SE-06, SE-07; TR-46: without BootNotification."""
    raised.sent()
    raised.advance(20)
    raised.connect()
    assert raised.sent("BootNotification") == []

    raised.disconnect()
    raised.advance(1000)

    assert (profile(raised), fallbacks(caplog)) == ("2", [])


def test_fallback_holds_over_a_new_process(raised: Station, caplog: pytest.LogCaptureFixture) -> None:
    """SE-07: the new process tries the new profile, and then the former one."""
    raised.advance(20)
    raised.kill()
    raised.connect_broker()
    assert raised.charge_point.security.target().url.startswith("wss:")

    raised.advance(30)

    assert (profile(raised), len(fallbacks(caplog))) == ("0", 1)
    raised.kill()
    raised.connect_broker()
    assert profile(raised) == "0"


def test_kept_profile_is_kept_over_a_new_process(raised: Station, caplog: pytest.LogCaptureFixture) -> None:
    raised.connect()
    raised.kill()
    raised.connect_broker()

    raised.advance(100)

    assert (profile(raised), fallbacks(caplog)) == ("2", [])


def test_time_limit_stands_still_while_stopped(raised: Station, caplog: pytest.LogCaptureFixture) -> None:
    """SE-07: a profile that was not tried is not given up."""
    raised.ask("stop")
    raised.advance(100)
    assert profile(raised) == "2"
    raised.ask("restart")
    raised.advance(29)
    assert fallbacks(caplog) == []

    raised.advance(1)

    assert profile(raised) == "0"


def test_queued_messages_survive_the_new_profile(raised: Station) -> None:
    """SE-06."""
    raised.ask("security_event", type="TamperDetectionActivated")
    raised.sent()

    raised.connect()

    assert [frame[2] for frame in raised.sent()] == ["SecurityEventNotification"]


def test_first_value_of_the_profile_is_overruled_by_the_store(
    make_station: MakeStation, csms_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 5."""
    station = registered(make_station(csms_settings(key=True, ca=True, security_profile=1)))
    raise_profile(station, 2)

    station.kill()

    assert "csms.security_profile is overruled by the store, which has '2'" in caplog.text
    assert station.charge_point.security.target().url.startswith("wss:")


def test_key_of_the_file_that_is_overruled_is_not_shown(secured: Station, caplog: pytest.LogCaptureFixture) -> None:
    """SE-13."""
    secured.csms_calls("ChangeConfiguration", key="AuthorizationKey", value="a second secret")

    secured.kill()

    assert "csms.authorization_key is overruled by the store, which has another value" in caplog.text
    assert [text for text in (KEY, "a second secret") if text in caplog.text] == []
