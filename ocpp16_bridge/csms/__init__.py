"""The side of the Central System; knows no feature and no MQTT."""
