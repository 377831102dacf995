"""Each core case of the OCTT for charge points has exactly one test."""

import re
from collections import Counter
from pathlib import Path

import pytest

CORE_CASES = """
001 002 003 004_1 004_2 005_1 005_2 005_3 068 069 007_1 007_2 061_1 061_2 010 011_1 011_2 012 013 014 015 016
017_1 017_2 018_1 018_2 019 021 070 071 023_4 023_5 024 026 027 028 030 031 032_1 032_2 034 036 037_1 037_2 037_3
038 039 040_1 040_2 041 062
""".split()  # noqa: SIM905
TESTS = Counter(
    case
    for file in Path(__file__).parent.glob("test_*.py")
    for case in re.findall(r"^def test_tc_(\d{3}(?:_\d)?)_cs_", file.read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("case", CORE_CASES)
def test_case_has_one_test(case: str) -> None:
    assert TESTS[case] == 1


def test_every_test_is_of_a_listed_case() -> None:
    assert set(TESTS) <= set(CORE_CASES)
