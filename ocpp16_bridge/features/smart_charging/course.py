"""Values that change at certain moments and hold in between."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Each value and the moment from which it holds, until the next. The first moment is the beginning.
Course = list[tuple[int, T]]


def changed(course: Course[T], change: Callable[[T], R]) -> Course[R]:
    """The course of what ``change`` makes of each value. Equal neighbours become one."""
    result: Course[R] = []
    for moment, value in course:
        new = change(value)
        if not result or new != result[-1][1]:
            result.append((moment, new))
    return result


def combined(courses: Sequence[Course[T]], combine: Callable[[list[T]], R]) -> Course[R]:
    """What ``combine`` makes of the values that all courses have at the same time. Equal neighbours become one.

    All courses begin at the same moment. ``combine`` gets one value of each, in the same list each time.
    """
    changes = [(moment, index, value) for index, course in enumerate(courses) for moment, value in course]
    changes.sort(key=itemgetter(0))
    current = [course[0][1] for course in courses]
    result: Course[R] = []
    for (moment, index, value), (following, *_) in zip(changes, [*changes[1:], (None,)], strict=True):
        current[index] = value
        if moment != following:  # all changes of that moment are made
            new = combine(current)
            if not result or new != result[-1][1]:
                result.append((moment, new))
    return result


class Gaps:
    """What is still open of a span of time: spans in order that don't touch."""

    def __init__(self, start: int, end: int) -> None:
        self._starts = [start]
        self._ends = [end]

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def start(self) -> int:
        """Of the first one."""
        return self._starts[0]

    @property
    def end(self) -> int:
        """Of the last one."""
        return self._ends[-1]

    def close(self, start: int, end: int) -> list[tuple[int, int]]:
        """Close what is open between ``start`` and ``end``; returns the spans that were."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        spans = list(zip(self._starts[first:last], self._ends[first:last], strict=True))
        if not spans:
            return []
        earliest, latest = spans[0][0], spans[-1][1]
        self._starts[first:last] = [earliest] * (earliest < start) + [end] * (end < latest)
        self._ends[first:last] = [start] * (earliest < start) + [latest] * (end < latest)
        return [(max(start, opening), min(end, closing)) for opening, closing in spans]
