"""What flows through an EVSE, and what its meter reads."""

import pytest

from ocpp16_bridge.simulator.evse import CAR_CURRENT, SOC_ON_ARRIVAL, Evse, Fact

A_FAULT: Fact = {"error_code": "GroundFailure", "faulted": True}
A_WARNING: Fact = {"error_code": "WeakSignal", "faulted": False}


def charging(**attributes: object) -> Evse:
    """One that has charged for a minute, if nothing of ``attributes`` speaks against it."""
    evse = Evse(is_permitted=True)
    evse.arrive()
    for name, value in attributes.items():
        setattr(evse, name, value)
    evse.advance(60)
    return evse


@pytest.mark.parametrize(
    ("attributes", "current"),
    [
        ({}, CAR_CURRENT),
        ({"is_permitted": False}, 0),
        ({"is_plugged": False}, 0),
        ({"wants_energy": False}, 0),
        ({"soc": 100.0}, 0),
        ({"errors": [A_FAULT]}, 0),
        ({"errors": [A_WARNING]}, CAR_CURRENT),
        ({"max_current": 10.0}, 10),
        ({"limit": {"limit": 8.0, "unit": "A"}}, 8),
        ({"limit": {"limit": 5.9, "unit": "A"}}, 0),
        ({"limit": {"limit": 0.0, "unit": "A"}}, 0),
        ({"limit": {"limit": 6900.0, "unit": "W", "number_phases": 3}}, 10),
        ({"limit": {"limit": 2300.0, "unit": "W", "number_phases": 1}}, 10),
        ({"limit": {"limit": 6900.0, "unit": "W"}}, 10),
        ({"limit": {"limit": 100.0, "unit": "A"}}, CAR_CURRENT),
    ],
    ids=str,
)
def test_current_flows_while_everybody_agrees(attributes: dict[str, object], current: float) -> None:
    assert charging(**attributes).current == pytest.approx(current)


def test_the_car_takes_more_and_more_up_to_its_maximum() -> None:
    evse = Evse(is_permitted=True)
    evse.arrive()

    currents = []
    for _ in range(5):
        evse.advance(1)
        currents.append(evse.current)

    assert currents == [4, 8, 12, 16, 16]


def test_the_register_is_the_integral_of_the_power() -> None:
    evse = charging()
    began = evse.register

    for _ in range(60):
        evse.advance(60)

    assert evse.power == pytest.approx(3 * 228.4 * 16)
    assert evse.register - began == pytest.approx(evse.power)  # of one hour


def test_the_register_stands_still_without_current() -> None:
    evse = charging(is_permitted=False)
    began = evse.register

    evse.advance(3600)

    assert evse.register == began


def test_a_lower_limit_counts_at_once() -> None:
    evse = charging()

    evse.limit = {"limit": 7.0, "unit": "A"}

    assert evse.current == 7


def test_the_battery_fills_and_then_wants_nothing() -> None:
    evse = charging()
    assert SOC_ON_ARRIVAL < evse.soc < SOC_ON_ARRIVAL + 1

    for _ in range(300):
        evse.advance(60)

    assert (evse.soc, evse.current, evse.state()["ev_ready"]) == (100, 0, False)


@pytest.mark.parametrize(("phases", "count"), [(1, 1), (2, 2), (3, 3)])
def test_each_phase_has_its_current_and_its_voltage(phases: int, count: int) -> None:
    reading = charging(phases=phases).meter()

    assert list(reading["Current.Import"].values()) == [16.0] * count
    assert list(reading["Voltage"].values()) == [228.4] * count
    assert list(reading["Voltage"]) == ["L1-N", "L2-N", "L3-N"][:count]


def test_without_a_car_nobody_knows_a_state_of_charge() -> None:
    assert "SoC" not in Evse().meter()


@pytest.mark.parametrize("has_lock", [True, False])
def test_only_a_connector_with_a_lock_says_whether_it_is_locked(has_lock: bool) -> None:
    assert ("locked" in Evse(has_lock=has_lock).state()) == has_lock


def test_who_leaves_takes_the_cable_along() -> None:
    evse = charging(has_lock=True, is_locked=True)

    evse.leave()

    assert set(evse.state().values()) == {False}
