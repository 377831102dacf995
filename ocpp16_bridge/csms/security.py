"""Security profiles: what authenticates whom (security white paper; obligations 9.1 … 9.3)."""

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocpp16_bridge.authorization_key import password

# SE-21: both pairs of the white paper, and ECDHE_RSA; Python's own list lacks the static RSA pair.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-GCM-SHA384"
)


def basic_authorization(identity: str, authorization_key: str) -> tuple[str, str]:
    """The header of every upgrade request in profile 1 and 2; the password may be any bytes (TR-09, SE-15)."""
    credentials = identity.encode() + b":" + password(authorization_key)
    return "Authorization", "Basic " + base64.b64encode(credentials).decode("ascii")


def tls_context(
    ca_file: Path | None, client_certificate: Path | None, client_key: Path | None, *, verify_host_name: bool
) -> ssl.SSLContext:
    """TLS 1.2 or later; ``ca_file``, else the system's certificates, vouch for the server (SE-20 … SE-24).

    Raises:
        ssl.SSLError: a file can't be read or holds no certificate or key; the text names it.

    """
    with _naming(ca_file):
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.check_hostname = verify_host_name
    if client_certificate is not None:
        with _naming(client_certificate, client_key):
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(client_certificate, client_key, password="")
    return context


@contextmanager
def _naming(*files: Path | None) -> Iterator[None]:
    """Say in the error which file it is about: Python doesn't."""
    try:
        yield
    except OSError as error:
        names = ", ".join(str(file) for file in files if file is not None)
        raise ssl.SSLError(error.errno, f"{names}: {error.strerror or error}") from error
