"""Security profiles: what authenticates whom (security white paper; obligations 9.1 … 9.3)."""

import base64
import re
import ssl
from pathlib import Path

_HEX_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")

# SE-21: both pairs of the white paper, and ECDHE_RSA; Python's own list lacks the static RSA pair.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-GCM-SHA384"
)


def password(authorization_key: str) -> bytes:
    """The password that an AuthorizationKey stands for: 32 … 40 hex digits are its bytes, else it is text (SE-10, SE-11)."""
    if _HEX_KEY.fullmatch(authorization_key):
        return bytes.fromhex(authorization_key)
    return authorization_key.encode()


def basic_authorization(identity: str, authorization_key: str) -> tuple[str, str]:
    """The header of every upgrade request in profile 1 and 2; the password may be any bytes (TR-09, SE-15)."""
    credentials = identity.encode() + b":" + password(authorization_key)
    return "Authorization", "Basic " + base64.b64encode(credentials).decode("ascii")


def tls_context(
    ca_file: Path | None, client_certificate: Path | None, client_key: Path | None, *, verify_host_name: bool
) -> ssl.SSLContext:
    """TLS 1.2 or later; the server is verified against ``ca_file``, else against the system's certificates (SE-20 … SE-24).

    Raises:
        OSError: a file can't be read or holds no certificate (`ssl.SSLError` is one).

    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.check_hostname = verify_host_name
    if client_certificate is not None:
        context.load_cert_chain(client_certificate, client_key)
    return context
