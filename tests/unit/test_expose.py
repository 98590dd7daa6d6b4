"""`store.expose`: what opens, who is told what, and what is refused."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_mlflow import FakeMlflow, Reply

from provisioner.commands.access import login_target, through
from provisioner.commands.env import variables
from provisioner.commands.telling import exposure_notes
from provisioner.door import Door
from provisioner.engine.probe import Seen
from provisioner.errors import UsageError
from provisioner.report.model import HostResult
from provisioner.report.status import lines
from provisioner.resources.facts import Facts, Listener
from provisioner.resources.file import File
from provisioner.resources.paths import PathProbe, PathState
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context, proxy
from provisioner.verify import context as verify_context
from provisioner.verify import exposed
from provisioner.verify.run import Outcome, verify
from provisioner.verify.s3 import StoreAccess
from provisioner.verify.target import DirectStore, Target

SECRETS = {
    name: Secret(f"of-{name}")
    for name in ("login", "store.client.key", "store.client.secret", "store.user.key", "store.user.secret")
}
EXPOSED = {"store.expose": True}
DIRECT = {"artifacts.mode": "direct"}


def context(flags: dict[str, Any], names: tuple[str, ...] = ("10.0.0.1",), facts: Facts | None = None) -> Context:
    settings = effective(flags, {})
    door = Door(settings.access.scheme, names[0], settings.access.door_port, names)
    return Context(settings, facts or Facts(), SECRETS, door)


def site(where: Context) -> str:
    (file,) = (r for r in proxy.STEP.resources(where) if isinstance(r, File) and r.path == proxy.SITE)
    return file.content.decode()


def servers(text: str) -> list[str]:
    return re.split(r"^server \{$", text, flags=re.MULTILINE)[1:]


def place(server: str, bucket: str) -> str:
    return server.split(f"location ~ ^/{bucket}(/|$) {{")[1].split("\n    }\n")[0]


@pytest.mark.parametrize("engine", ["minio", "seaweedfs"])
def test_the_bucket_has_the_same_rules_on_its_own_port_and_nothing_else_is_there(engine: str) -> None:
    where = context({"store.engine": engine, **EXPOSED, "access.tls": "internal"}, facts=Facts(addresses=("fd00::1",)))
    url, store = servers(site(where))
    assert place(url, "mlflow") == place(store, "mlflow")
    assert re.findall(r"^    listen (.*);$", store, re.M) == ["9002 ssl default_server"]
    assert re.findall(r"location ([^{]*) \{", store) == ["= /.provision", "~ ^/mlflow(/|$)", "= /", "/"]
    assert set(re.findall(r"proxy_pass (.*);", store)) == {"http://provision_store"}
    for shared in ("ssl_certificate ", "access_log ", "$provision_odd_path", "nosniff", "proxy_request_buffering off"):
        assert shared in url
        assert shared in store


@pytest.mark.parametrize(
    ("request_", "refused"),
    [
        ("POST /mlflow delete", False),
        ("POST /mlflow/ delete=", False),
        ("POST /mlflow delete&x-id=DeleteObjects", False),
        ("POST /mlflow/a/file uploads", False),
        ("POST /mlflow ", True),
        ("POST /mlflow delete&policy", True),
        ("POST /mlflow delete&x-id=DeleteObjects&policy", True),
        ("POST /mlflow policy&delete", True),
        ("PUT /mlflow/ policy", True),
        ("DELETE /mlflow ", True),
        ("GET /mlflow list-type=2", False),
    ],
)
def test_of_the_bucket_itself_only_many_objects_at_once_are_removed(request_: str, refused: bool) -> None:
    rules = site(context(EXPOSED)).split("$provision_of_the_bucket {")[1].split("}\n")[0]
    patterns = re.findall(r'"~(.*)" 1;', rules)
    assert len(patterns) == 2
    assert any(re.search(pattern, request_) for pattern in patterns) is refused


def test_who_gets_no_answer_at_the_url_gets_none_at_the_store() -> None:
    where = context(EXPOSED, facts=Facts(addresses=("10.0.0.1", "8.8.8.8")))
    assert [server.count("if ($server_addr !~") for server in servers(site(where))] == [1, 1]


def test_a_store_that_is_not_exposed_has_one_server() -> None:
    assert len(servers(site(context({})))) == 1
    assert "9002" not in site(context({}))


def test_the_port_of_the_url_and_a_store_of_somebody_else_s_are_refused() -> None:
    with pytest.raises(UsageError, match=r"access\.port is 9002") as caught:
        effective({**EXPOSED, "access.port": 9002}, {})
    assert "--set store.expose=false" in (caught.value.next or ""), "left out it would be kept"
    assert effective({"access.port": 9002}, {}).access.door_port == 9002
    with pytest.raises(UsageError, match=r"store\.expose belongs to a store of this stack"):
        effective({**EXPOSED, "store.engine": "external", "store.endpoint": "https://s3.example.com"}, {})


@pytest.mark.parametrize(
    ("process", "content", "status"),
    [
        ("minio, pid 7", b"    listen 9002 default_server;\n", "fail"),
        ("nginx, pid 7", b"    listen 9002 default_server;\n", "ok"),
        ("nginx, pid 7", b"    listen [::]:9002 ssl default_server;\n", "ok"),
        ("nginx, pid 7", b"    listen 5000 default_server;\n", "fail"),
        ("nginx, pid 7", b"    listen 19002 default_server;\n# 9002\n", "fail"),
    ],
)
def test_a_port_that_somebody_else_has_is_refused_another_site_of_the_same_nginx_too(
    process: str, content: bytes, status: str
) -> None:
    where = context(EXPOSED, facts=Facts(listeners=(Listener("0.0.0.0", 9002, process),)))
    where = replace(where, seen=Seen({PathProbe(proxy.SITE): PathState("file", content=content)}))
    (check,) = (c for c in proxy.STEP.preflight(where) if c.id == "port-9002")
    assert check.status == status
    assert (check.fix or "").endswith("--set store.expose=false") is (status == "fail")
    assert "port-9002" not in [c.id for c in proxy.STEP.preflight(context({}))]


def told(flags: dict[str, Any]) -> dict[str, str]:
    where = context(flags)
    view: Any = SimpleNamespace(settings=where.settings, context=where, named=lambda: where.door)
    return variables(view)


def test_env_names_the_port_where_clients_go_to_the_store_and_no_key_where_they_do_not() -> None:
    assert told({**DIRECT, **EXPOSED})["MLFLOW_S3_ENDPOINT_URL"] == "http://10.0.0.1:9002"
    assert told(DIRECT)["MLFLOW_S3_ENDPOINT_URL"] == "http://10.0.0.1:5000"
    secure = told({**DIRECT, **EXPOSED, "access.tls": "internal"})
    assert secure["MLFLOW_S3_ENDPOINT_URL"] == "https://10.0.0.1:9002"
    assert told(EXPOSED) == told({})
    assert not [name for name in told(EXPOSED) if name.startswith("AWS_")]


def notes(before: bool | None, flags: dict[str, Any]) -> str:
    recorded = None if before is None else SimpleNamespace(values={"store.expose": before})
    view: Any = SimpleNamespace(settings=effective(flags, {}), recorded=recorded)
    return " ".join(exposure_notes(view))


def test_a_switch_says_what_clients_must_change() -> None:
    assert "provision env" in notes(False, {**DIRECT, **EXPOSED})
    assert "store.client.key" in notes(False, EXPOSED)
    assert "9002 closes; clients that use it need" in notes(True, DIRECT)
    assert "opens nothing any more" in notes(True, {})
    assert {notes(None, EXPOSED), notes(True, EXPOSED), notes(False, {})} == {""}


def test_through_ssh_each_port_has_a_way_of_its_own(tmp_path: Path) -> None:
    ears = {}
    for port in (5000, 9002):
        ears[port] = socket.socket(socket.AF_UNIX)
        ears[port].bind(str(tmp_path / str(port)))
        ears[port].listen()
    connect = through(tmp_path / "5000", {9002: tmp_path / "9002"})
    for port, ear in ears.items():
        with connect("10.0.0.1", port, 2), ear.accept()[0]:
            ear.close()


def test_the_target_of_a_verification_has_the_port_and_the_clients_key() -> None:
    where = context(EXPOSED)
    target = login_target(where.door, where.settings, SECRETS, "--host h")
    assert target.direct is None
    assert target.exposed is not None
    assert (target.exposed.endpoint, target.exposed.access_key) == ("http://10.0.0.1:9002", "of-store.client.key")
    plain = context({})
    assert login_target(plain.door, plain.settings, SECRETS, "").exposed is None


# --- the check, against a store in memory


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Target]]:
    monkeypatch.setattr(verify_context, "PAYLOAD_BYTES", 1000)
    running: list[FakeMlflow] = []

    def begin(rest: int = 404, unsigned: int = 403, key: str = "clientkey") -> Target:
        """A server whose store's port answers `rest` at other paths and `unsigned` without a key."""

        def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], data: bytes) -> Reply | None:
            if not sent.get("host", "").endswith(":9002"):
                return None
            if not path.startswith("/direct/"):
                return 403 if path == "/" else rest, {}, b""
            return None if "authorization" in sent else (unsigned, {}, b"")

        server = FakeMlflow(hook)
        running.append(server)
        server.root, server.keys = "s3://direct", {"clientkey"}

        def connect(host: str, port: int, timeout: float) -> socket.socket:
            return socket.create_connection(("127.0.0.1", server.port), timeout)

        store = DirectStore("http://10.0.0.9:9002", key, Secret("s" * 40))
        return Target(
            "http://10.0.0.9:5000",
            connect=connect,
            repair="--host h",
            direct=DirectStore("http://10.0.0.9:5000", "clientkey", Secret("s" * 40)),
            exposed=store,
        )

    yield begin
    for server in running:
        server.close()


