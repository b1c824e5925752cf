"""Certificates of a firm's own: an authority, a server's and a client's, made for one test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files. ``client`` holds the certificate and its key, ``server`` likewise."""

    ca: str
    client: str
    client_certificate: str
    client_key: str
    server: str

    def of_server(self, *, asks_clients: bool = True) -> ssl.SSLContext:
        """What a server speaks; one that asks lets in nobody without a certificate of this
        authority.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if asks_clients:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificates(folder: Path) -> Certificates:
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _signed("the firm's authority", authority, authority, "the firm's authority", ca=True)
    (folder / "ca.pem").write_bytes(_pem(root))
    for who in ("client", "server"):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _pem(_signed(who, key, authority, "the firm's authority", ca=False))
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / f"{who}.crt").write_bytes(signed)
        (folder / f"{who}.key").write_bytes(secret)
        (folder / f"{who}.pem").write_bytes(signed + secret)
    return Certificates(
        ca=str(folder / "ca.pem"),
        client=str(folder / "client.pem"),
        client_certificate=str(folder / "client.crt"),
        client_key=str(folder / "client.key"),
        server=str(folder / "server.pem"),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    issuer: str,
    *,
    ca: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .sign(by, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
