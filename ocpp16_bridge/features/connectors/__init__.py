"""Connectors: facts from the hardware become a status, and the CSMS is told (OCPP 1.6, 4.9; obligations 3)."""
