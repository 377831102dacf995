"""Meter values (OCPP 1.6, 3.16 and 4.7; obligations 5.5)."""
