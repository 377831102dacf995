"""Certificates for tests, made by the program `openssl`."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certification authority of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        extensions = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._own = self._issue("authority", *extensions)
        self.certificate = self._own.certificate

    def server(self) -> Issued:
        """For whoever listens on 127.0.0.1."""
        return self._signed("127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")

    def client(self, name: str) -> Issued:
        return self._signed(name, "-addext", "extendedKeyUsage=clientAuth")

    def _signed(self, name: str, *extensions: str) -> Issued:
        authority = ("-CA", str(self._own.certificate), "-CAkey", str(self._own.key))
        return self._issue(name, *authority, "-addext", "basicConstraints=critical,CA:FALSE", *extensions)

    def _issue(self, name: str, *options: str) -> Issued:
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files = ("-out", str(issued.certificate), "-keyout", str(issued.key))
        command = ["openssl", "req", "-x509", "-days", "2", "-subj", f"/CN={name}", *_NEW_KEY, *files, *options]
        subprocess.run(command, check=True, capture_output=True)
        return issued


def server_context(issued: Issued, client_authority: Path | None = None) -> ssl.SSLContext:
    """What a server shows; with an authority it also asks clients for their certificates."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_authority)
    context.load_cert_chain(issued.certificate, issued.key)
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
