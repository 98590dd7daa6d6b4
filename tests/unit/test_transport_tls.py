"""TLS in memory: two threads may use one stream, and it ends as it should."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioner.transport.tls import TlsStream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mlflow.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(hours=1))
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def client(sock: socket.socket) -> TlsStream:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TlsStream(sock, context, "mlflow.example")


def test_both_ways_at_once_and_every_byte_arrives(server: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    sent = bytes(range(256)) * 20_000
    got = bytearray()

    def echo() -> None:
        with server.wrap_socket(far, server_side=True) as wrapped:
            while data := wrapped.recv(65536):
                wrapped.sendall(data)

    answering = threading.Thread(target=echo)
    answering.start()
    stream = client(near)

    def read() -> None:
        while len(got) < len(sent):
            got.extend(stream.recv(10_000))

    reading = threading.Thread(target=read)
    reading.start()
    for start in range(0, len(sent), 100_000):
        stream.sendall(sent[start : start + 100_000])
    reading.join(30)
    assert bytes(got) == sent
    stream.close()
    answering.join(30)
    assert not answering.is_alive()


def test_the_other_sides_end_is_the_end(server: ssl.SSLContext) -> None:
    near, far = socket.socketpair()

    def answer() -> None:
        with server.wrap_socket(far, server_side=True) as wrapped:
            wrapped.sendall(b"bye")

    answering = threading.Thread(target=answer)
    answering.start()
    stream = client(near)
    assert stream.recv(100) == b"bye"
    assert stream.recv(100) == b""
    answering.join(30)


def test_what_is_no_tls_is_an_error(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    far.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        client(near)
    far.close()
