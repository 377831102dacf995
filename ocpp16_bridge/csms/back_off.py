"""How long to wait before the next attempt (obligations TR-45)."""

from collections.abc import Callable


class BackOff:
    """A series of growing waits: ``minimum * 2**min(n, repeat_times) + random() * random_range`` s after n failures.

    Args:
        minimum: first wait, s.
        random_range: width of the random part that is added to every wait, s.
        repeat_times: how often the wait is doubled before it stays.
        random: a number from [0, 1); injected, so that tests decide.

    """

    def __init__(self, minimum: float, random_range: float, repeat_times: int, random: Callable[[], float]) -> None:
        self._minimum = minimum
        self._random_range = random_range
        self._repeat_times = repeat_times
        self._random = random
        self._failures = 0

    def next_wait(self) -> float:
        """The wait after one more failure, in seconds."""
        doublings = min(self._failures, self._repeat_times)
        self._failures += 1
        return float(self._minimum * 2**doublings + self._random() * self._random_range)

    def reset(self) -> None:
        """Begin the series again: the attempt succeeded."""
        self._failures = 0
