"""Nobody reaches the store's other doors, MLflow's assistant or another bucket through the one origin.

What nginx passed on is heard on the host's loopback (tests/host/ear.py): the answers alone would not tell.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from . import attacks, ear, smuggling
from .attacks import BUCKET, Attack
from .conftest import Stack
from .s3sign import Keys, presigned, signed

REFUSED = {400, 401, 403, 404, 405, 408, 411, 412, 413, 414, 416, 417, 421, 422, 431, 494, 500, 501, 505}
MOST = 2_000_000
"""Bytes of an answer that are read."""


@dataclass(frozen=True)
class Answered:
    attack: Attack
    data: bytes

    @property
    def statuses(self) -> list[int]:
        return [int(code) for code in re.findall(rb"HTTP/1\.[01] ([0-9]{3})", self.data)]

    @property
    def server_s(self) -> bool:
        """From MLflow or the store, with what was asked for."""
        return b"HTTP/1.1 20" in self.data and b"x-amz-request-id" in self.data.lower()


def send(stack: Stack, attack: Attack) -> Answered:
    """The attack on a connection of its own; reads what comes until the end or until nothing more comes."""
    login = base64.b64encode(f"mlflow:{stack.secret('login')}".encode())
    data = attack.data.replace(b"{auth}", b"Authorization: Basic " + login)
    data = data.replace(b"{host}", f"{stack.address}:5000".encode())
    got = b""
    with socket.create_connection((stack.address, 5000), 10) as sock:
        sock.settimeout(attack.wait)
        try:
            sock.sendall(data)
            while len(got) < MOST and (piece := sock.recv(65536)):
                got += piece
        except OSError:  # closed on us, or nothing more came
            pass
    return Answered(attack, got)


def send_all(stack: Stack, table: Iterable[Attack]) -> list[Answered]:
    with ThreadPoolExecutor(24) as pool:
        return list(pool.map(lambda attack: send(stack, attack), table))


@pytest.fixture(scope="module")
def heard(stack: Stack) -> Iterator[Stack]:
    ear.start(stack.host)
    yield stack
    ear.stop(stack.host)


def judged(stack: Stack) -> tuple[list[ear.Head], list[ear.Head]]:
    """What MLflow and what the store got; every request of it judged."""
    heads = ear.heard(stack.host, BUCKET)
    to_mlflow = [head for head in heads if head.port == ear.MLFLOW]
    to_store = [head for head in heads if head.port == ear.STORE]
    assert [head for head in to_store if not of_the_bucket(head, stack)] == []
    assert [head for head in to_mlflow if not fit_for_mlflow(head, stack)] == []
    assert [head for head in heads if "smuggled" in head.target] == []
    return to_mlflow, to_store


def of_the_bucket(head: ear.Head, stack: Stack) -> bool:
    parts = re.split(r"[/\\]", head.path)
    return (
        re.match(rf"/{BUCKET}(/|\?|$)", head.target) is not None
        and not {".", ".."}.intersection(part.partition(";")[0] for part in parts)
        and head.method in {"GET", "HEAD", "PUT", "POST", "DELETE"}
        and head.all("host") == [f"{stack.address}:5000"]
        and not any(value.startswith("Basic") for value in head.all("authorization"))
    )


CLIENT = "10.151.0.254"


def fit_for_mlflow(head: ear.Head, stack: Stack) -> bool:
    path = re.sub("/+", "/", head.path).lower()
    addresses = {CLIENT, stack.address, "127.0.0.1"}
    return (
        re.match(r"/(ajax-)?api/[^/]+/mlflow/assistant(/|$)", path) is None
        and re.match(r"/metrics(/|$)", path) is None
        and not {".", ".."}.intersection(head.path.split("/"))
        and len(head.all("host")) == 1
        and len(head.all("x-forwarded-for")) == 1
        and set(head.all("x-forwarded-for")) < addresses
        and head.all("x-forwarded-for") == head.all("x-real-ip")
        and not any(head.all(name) for name in ("forwarded", "x-forwarded-host", "x-forwarded-prefix", "authorization"))
        and not any(head.all(name) for name in ("upgrade", "expect", "x-forwarded-port"))
    )


def test_no_road_leads_to_the_stores_other_doors(heard: Stack) -> None:
    table = list(attacks.store_roads())
    assert len(table) > 500
    answers = send_all(heard, table)
    assert [answer.attack.name for answer in answers if answer.server_s] == []
    _, to_store = judged(heard)
    assert to_store, "some of them are names of objects, and the store refused those"


def test_the_assistant_is_closed_to_every_spelling_and_every_header(heard: Stack) -> None:
    answers = send_all(heard, attacks.assistant_roads())
    plain = [answer for answer in answers if f" {attacks.ASSISTANT[0]} HTTP".encode() in answer.attack.data]
    assert {status for answer in plain for status in answer.statuses} <= {400, 403}
    judged(heard)


def test_metrics_are_closed(heard: Stack) -> None:
    answers = send_all(heard, [Attack(path, attacks.request("GET", path)) for path in attacks.METRICS])
    assert {status for answer in answers for status in answer.statuses} <= {400, 403, 404}
    judged(heard)


def test_no_request_hides_in_another_one(heard: Stack) -> None:
    table = list(smuggling.smuggled())
    assert len(table) > 300
    answers = send_all(heard, table)
    assert [answer.attack.name for answer in answers if answer.server_s] == []
    judged(heard)


def test_what_is_not_quite_http_is_refused_or_made_plain(heard: Stack) -> None:
    answers = send_all(heard, smuggling.odd())
    assert [answer.attack.name for answer in answers if answer.server_s] == []
    assert {status for answer in answers for status in answer.statuses} <= REFUSED | {100}
    judged(heard)


FOREIGN = ("null", "http://evil.example", "http://{host}.evil.example", "https://{host}", "http://{host}0", "file://")
WRITES = (
    ("POST", "/ajax-api/2.0/mlflow/experiments/create"),
    ("POST", "/api/2.0/mlflow/experiments/create"),
    ("POST", "/graphql"),
    ("POST", "/v1/traces"),
    ("POST", "/gateway/any/mlflow/invocations"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x"),
    ("DELETE", "/ajax-api/2.0/mlflow-artifacts/artifacts/0/x"),
    ("POST", "//ajax-api/2.0/mlflow/experiments/create"),
)


def test_a_page_of_another_origin_changes_nothing_with_the_viewers_login(heard: Stack) -> None:
    table = [
        Attack(
            f"{origin} {method} {path}", attacks.request(method, path, f"Origin: {origin}", body=b'{"name":"stolen"}')
        )
        for origin in FOREIGN
        for method, path in WRITES
    ]
    answers = send_all(heard, table)
    assert [(answer.attack.name, answer.statuses) for answer in answers if answer.statuses != [403]] == []
    same = attacks.request(
        "POST", "/ajax-api/2.0/mlflow/experiments/search", "Origin: http://{host}",
        "Content-Type: application/json", body=b'{"max_results": 1}',
    )  # fmt: skip
    assert send(heard, Attack("the page itself", same)).statuses == [200]


# --- with a signature -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signer:
    """Somebody with keys of the store, at the door or, as root on the host, behind it."""

    stack: Stack
    keys: Keys

    @property
    def host(self) -> str:
        return f"{self.stack.address}:5000"

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.stack.address, 5000, timeout=20)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(MOST)
        finally:
            connection.close()

    def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", *, query: str = "",
        host: str = "",
    ) -> tuple[int, bytes]:  # fmt: skip
        told = signed(self.keys, method, host or self.host, path, query=query, headers=headers)
        return self.ask(method, f"{path}?{query}" if query else path, told, body)

    def behind(self, method: str, path: str, body: str = "") -> str:
        """Status of a request on the host itself."""
        told = signed(self.keys, method, "127.0.0.1:9000", path)
        headers = " ".join(f"-H '{name}: {value}'" for name, value in told.items() if name != "host")
        return self.stack.on(
            f"curl -sS -o /dev/null -w '%{{http_code}}' -X {method} {headers} --data-binary @- "
            f"http://127.0.0.1:9000{path}",
            stdin=body,
        )


@pytest.fixture(scope="module")
def user(stack: Stack) -> Signer:
    """Who has stolen the key that MLflow itself uses."""
    return Signer(stack, Keys(stack.secret("store.user.key"), stack.secret("store.user.secret")))


OTHER = "/other-bucket"
SECRET = "another team's"


@pytest.fixture(scope="module")
def other(stack: Stack) -> str:
    """A bucket beside MLflow's, with an object."""
    root = Signer(stack, Keys(stack.secret("store.root.user"), stack.secret("store.root.password")))
    assert root.behind("PUT", OTHER) in {"200", "409"}, "409: from an earlier try"
    assert root.behind("PUT", f"{OTHER}/secret.txt", SECRET) == "200"
    return f"{OTHER}/secret.txt"


