"""The S3 server of the tests over HTTPS, and certificates for whatever speaks TLS here."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.services.brief import BriefSeaweedFS


class SecureSeaweedFS(BriefSeaweedFS):
    """Serves HTTPS with a certificate of a CA made for this server, see :attr:`ca_bundle`."""

    @property
    def endpoint_url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def ca_bundle(self) -> str:
        return str(self.directory / "tls" / "ca.pem")

    def start(self) -> SecureSeaweedFS:
        if not (self.directory / "tls" / "key.pem").exists():
            make_certificate(self.directory / "tls", self.host)
        super().start()
        return self

    def _more_options(self) -> dict[str, str]:
        certificate = {"s3.cert.file": "tls/cert.pem", "s3.key.file": "tls/key.pem"}
        return super()._more_options() | certificate

    def _connection(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=self.ca_bundle)
        return http.client.HTTPSConnection(self.host, self.port, timeout=5, context=context)


def make_certificate(directory: Path, host: str = "127.0.0.1") -> None:
    """A CA (``ca.pem``) and a certificate of it (``cert.pem``, ``key.pem``) for ``host`` and
    localhost, good for ten years.

    :param directory: where the three files go; made where it is missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "postgres-backup test CA")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("*.localhost")]
    for address in dict.fromkeys((host, "127.0.0.1")):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            names.append(x509.DNSName(address))

    def certificate(
        subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
            "crl_sign",
        ),
        False,
    )
    ca = (
        certificate(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                **(usage | {"crl_sign": True}), digital_signature=True, key_cert_sign=True
            ),
            critical=True,
        )
    )
    server = (
        certificate(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)]), key.public_key()
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(**usage, digital_signature=True, key_cert_sign=False), critical=True
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (directory / "cert.pem").write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    with open(
        os.open(directory / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
