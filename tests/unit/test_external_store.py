"""A store of somebody else's: what is asked of it from the host, and what comes of each answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provisioner import secret_kinds, vault
from provisioner.commands import outside_keys
from provisioner.door import Door
from provisioner.engine import plan
from provisioner.engine.probe import Seen
from provisioner.errors import Refused, UsageError
from provisioner.record import dump_recorded, parse_recorded
from provisioner.resources.external_bucket import PlaceProbe
from provisioner.resources.facts import Facts
from provisioner.resources.paths import ABSENT, PathProbe, PathState
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context, external_store, mlflow_environment, proxy
from provisioner.steps.external_store import PROVEN, STEP, place, told_check

FLAGS = {"store.engine": "external", "store.endpoint": "http://127.0.0.1:1", "store.bucket": "theirs"}
SECRETS = {"store.user.key": Secret("AKIAKEY"), "store.user.secret": Secret('it\'s "secret" $x')}
Answer = Callable[[str, str, bytes], tuple[int, bytes]]


def context(seen: Seen | None = None, **flags: object) -> Context:
    settings = effective({**FLAGS, **{key.replace("__", "."): value for key, value in flags.items()}}, {})
    door = Door("http", "10.0.0.1", 5000, ("10.0.0.1",))
    return Context(settings, Facts(python_path=sys.executable), SECRETS, door, seen=seen or Seen())


class Store:
    """An S3 server in memory that takes what `answer` says; `asked` records (method, path, Authorization)."""

    def __init__(self, answer: Answer | None = None):
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                store.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
                status, data = (answer or store.usual)(self.command, self.path, body)
                self.send_response(status)
                self.send_header("x-amz-request-id", "1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def usual(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if "list-type" in path:
            return 200, b"<ListBucketResult/>"
        if method == "PUT":
            self.objects[path] = body
        if method == "DELETE":
            return (204, b"") if self.objects.pop(path, None) is not None else (404, b"")
        return (200, self.objects.get(path, b""))


@pytest.fixture
def serve() -> Iterator[Callable[..., Store]]:
    running: list[Store] = []

    def start(answer: Answer | None = None) -> Store:
        running.append(Store(answer))
        return running[-1]

    yield start
    for each in running:
        each.server.shutdown()
        each.server.server_close()


def ask(url: str, work: str = "look", **flags: object) -> str:
    """The line that a host's look gives, through the shell as on a host."""
    probe = PlaceProbe(place(context(store__endpoint=url, **flags)), sys.executable, work)
    script = "set -eu\n" + PlaceProbe.fragment([probe])
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    (line,) = PlaceProbe.parse([probe], done.stdout.encode())
    return line


def test_a_bucket_that_the_key_opens_is_ok_and_nothing_is_written_by_a_look(serve: Callable[..., Store]) -> None:
    store = serve()
    assert ask(store.url) == "ok"
    assert [(method, path) for method, path, _ in store.asked] == [("GET", "/theirs?list-type=2&max-keys=1")]
    assert "Credential=AKIAKEY/" in store.asked[0][2]


def test_the_proof_writes_reads_and_removes_one_object_below_the_prefix(serve: Callable[..., Store]) -> None:
    store = serve()
    assert ask(store.url, "prove", artifacts__prefix="team/ml") == "ok"
    assert [method for method, _, _ in store.asked] == ["PUT", "GET", "DELETE"]
    assert len({path for _, path, _ in store.asked}) == 1
    assert store.asked[0][1].startswith("/theirs/team/ml/.provision-check/")
    assert store.objects == {}


def test_a_bucket_that_is_made_is_tried_until_it_takes_an_object(serve: Callable[..., Store]) -> None:
    """The first write to a new bucket is where a store makes room for it."""
    refused = iter((500, 500))

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT" and path != "/theirs" and (status := next(refused, None)) is not None:
            return status, b"<Error><Code>InternalError</Code></Error>"
        return store.usual(method, path, body)

    store = serve(answer)
    assert ask(store.url, "create") == "ok"
    assert [method for method, _, _ in store.asked] == ["PUT", "PUT", "PUT", "PUT", "GET", "DELETE"]


