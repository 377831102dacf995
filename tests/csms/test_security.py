import base64
import ssl
import subprocess
from pathlib import Path

import pytest

from ocpp16_bridge.authorization_key import check_authorization_key, password
from ocpp16_bridge.csms.security import basic_authorization, tls_context


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("4F43415F4F4354545F61646D696E5F74657374", b"OCA_OCTT_admin_test", id="38 digits, TC_073_CS"),
        pytest.param("00ff" * 8, b"\x00\xff" * 8, id="32 digits, any bytes"),
        pytest.param("aB" * 20, b"\xab" * 20, id="40 digits, either case"),
        pytest.param("ab" * 15, b"ab" * 15, id="30 digits"),
        pytest.param("a" * 33, b"a" * 33, id="33 digits"),
        pytest.param("ab" * 21, b"ab" * 21, id="42 digits"),
        pytest.param("0123456789abcdef", b"0123456789abcdef", id="16 digits, TC_085_CS"),
        pytest.param("zz" * 16, b"zz" * 16, id="32 other characters"),
        pytest.param("\u0660" * 32, b"\xd9\xa0" * 32, id="32 digits that are no hexadecimal ones"),
        pytest.param("pässwörd", "pässwörd".encode(), id="text"),
    ],
)
def test_32_to_40_hexadecimal_digits_are_bytes_and_anything_else_is_text(key: str, expected: bytes) -> None:
    """SE-10, SE-11; contract 5; trap 24."""
    assert password(key) == expected


@pytest.mark.parametrize("key", ["8 letter", "x" * 20, "0123456789abcdef", "ab" * 16, "ab" * 20])
def test_an_authorization_key_is_16_to_20_bytes_in_hex_or_8_to_20_characters(key: str) -> None:
    """SE-10, SE-11; contract 5."""
    check_authorization_key(key)


@pytest.mark.parametrize("key", ["x" * 7, "x" * 21, "a" * 33, "ab" * 21, "zz" * 16, "ab" * 15, "line\nfeed"])
def test_no_other_text_is_an_authorization_key_and_the_error_does_not_repeat_it(key: str) -> None:
    """SE-11 (c), SE-13."""
    with pytest.raises(ValueError, match="expected 32 to 40 hexadecimal digits") as raised:
        check_authorization_key(key)

    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("identity", "key", "expected"),
    [
        ("CP 1", "password", b"CP 1:password"),
        ("CP1", "00ff" * 8, b"CP1:" + b"\x00\xff" * 8),
        ("Säule", "with:colon", "Säule:with:colon".encode()),
    ],
)
def test_the_header_is_made_of_bytes(identity: str, key: str, expected: bytes) -> None:
    """TR-09, SE-15: the identity as it is, the password any octets."""
    name, value = basic_authorization(identity, key)

    assert name == "Authorization"
    assert base64.b64decode(value.removeprefix("Basic "), validate=True) == expected


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate, its key, and the key encrypted."""
    folder = tmp_path_factory.mktemp("certificates")
    for options in (
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 2 -subj /CN=localhost",
        "rsa -aes256 -passout pass:secret -in key.pem -out encrypted.pem",
    ):
        subprocess.run(["openssl", *options.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_server_is_verified_with_tls_1_2_or_later_and_no_compression() -> None:
    """SE-20, SE-22, SE-23, SE-24."""
    context = tls_context(None, None, None, verify_host_name=True)

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.hostname_checks_common_name
    assert ssl.OP_NO_COMPRESSION in context.options


def test_only_the_host_name_can_be_left_unchecked() -> None:
    context = tls_context(None, None, None, verify_host_name=False)

    assert not context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_the_ca_file_takes_the_place_of_the_systems_certificates(certificates: Path) -> None:
    """SE-23."""
    context = tls_context(certificates / "certificate.pem", None, None, verify_host_name=True)

    assert context.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_AES_256_GCM_SHA384",
    ],
)
def test_both_pairs_of_cipher_suites_and_tls_1_3_are_offered(suite: str) -> None:
    """SE-21; TC_086_CS, TC_087_CS."""
    assert suite in offered()


def test_every_suite_offered_is_authenticated_encryption() -> None:
    """SE-22."""
    assert [name for name in offered() if "GCM" not in name and "POLY1305" not in name and "CCM" not in name] == []


def offered() -> list[str]:
    return [cipher["name"] for cipher in tls_context(None, None, None, verify_host_name=True).get_ciphers()]


@pytest.mark.parametrize(
    "suite", ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256", "AES256-GCM-SHA384"], ids=lambda suite: suite
)
@pytest.mark.parametrize("with_client_certificate", [False, True], ids=["profile 2", "profile 3"])
def test_a_handshake_comes_about(certificates: Path, suite: str, with_client_certificate: bool) -> None:
    """SE-21, SE-24 (the name is in the CN alone), SE-25."""
    certificate, key = certificates / "certificate.pem", certificates / "key.pem"
    own = (certificate, key) if with_client_certificate else (None, None)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.load_verify_locations(certificate)
    server.verify_mode = ssl.CERT_REQUIRED if with_client_certificate else ssl.CERT_NONE
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers(suite)

    assert handshake(server, tls_context(certificate, *own, verify_host_name=True)) == suite


def test_a_server_that_offers_only_old_tls_is_left(certificates: Path) -> None:
    """SE-20."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates / "certificate.pem", certificates / "key.pem")
    server.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        server.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        server.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(ssl.SSLError):
        handshake(server, tls_context(certificates / "certificate.pem", None, None, verify_host_name=True))


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> str:
    """The cipher suite agreed upon, without a socket."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    open_ends = [client, server]
    for _ in range(10):
        for end in open_ends.copy():
            try:
                end.do_handshake()
                open_ends.remove(end)
            except ssl.SSLWantReadError:
                continue
    cipher = client.cipher()
    assert not open_ends
    assert cipher is not None
    return cipher[0]


@pytest.mark.parametrize(
    ("names", "blamed"),
    [
        pytest.param(("nothing.pem", None, None), "nothing.pem", id="no CA file"),
        pytest.param(("key.pem", None, None), "key.pem", id="CA file without certificate"),
        pytest.param((None, "nothing.pem", "key.pem"), "nothing.pem", id="no client certificate"),
        pytest.param((None, "certificate.pem", "nothing.pem"), "nothing.pem", id="no client key"),
        pytest.param((None, "certificate.pem", "encrypted.pem"), "encrypted.pem", id="encrypted client key"),
    ],
)
def test_an_error_names_the_file(certificates: Path, names: tuple[str | None, ...], blamed: str) -> None:
    """An encrypted key is an error, too, not a question at the terminal."""
    ca_file, certificate, key = (None if name is None else certificates / name for name in names)

    with pytest.raises(ssl.SSLError, match=blamed):
        tls_context(ca_file, certificate, key, verify_host_name=True)
