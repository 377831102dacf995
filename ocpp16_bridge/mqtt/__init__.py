"""The side of the broker; knows no feature and no OCPP frame."""