@pytest.fixture(scope="module")
def own(user: Signer) -> str:
    """An object in MLflow's own bucket."""
    assert user.send("PUT", f"/{BUCKET}/own.txt", body=b"ours")[0] == 200
    assert user.send("GET", f"/{BUCKET}/own.txt") == (200, b"ours")
    return f"/{BUCKET}/own.txt"


@pytest.mark.parametrize(
    "spelling", ["{}", "{}?versionId=null", "%2Fother-bucket%2Fsecret.txt", "../other-bucket/secret.txt"]
)
def test_mlflows_own_key_copies_nothing_out_of_another_bucket(
    user: Signer, other: str, own: str, spelling: str
) -> None:
    source = spelling.replace("{}", other)
    for value in (source, source.lstrip("/"), f"/{BUCKET}/../{source.lstrip('/')}", f"{BUCKET}/..{source}"):
        user.send("PUT", f"/{BUCKET}/copied.txt", {"x-amz-copy-source": value})
        _, content = user.send("GET", f"/{BUCKET}/copied.txt")
        assert SECRET.encode() not in content, value


def test_a_copy_that_is_signed_still_works_inside_the_bucket(user: Signer, own: str) -> None:
    assert user.send("PUT", f"/{BUCKET}/copy.txt", {"x-amz-copy-source": own})[0] == 200
    assert user.send("GET", f"/{BUCKET}/copy.txt") == (200, b"ours")


