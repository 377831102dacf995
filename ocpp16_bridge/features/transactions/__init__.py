"""Transactions (OCPP 1.6, 4.8 and 4.10; obligations 5)."""
