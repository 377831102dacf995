"""Meter values: sampled and clock-aligned (OCPP 1.6, 3.16 and 4.7; obligations 5.5)."""

from ocpp.v16.enums import Measurand, Phase

from ocpp16_bridge.configuration_keys import Access, IntegerKey, ListKey
from ocpp16_bridge.feature import Feature

_MEASURANDS = frozenset(map(str, Measurand))
_PHASES = frozenset(map(str, Phase))
# A list may name every measurand, and single phases of some.
MAX_MEASURANDS = 40
_REGISTER = (str(Measurand.energy_active_import_register),)


def is_measurand(item: str) -> bool:
    """A measurand, or one with a phase: `Voltage.L1-N` (OCPP 1.6, 9.1.17)."""
    measurand, _, phase = item.rpartition(".")
    return item in _MEASURANDS or (measurand in _MEASURANDS and phase in _PHASES)


def _measurands(name: str, default: tuple[str, ...]) -> ListKey:
    return ListKey(name, default, is_item=is_measurand, maximum_items=MAX_MEASURANDS)


def _max_length(name: str) -> IntegerKey:
    return IntegerKey(name, MAX_MEASURANDS, access=Access.READ_ONLY)


class Metering(Feature):
    clock_aligned_data_interval = IntegerKey("ClockAlignedDataInterval", 0, maximum=86400)  # s; 0: off
    meter_value_sample_interval = IntegerKey("MeterValueSampleInterval", 60)  # s; 0: off
    meter_values_aligned_data = _measurands("MeterValuesAlignedData", _REGISTER)
    meter_values_aligned_data_max_length = _max_length("MeterValuesAlignedDataMaxLength")
    meter_values_sampled_data = _measurands("MeterValuesSampledData", _REGISTER)
    meter_values_sampled_data_max_length = _max_length("MeterValuesSampledDataMaxLength")
    stop_txn_aligned_data = _measurands("StopTxnAlignedData", ())
    stop_txn_aligned_data_max_length = _max_length("StopTxnAlignedDataMaxLength")
    stop_txn_sampled_data = _measurands("StopTxnSampledData", ())
    stop_txn_sampled_data_max_length = _max_length("StopTxnSampledDataMaxLength")
    stop_transaction_max_meter_values = IntegerKey("StopTransactionMaxMeterValues", 500, access=Access.READ_ONLY)
