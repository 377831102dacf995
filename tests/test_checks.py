"""The static checks, so that `pytest` is all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "check", ["ruff format --check --diff --quiet", "ruff check --quiet", "mypy --no-error-summary"]
)
def test_static_check_has_nothing_to_say(check: str) -> None:
    command = [sys.executable, "-m", *check.split()]
    report = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)

    assert report.returncode == 0, report.stdout + report.stderr
