"""Firmware management (OCPP 1.6, 4.5 and 5.19; obligations 8.4)."""

from ocpp16_bridge.configuration_keys import Access, ListKey
from ocpp16_bridge.feature import Feature


class Firmware(Feature):
    profile = "FirmwareManagement"

    supported_file_transfer_protocols = ListKey(
        "SupportedFileTransferProtocols", ("FTP", "FTPS", "HTTP", "HTTPS"), access=Access.READ_ONLY
    )
