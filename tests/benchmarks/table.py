"""Pairs of measurements, and the table they end in."""

import dataclasses
import statistics
from collections.abc import Sequence

CONTROL_NOTE = "0.97..1.03"  # two processes of the same program, measured like two different ones


@dataclasses.dataclass(frozen=True)
class Row:
    """One line: `ratio` is ours to the reference; `limit` is its upper bound, or its lower one with `at_least`."""

    goal: str
    what: str
    unit: str = ""
    ours: float | None = None
    reference: float | None = None
    ratio: float | None = None
    limit: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        value = self.ours if self.ratio is None else self.ratio
        if self.limit is None or value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def reach(self) -> str:
        if self.limit is None:
            return self.note
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.note}".rstrip()


def compared(
    goal: str,
    what: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    *,
    limit: float | None = None,
    at_least: bool = False,
    note: str = "",
) -> Row:
    """A row of pairs (ours, reference), measured right after each other: medians, and the median of the ratios."""
    ours, reference = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Row(goal, what, unit, ours, reference, ratio, limit, at_least, note)


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    verdicts = {True: "reached", False: "MISSED", None: ""}
    lines = [("", "what", "ours", "reference", "ratio", "reach", "")]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.3f}"
        figures = (cell(row.ours), cell(row.reference), ratio)
        lines.append(
            (row.goal, ", ".join(filter(None, (row.what, row.unit))), *figures, row.reach, verdicts[row.reached])
        )
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    return "\n".join("  ".join(aligned(line, widths)).rstrip() for line in lines)


def aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    figures = range(2, 5)
    return [
        text.rjust(width) if column in figures else text.ljust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
