"""Timestamps as OCPP 1.6 writes them: ISO 8601, in the form of RFC 3339 (3.14 and 3.15)."""

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]"
    r"(?:([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)|24:00:00)"
    r"(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))?",
    re.ASCII,
)


def parse_time(text: str) -> datetime:
    """The moment in UTC (GD-01, GD-02).

    Any offset and any number of fraction digits; microseconds are kept, what is finer is cut off. No zone means UTC.
    24:00:00 is midnight at the end of that day, and a leap second (:60) the first second of the next minute.

    Raises:
        ValueError: the text has another form, or there is no such day, or it lies outside the years 1 to 9999.

    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no timestamp")
    date, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups("0")
    time = timedelta(
        hours=int(hour) if match[2] else 24,
        minutes=int(minute),
        seconds=int(second),
        microseconds=int(f"{fraction:0<6.6}"),
    )
    offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
    try:
        local = datetime.fromisoformat(date).replace(tzinfo=UTC) + time
        return local + offset if sign == "-" else local - offset
    except OverflowError as error:
        raise ValueError(f"{text[:40]!r} is outside the years 1 to 9999") from error


def format_time(moment: datetime) -> str:
    """An aware moment as ``2026-11-22T10:00:00Z``, or ``2026-11-22T10:00:00.123Z`` where milliseconds are not 0."""
    milliseconds = moment.microsecond // 1000
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds" if milliseconds else "seconds") + "Z"
