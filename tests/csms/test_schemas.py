import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import ocpp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker
from ocpp.v16 import enums

from ocpp16_bridge.csms import schemas
from ocpp16_bridge.csms.ocppj import ErrorCode, InvalidError
from ocpp16_bridge.timestamps import parse_time

SCHEMAS = Path(ocpp.__path__[0]) / "v16" / "schemas"
NAMES = sorted(path.stem for path in SCHEMAS.glob("*.json"))
PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}]},
}


def profile_with(limit: object) -> dict[str, Any]:
    profile: dict[str, Any] = deepcopy(PROFILE)
    profile["chargingSchedule"]["chargingSchedulePeriod"].append({"startPeriod": 60, "limit": limit})
    return {"connectorId": 1, "csChargingProfiles": profile}


def meter_values(**sampled: str) -> dict[str, Any]:
    return {
        "connectorId": 1,
        "meterValue": [{"timestamp": "2026-11-22T10:00:00Z", "sampledValue": [{"value": "1", **sampled}]}],
    }


LIMIT = "csChargingProfiles.chargingSchedule.chargingSchedulePeriod[1].limit"


# -- which action


@pytest.mark.parametrize("action", sorted(schemas.FROM_CHARGE_POINT - schemas.FROM_CSMS))
def test_a_call_of_the_other_direction_is_not_supported(action: str) -> None:
    with pytest.raises(InvalidError) as caught:
        schemas.validate_call(action, {})

    assert caught.value.code == ErrorCode.NOT_SUPPORTED


@pytest.mark.parametrize("action", ["", "reset", "Reset.req", "ResetResponse", "../call", "GetVariables", "x" * 9000])
def test_an_unknown_action_is_not_implemented(action: str) -> None:
    with pytest.raises(InvalidError) as caught:
        schemas.validate_call(action, {})

    assert caught.value.code == ErrorCode.NOT_IMPLEMENTED
    assert len(caught.value.description) < 80


def test_every_action_has_its_two_schemas_and_a_direction() -> None:
    actions = schemas.FROM_CSMS | schemas.FROM_CHARGE_POINT

    assert sorted([*actions, *(f"{action}Response" for action in actions)]) == NAMES
    assert {"DataTransfer"} == schemas.FROM_CSMS & schemas.FROM_CHARGE_POINT


# -- which error