def verified(target: Target) -> Outcome:
    def nowhere(host: str, port: int, timeout: float) -> socket.socket:
        raise ConnectionRefusedError

    access = StoreAccess("http://127.0.0.1:9000", "direct", "key", Secret("s" * 40), connect=nowhere)
    return verify(target, store=access)


def of_port(outcome: Outcome) -> tuple[str, str]:
    (found,) = (check for check in outcome.checks if check.id == "store-port")
    return found.status, found.detail


def test_verify_reads_an_object_at_the_port_with_the_clients_key(start: Callable[..., Target]) -> None:
    assert of_port(verified(start())) == ("ok", "http://10.0.0.9:9002, with the clients' key only")
    assert exposed.answers(start(), "direct") == ""
    assert exposed.answers(start(unsigned=502), "direct") == "HTTP 502", "nginx is there, the store is not"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"key": "another"}, "InvalidAccessKeyId"),
        ({"rest": 200}, "/minio/health/live without a key: HTTP 200"),
        ({"rest": 200, "unsigned": 204}, "kept.txt without a key: HTTP 204"),
    ],
)
def test_verify_fails_where_a_key_does_not_open_or_none_is_needed(
    start: Callable[..., Target], server: dict[str, Any], words: str
) -> None:
    status, detail = of_port(verified(start(**server)))
    assert status == "fail"
    assert words in detail


def test_a_port_that_does_not_answer_is_told_with_the_firewall_in_mind(start: Callable[..., Target]) -> None:
    target = start()
    inner = target.connect
    assert inner is not None

    def connect(host: str, port: int, timeout: float) -> socket.socket:
        if port == 9002:
            raise ConnectionRefusedError
        return inner(host, port, timeout)

    closed = replace(target, connect=connect)
    assert of_port(verified(closed)) == ("fail", "http://10.0.0.9:9002: connection refused")
    assert exposed.answers(closed, "direct") == "http://10.0.0.9:9002: connection refused"


@pytest.mark.parametrize(
    ("detail", "words"), [("", "answers who has a key"), ("HTTP 502", "DOES NOT ANSWER: HTTP 502")]
)
def test_status_names_the_port_below_the_url(detail: str, words: str) -> None:
    result = HostResult("10.0.0.1", url="http://10.0.0.1:5000")
    result.extra = {
        "answer": {"ok": True, "milliseconds": 3.0, "detail": ""},
        "store": {"url": "http://10.0.0.1:9002", "ok": not detail, "detail": detail},
    }
    line = lines(result, 80)[1]
    assert line.startswith("store ")
    assert "http://10.0.0.1:9002" in line
    assert words in line
