"""Self-description: contract 1."""

from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge import __version__
from ocpp16_bridge.features import health
from tests.conftest import MakeStation
from tests.station import Station


def test_info_says_who_this_is(make_station: MakeStation) -> None:
    station = make_station("[[connectors]]\n[[connectors]]\n")

    assert station.shown("info") == {
        "version": __version__,
        "charge_point_id": "CP001",
        "vendor": "Example",
        "model": "Model 1",
        "csms_url": "ws://csms.example/ocpp",
        "connectors": 2,
        "ocpp_version": "1.6",
        "started_at": "2026-11-22T10:00:00Z",
    }


def test_info_has_no_credentials(station: Station) -> None:
    csms = station.settings.csms.model_copy(update={"url": "wss://user:password@csms.example/ocpp"})
    station.settings = station.settings.model_copy(update={"csms": csms})
    station.kill()
    station.connect_broker()

    assert station.shown("info")["csms_url"] == "wss://csms.example/ocpp"


def test_health_has_all_its_fields(station: Station) -> None:
    shown = station.shown("health")

    rss = shown.pop("rss_bytes")
    assert isinstance(rss, int)
    assert rss > 10 * 2**20
    assert shown == {
        "uptime_s": 0,
        "queued_transaction_messages": 0,
        "oldest_queued_at": None,
        "csms": {"connected": False, "registration": None, "last_message_at": None, "reconnects": 0},
        "errors": {},
    }


def csms(station: Station) -> Any:
    return station.shown("health")["csms"]


def test_health_follows_link_and_registration(station: Station) -> None:
    station.advance(5)
    station.connect()
    assert csms(station)["connected"] is True
    station.register("Pending", interval=30)
    assert csms(station)["registration"] == "Pending"
    station.advance(30)
    station.register()
    expected = {
        "connected": True,
        "registration": "Accepted",
        "last_message_at": "2026-11-22T10:00:35Z",
        "reconnects": 0,
    }
    assert csms(station) == expected
    station.disconnect()
    assert csms(station) == {**expected, "connected": False}
    station.connect()
    assert csms(station) == {**expected, "reconnects": 1}
    assert station.shown("health")["uptime_s"] == 35


def test_health_is_published_once_a_minute_and_with_each_change(station: Station) -> None:
    """Contract 1: not more often."""
    station.advance(20)
    station.register()
    station.published()

    station.advance(600)
    station.publish("request/nonsense", {})
    station.ask("get_configuration_key")

    assert len(station.published("health")) == 0
    assert len([m for m in station.broker.messages if m.topic == "ocpp16/health"]) == 1 + 2 + 10


def test_repeated_boot_notification_is_no_change(station: Station) -> None:
    station.advance(20)
    station.register()
    station.ask("security_event", type="TamperDetectionActivated")
    station.csms_refuses(station.sent()[0], "SecurityError")
    station.published()

    station.csms_answers(station.sent("BootNotification")[0], status="Accepted", currentTime=station.now(), interval=1)

    assert station.published("health") == []


def test_refusals_are_counted_by_kind(station: Station) -> None:
    station.publish("request/nonsense", {})
    station.publish("request/stop", "{")
    station.publish("hardware/nonsense", {})
    station.register()
    station.receive("nonsense")
    station.receive("nonsense")

    station.advance(60)

    errors = station.shown("health")["errors"]
    assert errors == {"unknown_command": 1, "bad_json": 1, "hardware_input": 1, "csms_not_json": 2}


def test_reset_by_the_machine_is_no_reconnect(station: Station) -> None:
    station.connect()
    station.kill()
    station.connect_broker()
    station.connect()

    assert csms(station)["reconnects"] == 0


@pytest.mark.parametrize("content", [None, "", "12", "12 x"])
def test_system_that_does_not_say_how_much_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "statm"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(health, "_STATM", file)

    assert health.resident_bytes() == 0