@pytest.mark.parametrize(
    ("action", "payload", "code", "description"),
    [
        pytest.param(
            "Reset",
            {"type": "Warm"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "type: 'Warm' is none of Hard, Soft",
            id="enum",
        ),
        pytest.param(
            "GetCompositeSchedule",
            {"connectorId": 1, "duration": 60, "chargingRateUnit": "kW"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "chargingRateUnit: 'kW' is none of A, W",
            id="chargingRateUnit (errata 5.8)",
        ),
        pytest.param(
            "Reset",
            {"type": 1},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "type: expected a string, got a number",
            id="number for enum",
        ),
        pytest.param(
            "UnlockConnector",
            {"connectorId": "1"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "connectorId: expected an integer, got a string",
            id="string for integer",
        ),
        pytest.param(
            "UnlockConnector",
            {"connectorId": True},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "connectorId: expected an integer, got a boolean",
            id="boolean for integer",
        ),
        pytest.param(
            "UnlockConnector",
            {"connectorId": Decimal("1.5")},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "connectorId: expected an integer, got a number",
            id="fraction for integer",
        ),
        pytest.param(
            "GetConfiguration",
            {"key": {}},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "key: expected an array, got an object",
            id="object for array",
        ),
        pytest.param(
            "GetConfiguration",
            {"key": ["A", None]},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "key[1]: expected a string, got null",
            id="null for string",
        ),
        pytest.param(
            "SetChargingProfile",
            {"connectorId": 1, "csChargingProfiles": [PROFILE]},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "csChargingProfiles: expected an object, got an array",
            id="array for object",
        ),
        pytest.param(
            "SetChargingProfile",
            profile_with(limit=False),
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            f"{LIMIT}: expected a number, got a boolean",
            id="boolean for number",
        ),
        pytest.param("Reset", {}, ErrorCode.PROTOCOL_ERROR, "type is missing", id="missing"),
        pytest.param(
            "SendLocalList",
            {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [{"idTag": "A", "idTagInfo": {}}]},
            ErrorCode.PROTOCOL_ERROR,
            "localAuthorizationList[0].idTagInfo: status is missing",
            id="missing inside",
        ),
        pytest.param("ClearCache", {"a\n": 1}, ErrorCode.FORMATION_VIOLATION, r"unknown field 'a\n'", id="extra"),
        pytest.param(
            "SetChargingProfile",
            {"connectorId": 1, "csChargingProfiles": {**PROFILE, "a": 1}},
            ErrorCode.FORMATION_VIOLATION,
            "csChargingProfiles: unknown field 'a'",
            id="extra inside",
        ),
        pytest.param(
            "RemoteStartTransaction",
            {"idTag": "x" * 21},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "idTag: expected at most 20 characters, got 21",
            id="too long",
        ),
        pytest.param(
            "ReserveNow",
            {"connectorId": 1, "expiryDate": "tomorrow", "idTag": "A", "reservationId": 1},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "expiryDate: 'tomorrow' is no timestamp",
            id="bad date",
        ),
        pytest.param(
            "ReserveNow",
            {"connectorId": 1, "expiryDate": 1795341600, "idTag": "A", "reservationId": 1},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "expiryDate: expected a string, got a number",
            id="number for date",
        ),
        pytest.param(
            "SetChargingProfile",
            profile_with(limit=Decimal("8.15")),
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            f"{LIMIT}: 8.15 is no multiple of 0.1",
            id="multipleOf",
        ),
        pytest.param(
            "InstallCertificate",
            {"certificateType": "Other", "certificate": "C"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "certificateType: 'Other' is none of CentralSystemRootCertificate, ManufacturerRootCertificate",
            id="enum behind $ref",
        ),
    ],
)
def test_a_bad_call_is_refused_with_the_code_of_its_fault(
    action: str, payload: dict[str, Any], code: ErrorCode, description: str
) -> None:
    """Obligations 1.3."""
    with pytest.raises(InvalidError) as caught:
        schemas.validate_call(action, payload)

    assert (caught.value.code, caught.value.description) == (code, description)
    assert str(caught.value) == f"{code}: {description}"


def test_too_few_items_break_the_cardinality() -> None:
    with pytest.raises(InvalidError) as caught:
        schemas.validate_own_call("MeterValues", {"connectorId": 1, "meterValue": []})

    assert caught.value.code == ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION
    assert caught.value.description == "meterValue: expected 1 item or more, got 0"


@pytest.mark.parametrize("value", ["S3cret!" * 100, 12345678, ["S3cret!"], {"S3cret!": 1}])
def test_a_password_is_never_repeated(value: object) -> None:
    with pytest.raises(InvalidError) as caught:
        schemas.validate_call("ChangeConfiguration", {"key": "AuthorizationKey", "value": value})

    assert "S3cret" not in str(caught.value)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Reset", {"type": "x" * 9000}),
        ("Reset", {"type": "Soft", "x" * 9000: 1}),
        ("SetChargingProfile", profile_with(limit=Decimal("1" * 9000 + ".55"))),
    ],
    ids=["enum", "name", "number"],
)
def test_a_description_stays_short(action: str, payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        schemas.validate_call(action, payload)

    assert len(caught.value.description) < 150


# -- decimals


@pytest.mark.parametrize("limit", [0, 16, 8.1, Decimal("8.1"), Decimal("0.3"), Decimal("-2.70"), Decimal("1E+20")])
def test_a_limit_with_one_fraction_digit_is_taken(limit: object) -> None:
    """GD-07: as floats, 8.1 and 0.3 are no multiples of 0.1."""
    schemas.validate_call("SetChargingProfile", profile_with(limit))


@pytest.mark.parametrize(
    "limit",
    [8.15, Decimal("0.01"), Decimal("0.1000000000000000000000000000000001"), Decimal("1E+299"), float("inf")],
    ids=str,
)
def test_a_limit_with_more_digits_is_refused(limit: object) -> None:
    with pytest.raises(InvalidError, match="PropertyConstraintViolation"):
        schemas.validate_call("SetChargingProfile", profile_with(limit))


# -- where the library's schemas are corrected


@pytest.mark.parametrize("unit", ["Celcius", "Celsius"])
def test_both_spellings_of_celsius_may_be_sent(unit: str) -> None:
    """MV-17."""
    schemas.validate_own_call("MeterValues", meter_values(measurand="Temperature", unit=unit))


def test_hertz_must_not_be_sent() -> None:
    """MV-18."""
    meter = meter_values(measurand="Frequency", unit="Hertz")
    stop = {"transactionId": 1, "meterStop": 0, "timestamp": "2026-11-22T10:00:00Z"}

    with pytest.raises(InvalidError, match="unit: 'Hertz' is none of Wh"):
        schemas.validate_own_call("MeterValues", meter)
    with pytest.raises(InvalidError, match="unit: 'Hertz' is none of Wh"):
        schemas.validate_own_call("StopTransaction", {**stop, "transactionData": meter["meterValue"]})


@pytest.mark.parametrize("action", ["TriggerMessage", "ExtendedTriggerMessage"])
def test_an_unknown_message_to_trigger_is_left_to_the_feature(action: str) -> None:
    """OCPP 1.6, 5.17: its answer is the status NotImplemented."""
    schemas.validate_call(action, {"requestedMessage": "Weather"})

    with pytest.raises(InvalidError, match="TypeConstraintViolation"):
        schemas.validate_call(action, {"requestedMessage": 1})


@pytest.mark.parametrize("location", ["ftp://host/a b", "not a uri", ""])
def test_a_uri_is_not_checked(location: str) -> None:
    schemas.validate_call("GetDiagnostics", {"location": location})


# -- answers of the CSMS


@pytest.mark.parametrize(
    ("action", "payload", "known"),
    [
        pytest.param("Heartbeat", {"currentTime": "2026-11-22T10:00:00Z"}, ..., id="good"),
        pytest.param(
            "BootNotification",
            {"status": "Accepted", "currentTime": "2026-11-22T10:00:00", "interval": 0, "heartbeatInterval": 300},
            {"status": "Accepted", "currentTime": "2026-11-22T10:00:00", "interval": 0},
            id="extra field",
        ),
        pytest.param(
            "StartTransaction",
            {"transactionId": 1, "idTagInfo": {"status": "Accepted", "expiryDate": None, "name": {"a": []}}},
            {"transactionId": 1, "idTagInfo": {"status": "Accepted"}},
            id="extra field and null inside",
        ),
        pytest.param("StopTransaction", {"idTagInfo": None}, {}, id="null"),
        pytest.param("MeterValues", {"status": "Accepted"}, {}, id="extra field, none known"),
        pytest.param("SignCertificate", {"status": "Accepted"}, ..., id="behind $ref"),
    ],
)
def test_an_answer_is_read_leniently(action: str, payload: dict[str, Any], known: Any) -> None:
    """TR-29."""
    assert schemas.validate_result(action, payload) == (payload if known is ... else known)


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        pytest.param("StartTransaction", {"idTagInfo": {"status": "Accepted"}}, id="missing"),
        pytest.param("StartTransaction", {"transactionId": None, "idTagInfo": {"status": "Accepted"}}, id="null"),
        pytest.param("StartTransaction", {"transactionId": "1", "idTagInfo": {"status": "Accepted"}}, id="type"),
        pytest.param("Authorize", {"idTagInfo": "Accepted"}, id="string for object"),
        pytest.param("Authorize", {"idTagInfo": {"status": {"status": "Accepted"}}}, id="object for string"),
        pytest.param("SignCertificate", {"status": {}}, id="object behind $ref"),
        pytest.param("Heartbeat", {"currentTime": "now"}, id="bad date"),
    ],
)
def test_an_answer_that_says_too_little_is_refused(action: str, payload: dict[str, Any]) -> None:
    """TR-29."""
    with pytest.raises(InvalidError):
        schemas.validate_result(action, payload)


# -- what goes out


def test_enum_members_may_stand_for_their_text() -> None:
    schemas.validate_own_result("Reset", {"status": enums.ResetStatus.accepted})


def test_no_field_is_added_to_an_answer() -> None:
    """GD-05."""
    with pytest.raises(InvalidError, match="FormationViolation"):
        schemas.validate_own_result("Reset", {"status": "Accepted", "reason": "why not"})


# -- the compiler against jsonschema


def reference(name: str) -> dict[str, Any]:
    """The library's schema with the documented corrections, but made another way."""
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_bytes(), parse_float=Decimal)
    if name in {"TriggerMessage", "ExtendedTriggerMessage"}:
        schema["properties"]["requestedMessage"] = {"type": "string"}
    for node in nodes(schema):
        if "Hertz" in node.get("enum", ()):
            node["enum"] = [value for value in node["enum"] if value != "Hertz"]
    return schema


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)


