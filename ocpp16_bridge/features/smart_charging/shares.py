"""How connectors with a transaction share what the whole charge point may draw (OCPP 1.6, 3.13.3; contract 2)."""

from collections.abc import Sequence

LEAST_CURRENT = 6  # A; a control pilot can't tell an EV less (IEC 61851-1)


def shares(total: int, wants: Sequence[int], unit: int) -> list[int]:
    """The share of each transaction in ``total``, in the order of ``wants``. All are currents of one phase.

    Args:
        total: what all together may draw.
        wants: what each may draw by its own limits, the earliest transaction first.
        unit: how many of the units of ``total`` and ``wants`` are 1 A. A rest of less than a unit is given to nobody.

    """
    if len(wants) == 1:
        return [min(wants[0], total)]
    if sum(wants) <= total:
        return list(wants)
    least = LEAST_CURRENT * unit
    able = [index for index, want in enumerate(wants) if want >= least]
    admitted = able[: total // least]  # as many as get enough to charge, the earliest first
    level = _level(total, sorted(wants[index] for index in admitted))
    result = [0] * len(wants)
    for index in admitted:
        result[index] = min(wants[index], level)
    return result


def _level(total: int, wants: list[int]) -> int:
    """The equal share of those who want more than it; ``wants`` rise."""
    for rank, want in enumerate(wants):
        level = total // (len(wants) - rank)
        if want >= level:
            return level
        total -= want  # what it leaves goes to the others
    return max(wants, default=0)  # enough for all