@pytest.mark.parametrize("way", ["presigned", "presigned and a header", "signed without it", "another order"])
def test_an_upload_that_was_allowed_to_a_stranger_is_no_copy(user: Signer, other: str, own: str, way: str) -> None:
    target = f"/{BUCKET}/taken-{way.replace(' ', '-')}.txt"
    for source in (other, own):
        copy = {"x-amz-copy-source": source}
        forged = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders={}, Signature=00"
        if way == "presigned":
            status, _ = user.ask("PUT", presigned(user.keys, "PUT", user.host, target), copy)
        elif way == "presigned and a header":
            copy["Authorization"] = forged.format("host;x-amz-copy-source;x-amz-date")
            status, _ = user.ask("PUT", presigned(user.keys, "PUT", user.host, target), copy)
        elif way == "another order":
            copy["Authorization"] = forged.format("x-amz-copy-source;host")
            address = presigned(user.keys, "PUT", user.host, target).replace("X-Amz-Sig", "%58-Amz-Sig")
            status, _ = user.ask("PUT", address, copy)
        else:
            status, _ = user.ask("PUT", target, {**signed(user.keys, "PUT", user.host, target), **copy})
        assert status == 403
        assert user.send("GET", target)[0] == 404


def test_an_upload_without_a_signature_is_refused_however_it_is_cut(user: Signer, own: str) -> None:
    scope = f"{user.keys.access}/20260101/us-east-1/s3/aws4_request"
    query = f"X-Amz-Credential={scope.replace('/', '%2F')}&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    check = base64.b64encode(zlib.crc32(b"hack").to_bytes(4, "big"))
    body = b"4\r\nhack\r\n0\r\nx-amz-checksum-crc32:" + check + b"\r\n\r\n"
    for coding in ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "streaming-unsigned-payload-trailer"):
        for more in (
            {},
            {"Authorization": "Basic eDp5"},
            {"Authorization": "Bearer x"},
            {"X-Amz-Meta-Snowball-Auto-Extract": "true"},
        ):
            headers = {
                "X-Amz-Content-Sha256": coding,
                "X-Amz-Trailer": "x-amz-checksum-crc32",
                "X-Amz-Decoded-Content-Length": "4",
                "X-Amz-Date": "20260101T000000Z",
                **more,
            }
            for path in (f"/{BUCKET}/hacked.txt", own):
                assert user.ask("PUT", f"{path}?{query}", headers, body)[0] == 403
    assert user.send("GET", f"/{BUCKET}/hacked.txt")[0] == 404
    assert user.send("GET", own) == (200, b"ours")


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("PUT", "policy="),
        ("PUT", "lifecycle="),
        ("PUT", "acl="),
        ("PUT", "cors="),
        ("PUT", "versioning="),
        ("PUT", ""),
        ("DELETE", "policy="),
        ("DELETE", ""),
        ("POST", "uploads="),
        ("POST", "delete=&policy="),
    ],
)
def test_the_bucket_itself_is_changed_by_nobody_through_the_address(
    user: Signer, own: str, method: str, query: str
) -> None:
    for path in (f"/{BUCKET}", f"/{BUCKET}/", f"/{BUCKET}//"):
        status, content = user.send(method, path, query=query, body=b"<x/>")
        assert status == 403, (path, content[:300])
        assert b"nginx" in content, "refused before the store was asked"
    assert user.send("GET", own) == (200, b"ours")


