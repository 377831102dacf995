"""What of an OCPP message may be shown: in logs, on topics, in diagnostics (SE-13, DG-06)."""

import re
from typing import Any

from ocpp16_bridge.csms import ocppj

HIDDEN = "***"
_USER_INFORMATION = re.compile(r"(?<=://)[^/?#@\s]*@")
_URL_FIELDS = frozenset({"location", "remoteLocation"})


def without_credentials(url: str) -> str:
    """``url`` without its user information."""
    return _USER_INFORMATION.sub("", url)


def redacted(message: ocppj.Call | ocppj.CallResult | ocppj.CallError) -> list[Any]:
    """The frame as a list, its secrets replaced by `***`."""
    match message:
        case ocppj.Call():
            return [2, message.message_id, message.action, _payload(message.action, message.payload)]
        case ocppj.CallResult():
            return [3, message.message_id, message.payload]
        case ocppj.CallError():
            return [4, message.message_id, message.code, message.description, message.details]


def _payload(action: str, payload: dict[str, Any]) -> dict[str, Any]:
    if action == "ChangeConfiguration" and str(payload.get("key", "")).strip().lower() == "authorizationkey":
        return {**payload, "value": HIDDEN}
    return {name: _field(name, value) for name, value in payload.items()}


def _field(name: str, value: Any) -> Any:
    if name in _URL_FIELDS and isinstance(value, str):
        return _USER_INFORMATION.sub(HIDDEN + "@", value)
    if isinstance(value, dict):
        return {inner: _field(inner, item) for inner, item in value.items()}
    return value