formats = FormatChecker(formats=())


def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_time(value))


formats.checks("date-time", raises=ValueError)(is_date_time)


def test_the_compiler_knows_every_keyword_of_the_schemas() -> None:
    """A keyword that a later version of the library uses would not be checked."""
    without_effect = {"$schema", "$id", "title", "javaType", "additionalItems", "definitions"}
    checked = {"type", "properties", "required", "additionalProperties", "items", "minItems", "enum", "maxLength"}
    keywords = {"format", "multipleOf", "$ref"} | checked | without_effect

    def unknown(schema: dict[str, Any]) -> set[str]:
        inner = [*schema.get("properties", {}).values(), *schema.get("definitions", {}).values()]
        inner += [schema["items"]] if "items" in schema else []
        return set(schema) - keywords | {keyword for each in inner for keyword in unknown(each)}

    assert {name: unknown(reference(name)) for name in NAMES if unknown(reference(name))} == {}


def test_objects_are_closed_and_numbers_have_a_step() -> None:
    """What the compiler takes for granted."""
    for name in NAMES:
        for node in nodes(reference(name)):
            assert node.get("type") != "object" or node["additionalProperties"] is False
            assert node.get("type") != "number" or "multipleOf" in node


def payloads(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema takes."""
    if "$ref" in schema:
        return payloads(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    match schema["type"]:
        case "object":
            inner = {name: payloads(each, definitions) for name, each in schema.get("properties", {}).items()}
            required = {name: inner.pop(name) for name in schema.get("required", ())}
            return st.fixed_dictionaries(required, optional=inner)
        case "array":
            return st.lists(payloads(schema["items"], definitions), min_size=schema.get("minItems", 0), max_size=2)
        case "string":
            return strings(schema)
        case simple:
            return SIMPLE[simple]


SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "number": st.decimals(min_value=-1000, max_value=1000, places=1) | st.integers(-(10**9), 10**9),
    "integer": st.integers(),
    "boolean": st.booleans(),
}


def strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return st.sampled_from(["2026-11-22T10:00:00Z", "2026-11-22t10:00:00.1+01:00"])
    longest = schema.get("maxLength", 8)
    return st.text("aé€", max_size=min(8, longest)) | st.just("x" * longest)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a value, with the keys it has."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from places(inner)


STRANGE: list[Any] = [
    None,
    True,
    0,
    Decimal("8.15"),
    "",
    "x" * 10_001,
    "Hertz",
    "Celsius",
    "Weather",
    [],
    {},
    [[]],
    {"a": {}},
]


@st.composite
def mutants(draw: st.DrawFn, payload: Any) -> Any:
    """The payload with one place changed."""
    root = [deepcopy(payload)]
    container, key = draw(st.sampled_from(list(places(root))))
    match draw(st.sampled_from(["replace", "remove", "extend"])):
        case "remove" if container is not root:
            del container[key]
        case "extend" if isinstance(container[key], dict):
            container[key]["extra"] = 1
        case "extend" if isinstance(container[key], str):
            container[key] += "x"
        case _:
            container[key] = draw(st.sampled_from(STRANGE))
    return root[0]


def is_taken(name: str, payload: Any) -> bool:
    try:
        schemas.validate_own_call(name, payload)
    except InvalidError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_compiler_takes_and_refuses_what_jsonschema_does(name: str, data: st.DataObject) -> None:
    schema = reference(name)
    validator = Draft4Validator(schema, format_checker=formats)
    good = data.draw(payloads(schema, schema.get("definitions", {})))

    assert validator.is_valid(good)
    assert is_taken(name, good)
    for mutant in data.draw(st.lists(mutants(good), min_size=10, max_size=10)):
        assert is_taken(name, mutant) == validator.is_valid(mutant), mutant


# -- start


def test_the_schemas_need_no_import_of_jsonschema() -> None:
    """It takes 100 ms, and the daemon's first frame shall not wait for it."""
    code = "import sys; from ocpp16_bridge.csms.schemas import *; validate_call('ClearCache', {}); print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"jsonschema", "ocpp.v16"} & set(modules)