def test_mlflows_own_key_opens_no_other_bucket_and_no_administration(user: Signer, other: str) -> None:
    for method, path, query in (
        ("GET", other, ""),
        ("GET", OTHER, ""),
        ("GET", "/", ""),
        ("GET", "/minio/admin/v3/info", ""),
        ("POST", "/", "Action=AssumeRole&Version=2011-06-15"),
        ("POST", f"/{BUCKET}", "Action=AssumeRole&Version=2011-06-15"),
        ("POST", f"/{BUCKET}/", "Action=CreateUser&UserName=x&Version=2010-05-08"),
        ("PUT", f"/{BUCKET}", "policy="),
        ("DELETE", f"/{BUCKET}", ""),
    ):
        status, content = user.send(method, path, query=query)
        assert status in REFUSED, (method, path, query, content[:300])
        assert SECRET.encode() not in content
        assert b"AccessKeyId" not in content


@pytest.mark.parametrize(
    "name", ["other-bucket.{}", "other-bucket.localhost", "other-bucket", "127.0.0.1:9000", "{}:1:2"]
)
def test_a_bucket_in_front_of_the_servers_name_is_not_asked(user: Signer, other: str, name: str) -> None:
    for path in (f"/{BUCKET}/secret.txt", "/secret.txt"):
        status, content = user.send("GET", path, host=name.replace("{}", user.host))
        assert status in {400, 403, 421, 401}
        assert SECRET.encode() not in content


def test_the_host_still_serves_its_own(stack: Stack) -> None:
    """Nothing of the above has harmed it."""
    verified = stack.run("verify", "--json")
    assert verified.code == 0, verified.out + verified.err


def test_a_body_that_mlflow_would_hold_in_memory_is_bounded(stack: Stack) -> None:
    login = base64.b64encode(f"mlflow:{stack.secret('login')}".encode()).decode()
    connection = http.client.HTTPConnection(stack.address, 5000, timeout=20)
    headers = {"Authorization": f"Basic {login}", "Content-Length": str(2**40), "Content-Type": "application/json"}
    connection.request("POST", "/api/2.0/mlflow/runs/log-batch", headers=headers)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_link_that_a_service_planted_leads_nowhere(stack: Stack) -> None:
    """Whoever has taken over MLflow's server owns the folder around a directory whose rights a run puts right."""
    tmp = "/var/lib/mlflow/tmp"
    stack.on(
        "mkdir -m 0755 /srv/victim; echo kept >/srv/victim/file; "
        f"runuser -u mlflow -- sh -c 'mv {tmp} {tmp}.away; ln -s /srv/victim {tmp}'"
    )
    refused = stack.run("mlflow", "--json")
    assert refused.code == 4, refused.out
    assert tmp in refused.host["error"]["why"]
    assert stack.on(f"readlink {tmp}").strip() == "/srv/victim"
    repaired = stack.run("mlflow", "--yes", "--json")
    assert repaired.code == 0, repaired.out
    assert stack.on(f"stat -c '%F %U %a' {tmp} /srv/victim /srv/victim/file").splitlines() == [
        "directory mlflow 700",
        "directory root 755",
        "regular file root 644",
    ]
    stack.on(f"rm -r /srv/victim {tmp}.away")
