import pytest

from ocpp16_bridge.csms.back_off import BackOff


def waits(back_off: BackOff, count: int) -> list[float]:
    return [back_off.next_wait() for _ in range(count)]


def test_the_wait_doubles_repeat_times_and_then_stays() -> None:
    """TR-45."""
    assert waits(BackOff(3, 10, 4, lambda: 0.0), 7) == [3, 6, 12, 24, 48, 48, 48]


def test_a_fresh_random_part_is_added_to_every_wait() -> None:
    """TR-45: so that a fleet does not come back all at once."""
    chance = iter([0.0, 0.5, 0.25])

    assert waits(BackOff(3, 10, 4, lambda: next(chance)), 3) == [3, 11, 14.5]


def test_no_repeat_keeps_the_first_wait() -> None:
    assert waits(BackOff(3, 0, 0, lambda: 0.0), 3) == [3, 3, 3]


@pytest.mark.parametrize("failures", [1, 3, 100])
def test_a_reset_begins_the_series_again(failures: int) -> None:
    back_off = BackOff(3, 0, 4, lambda: 0.0)
    waits(back_off, failures)

    back_off.reset()

    assert waits(back_off, 2) == [3, 6]


def test_an_outage_of_weeks_still_has_a_wait() -> None:
    assert waits(BackOff(3, 10, 4, lambda: 0.0), 100_000)[-1] == 48
