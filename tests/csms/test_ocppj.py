import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpp16_bridge.csms import ocppj
from ocpp16_bridge.csms.ocppj import Call, CallError, CallResult

Message = Call | CallResult | CallError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('[2,"1","Reset",{"type":"Soft"}]', Call("1", "Reset", {"type": "Soft"}), id="CALL"),
        pytest.param('[2,"1","ClearCache",null]', Call("1", "ClearCache", {}), id="CALL, null payload"),
        pytest.param('[2.0,"1","ClearCache",{}]', Call("1", "ClearCache", {}), id="CALL, type 2.0"),
        pytest.param(' [ 2 , "1" , "Nonsense" , { } ] \n', Call("1", "Nonsense", {}), id="CALL, spaces"),
        pytest.param(f'[2,"{"x" * 36}","A",{{}}]', Call("x" * 36, "A", {}), id="CALL, longest id"),
        pytest.param('[2,"1","A",{"a":"ü\\ud83d\\ude00"}]', Call("1", "A", {"a": "ü😀"}), id="CALL, surrogate pair"),
        pytest.param('[2,"1","A",{"a":1,"a":2}]', Call("1", "A", {"a": 2}), id="CALL, last of two equal names"),
        pytest.param('[3,"1",{"status":"Accepted"}]', CallResult("1", {"status": "Accepted"}), id="CALLRESULT"),
        pytest.param('[3,"1",null]', CallResult("1", {}), id="CALLRESULT, null payload"),
        pytest.param(
            '[4,"1","NotSupported","no",{"a":1}]', CallError("1", "NotSupported", "no", {"a": 1}), id="CALLERROR"
        ),
        pytest.param('[4,"1","Whatever"]', CallError("1", "Whatever", "", {}), id="CALLERROR, code alone"),
        pytest.param('[4,"1","X",null,""]', CallError("1", "X", "", {}), id="CALLERROR, null and text for details"),
        pytest.param(
            '[4,"1","OccurrenceConstraintViolation","",{}]',
            CallError("1", "OccurenceConstraintViolation", "", {}),
            id="CALLERROR, correct spelling",
        ),
    ],
)
def test_a_frame_is_read_as_a_message(text: str, message: Message) -> None:
    """TR-20, TR-21; the shapes of OCPP-J 1.6, 4.2."""
    assert ocppj.parse(text) == message


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("", "not_json", id="empty"),
        pytest.param("hello", "not_json", id="text"),
        pytest.param('[2,"1","Reset"', "not_json", id="cut off"),
        pytest.param("[2,'1','Reset',{}]", "not_json", id="single quotes"),
        pytest.param('[2,"1","A",{"a":NaN}]', "not_json", id="NaN"),
        pytest.param('[2,"1","A",{"a":-Infinity}]', "not_json", id="Infinity"),
        pytest.param('[2,"1","A",{"a":1e301}]', "not_json", id="larger than a double"),
        pytest.param('[2,"1","A",{"a":1e99999999999999999999}]', "not_json", id="larger than a Decimal"),
        pytest.param(f'[2,"1","A",{{"a":{"1" * 5000}}}]', "not_json", id="5000 digits"),
        pytest.param('[2,"1","A",{"a":"\\ud800"}]', "not_json", id="escaped lone surrogate"),
        pytest.param('[2,"1","A",{"\\uDEAD":1}]', "not_json", id="lone surrogate in a name"),
        pytest.param('[2,"1","A",{"a":"\ud800"}]', "not_json", id="lone surrogate"),
        pytest.param("[" * 100_000, "not_json", id="too deep"),
        pytest.param("[" * 100_000 + "]" * 100_000, "not_json", id="too deep, closed"),
        pytest.param("{}", "not_an_array", id="object"),
        pytest.param("null", "not_an_array", id="null"),
        pytest.param('"[2]"', "not_an_array", id="string"),
        pytest.param("[]", "message_type", id="empty array"),
        pytest.param('[5,"1",{}]', "message_type", id="type 5"),
        pytest.param('["2","1","Reset",{}]', "message_type", id="type as text"),
        pytest.param('[true,"1",{}]', "message_type", id="type true"),
        pytest.param('[{"a":1},"1",{}]', "message_type", id="type object"),
        pytest.param("[2]", "message_id", id="no id"),
        pytest.param('[2,1,"Reset",{}]', "message_id", id="number for id"),
        pytest.param("[3,null,{}]", "message_id", id="null for id"),
        pytest.param('[4,{},"X","",{}]', "message_id", id="object for id"),
    ],
)
def test_what_cannot_be_answered_says_why(text: str, kind: str) -> None:
    """TR-24, TR-25."""
    with pytest.raises(ocppj.UnusableError) as caught:
        ocppj.parse(text)

    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        pytest.param('[2,"1"]', "1", id="no action"),
        pytest.param('[2,"1","Reset"]', "1", id="no payload"),
        pytest.param('[2,"1",{"a":1},{}]', "1", id="object for action"),
        pytest.param('[2,"1","Reset",[]]', "1", id="array for payload"),
        pytest.param('[2,"1","Reset","{}"]', "1", id="text for payload"),
        pytest.param('[2,"1","Reset",{},{}]', "1", id="too long"),
        pytest.param(f'[2,"{"x" * 37}","Reset",{{}}]', "x" * 37, id="long id"),
    ],
)
def test_a_broken_call_with_an_id_is_to_be_answered(text: str, message_id: str) -> None:
    """TR-26."""
    with pytest.raises(ocppj.BrokenCallError) as caught:
        ocppj.parse(text)

    assert (caught.value.message_id, caught.value.code) == (message_id, "FormationViolation")
    assert caught.value.description


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[3,"1"]', id="CALLRESULT without payload"),
        pytest.param('[3,"1",[]]', id="CALLRESULT with array"),
        pytest.param('[3,"1",{},{}]', id="CALLRESULT too long"),
        pytest.param('[4,"1"]', id="CALLERROR without code"),
        pytest.param('[4,"1",17,"",{}]', id="CALLERROR with a number"),
    ],
)
def test_a_broken_answer_says_which_call_has_failed(text: str) -> None:
    """TR-29."""
    with pytest.raises(ocppj.BrokenAnswerError, match="'1'") as caught:
        ocppj.parse(text)

    assert caught.value.message_id == "1"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        pytest.param("8.1", Decimal("8.1"), id="fraction"),
        pytest.param("16.0", 16, id="whole with fraction"),
        pytest.param("3e2", 300, id="whole with exponent"),
        pytest.param("1e-1", Decimal("0.1"), id="fraction with exponent"),
        pytest.param("-0.0", 0, id="minus zero"),
        pytest.param("0.30000000000000000001", Decimal("0.30000000000000000001"), id="finer than a double"),
        pytest.param("17", 17, id="integer"),
        pytest.param("1e-999999999", Decimal("1e-999999999"), id="tiny"),
        pytest.param("1e300", 10**300, id="largest"),
    ],
)
def test_numbers_are_read_exactly_and_whole_ones_as_int(number: str, value: object) -> None:
    """GD-07, TR-29."""
    message = ocppj.parse(f'[3,"1",{{"a":{number}}}]')

    assert message == CallResult("1", {"a": value})
    assert type(message.payload["a"]) is type(value)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param(Call("1", "Heartbeat", {}), '[2,"1","Heartbeat",{}]', id="CALL"),
        pytest.param(CallResult("1", {"data": "größer"}), '[3,"1",{"data":"größer"}]', id="CALLRESULT keeps UTF-8"),
        pytest.param(
            CallError("1", ocppj.ErrorCode.FORMATION_VIOLATION, "", {}),
            '[4,"1","FormationViolation","",{}]',
            id="CALLERROR has five elements",
        ),
        pytest.param(
            CallError("1", "GenericError", "x" * 256, {}), f'[4,"1","GenericError","{"x" * 255}",{{}}]', id="cut"
        ),
        pytest.param(CallResult("1", {"a": Decimal("16.10")}), '[3,"1",{"a":16.1}]', id="decimal"),
        pytest.param(CallResult("1", {"a": Decimal("1E+20")}), f'[3,"1",{{"a":1{"0" * 20}}}]', id="large decimal"),
    ],
)
def test_a_message_is_written_compactly(message: Message, text: str) -> None:
    assert ocppj.dump(message) == text


