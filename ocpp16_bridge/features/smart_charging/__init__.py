"""Smart charging (OCPP 1.6, 3.13; obligations 8.3); all but `smart_charging` is pure: no I/O, no clock, no feature."""
