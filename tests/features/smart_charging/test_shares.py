"""How connectors with a transaction share the whole charge point's limit: contract 2, `limit`."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp16_bridge.features.smart_charging.shares import shares
from tests.features.smart_charging.reference import fair_shares

UNIT = 60  # of which 1 A are so many: 1/2 to 1/6 A are whole numbers of it


@pytest.mark.parametrize(
    ("total", "wants", "expected"),
    [
        pytest.param(32, [], [], id="nobody"),
        pytest.param(10, [32], [10], id="one gets all"),
        pytest.param(5, [32], [5], id="one alone shares with nobody"),
        pytest.param(32, [16, 16], [16, 16], id="enough for all"),
        pytest.param(20, [16, 4], [16, 4], id="enough for all, though one can't charge"),
        pytest.param(32, [32, 32], [16, 16], id="equal shares"),
        pytest.param(32, [10, 32, 32], [10, 11, 11], id="what one leaves goes to the others"),
        pytest.param(40, [32, 8, 10], [22, 8, 10], id="what two leave goes to the third"),
        pytest.param(12, [32, 32], [6, 6], id="just enough"),
        pytest.param(11, [32, 32], [11, 0], id="under 6 A the earliest goes first"),
        pytest.param(20, [32, 32, 32, 32], [20 / 3] * 3 + [0], id="as many as can charge"),
        pytest.param(14, [32, 6, 32], [8, 6, 0], id="the latest goes without"),
        pytest.param(16, [4, 16], [0, 16], id="who can't charge leaves it to the others"),
        pytest.param(5, [32, 32], [0, 0], id="not enough for one"),
        pytest.param(0, [32, 32], [0, 0], id="nothing to share"),
        pytest.param(2, [3, 0], [0, 0], id="nobody can charge"),
    ],
)
def test_total_is_shared(total: int, wants: list[int], expected: list[float]) -> None:
    parts = shares(total * UNIT, [want * UNIT for want in wants], UNIT)
    assert parts == [pytest.approx(part * UNIT) for part in expected]


# Tenths of amperes, so that shares of up to six come out even.
@given(total=st.integers(0, 400), wants=st.lists(st.integers(0, 400), min_size=2, max_size=6))
def test_shares_are_fair_and_never_above_the_total(total: int, wants: list[int]) -> None:
    total, wants = total * UNIT // 10, [want * UNIT // 10 for want in wants]

    parts = shares(total, wants, UNIT)

    assert sum(parts) <= total
    assert all(part <= want for part, want in zip(parts, wants, strict=True))
    exact = fair_shares(Fraction(total, UNIT), [Fraction(want, UNIT) for want in wants])
    assert parts == [part * UNIT // 1 for part in exact]