@pytest.mark.parametrize("value", [b"bytes", object(), float("nan"), Decimal("NaN")])
def test_what_is_no_json_is_not_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        ocppj.dump(CallResult("1", {"a": value}))


def test_the_error_codes_are_spelled_as_published() -> None:
    """Obligations 1.3; OCPP-J errata 5.1 and 5.2."""
    assert set(ocppj.ErrorCode) == {
        "NotImplemented",
        "NotSupported",
        "InternalError",
        "ProtocolError",
        "SecurityError",
        "FormationViolation",
        "PropertyConstraintViolation",
        "OccurenceConstraintViolation",
        "TypeConstraintViolation",
        "GenericError",
    }


def read(text: str) -> Message | None:
    """Parse, where only the declared errors may come."""
    try:
        return ocppj.parse(text)
    except (ocppj.UnusableError, ocppj.BrokenCallError, ocppj.BrokenAnswerError):
        return None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
frames = st.tuples(st.sampled_from([2, 3, 4]), st.text() | json_values).flatmap(
    lambda head: st.lists(st.just("Reset") | json_values, max_size=4).map(lambda rest: [*head, *rest])
)
decimals = st.decimals(min_value=-(10**12), max_value=10**12, places=1)


@settings(derandomize=True)
@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    read(text)


@settings(derandomize=True)
@given(st.text(alphabet='[]{}",:\\uUdD80aefnN-+.E1234 '))
def test_no_text_of_json_characters_is_too_strange(text: str) -> None:
    read(text)
    read(f'[2,"1","Reset",{text}]')


@settings(derandomize=True)
@given(json_values | frames, st.booleans())
def test_no_json_is_too_strange(value: Any, ensure_ascii: bool) -> None:
    message = read(json.dumps(value, ensure_ascii=ensure_ascii))

    if message is not None:
        ocppj.dump(message).encode()


@settings(derandomize=True)
@given(decimals)
def test_a_limit_comes_back_as_it_went_and_without_exponent(limit: Decimal) -> None:
    """GD-07."""
    text = ocppj.dump(CallResult("1", {"limit": limit}))

    assert "e" not in text.lower()
    assert ocppj.parse(text) == CallResult("1", {"limit": limit})
