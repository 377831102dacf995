"""No secret leaves the daemon but on its way to the CSMS (contract 2; SE-13)."""

import base64
import json
from pathlib import Path

from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE
from tests.end_to_end.site import Site
from tests.scripted_csms import Connection

OLD = "00112233445566778899aabbccddeeff"
NEW = "ffeeddccbbaa99887766554433221100ff"
PASSWORD = "correcthorse"


def forms(key: str) -> set[bytes]:
    """How an authorization key could show."""
    password = bytes.fromhex(key)
    header = base64.b64encode(b"CP001:" + password)
    shown = repr(password)[2:-1].encode()
    return {key.encode(), key.upper().encode(), password, base64.b64encode(password), header, shown}


def authorization(connection: Connection) -> str:
    return connection.headers["authorization"]


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(b"CP001:" + bytes.fromhex(key)).decode()


def talkative(make_site: MakeSite, message_log: Path) -> Site:
    """A charge point with security profile 1 that says all it may say."""
    return make_site(
        csms={"security_profile": 1, "authorization_key": OLD},
        logging={"level": "debug", "publish_ocpp_messages": True, "message_log": str(message_log)},
    )


def test_the_authorization_key_is_nowhere_to_be_seen(make_site: MakeSite, tmp_path: Path) -> None:
    message_log = tmp_path / "messages"
    site = talkative(make_site, message_log)
    site.program.request("set_log_level", level="debug")

    # Refused for their shape, not for the key: error texts are no place for it either.
    for misshapen in ({"now": True}, {"key": "authorizationkey", "value": NEW * 20}, {"value": [NEW]}):
        payload = {"key": "AuthorizationKey", "value": NEW, **misshapen}
        site.csms.send_raw(json.dumps([2, "misshapen", "ChangeConfiguration", payload]))
        site.csms.wait_for_frame(lambda frame: frame[:2] == [4, "misshapen"])
    assert site.csms.call("ChangeConfiguration", {"key": "AuthorizationKey", "value": NEW}) == {"status": "Accepted"}
    connection = site.csms.wait_for_connection(2, PATIENCE)
    site.csms.call("GetConfiguration", {})
    site.csms.refuse_with = (401, {})
    site.csms.abort_connection()
    site.csms.wait_for_attempts(4, PATIENCE)
    site.csms.refuse_with = None
    site.csms.wait_for_connection(3, PATIENCE)
    assert site.csms.call("GetConfiguration", {"key": ["AuthorizationKey"]})["configurationKey"]
    assert site.program.request("get_configuration_key", keys=["AuthorizationKey"])["data"]["configuration_keys"] == []
    site.program.request("get_configuration_key")

    assert [authorization(site.csms.connections[0]), authorization(connection)] == [basic(OLD), basic(NEW)]
    traffic = [message.topic.encode() + message.payload for message in site.program.messages()]
    answers = json.dumps([frame for frame in site.csms.frames if frame[0] != 2]).encode()
    written = [site.daemon.log.encode(), message_log.read_bytes(), answers, *traffic]
    secrets = forms(OLD) | forms(NEW)
    assert [(secret, text) for text in written for secret in secrets if secret in text] == []
    assert b"***" in message_log.read_bytes()
    assert site.program.messages("ocpp16/event/ocpp_message")


def test_credentials_in_the_url_are_removed_where_it_is_shown(make_site: MakeSite) -> None:
    site = make_site()
    site.daemon.terminate()
    assert site.daemon.wait() == 0
    url = site.csms.url.replace("ws://", f"ws://somebody:{PASSWORD}@")
    text = site.daemon.configuration.read_text()
    site.daemon.configuration.write_text(text.replace(site.csms.url, url))

    site.daemon.start()
    site.await_registration()

    shown = [message.text for message in site.program.messages()]
    assert not [text for text in (*shown, site.daemon.log) if PASSWORD in text]
