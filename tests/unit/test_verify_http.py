"""The HTTP client against servers that misbehave, and the values that name a server."""

from __future__ import annotations

import datetime
import gc
import ipaddress
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fake_mlflow import FakeMlflow
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import UsageError
from provisioner.secrets import Secret
from provisioner.verify import faults
from provisioner.verify.api import artifact_path
from provisioner.verify.deadline import Deadline, bounded
from provisioner.verify.environment import target_from
from provisioner.verify.http import Client, HttpError, Response
from provisioner.verify.quick import quick
from provisioner.verify.run import verify
from provisioner.verify.s3 import StoreAccess, bucket_names, s3_code, s3_request
from provisioner.verify.target import Origin, Target, origin_of

Serve = Callable[[Callable[[socket.socket], None]], Origin]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A listener that hands every connection to a function; gives its origin."""
    listeners: list[socket.socket] = []

    def begin(talk: Callable[[socket.socket], None]) -> Origin:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def loop() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    threading.Thread(target=handle, args=(peer,), daemon=True).start()

        def handle(peer: socket.socket) -> None:
            with suppress(OSError), peer:
                talk(peer)

        threading.Thread(target=loop, daemon=True).start()
        return Origin("http", "127.0.0.1", listener.getsockname()[1])

    yield begin
    for listener in listeners:
        listener.close()


def saying(*parts: bytes, pause: float = 0.0, hold: float = 0.0) -> Callable[[socket.socket], None]:
    def talk(peer: socket.socket) -> None:
        peer.recv(65536)
        for part in parts:
            peer.sendall(part)
            time.sleep(pause)
        time.sleep(hold)

    return talk


def get(origin: Origin, seconds: float = 5.0, **options: object) -> Response:
    client = Client(Deadline(seconds), origin)
    try:
        return client.request("GET", origin, "/", **options)  # type: ignore[arg-type]
    finally:
        client.close()


def kind(origin: Origin, seconds: float = 5.0, **options: object) -> str:
    with pytest.raises(HttpError) as caught:
        get(origin, seconds, **options)
    return caught.value.kind


def test_an_ordinary_answer_is_read(serve: Serve) -> None:
    answer = get(serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi")))
    assert (answer.status, answer.body, answer.headers["x-a"]) == (200, b"hi", "b")


def test_an_answer_that_ends_with_the_connection_is_read_whole_and_leaves_no_socket(serve: Serve) -> None:
    parts = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *[b"x" * 1000] * 5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(get(serve(saying(*parts, pause=0.01))).body) == 5000
        gc.collect()


def test_a_chunked_answer_is_read(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert get(serve(saying(head + b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n"))).body == b"hi!"


def test_a_server_that_never_answers_ends_in_time(serve: Serve) -> None:
    begun = time.monotonic()
    assert kind(serve(saying(hold=3)), 0.2) == "timeout"
    assert time.monotonic() - begun < 1


def test_a_server_that_trickles_bytes_for_ever_ends_in_time(serve: Serve) -> None:
    origin = serve(saying(b"HTTP/1.1 200 OK\r\n", *[b"X-%d: y\r\n" % n for n in range(80)], pause=0.05))
    begun = time.monotonic()
    assert kind(origin, 0.3) == "timeout"
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "garbage"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "garbage"),
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "closed"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", "garbage"),
    ],
)
def test_what_is_no_whole_http_answer_is_refused(serve: Serve, said: bytes, expected: str) -> None:
    assert kind(serve(saying(said))) == expected


def test_a_body_beyond_the_limit_is_not_swallowed(serve: Serve) -> None:
    def flood(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    assert kind(serve(flood), limit=100_000) == "large"


def test_a_connection_closed_between_two_requests_is_opened_again(serve: Serve) -> None:
    origin = serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
    client = Client(Deadline(5), origin)
    assert [client.request("GET", origin, "/").body for _ in range(3)] == [b"hi"] * 3
    client.close()


def test_an_early_refusal_of_a_large_upload_is_heard(serve: Serve) -> None:
    def refuse(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        while peer.recv(1 << 20):
            pass

    origin = serve(refuse)
    assert Client(Deadline(5), origin).request("PUT", origin, "/", body=b"x" * 5_000_000).status == 413


def test_a_closed_port_and_an_unknown_name_are_told_apart() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert kind(Origin("http", "127.0.0.1", closed.getsockname()[1])) == "refused"
    assert kind(Origin("http", "no-such-name.invalid", 80)) == "resolve"


def test_a_verification_of_a_hanging_server_ends_within_its_budget(serve: Serve) -> None:
    origin = serve(saying(hold=20))
    begun = time.monotonic()
    outcome = verify(Target(str(origin)), budget_seconds=8)
    assert time.monotonic() - begun < 8
    assert outcome.fault == "hangs"
    assert {check.status for check in outcome.checks[1:]} == {"skip"}


def test_a_server_that_answers_every_request_slowly_ends_within_the_budget() -> None:
    server = FakeMlflow(lambda *_: time.sleep(0.4))
    begun = time.monotonic()
    outcome = verify(Target(server.url), budget_seconds=8)
    server.close()
    assert time.monotonic() - begun < 8
    assert [check.status for check in outcome.checks].count("fail") == 1
    assert outcome.checks[-1].detail in ("no time left", "needs run", "needs artifact-download", "needs registry")


def test_the_short_check_of_a_hanging_server_ends_within_its_budget(serve: Serve) -> None:
    assert not quick(Target(str(serve(saying(hold=5)))), budget_seconds=0.3).ok


def certificate(folder: Path, name: str) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_checked_against_the_given_ca_and_the_name(serve: Serve, tmp_path: Path) -> None:
    def speaking_tls(pem: Path) -> Origin:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

        def talk(peer: socket.socket) -> None:
            with suppress(OSError), context.wrap_socket(peer, server_side=True) as wrapped:
                saying(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")(wrapped)

        return Origin("https", "127.0.0.1", serve(talk).port)

    right, wrong = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "mlflow.example.com")
    good, bad = speaking_tls(right), speaking_tls(wrong)
    assert verify(Target(str(good), ca_file=str(right))).fault == "login-missing"
    assert verify(Target(str(good))).fault == "tls-ca"
    assert verify(Target(str(bad), ca_file=str(wrong))).fault == "tls-name"
    assert verify(Target(str(bad), insecure=True)).fault == "login-missing"
    assert "cannot be read" in verify(Target(str(good), ca_file="/nowhere/ca.pem")).checks[0].detail
    plain = str(Origin("http", "127.0.0.1", good.port))
    assert verify(Target(plain)).fault == "not-http"


def test_mlflows_own_variables_give_the_login_and_the_ca() -> None:
    env = {
        "MLFLOW_TRACKING_USERNAME": "ann",
        "MLFLOW_TRACKING_PASSWORD": "s3cret!",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH": "/me.pem",
        "REQUESTS_CA_BUNDLE": "/all.pem",
    }
    target = target_from("https://MLflow.example.com:443/team/", env)
    assert target.url == "https://mlflow.example.com/team"
    assert (target.username, target.ca_file, target.bundle) == ("ann", "/ca.pem", "/all.pem")
    assert (target.client_cert, target.insecure) == ("/me.pem", False)
    assert target_from("https://a", {"MLFLOW_TRACKING_INSECURE_TLS": "true"}).insecure
    assert target_from("https://a", {"REQUESTS_CA_BUNDLE": "/all.pem"}).ca_file == "/all.pem"
    assert target.password == Secret("s3cret!")
    assert "s3cret" not in repr(target)
    assert target_from("http://a", {"MLFLOW_TRACKING_TOKEN": "tok"}).authorization() == "Bearer tok"


def test_a_login_in_the_url_is_used_and_taken_out_of_it() -> None:
    target = target_from("http://ann:p%40ss@host:5000", {})
    assert (target.url, target.username, target.password) == ("http://host:5000", "ann", Secret("p@ss"))


@pytest.mark.parametrize("url", ["", "host:5000", "sqlite:///mlflow.db", "http://", "http://h:99999", "http://h\n/x"])
def test_what_is_no_http_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        target_from(url, {})


def test_a_control_character_in_a_login_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        target_from("http://h", {"MLFLOW_TRACKING_TOKEN": "a\nHost: b"})


def test_origins_are_what_browsers_send() -> None:
    assert str(origin_of("HTTP://Host:80/x?y")) == "http://host"
    assert str(origin_of("https://[fd00::1]:5000/")) == "https://[fd00::1]:5000"
    assert str(origin_of("http://münchen.example")) == "http://xn--mnchen-3ya.example"
    loopbacks = ["localhost", "127.9.9.9", "::1", "0.0.0.0", "x.localhost"]
    assert all(Origin("http", host, 80).loopback for host in loopbacks)
    assert not Origin("http", "10.0.0.1", 80).loopback


@given(st.text())
def test_no_artifact_uri_leads_out_of_the_artifacts(uri: str) -> None:
    path = artifact_path("mlflow-artifacts:/" + uri, "x")
    if path is not None:
        assert not any(part in ("", ".", "..") for part in path.split("/"))
        assert path.isascii()
        assert not set("?# \r\n") & set(path)


@given(st.binary(max_size=400))
def test_foreign_text_becomes_one_printable_line(body: bytes) -> None:
    line = faults.quoted(body)
    assert line.isprintable()
    assert len(line) <= 110


def test_s3_requests_carry_a_signature_and_no_secret(serve: Serve) -> None:
    seen: list[bytes] = []

    def talk(peer: socket.socket) -> None:
        seen.append(peer.recv(65536))
        peer.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 27\r\n\r\n<Code>AccessDenied</Code>\n\n")

    access = StoreAccess(str(serve(talk)), "mlflow", "key", Secret("very-secret-key"))
    answer = s3_request(access, "GET", "/a b", Deadline(5), {"list-type": "2"})
    assert (answer.status, s3_code(answer.body)) == (403, "AccessDenied")
    assert b"GET /a%20b?list-type=2 HTTP/1.1" in seen[0]
    assert b"Signature=" in seen[0]
    assert b"very-secret-key" not in seen[0]
    assert bucket_names(b"<Bucket><Name>one</Name></Bucket><Name>two</Name>") == ["one", "two"]


def test_work_without_a_timeout_of_its_own_is_bounded() -> None:
    with pytest.raises(TimeoutError):
        bounded(0.05, lambda: time.sleep(2))
    with pytest.raises(ZeroDivisionError):
        bounded(1, lambda: 1 // 0)
    assert bounded(1, lambda: 7) == 7
