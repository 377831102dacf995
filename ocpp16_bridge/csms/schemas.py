"""Is a payload what its action asks for? The ocpp library's JSON schemas, corrected and compiled to closures.

The schemas use a dozen keywords of JSON Schema, so a compiler for them is small. A schema is read and compiled at its
first use, in 0.1 ms. fastjsonschema needs 8 ms for MeterValues, which stalls a charger's processor for much longer; it
fails on a Decimal under multipleOf, and its code takes twice as long to run.
"""

import json
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import ocpp

from ocpp16_bridge.timestamps import parse_time

Check = Callable[[Any], None]
Schema = dict[str, Any]

# A text each, since a name a line would take fifty lines.
FROM_CSMS = frozenset(
    """
    CancelReservation CertificateSigned ChangeAvailability ChangeConfiguration ClearCache ClearChargingProfile
    DataTransfer DeleteCertificate ExtendedTriggerMessage GetCompositeSchedule GetConfiguration GetDiagnostics
    GetInstalledCertificateIds GetLocalListVersion GetLog InstallCertificate RemoteStartTransaction
    RemoteStopTransaction ReserveNow Reset SendLocalList SetChargingProfile SignedUpdateFirmware TriggerMessage
    UnlockConnector UpdateFirmware
    """.split()  # noqa: SIM905
)
FROM_CHARGE_POINT = frozenset(
    """
    Authorize BootNotification DataTransfer DiagnosticsStatusNotification FirmwareStatusNotification Heartbeat
    LogStatusNotification MeterValues SecurityEventNotification SignCertificate SignedFirmwareStatusNotification
    StartTransaction StatusNotification StopTransaction
    """.split()  # noqa: SIM905
)

_SCHEMAS = Path(ocpp.__path__[0]) / "v16" / "schemas"  # ocpp itself is empty; ocpp.v16 would pull in jsonschema, 100 ms
_JSON_TYPES = ((dict, "an object"), (list, "an array"), (str, "a string"), (bool, "a boolean"), (type(None), "null"))


class ErrorCode(StrEnum):
    """What a CALLERROR may say (OCPP-J 1.6, 4.2.3). What is misspelt there goes over the wire so."""

    NOT_IMPLEMENTED = "NotImplemented"  # the action is unknown
    NOT_SUPPORTED = "NotSupported"  # the action is known, but not served here
    INTERNAL_ERROR = "InternalError"
    PROTOCOL_ERROR = "ProtocolError"
    SECURITY_ERROR = "SecurityError"
    FORMATION_VIOLATION = "FormationViolation"  # not "Format" (OCPP-J errata 5.2)
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    OCCURENCE_CONSTRAINT_VIOLATION = "OccurenceConstraintViolation"  # one "r" (OCPP-J errata 5.1)
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
    GENERIC_ERROR = "GenericError"


class InvalidError(Exception):
    """A payload that its schema refuses, or an action that nobody serves here.

    ``description`` says where, and what was expected. It repeats names of fields, and what stands in the place of an
    enum, a date or a limit; never free text, which may be a password.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self._reason = reason
        self._path = ""

    def within(self, place: str) -> None:
        """Put ``.field`` or ``[index]`` in front of the path."""
        self._path = place + self._path

    @property
    def description(self) -> str:
        return f"{self._path[1:]}: {self._reason}" if self._path else self._reason

    def __str__(self) -> str:
        return f"{self.code}: {self.description}"


def validate_call(action: str, payload: dict[str, Any]) -> None:
    """Check a CALL of the CSMS.

    Raises:
        InvalidError: to be answered by a CALLERROR with its ``code`` and ``description``.

    """
    if action in FROM_CSMS:
        _validator(action)(payload)
    elif action in FROM_CHARGE_POINT:
        raise InvalidError(ErrorCode.NOT_SUPPORTED, f"{action} goes from the charge point to the CSMS")
    else:
        raise InvalidError(ErrorCode.NOT_IMPLEMENTED, f"unknown action {action[:50]!r}")


def validate_result(action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What can be used of the CSMS's answer to our CALL: without unknown fields, and without nulls (TR-29).

    Raises:
        InvalidError: the answer cannot be used.

    """
    name = f"{action}Response"
    known = _known(_schema(name), payload)
    _validator(name)(known)
    return known


def validate_own_call(action: str, payload: dict[str, Any]) -> None:
    """Check a CALL that we are about to send.

    Raises:
        InvalidError: it must not go out.

    """
    _validator(action)(payload)


def validate_own_result(action: str, payload: dict[str, Any]) -> None:
    """Check our answer to a CALL of the CSMS.

    Raises:
        InvalidError: it must not go out.

    """
    _validator(f"{action}Response")(payload)


