"""Nobody reaches the store's other doors, MLflow's assistant or another bucket through the one origin.

What nginx passed on is heard on the host's loopback (tests/host/ear.py): the answers alone would not tell.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from . import attacks, ear, routes, smuggling
from .attacks import BUCKET, Attack
from .conftest import Stack
from .s3sign import Keys, presigned, signed
from .siege import MOST, REFUSED, Front


@pytest.fixture(scope="module", params=[("password", False), ("mlflow", True)], ids=["nginx-asks", "mlflow-asks-tls"])
def front(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Front]:
    """A way in, listened to behind it. With MLflow's own accounts nginx passes on what it would have asked about."""
    auth, tls = request.param
    chosen = ("--set", f"access.auth={auth}", "--set", f"access.tls={'internal' if tls else 'off'}")
    ran = stack.run("--json", *chosen, timeout=400)
    assert ran.code == 0, ran.why
    stack.on(": >/var/log/nginx/provision-mlflow.access.log")  # what follows is compared with it
    ear.start(stack.host)
    yield Front(stack, auth, tls, thin=7 if auth == "mlflow" else 1)
    ear.stop(stack.host)


def test_no_road_leads_to_the_stores_other_doors(front: Front) -> None:
    table = list(attacks.store_roads())
    assert len(table) > 500
    answers = front.send_all(front.some(table))
    assert [answer.attack.name for answer in answers if answer.server_s] == []
    _, to_store = front.judged()
    assert to_store, "some of them are names of objects, and the store refused those"


def test_the_assistant_is_closed_to_every_spelling_and_every_header(front: Front) -> None:
    answers = front.send_all(attacks.assistant_roads())
    plain = [answer for answer in answers if f" {attacks.ASSISTANT[0]} HTTP".encode() in answer.attack.data]
    assert {status for answer in plain for status in answer.statuses} <= {400, 403}
    front.judged()


def test_metrics_are_closed(front: Front) -> None:
    answers = front.send_all([Attack(path, attacks.request("GET", path)) for path in attacks.METRICS])
    assert {status for answer in answers for status in answer.statuses} <= {400, 403, 404}
    front.judged()


OPEN = {
    "password": {"/health"},
    # How a server is set up, which clients ask before they log in; nothing of what is in it.
    "mlflow": {"/health", "/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"},
}


def _without_login(method: str, path: str, header: str) -> Attack:
    data = attacks.request(method, path, header).replace(b"{auth}\r\n", b"")
    return Attack(f"{method} {path} {header}", data, wait=60)


def test_without_a_login_nothing_of_mlflow_s_is_given_at_any_of_its_addresses(front: Front) -> None:
    """As written for and in another spelling, without a login and with what is none."""
    table = []
    for number, (method, route) in enumerate(routes.routes(front.stack.host)):
        other = attacks.SPELLINGS[number % len(attacks.SPELLINGS)](route)
        for path in (route, other) if number % 3 == 0 else (route,):
            if path not in OPEN[front.auth]:
                table.append(_without_login(method, path, attacks.NO_LOGINS[number % len(attacks.NO_LOGINS)]))
    assert len(table) > 500
    table = front.some(table)
    wrong = [f"Authorization: Basic {base64.b64encode(login).decode()}" for login in attacks.WRONG]
    table += [_without_login("GET", path, login) for path in ("/", "/api/2.0/mlflow/users/list") for login in wrong]
    answers = front.send_all(table)
    assert {answer.attack.name: answer.statuses for answer in answers if not answer.refused} == {}
    front.judged()


def test_no_request_hides_in_another_one(front: Front) -> None:
    table = list(smuggling.smuggled())
    assert len(table) > 300
    answers = front.send_all(front.some(table))
    assert [answer.attack.name for answer in answers if answer.server_s] == []
    front.judged()


def test_what_is_not_quite_http_is_refused_or_made_plain(front: Front) -> None:
    answers = front.send_all(smuggling.odd())
    assert [answer.attack.name for answer in answers if answer.server_s] == []
    assert {status for answer in answers for status in answer.statuses} <= REFUSED | {100}
    front.judged()


FOREIGN = (
    "null",
    "{scheme}://evil.example",
    "{scheme}://{host}.evil.example",
    "https://{host}:80",
    "http://{host}:443",
    "{scheme}://{host}0",
    "file://",
)
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


def test_a_page_of_another_origin_changes_nothing_with_the_viewers_login(front: Front) -> None:
    table = [
        Attack(
            f"{origin} {method} {path}",
            attacks.request(method, path, f"Origin: {origin}", body=b'{"name":"stolen"}'),
            wait=60,
        )
        for origin in FOREIGN
        for method, path in WRITES
    ]
    answers = front.send_all(table)
    assert [(answer.attack.name, answer.statuses) for answer in answers if answer.statuses != [403]] == []
    same = attacks.request(
        "POST", "/ajax-api/2.0/mlflow/experiments/search", "Origin: {scheme}://{host}",
        "Content-Type: application/json", body=b'{"max_results": 1}',
    )  # fmt: skip
    assert front.send(Attack("the page itself", same, wait=60)).statuses == [200]


# --- with a signature -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signer:
    """Somebody with keys of the store, at the door or, as root on the host, behind it."""

    front: Front
    keys: Keys

    @property
    def host(self) -> str:
        return self.front.authority

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        connection = self.front.connection()
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
        return self.front.stack.on(
            f"curl -sS -o /dev/null -w '%{{http_code}}' -X {method} {headers} --data-binary @- "
            f"http://127.0.0.1:9000{path}",
            stdin=body,
        )


@pytest.fixture(scope="module")
def user(front: Front) -> Signer:
    """Who has stolen the key that MLflow itself uses."""
    return Signer(front, Keys(front.stack.secret("store.user.key"), front.stack.secret("store.user.secret")))


OTHER = "/other-bucket"
SECRET = "another team's"


@pytest.fixture(scope="module")
def other(front: Front) -> str:
    """A bucket beside MLflow's, with an object."""
    secret = front.stack.secret
    root = Signer(front, Keys(secret("store.root.user"), secret("store.root.password")))
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


def test_the_host_still_serves_its_own(front: Front) -> None:
    """Nothing of the above has harmed it."""
    verified = front.stack.run("verify", "--json")
    assert verified.code == 0, verified.why


def test_a_body_that_mlflow_would_hold_in_memory_is_bounded(front: Front) -> None:
    connection = front.connection()
    headers = {"Authorization": front.login, "Content-Length": str(2**40), "Content-Type": "application/json"}
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
