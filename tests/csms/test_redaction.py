from typing import Any

import pytest

from ocpp16_bridge.csms.ocppj import Call, CallError, CallResult
from ocpp16_bridge.csms.redaction import redacted
from ocpp16_bridge.settings import without_credentials
from tests.conftest import MakeStation

KEY = "AuthorizationKey"


@pytest.mark.parametrize("key", [KEY, "authorizationkey", "AUTHORIZATIONKEY", " AuthorizationKey\t"])
def test_a_new_authorization_key_is_not_shown(key: str) -> None:
    """SE-13; trap 24."""
    frame = redacted(Call("1", "ChangeConfiguration", {"key": key, "value": "secret"}))

    assert frame == [2, "1", "ChangeConfiguration", {"key": key, "value": "***"}]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Call("1", "changeConfiguration", {"key": KEY, "value": "secret"}), id="unknown action"),
        pytest.param(Call("1", "ChangeConfiguration", {"Key": KEY, "Value": "secret"}), id="unknown fields"),
        pytest.param(Call("1", "ChangeConfiguration", {"key": KEY, "value": ["secret"]}), id="wrong type"),
        pytest.param(Call("1", "X", {"a": [{"b": {"key": KEY, "value": "secret"}}]}), id="nested"),
        pytest.param(CallResult("1", {"configurationKey": [{"key": KEY, "value": "secret"}]}), id="CALLRESULT"),
        pytest.param(CallError("1", "GenericError", "", {"key": KEY, "value": "secret"}), id="details of a CALLERROR"),
    ],
)
def test_no_frame_shows_the_authorization_key(message: Call | CallResult | CallError) -> None:
    """SE-13: frames that are to be refused are shown, too."""
    assert "secret" not in str(redacted(message))


LOCATED: list[tuple[str, Any]] = [
    ("UpdateFirmware", lambda url: {"location": url, "retrieveDate": "2026-11-22T10:00:00Z"}),
    ("GetDiagnostics", lambda url: {"location": url}),
    ("GetLog", lambda url: {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": url}}),
    ("SignedUpdateFirmware", lambda url: {"requestId": 1, "firmware": {"location": url, "signature": "x"}}),
]


@pytest.mark.parametrize(("action", "payload"), LOCATED, ids=[action for action, _ in LOCATED])
def test_a_location_is_shown_without_its_credentials(action: str, payload: Any) -> None:
    """SE-13, DG-06."""
    frame = redacted(Call("1", action, payload("ftp://user:secret@files.example/x.bin")))

    assert frame == [2, "1", action, payload("ftp://***@files.example/x.bin")]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        pytest.param("ftp://u:p@ss@h/x", "ftp://***@h/x", id="@ in the password"),
        pytest.param("ftp://u:p/ss@h/x", "ftp://***@h/x", id="slash in the password"),
        pytest.param("ftp://u:p?s#s@h/x", "ftp://***@h/x", id="? and # in the password"),
        pytest.param("ftp://u:p ss@h/x", "ftp://***@h/x", id="blank in the password"),
        pytest.param("ftp://u:p\nss@h/x", "ftp://***@h/x", id="line feed in the password"),
        pytest.param("ftp://token@h/x", "ftp://***@h/x", id="user alone"),
        pytest.param("u:p@h/x", "***@h/x", id="no scheme"),
        pytest.param("https://h:8443/x?y#z", "https://h:8443/x?y#z", id="no credentials"),
        pytest.param(5, 5, id="no text"),
        pytest.param([{"location": "ftp://u:p@h"}], [{"location": "ftp://***@h"}], id="a list"),
    ],
)
def test_odd_locations_give_nothing_away(location: object, shown: object) -> None:
    assert redacted(Call("1", "GetDiagnostics", {"location": location}))[3] == {"location": shown}


@pytest.mark.parametrize(
    "message",
    [
        Call("1", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}),
        Call("1", "GetConfiguration", {"key": ["AuthorizationKey"]}),
        CallResult("1", {"configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "60"}]}),
    ],
    ids=str,
)
def test_everything_else_is_shown_as_it_is(message: Call | CallResult) -> None:
    assert redacted(message)[1:] == list(message)


def test_a_call_error_is_shown_with_all_five_elements() -> None:
    frame = redacted(CallError("1", "GenericError", "why", {"a": 1}))

    assert frame == [4, "1", "GenericError", "why", {"a": 1}]


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("ws://u:p@h:9000/ocpp", "ws://h:9000/ocpp"),
        ("ws://u:p@ss@h/ocpp", "ws://h/ocpp"),
        ("ws://h/a@b?c=d@e", "ws://h/a@b?c=d@e"),
    ],
)
def test_a_url_loses_its_user_information_and_nothing_else(url: str, bare: str) -> None:
    assert without_credentials(url) == bare


def test_the_authorization_key_is_in_no_answer_and_on_no_topic(make_station: MakeStation) -> None:
    """SE-13, RO-24; contract 2."""
    station = make_station("[logging]\npublish_ocpp_messages = true")
    station.register()

    station.csms_sends("ChangeConfiguration", key="AUTHORIZATIONKEY ", value="ABCD1234secret")
    station.csms_sends("ChangeConfiguration", key=KEY, value="ABCD1234secret")
    station.csms_sends("GetConfiguration", key=[KEY])
    station.csms_sends("GetConfiguration")

    frames = [message.payload for message in station.published() if message.topic.endswith("event/ocpp_message")]
    assert any(frame["frame"][2] == "ChangeConfiguration" for frame in frames)
    assert "ABCD1234secret" not in str(frames)
    assert "ABCD1234secret" not in str(station.sent())
