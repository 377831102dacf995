"""What the daemon is measured against: S `straight_line`, T `hooked`, O `ocpp_defaults`, and `bare` imports.

S, T and O speak the same MQTT and the same OCPP: `BASE/request/data_transfer` → DataTransfer →
`BASE/response/data_transfer`, GetConfiguration with 60 keys, ChangeConfiguration → the retained `configuration_key`
topics. They leave out validation (O validates), state, errors, reconnects and logging.
"""
