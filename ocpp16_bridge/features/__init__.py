"""One file or folder per functional block of OCPP 1.6, named as OCPP names it."""
