from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpp16_bridge.timestamps import format_time, parse_time


def utc(*args: int) -> datetime:
    return datetime(*args, tzinfo=UTC)  # type: ignore[arg-type, misc]  # a shorter table


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("2026-11-22T10:00:00Z", utc(2026, 11, 22, 10), id="UTC"),
        pytest.param("2026-11-22T10:00:00", utc(2026, 11, 22, 10), id="no zone is UTC"),
        pytest.param("2026-11-22t10:00:00z", utc(2026, 11, 22, 10), id="lower case"),
        pytest.param("2026-11-22T10:00:00+01:00", utc(2026, 11, 22, 9), id="east"),
        pytest.param("2026-11-22T10:00:00-05:30", utc(2026, 11, 22, 15, 30), id="west"),
        pytest.param("2026-11-22T10:00:00+0100", utc(2026, 11, 22, 9), id="offset without colon"),
        pytest.param("2026-11-22T10:00:00.1Z", utc(2026, 11, 22, 10, 0, 0, 100_000), id="1 fraction digit"),
        pytest.param("2026-11-22T10:00:00.123456789Z", utc(2026, 11, 22, 10, 0, 0, 123_456), id="9 fraction digits"),
        pytest.param("2026-11-22T10:00:00.123", utc(2026, 11, 22, 10, 0, 0, 123_000), id="fraction without zone"),
        pytest.param("2026-12-31T24:00:00Z", utc(2027, 1, 1), id="24:00:00 is the next midnight"),
        pytest.param("2016-12-31T23:59:60Z", utc(2017, 1, 1), id="leap second is the next second"),
        pytest.param("2016-12-31T23:59:60.5Z", utc(2017, 1, 1, 0, 0, 0, 500_000), id="within a leap second"),
        pytest.param("2028-02-29T00:00:00Z", utc(2028, 2, 29), id="leap day"),
    ],
)
def test_a_timestamp_is_read_as_a_moment_in_utc(text: str, moment: datetime) -> None:
    """GD-01, GD-02."""
    assert parse_time(text) == moment
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T10:00Z",
        "2026-11-22 10:00:00Z",
        "20261122T100000Z",
        "2026-W47-7T10:00:00Z",
        "2026-11-22T10:00:00.Z",
        "2026-11-22T10:00:00Z ",
        "2026-11-22T10:00:00Z\n",
        "2026-11-22T10:00:00 Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T24:00:01Z",
        "2026-11-22T10:60:00Z",
        "2026-11-22T10:00:61Z",
        "2026-11-22T10:00:00+24:00",
        "2026-02-29T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "0000-01-01T10:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T24:00:00Z",
        "٢٠٢٦-11-22T10:00:00Z",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"timestamp|day|month|year"):
        parse_time(text)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(utc(2026, 11, 22, 10), "2026-11-22T10:00:00Z", id="whole seconds"),
        pytest.param(utc(2026, 11, 22, 10, 0, 0, 123_999), "2026-11-22T10:00:00.123Z", id="milliseconds"),
        pytest.param(utc(2026, 11, 22, 10, 0, 0, 999), "2026-11-22T10:00:00Z", id="less than a millisecond"),
        pytest.param(
            datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=1))), "2026-11-22T09:00:00Z", id="other zone"
        ),
    ],
)
def test_a_moment_is_written_in_utc(moment: datetime, text: str) -> None:
    """GD-01."""
    assert format_time(moment) == text


@settings(derandomize=True)
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_that_was_written_is_read_back_to_the_millisecond(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
