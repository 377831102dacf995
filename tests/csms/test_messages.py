import json
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import ocpp
import pytest
from ocpp.v16 import call, call_result
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, UpdateType

from ocpp16_bridge.csms import schemas
from ocpp16_bridge.csms.messages import camel, from_payload, to_payload

SCHEMAS = Path(ocpp.__path__[0]) / "v16" / "schemas"
ACTIONS = sorted(schemas.FROM_CSMS | schemas.FROM_CHARGE_POINT)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("module", "suffix"), [(call, ""), (call_result, "Response")], ids=["req", "conf"])
def test_the_names_of_the_fields_are_those_of_the_schema(module: ModuleType, suffix: str, action: str) -> None:
    schema = json.loads((SCHEMAS / f"{action}{suffix}.json").read_bytes())

    names = [camel(field.name) for field in fields(getattr(module, action))]

    assert sorted(names) == sorted(schema.get("properties", {}))


def test_a_message_leaves_out_what_is_none() -> None:
    """GD-06."""
    message = call.StatusNotification(
        connector_id=0, error_code=ChargePointErrorCode.no_error, status=ChargePointStatus.available, info=""
    )

    payload = to_payload(message)

    assert payload == {"connectorId": 0, "errorCode": "NoError", "status": "Available", "info": ""}


def test_nested_objects_stay_as_they_are() -> None:
    info: Any = {"status": "Accepted", "parentIdTag": "P"}

    message = from_payload(call_result.StartTransaction, {"transactionId": 7, "idTagInfo": info})

    assert message == call_result.StartTransaction(transaction_id=7, id_tag_info=info)
    assert message.id_tag_info is info
    assert to_payload(message) == {"transactionId": 7, "idTagInfo": info}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        pytest.param({"key": ["A"]}, call.GetConfiguration(key=["A"]), id="given"),
        pytest.param({}, call.GetConfiguration(key=None), id="absent is None"),
        pytest.param(
            {"listVersion": 1, "updateType": "Full"},
            call.SendLocalList(1, UpdateType.full, []),
            id="absent is the default",
        ),
    ],
)
def test_a_payload_becomes_a_message(payload: dict[str, Any], message: Any) -> None:
    assert from_payload(type(message), payload) == message