def _known(schema: Schema, payload: dict[str, Any]) -> dict[str, Any]:
    """The fields that have a value and a place in the schema. Arrays are left as they are: no answer to us has any."""
    return {
        name: _known(schema["properties"][name], value) if isinstance(value, dict) else value
        for name, value in payload.items()
        if value is not None and name in schema.get("properties", ())
    }


@cache
def _schema(name: str) -> Schema:
    schema: Schema = json.loads((_SCHEMAS / f"{name}.json").read_bytes(), object_hook=_corrected, parse_float=Decimal)
    return schema


def _corrected(node: dict[str, Any]) -> dict[str, Any]:
    """Where the library's schemas are not what we need."""
    if "Hertz" in node.get("enum", ()):  # not in OCA's schema: Frequency has no unit (MV-18)
        node["enum"].remove("Hertz")
    if "requestedMessage" in node:  # an unknown one is answered by status NotImplemented, not CALLERROR (5.17)
        node["requestedMessage"] = {"type": "string"}
    return node


@cache
def _validator(name: str) -> Check:
    schema = _schema(name)
    return _compile(schema, schema.get("definitions", {}))


def _compile(schema: Schema, definitions: Schema) -> Check:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/definitions/")]
    match schema["type"]:
        case "object":
            return _object(schema, definitions)
        case "array":
            return _array(schema, definitions)
        case "string":
            return _string(schema)
        case "number":
            return _number(schema)
        case "integer":
            return _exactly(int, "an integer")
        case _:
            return _exactly(bool, "a boolean")


def _object(schema: Schema, definitions: Schema) -> Check:
    properties = {name: _compile(inner, definitions) for name, inner in schema.get("properties", {}).items()}
    required = schema.get("required", ())

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise _wrong_type("an object", value)
        for name in required:
            if name not in value:
                raise InvalidError(ErrorCode.PROTOCOL_ERROR, f"{name} is missing")
        for name, inner in value.items():
            if name not in properties:
                raise InvalidError(ErrorCode.FORMATION_VIOLATION, f"unknown field {name[:50]!r}")
            try:
                properties[name](inner)
            except InvalidError as error:
                error.within(f".{name}")
                raise

    return check


def _array(schema: Schema, definitions: Schema) -> Check:
    check_item = _compile(schema["items"], definitions)
    fewest = schema.get("minItems", 0)

    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise _wrong_type("an array", value)
        if len(value) < fewest:
            reason = f"expected {fewest} item or more, got {len(value)}"
            raise InvalidError(ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION, reason)
        for index, item in enumerate(value):
            try:
                check_item(item)
            except InvalidError as error:
                error.within(f"[{index}]")
                raise

    return check


def _string(schema: Schema) -> Check:
    if "enum" in schema:
        return _enum(schema["enum"])
    if schema.get("format") == "date-time":
        return _check_date_time
    longest = schema.get("maxLength", sys.maxsize)  # "uri" is not checked: whoever fetches it finds out

    def check(value: Any) -> None:
        if not isinstance(value, str):
            raise _wrong_type("a string", value)
        if len(value) > longest:
            raise _bad_value(f"expected at most {longest} characters, got {len(value)}")

    return check


def _enum(values: list[str]) -> Check:
    allowed = frozenset(values)

    def check(value: Any) -> None:
        if not isinstance(value, str):
            raise _wrong_type("a string", value)
        if value not in allowed:
            raise _bad_value(f"{value[:50]!r} is none of {', '.join(values)}")

    return check


def _check_date_time(value: Any) -> None:
    if not isinstance(value, str):
        raise _wrong_type("a string", value)
    try:
        parse_time(value)
    except ValueError as error:
        raise _bad_value(str(error)) from error


def _number(schema: Schema) -> Check:
    step: Decimal = schema["multipleOf"]

    def check(value: Any) -> None:
        if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
            raise _wrong_type("a number", value)
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
        try:
            rest = exact % step  # as a float, 8.1 is no multiple of 0.1 (GD-07)
        except InvalidOperation:  # more than 28 digits
            rest = step
        if rest:
            raise _bad_value(f"{str(value)[:30]} is no multiple of {step}")

    return check


def _exactly(wanted: type, name: str) -> Check:
    """For bool and int, since a bool is an int to isinstance."""

    def check(value: Any) -> None:
        if type(value) is not wanted:
            raise _wrong_type(name, value)

    return check


def _wrong_type(expected: str, value: object) -> InvalidError:
    got = next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), "a number")
    return InvalidError(ErrorCode.TYPE_CONSTRAINT_VIOLATION, f"expected {expected}, got {got}")


def _bad_value(reason: str) -> InvalidError:
    return InvalidError(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, reason)
