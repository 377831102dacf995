"""ocpp16-bridge: an OCPP 1.6J charge point between a CSMS (websocket) and everything else on the board (MQTT)."""

__version__ = "0.1.0"
