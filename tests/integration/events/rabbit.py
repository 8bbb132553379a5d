"""A RabbitMQ for the tests here: certificates, raw looks at the server, and a rig that runs on it."""

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bandstand.workspace.runtime.accounts import ADMINISTRATOR
from tests.integration.optional.servers import PASSWORD, RabbitMq
from tests.ports import held_port
from tests.waiting import until


class Rabbit(RabbitMq):
    """Also listens with TLS; messages may have 1 MB."""

    def __init__(self, folder: Path) -> None:
        self.tls_port = held_port()
        self.authority = folder / "authority.pem"
        certificate, key = make_certificates(folder)
        super().__init__(
            folder,
            f"max_message_size = 1000000\nlisteners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\nssl_options.verify = verify_none\n",
        )

    def settle(self, *queues: str) -> None:
        """Wait until the archive and these queues withstand a kill."""
        until(lambda: self.has_written(*queues), "RabbitMQ to write the names of its queues")

    def tls_url(self) -> str:
        return f"amqps://{ADMINISTRATOR}:{PASSWORD}@127.0.0.1:{self.tls_port}/%2F"

    def messages(self, queue: str) -> int:
        """Return how many messages the queue has, with those that somebody has and did not settle."""
        rows = self.control("list_queues", "name", "messages").splitlines()
        return int(dict(row.split("\t") for row in rows)[queue])

    def refusals(self) -> int:
        """Return how many times somebody was refused for a wrong name or password."""
        return (self.folder / "output").read_text().count("login refused")

    def bindings(self, queue: str, exchange: str) -> set[str]:
        """Return the keys that are bound to ``queue``."""
        rows = self.control("list_bindings", "source_name", "destination_name", "destination_kind", "routing_key")
        cells = [row.split("\t") for row in rows.splitlines()]
        return {row[3] for row in cells if row[:3] == [exchange, queue, "queue"]}


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """Write an authority and a certificate of 127.0.0.1 signed by it."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def certificate(name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: Any, critical: bool) -> bytes:
        builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1)).add_extension(extension, critical)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    (folder / "authority.pem").write_bytes(certificate(issuer, authority_key, x509.BasicConstraints(True, None), True))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rabbit")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    (folder / "server.pem").write_bytes(certificate(subject, server_key, address, False))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "server.key").write_bytes(server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "server.key").chmod(0o600)
    return folder / "server.pem", folder / "server.key"
