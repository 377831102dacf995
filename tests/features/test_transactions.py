from tests.station import Station


def test_a_session_begins_with_plug_and_tag_and_ends_with_the_tag(station: Station) -> None:
    """TC_003_CS, TC_068_CS."""
    station.publish("hardware/connector/1/state", {"plugged": False})
    station.publish("hardware/connector/1/meter", {"Energy.Active.Import.Register": 1000.7})
    station.register()
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.answer_all()

    station.publish("request/present_id_tag", {"id_tag": "TAG"})
    (authorize,) = station.sent("Authorize")
    station.csms_answers(authorize, idTagInfo={"status": "Accepted"})

    (start,) = station.sent("StartTransaction")
    assert start[3] == {"connectorId": 1, "idTag": "TAG", "meterStart": 1000, "timestamp": station.now()}
    assert station.shown("connector/1/charging_permitted") is True
    station.csms_answers(start, transactionId=7, idTagInfo={"status": "Accepted"})

    station.publish("hardware/connector/1/state", {"plugged": True, "ev_ready": True, "evse_ready": True})
    station.answer_all()
    station.publish("hardware/connector/1/meter", {"Energy.Active.Import.Register": 1600.2})
    station.advance(1)

    assert station.ask("present_id_tag", id_tag="tag") == {"status": "Accepted", "action": "stop", "connector_id": 1}
    station.answer_all()
    station.advance(2)
    (stop,) = station.sent("StopTransaction")
    assert (stop[3]["transactionId"], stop[3]["meterStop"], stop[3]["reason"], stop[3]["idTag"]) == (
        7,
        1600,
        "Local",
        "tag",
    )
    assert station.shown("connector/1/transaction") is None
