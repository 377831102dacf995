"""SetChargingProfile, ClearChargingProfile, GetCompositeSchedule: obligations 8.3."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.features.smart_charging.conftest import MakeSite
from tests.features.smart_charging.site import ACCEPTED, REJECTED, UNKNOWN, Site, profile, schedule

TX, DEFAULT, MAX = "TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"
FLAT = (0, 10)


def installed(site: Site) -> dict[str, int]:
    """The connectors of the profiles in the store, by id."""
    rows = site.store.read("SELECT key, value FROM record WHERE collection = ?", ("charging_profile",))
    return {key: json.loads(value)["connector_id"] for key, value in rows}


# --- accepting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connector", "purpose"),
    [(0, MAX), (0, DEFAULT), (1, DEFAULT), (2, DEFAULT), (1, TX)],
)
def test_profile_is_accepted_where_its_purpose_belongs(site: Site, connector: int, purpose: str) -> None:
    site.begin(1)

    assert site.set_profile(connector, purpose, FLAT) == ACCEPTED

    assert installed(site) == {"1": connector}


REFUSED = {
    "max profile on a connector": (1, profile(MAX, FLAT)),
    "TxProfile on connector 0": (0, profile(TX, FLAT)),
    "TxProfile without transaction": (2, profile(TX, FLAT)),  # TC_058_1_CS
    "other transactionId": (1, profile(TX, FLAT, transactionId=999)),  # TC_058_2_CS
    "transactionId with another purpose": (1, profile(DEFAULT, FLAT, transactionId=101)),
    "stackLevel below 0": (1, profile(DEFAULT, FLAT, level=-1)),
    "stackLevel too high": (1, profile(DEFAULT, FLAT, level=11)),
    "no periods": (1, profile(DEFAULT)),
    "too many periods": (1, profile(DEFAULT, *((n, 10) for n in range(101)))),
    "10,000 periods": (1, profile(DEFAULT, *((n, 10) for n in range(10_000)))),
    "first startPeriod is not 0": (1, profile(DEFAULT, (1, 10))),
    "negative startPeriod": (1, profile(DEFAULT, (-1, 10))),
    "unsorted": (1, profile(DEFAULT, FLAT, (60, 8), (30, 9))),
    "startPeriod twice": (1, profile(DEFAULT, FLAT, (60, 8), (60, 9))),
    "negative limit": (1, profile(DEFAULT, (0, -0.1))),
    "numberPhases 0": (1, profile(DEFAULT, (0, 10, 0))),
    "numberPhases 4": (1, profile(DEFAULT, (0, 10, 4))),
    "duration 0": (1, profile(DEFAULT, chargingSchedule=schedule(FLAT, duration=0))),
    "validTo before validFrom": (
        1,
        profile(DEFAULT, FLAT, validFrom="2026-11-22T11:00:00Z", validTo="2026-11-22T10:00:00Z"),
    ),
    "Recurring without recurrencyKind": (
        1,
        profile(
            DEFAULT,
            chargingProfileKind="Recurring",
            chargingSchedule=schedule(FLAT, startSchedule="2026-11-22T00:00:00Z"),
        ),
    ),
    "Recurring without startSchedule": (
        1,
        profile(DEFAULT, FLAT, chargingProfileKind="Recurring", recurrencyKind="Daily"),
    ),
    "Relative max profile": (0, profile(MAX, FLAT, chargingProfileKind="Relative")),
}


@pytest.mark.parametrize(("connector", "refused"), REFUSED.values(), ids=REFUSED)
def test_profile_is_rejected_and_nothing_changes(site: Site, connector: int, refused: dict[str, Any]) -> None:
    site.begin(1)
    site.set_profile(0, DEFAULT, (0, 20))
    before = installed(site), site.limits()
    site.published()

    answer = site.ask_csms("SetChargingProfile", connectorId=connector, csChargingProfiles=refused)

    assert answer[2] == REJECTED
    assert (installed(site), site.limits()) == before
    assert site.published() == []


INVALID: dict[str, tuple[int, dict[str, Any], str]] = {
    "unknown connector": (3, profile(DEFAULT, FLAT), "PropertyConstraintViolation"),
    "negative connector": (-1, profile(DEFAULT, FLAT), "PropertyConstraintViolation"),
    "unit": (1, profile(DEFAULT, chargingSchedule=schedule(FLAT, unit="V")), "PropertyConstraintViolation"),
    "purpose": (1, profile("TxMaxProfile", FLAT), "PropertyConstraintViolation"),
    "kind": (1, profile(DEFAULT, FLAT, chargingProfileKind="Relativ"), "PropertyConstraintViolation"),
    "recurrency": (1, profile(DEFAULT, FLAT, recurrencyKind="Monthly"), "PropertyConstraintViolation"),
    "two fraction digits": (1, profile(DEFAULT, (0, 8.11)), "PropertyConstraintViolation"),
    "limit is a text": (1, profile(DEFAULT, (0, "NaN")), "TypeConstraintViolation"),
    "startPeriod is a fraction": (1, profile(DEFAULT, (0.5, 10)), "TypeConstraintViolation"),
    "no schedule": (
        1,
        {name: value for name, value in profile(DEFAULT).items() if name != "chargingSchedule"},
        "ProtocolError",
    ),
}


@pytest.mark.parametrize(("connector", "invalid", "code"), INVALID.values(), ids=INVALID)
def test_what_the_schema_does_not_know_is_a_callerror(
    site: Site, connector: int, invalid: dict[str, Any], code: str
) -> None:
    """Errata 5.16."""
    answer = site.ask_csms("SetChargingProfile", connectorId=connector, csChargingProfiles=invalid)

    assert (answer[0], answer[2]) == (4, code)
    assert installed(site) == {}


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_changes_nothing(site: Site, constant: str) -> None:
    text = json.dumps(profile(DEFAULT, (0, 77))).replace("77", constant)

    site.receive(f'[2,"csms-x","SetChargingProfile",{{"connectorId":1,"csChargingProfiles":{text}}}]')

    assert [frame for frame in site.sent() if frame[0] == 3] == []
    assert installed(site) == {}
    assert site.limits() == [32, 32]


@pytest.mark.parametrize(("tokens", "unit", "status"), [("Current", "W", REJECTED), ("Power", "W", ACCEPTED)])
def test_only_allowed_units_are_accepted(make_site: MakeSite, tokens: str, unit: str, status: dict[str, str]) -> None:
    site = make_site(f'[configuration_keys]\nChargingScheduleAllowedChargingRateUnit = ["{tokens}"]\n')

    assert site.set_profile(1, DEFAULT, chargingSchedule=schedule((0, 2300), unit=unit)) == status


@pytest.mark.parametrize("limit", [0.1, 8.1, 16.3, 27.7])
def test_one_fraction_digit_is_accepted(site: Site, limit: float) -> None:
    """GD-07: as a float it is no multiple of 0.1."""
    assert site.set_profile(1, DEFAULT, (0, limit)) == ACCEPTED
    assert site.limits()[0] == limit


def test_what_has_no_meaning_for_the_kind_is_ignored(site: Site) -> None:
    fields = {
        "chargingProfileKind": "Relative",
        "recurrencyKind": "Daily",
        "chargingSchedule": schedule((0, 10), (60, 8), startSchedule="2020-01-01T00:00:00Z"),
    }

    assert site.set_profile(1, DEFAULT, **fields) == ACCEPTED

    assert site.composite() == [(0, 10), (60, 8)]


# --- replacing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((2, profile(DEFAULT, FLAT, number=1)), {"1": 2}),
        ((1, profile(DEFAULT, FLAT, number=2)), {"2": 1}),
        ((1, profile(DEFAULT, FLAT, number=2, level=1)), {"1": 1, "2": 1}),
        ((2, profile(DEFAULT, FLAT, number=2)), {"1": 1, "2": 2}),
        ((0, profile(DEFAULT, FLAT, number=2)), {"1": 1, "2": 0}),
        ((0, profile(MAX, FLAT, number=1, level=3)), {"1": 0}),
        ((1, profile(TX, FLAT, number=2)), {"1": 1, "2": 1}),
    ],
    ids=["same id anywhere", "same place", "other level", "other connector", "connector 0", "same id", "other purpose"],
)
def test_profile_replaces_the_one_of_its_id_or_place(
    site: Site, second: tuple[int, dict[str, Any]], expected: dict[str, int]
) -> None:
    site.begin(1)
    site.set_profile(1, DEFAULT, FLAT, number=1)

    assert site.ask_csms("SetChargingProfile", connectorId=second[0], csChargingProfiles=second[1])[2] == ACCEPTED

    assert installed(site) == expected


def test_rejected_profile_leaves_the_one_of_its_id(site: Site) -> None:
    site.set_profile(1, DEFAULT, FLAT)

    assert site.set_profile(1, DEFAULT, (5, 8)) == REJECTED

    assert site.composite() == [(0, 10)]


def test_replacement_that_is_not_valid_yet_leaves_a_gap(site: Site) -> None:
    """3.13.2."""
    site.set_profile(1, DEFAULT, FLAT)

    site.set_profile(1, DEFAULT, (0, 8), validFrom="2026-11-22T10:01:00Z")

    assert site.composite() == [(0, 32), (60, 8)]


def test_a_hundred_profiles_have_room_and_are_kept(make_site: MakeSite) -> None:
    """MaxChargingProfilesInstalled; SC-14."""
    site = make_site(connectors=9)
    places = [(connector, level) for connector in range(10) for level in range(11)][:101]

    answers = [
        site.set_profile(connector, DEFAULT, (0, 6 + level), number=number, level=level)
        for number, (connector, level) in enumerate(places)
    ]

    assert answers == [ACCEPTED] * 100 + [REJECTED]
    site.restart()
    assert len(installed(site)) == 100
    assert site.limits() == [16] * 8 + [6]


def test_no_more_than_the_configured_number_is_installed(make_site: MakeSite) -> None:
    site = make_site("[configuration_keys]\nMaxChargingProfilesInstalled = 3\n")
    for number in range(3):
        assert site.set_profile(1, DEFAULT, FLAT, number=number, level=number) == ACCEPTED

    assert site.set_profile(1, DEFAULT, FLAT, number=3, level=3) == REJECTED
    assert site.set_profile(1, DEFAULT, (0, 9), number=3, level=2) == ACCEPTED

    assert installed(site) == {"0": 1, "1": 1, "3": 1}
    assert site.composite() == [(0, 9)]


# --- clearing (SC-10) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criteria", "left"),
    [
        ({}, set()),
        ({"id": 1}, {"2", "3", "4"}),
        ({"id": 1, "connectorId": 2, "stackLevel": 7, "chargingProfilePurpose": MAX}, {"2", "3", "4"}),
        ({"connectorId": 0}, {"2", "3"}),
        ({"connectorId": 1}, {"1", "3", "4"}),
        ({"stackLevel": 0}, {"2"}),
        ({"chargingProfilePurpose": DEFAULT}, {"1"}),
        ({"chargingProfilePurpose": DEFAULT, "stackLevel": 0}, {"1", "2"}),
        ({"connectorId": 0, "chargingProfilePurpose": DEFAULT, "stackLevel": 0}, {"1", "2", "3"}),
    ],
    ids=["all", "id", "id alone counts", "connector 0", "connector", "level", "purpose", "two", "three"],
)
def test_what_fits_every_criterion_is_cleared(site: Site, criteria: dict[str, Any], left: set[str]) -> None:
    site.set_profile(0, MAX, FLAT, number=1)
    site.set_profile(1, DEFAULT, FLAT, number=2, level=1)
    site.set_profile(2, DEFAULT, FLAT, number=3)
    site.set_profile(0, DEFAULT, FLAT, number=4)

    assert site.ask_csms("ClearChargingProfile", **criteria)[2] == ACCEPTED

    assert set(installed(site)) == left


@pytest.mark.parametrize(
    "criteria",
    [{"id": 2}, {"connectorId": 2}, {"connectorId": 9}, {"stackLevel": 1}, {"chargingProfilePurpose": TX}],
    ids=["id", "connector", "unknown connector", "level", "purpose"],
)
def test_nothing_that_fits_is_unknown(site: Site, criteria: dict[str, Any]) -> None:
    site.set_profile(1, DEFAULT, FLAT, number=1)
    site.published()

    assert site.ask_csms("ClearChargingProfile", **criteria)[2] == UNKNOWN

    assert set(installed(site)) == {"1"}
    assert site.published() == []


# --- a TxProfile and its transaction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transaction_id", [{}, {"transactionId": 101}], ids=["without id", "with id"])
def test_tx_profile_ends_with_its_transaction(site: Site, transaction_id: dict[str, int]) -> None:
    """SC-13."""
    site.begin(1)
    assert site.set_profile(1, TX, FLAT, **transaction_id) == ACCEPTED
    assert site.limits()[0] == 10

    site.end(1)

    assert installed(site) == {}
    assert site.limits()[0] == 32
    site.begin(1)
    assert site.limits()[0] == 32


def test_tx_profile_is_only_of_its_transaction(site: Site) -> None:
    site.begin(1)
    site.begin(2)
    site.set_profile(1, TX, FLAT, number=1)
    site.set_profile(2, TX, (0, 12), number=2)

    site.end(2)

    assert installed(site) == {"1": 1}
    assert site.limits()[0] == 10


def test_transaction_that_waits_for_its_meter_is_over_for_tx_profiles(site: Site) -> None:
    site.begin(1)
    site.set_profile(1, TX, FLAT)
    site.present(1)
    assert site.shown("connector/1/transaction") is not None

    assert site.set_profile(1, TX, (0, 8), number=2) == REJECTED


def test_transaction_without_an_id_yet_takes_a_profile_without_one(site: Site) -> None:
    """7.8: a StartTransaction that has no answer has no id."""
    site.unanswered = "StartTransaction"
    assert site.begin(1)["transaction_id"] is None

    assert site.set_profile(1, TX, FLAT, transactionId=101) == REJECTED
    assert site.set_profile(1, TX, FLAT) == ACCEPTED
    assert site.limits()[0] == 10

    site.answer_late()
    assert site.set_profile(1, TX, FLAT, number=2, transactionId=101) == ACCEPTED
    assert installed(site) == {"2": 1}


def test_new_default_applies_to_a_running_transaction_at_once(site: Site) -> None:
    """SC-11; TC_082_CS."""
    site.begin(1)

    site.set_profile(1, DEFAULT, FLAT)
    assert site.limits()[0] == 10

    site.ask_csms("ClearChargingProfile")
    assert site.limits()[0] == 32


# --- RemoteStartTransaction -------------------------------------------------------------------------------------------


def remote_start(site: Site, brought: dict[str, Any]) -> Any:
    return site.ask_csms("RemoteStartTransaction", connectorId=1, idTag="TAG1", chargingProfile=brought)[2]


def test_profile_of_remote_start_begins_with_its_transaction(site: Site) -> None:
    """SC-12; TC_059_CS."""
    assert remote_start(site, profile(TX, FLAT)) == ACCEPTED
    assert installed(site) == {}

    site.plug(1)

    assert installed(site) == {"1": 1}
    assert site.limits()[0] == 10


def test_later_profile_replaces_that_of_remote_start_or_stacks(site: Site) -> None:
    """SC-12."""
    site.plug(1)
    remote_start(site, profile(TX, FLAT))

    site.set_profile(1, TX, (0, 12), number=2, level=1, transactionId=101)
    site.set_profile(1, TX, (0, 8), number=3, transactionId=101)

    assert installed(site) == {"2": 1, "3": 1}
    assert site.limits()[0] == 12


def test_profile_of_a_remote_start_that_times_out_is_discarded(site: Site) -> None:
    """SC-12."""
    remote_start(site, profile(TX, FLAT))

    site.advance(200)
    site.begin(1)

    assert site.shown("connector/1/transaction") is not None
    assert installed(site) == {}
    assert site.limits()[0] == 32


@pytest.mark.parametrize(
    "wrong",
    [profile(DEFAULT, FLAT), profile(MAX, FLAT), profile(TX, FLAT, transactionId=1)],
    ids=["default", "max", "transactionId"],
)
def test_remote_start_with_another_profile_is_rejected(site: Site, wrong: dict[str, Any]) -> None:
    """6.1; TC_060_CS."""
    assert remote_start(site, wrong) == REJECTED


def test_unusable_profile_of_a_remote_start_is_never_installed(site: Site) -> None:
    site.plug(1)

    remote_start(site, profile(TX, (5, 10)))

    assert installed(site) == {}


# --- GetCompositeSchedule ---------------------------------------------------------------------------------------------


def test_composite_schedule_has_the_form_of_the_errata(site: Site) -> None:
    """SC-01, SC-05."""
    site.begin(1)
    site.set_profile(1, TX, FLAT, (60, 8.5, 1))

    site.advance(10.4)

    assert site.ask_csms("GetCompositeSchedule", connectorId=1, duration=100)[2] == {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": "2026-11-22T10:00:10Z",
        "chargingSchedule": {
            "duration": 100,
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 10.0, "numberPhases": 3},
                {"startPeriod": 50, "limit": 8.5, "numberPhases": 1},
            ],
        },
    }


@pytest.mark.parametrize(
    ("connector", "duration"), [(3, 60), (-1, 60), (1, 0), (1, -1)], ids=["unknown", "negative", "0 s", "below 0 s"]
)
def test_impossible_composite_schedule_is_rejected(site: Site, connector: int, duration: int) -> None:
    """SC-02, SC-08."""
    answer = site.ask_csms("GetCompositeSchedule", connectorId=connector, duration=duration)

    assert answer[2] == REJECTED


def test_illegal_unit_is_a_callerror(site: Site) -> None:
    """SC-03."""
    answer = site.ask_csms("GetCompositeSchedule", connectorId=1, duration=60, chargingRateUnit="V")

    assert (answer[0], answer[2]) == (4, "PropertyConstraintViolation")


def test_connector_0_is_what_the_grid_must_give(site: Site) -> None:
    """SC-04."""
    assert site.composite(0) == [(0, 64)]

    site.set_profile(0, MAX, (0, 40))

    assert site.composite(0) == [(0, 40)]
    assert site.composite(0, chargingRateUnit="W") == [(0, 27_600)]


def test_horizon_bounds_the_duration_and_the_key_the_periods(site: Site) -> None:
    """SC-06, SC-08."""
    site.set_profile(
        1,
        DEFAULT,
        chargingProfileKind="Recurring",
        recurrencyKind="Daily",
        chargingSchedule=schedule(*((n * 600, 6 + n % 2) for n in range(100)), startSchedule="2026-11-22T10:00:00Z"),
    )

    answer = site.ask_csms("GetCompositeSchedule", connectorId=1, duration=2**40)[2]["chargingSchedule"]

    assert len(answer["chargingSchedulePeriod"]) == 100
    assert answer["duration"] == 86_400  # where the 101st would begin


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_profiles_survive_sigkill(site: Site) -> None:
    """SC-14."""
    site.begin(1)
    site.set_profile(0, MAX, (0, 40), (3600, 8.1), number=1)
    site.set_profile(0, DEFAULT, (0, 20), (30, 12, 1), number=2)
    site.set_profile(1, TX, (0, 11), (100, 9), number=3)
    before = site.composite(1), site.composite(2), site.limits()

    site.restart()

    assert (site.composite(1), site.composite(2), site.limits()) == before


@pytest.mark.parametrize(
    "lose",
    [
        lambda site: setattr(site, "boot_id", "boot-2"),
        lambda site: site._plugged.clear(),
        lambda site: site.kill("[[connectors]]\n"),
    ],
    ids=["power loss", "unplugged meanwhile", "its connector is gone"],
)
def test_tx_profile_does_not_survive_its_transaction(site: Site, lose: Callable[[Site], None]) -> None:
    """SC-14: only as long as its transaction lives."""
    site.begin(2)
    site.set_profile(2, TX, FLAT)

    lose(site)
    site.restart()

    assert installed(site) == {}


def test_profiles_of_a_connector_that_is_gone_wait_or_are_cleared(site: Site) -> None:
    site.set_profile(2, DEFAULT, FLAT)

    site.restart("[[connectors]]\n")

    assert site.limits() == [32]
    assert site.ask_csms("ClearChargingProfile", id=1)[2] == ACCEPTED


# --- SupportedFeatureProfiles without SmartCharging -------------------------------------------------------------------

WITHOUT = '[configuration_keys]\nSupportedFeatureProfiles = "Core,RemoteTrigger"\n'


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile(DEFAULT, FLAT)}),
        ("ClearChargingProfile", {}),
        ("GetCompositeSchedule", {"connectorId": 1, "duration": 60}),
    ],
)
def test_without_smart_charging_its_actions_are_not_supported(
    make_site: MakeSite, action: str, payload: dict[str, Any]
) -> None:
    """Errata 5.16."""
    answer = make_site(WITHOUT).ask_csms(action, **payload)

    assert (answer[0], answer[2]) == (4, "NotSupported")


def test_without_smart_charging_the_profile_of_remote_start_is_ignored(make_site: MakeSite) -> None:
    """TX-06."""
    site = make_site(WITHOUT)
    site.plug(1)

    assert remote_start(site, profile(TX, FLAT)) == ACCEPTED

    assert site.shown("connector/1/transaction") is not None
    assert installed(site) == {}
    assert site.limits()[0] == 32


def test_without_smart_charging_only_local_limits_count(site: Site) -> None:
    site.set_profile(1, DEFAULT, FLAT)

    site.restart("[[connectors]]\n[[connectors]]\n" + WITHOUT)

    assert site.limits() == [32, 32]
    site.ask("set_local_limit", connector_id=1, limit=16, unit="A")
    assert site.limits() == [16, 32]
    assert [one["chargingSchedulePeriod"][0]["limit"] for one in site.shown("charging_schedules").values()] == [
        48,
        16,
        32,
    ]
