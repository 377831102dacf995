"""Each case of the OCTT for charge points that is listed here has exactly one test."""

import re
from collections import Counter
from pathlib import Path

import pytest

CORE_CASES = """
001 002 003 004_1 004_2 005_1 005_2 005_3 068 069 007_1 007_2 061_1 061_2 010 011_1 011_2 012 013 014 015 016
017_1 017_2 018_1 018_2 019 021 070 071 023_4 023_5 024 026 027 028 030 031 032_1 032_2 034 036 037_1 037_2 037_3
038 039 040_1 040_2 041 062
""".split()  # noqa: SIM905
LOCAL_AUTH_LIST_CASES = "008_1 008_2 042_1 042_2 043 043_1 043_2 043_3".split()  # noqa: SIM905
RESERVATION_CASES = """
046_1 046_2 047 048_1 048_2 048_3 048_4 049 050_1 050_2 050_3 050_4 051 052 053_1 053_2
""".split()  # noqa: SIM905
REMOTE_TRIGGER_CASES = ["054", "055"]
FIRMWARE_MANAGEMENT_CASES = ["044_1", "044_2", "044_3", "045_1", "045_2"]
SMART_CHARGING_CASES = "056 057 058_1 058_2 059 060 066 067 072 082".split()  # noqa: SIM905
CASES = [
    *CORE_CASES,
    *LOCAL_AUTH_LIST_CASES,
    *FIRMWARE_MANAGEMENT_CASES,
    *RESERVATION_CASES,
    *REMOTE_TRIGGER_CASES,
    *SMART_CHARGING_CASES,
]
TESTS = Counter(
    case
    for file in Path(__file__).parent.glob("test_*.py")
    for case in re.findall(r"^def test_tc_(\d{3}(?:_\d)?)_cs_", file.read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("case", CASES)
def test_case_has_one_test(case: str) -> None:
    assert TESTS[case] == 1


def test_every_test_is_of_a_listed_case() -> None:
    assert set(TESTS) <= set(CASES)