@pytest.mark.parametrize(
    ("status", "code", "line", "words"),
    [
        (404, "NoSuchBucket", "missing NoSuchBucket", "has no bucket theirs"),
        (403, "InvalidAccessKeyId", "key InvalidAccessKeyId", "store.user.key"),
        (403, "SignatureDoesNotMatch", "secret SignatureDoesNotMatch", "store.user.secret"),
        (403, "AccessDenied", "denied AccessDenied", "get, put and delete"),
        (403, "RequestTimeTooSkewed", "clock RequestTimeTooSkewed", "set-ntp"),
        (400, "AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region><Code>x", "region eu-west-3", "eu-west-3"),
        (503, "SlowDown", "answer HTTP 503 SlowDown", "SlowDown"),
    ],
)
def test_each_refusal_of_the_store_is_one_error_with_its_fix(
    serve: Callable[..., Store], status: int, code: str, line: str, words: str
) -> None:
    store = serve(lambda *_: (status, f"<Error><Code>{code}</Code></Error>".encode()))
    told = ask(store.url)
    assert told == line
    check = told_check(context(store__endpoint=store.url), "look", told)
    assert check.status == ("warn" if line.startswith("missing") else "fail")
    assert words in f"{check.detail} {check.fix}"


def test_a_key_that_may_only_read_is_found_out_before_a_run(serve: Callable[..., Store]) -> None:
    def readonly(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return (200, b"<ListBucketResult/>") if method == "GET" else (403, b"<Code>AccessDenied</Code>")

    store = serve(readonly)
    assert ask(store.url) == "ok"
    told = ask(store.url, "prove")
    assert told == "put denied AccessDenied"
    assert "writing an object: the key may not" in told_check(context(), "prove", told).detail


def test_what_is_no_s3_server_or_none_at_all_is_told_apart(serve: Callable[..., Store]) -> None:
    assert ask("http://127.0.0.1:1").startswith("port Connection refused")
    assert ask("http://nobody.invalid").startswith("name ")
    assert ask(serve().url.replace("http:", "https:")).startswith("tls ")


def test_the_key_stands_in_no_argument_and_the_bucket_may_be_in_the_hosts_name() -> None:
    where = place(context(store__endpoint="https://s3.example.com", store__addressing="virtual"))
    call = where.call("look", "/usr/bin/python3")
    assert call.startswith("PROVISION_S3='")
    assert "AKIAKEY" not in call.partition("/usr/bin/python3 -I - look")[2]
    assert where.virtual


def test_amazons_own_store_needs_no_endpoint() -> None:
    settings = effective({"store.engine": "external", "store.region": "eu-central-1"}, {})
    assert external_store.endpoint(settings) == "https://s3.eu-central-1.amazonaws.com"
    assert external_store.virtual(settings)
    assert not external_store.virtual(effective(FLAGS, {}))


def test_a_bucket_is_asked_for_until_it_was_proven_with_this_very_key() -> None:
    assert STEP.looks(context()) == (PathProbe(PROVEN),), "nothing is known of the host yet"
    fresh = context(Seen({PathProbe(PROVEN): ABSENT}))
    (_, asked) = STEP.looks(fresh)
    assert isinstance(asked, PlaceProbe)
    seen = fresh.seen.put(asked, "missing NoSuchBucket")
    for resource in STEP.resources(replace(fresh, seen=seen)):
        for probe in resource.probes():
            seen = seen if probe in seen else seen.put(probe, ABSENT)
    made = plan.make(STEP.resources(replace(fresh, seen=seen)), seen)
    assert [each.id for each in made.changes] == ["bucket:theirs", "mark:bucket-theirs", "file:store-proven"]
    content = next(r.content for r in STEP.resources(fresh) if r.id == "file:store-proven")  # type: ignore[attr-defined]
    assert b"AKIAKEY" not in content
    proof = next(r for r in STEP.resources(fresh) if r.id == "file:store-proven")
    earlier = proof.diff(seen.put(PathProbe(PROVEN), PathState("file", 0o600, content=b"an earlier one\n")))
    assert earlier is not None
    assert earlier.diff == ()
    keyed = replace(fresh, secrets={**SECRETS, "mlflow.flask-key": Secret("k" * 48)})
    assert next(r.content for r in STEP.resources(keyed) if r.id == "file:store-proven") != content  # type: ignore[attr-defined]
    proven = Seen({PathProbe(PROVEN): PathState("file", content=content)})
    assert len(STEP.looks(context(proven))) == 1
    other = replace(context(proven), secrets={**SECRETS, "store.user.secret": Secret("anotherone")})
    assert len(STEP.looks(other)) == 2
    assert STEP.trials(replace(fresh, seen=fresh.seen.put(asked, "ok")))[0].work == "prove"
    assert STEP.trials(context(proven)) == ()


def test_mlflow_signs_for_the_store_itself() -> None:
    found = mlflow_environment.variables(context(store__region="eu-1", store__addressing="virtual"))
    assert found["MLFLOW_S3_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert (found["AWS_DEFAULT_REGION"], found["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"]) == ("eu-1", "virtual")


@pytest.mark.parametrize("mode", ["proxied", "direct"])
def test_nginx_has_no_way_to_a_store_of_somebody_elses(mode: str) -> None:
    site = proxy.site(context(artifacts__mode=mode))
    assert "provision_store" not in site
    assert "theirs" not in site
    assert ("auth_request /.provision-health/store;" in site) == (mode == "proxied"), "MLflow asks with its own key"
    assert "auth_request /.provision-health/database;" in site


def test_keys_of_the_store_are_brought_and_never_made() -> None:
    settings = effective({**FLAGS, "artifacts.mode": "direct"}, {})
    assert secret_kinds.to_bring(settings) == (
        "store.user.key",
        "store.user.secret",
        "store.client.key",
        "store.client.secret",
    )
    assert not {"store.root.user", "store.root.password"} & set(secret_kinds.wanted(settings))
    empty = vault.Decision(vault.Vault("s"), (), (), ())
    with pytest.raises(Refused, match=r"store\.client\.secret") as error:
        outside_keys.brought(empty, settings, "--host h")
    assert '"store.user.key" = { env = "STORE_KEY" }' in error.value.next
    long = vault.changed(vault.Vault("s"), "store.user.key", Secret("k" * 21))
    with pytest.raises(Refused, match="this store takes 20"):
        outside_keys.brought(replace(empty, vault=long), effective({}, {}), "--host h")


@pytest.mark.parametrize(
    "flags",
    [
        {"store.endpoint": "http://10.0.0.9:9000"},
        {"store.region": "eu-1"},
        {"store.engine": "external", "store.binary": "./minio"},
        {"store.engine": "external", "store.data": "/srv/x"},
        {"store.engine": "external", "store.endpoint": "http://s3", "store.ca": "ca.pem"},
        {"store.engine": "external", "store.endpoint": "http://s3", "mlflow.egress": "stack"},
    ],
)
def test_settings_that_contradict_an_external_store_are_refused(flags: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        effective(flags, {})


def test_the_record_says_where_the_store_is_and_not_whose_file_the_root_was() -> None:
    flags = {**FLAGS, "store.endpoint": "https://s3.example.com:9000", "store.ca": "/home/a/ca.pem"}
    recorded = parse_recorded(dump_recorded(effective(flags, {}), "h"), "h")
    again = effective({}, {}, recorded)
    assert (again.store.endpoint, again.store.ca) == ("https://s3.example.com:9000", "own")
    assert again.store.data == ""
    assert json.dumps(dict(recorded.values), default=str).count("/home/a") == 0
