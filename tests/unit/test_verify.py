"""What a verification finds, against a tracking server in memory."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest
from fake_mlflow import FakeMlflow, Hook, Reply

from provisioner.engine.check import Check
from provisioner.secrets import Secret
from provisioner.verify import context
from provisioner.verify.context import Database
from provisioner.verify.quick import quick
from provisioner.verify.run import Outcome, verify
from provisioner.verify.target import DirectStore, Target

Start = Callable[..., FakeMlflow]


@pytest.fixture(autouse=True)
def small_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "PAYLOAD_BYTES", 300_000)


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[FakeMlflow] = []

    def begin(hook: Hook | None = None, **options: object) -> FakeMlflow:
        running.append(FakeMlflow(hook, **options))  # type: ignore[arg-type]
        return running[-1]

    yield begin
    for server in running:
        server.close()


def from_elsewhere(server: FakeMlflow, **options: object) -> Target:
    """The server as http://10.0.0.9:5000, its connections carried like an SSH forward does."""

    def connect(host: str, port: int, timeout: float) -> socket.socket:
        assert (host, port) == ("10.0.0.9", 5000)
        return socket.create_connection(("127.0.0.1", server.port), timeout)

    return Target("http://10.0.0.9:5000", connect=connect, repair="--host 10.0.0.9", **options)  # type: ignore[arg-type]


def failed(outcome: Outcome) -> list[str]:
    return [check.id for check in outcome.checks if check.status == "fail"]


def answering(path_part: str, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Hook:
    def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], data: bytes) -> object:
        return (status, headers or {}, body) if path_part in path else None

    return hook  # type: ignore[return-value]


def test_a_working_server_verifies_green_and_keeps_one_linked_run(start: Start) -> None:
    server = start()
    seen: list[Check] = []
    outcome = verify(Target(server.url), on_check=seen.append)
    assert failed(outcome) == []
    assert outcome.ok
    assert outcome.run_url == f"{server.url}/#/experiments/1/runs/{outcome.run_id}"
    assert tuple(seen) == outcome.checks
    assert {check.status for check in outcome.checks} == {"ok"}
    assert server.runs[outcome.run_id]["info"]["status"] == "FINISHED"


def test_check_ids_are_the_contract_of_the_json_output(start: Start) -> None:
    outcome = verify(Target(start().url))
    assert [check.id for check in outcome.checks] == [
        "reach", "host-header", "login", "tracking-api", "browser", "foreign-origin", "server-info",
        "experiment", "run", "parameter", "metrics", "tag", "read-back", "search",
        "artifact-upload", "artifact-list", "artifact-download", "registry", "alias",
        "run-kept", "tidy",
    ]  # fmt: skip


def test_the_second_verification_removes_the_first_run_and_its_files(start: Start) -> None:
    server = start()
    first, second = verify(Target(server.url)), verify(Target(server.url))
    assert server.runs[first.run_id]["info"]["lifecycle_stage"] == "deleted"
    assert server.runs[second.run_id]["info"]["lifecycle_stage"] == "active"
    assert len(server.experiments) == 1
    assert all(second.run_id in key for key in server.objects)
    assert [number for number, version in server.versions.items() if not version.get("gone")] == ["2"]


def test_runs_without_the_mark_or_of_another_experiment_are_never_removed(start: Start) -> None:
    server = start()
    verify(Target(server.url))
    server.add_run("foreign", "1", {"provision.verify": "0"})
    server.add_run("elsewhere", "7", {"provision.verify": "1"})
    server.add_run("under-way", "1", {"provision.verify": "1"}, status="RUNNING", start_time=2**53)
    server.add_run("odd", "1", {"provision.verify": "1"}, artifact_uri="mlflow-artifacts:/1/foreign/artifacts")
    server.objects["1/foreign/artifacts/model"] = b"precious"
    server.versions["9"] = {"name": "provision-verify", "version": "0", "tags": []}
    assert verify(Target(server.url)).ok
    stages = {name: run["info"]["lifecycle_stage"] for name, run in server.runs.items()}
    assert (stages["foreign"], stages["elsewhere"], stages["under-way"]) == ("active", "active", "active")
    assert server.objects["1/foreign/artifacts/model"] == b"precious"
    assert not server.versions["9"].get("gone")


def test_a_deleted_experiment_is_restored(start: Start) -> None:
    server = start()
    verify(Target(server.url))
    server.experiments["1"]["lifecycle_stage"] = "deleted"
    assert verify(Target(server.url)).ok
    assert server.experiments["1"]["lifecycle_stage"] == "active"


def test_a_model_of_the_same_name_that_is_somebody_elses_is_left_alone(start: Start) -> None:
    server = start()
    server.models["provision-verify"] = {"name": "provision-verify", "tags": []}
    outcome = verify(Target(server.url))
    assert outcome.ok
    assert server.versions == {}


def test_a_login_that_may_not_use_the_common_experiment_gets_its_own(start: Start) -> None:
    def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], body: bytes) -> Reply | None:
        if not sent.get("authorization") and "/bucket/" not in path:
            return 401, {}, b""
        if path.endswith("runs/create") and json.loads(body)["experiment_id"] == "1":
            return 403, {}, b"Permission denied"
        return None

    server = start(hook)
    server.do_experiments_create({"name": "provision-verify"})
    target = Target(server.url, username="bob b", password=Secret("p4ssword"))
    assert verify(target).ok
    outcome = verify(target)
    assert outcome.ok
    assert [e["name"] for e in server.experiments.values()] == ["provision-verify", "provision-verify-bob_b"]
    assert outcome.run_url == f"{server.url}/#/experiments/2/runs/{outcome.run_id}"


def test_a_download_address_on_loopback_is_a_fault_even_when_this_machine_can_reach_it(start: Start) -> None:
    server = start()
    server.presign_origin = server.url
    outcome = verify(from_elsewhere(server))
    assert failed(outcome) == ["artifact-download"]
    assert outcome.fault == "endpoint-loopback"
    assert server.url in outcome.why
    assert "http://10.0.0.9:5000" in outcome.why
    assert outcome.next == "provision mlflow --host 10.0.0.9"
    assert {c.id: c.detail for c in outcome.checks}["registry"] == "needs artifact-download"


def test_a_refused_download_address_says_what_and_never_shows_the_signature(start: Start) -> None:
    server = start()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server.presign_origin = f"http://127.0.0.1:{closed.getsockname()[1]}"
        outcome = verify(from_elsewhere(server))
    detail = {c.id: c.detail for c in outcome.checks}["artifact-download"]
    assert "connection refused: 127.0.0.1 is this machine" in detail
    assert "topsecretsignature" not in repr(outcome)
    assert outcome.vantage == "ssh"


def test_a_download_address_by_a_name_nobody_knows_is_told_apart(start: Start) -> None:
    server = start()
    server.presign_origin = "http://minio.invalid:9000"
    outcome = verify(from_elsewhere(server))
    assert outcome.fault == "endpoint-unreachable"
    assert "does not resolve" in outcome.why


def test_after_a_failure_the_test_run_is_taken_away_again(start: Start) -> None:
    server = start()
    server.presign_origin = "http://minio.invalid:9000"
    outcome = verify(from_elsewhere(server))
    assert outcome.run_url is None
    assert [run["info"]["lifecycle_stage"] for run in server.runs.values()] == ["deleted"]
    assert server.objects == {}


def test_an_older_server_without_server_info_is_downloaded_from_plainly(start: Start) -> None:
    server = start(answering("/server-info", 404, b"<html>"))
    outcome = verify(Target(server.url))
    assert outcome.ok
    assert not any("presigned" in path for _, path in server.requests)


def test_the_login_is_told_apart_from_none_and_from_a_wrong_one(start: Start) -> None:
    right = Target("", username="u", password=Secret("pässword"))
    server = start(login=right.authorization())
    assert verify(Target(server.url)).fault == "login-missing"
    assert verify(Target(server.url, username="u", password=Secret("other"))).fault == "login-wrong"
    assert verify(Target(server.url, username="u", password=Secret("pässword"))).ok


def test_a_server_that_lets_everyone_in_although_it_has_a_login_fails(start: Start) -> None:
    outcome = verify(Target(start().url, username="u", password=Secret("secret")))
    assert outcome.fault == "login-open"
    assert failed(outcome) == ["login"]


def test_the_login_is_not_sent_to_a_download_address(start: Start) -> None:
    target = Target("", token=Secret("t0ken"))
    server = start(login=target.authorization())
    assert verify(Target(server.url, token=Secret("t0ken"))).ok


CASES: list[tuple[str, str, int, bytes, str]] = [
    ("host header", "experiments", 403, b"Invalid Host header - possible DNS rebinding attack detected", "host-header"),
    ("cors", "ajax-api", 403, b"Cross-origin request blocked", "cors"),
    ("database", "search", 503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "refused"}', "database-down"),
    ("bad gateway", "", 502, b"<html>", "mlflow-down"),
    ("starting", "", 503, b"<html>", "mlflow-down"),
    ("another service", "", 200, b"<html>hello", "not-mlflow"),
    ("no such path", "", 404, b"<html>", "not-mlflow"),
    ("broken json", "", 200, b"[" * 100_000, "not-mlflow"),
    ("too large", "artifacts/1/", 413, b"<html>", "too-large"),
    ("store", "artifacts/1/", 500, b"Internal Server Error", "store"),
    ("not serving", "artifacts/1/", 503, b"Endpoint: x disabled due to the mlflow server", "artifacts-off"),
    ("signature", "/bucket/", 403, b"<Code>SignatureDoesNotMatch</Code>", "signature"),
    ("clock", "/bucket/", 403, b"<Code>AccessDenied</Code><Message>Request has expired</Message>", "clock"),
    ("login on the bucket", "/bucket/", 401, b"", "bucket-login"),
    ("no route", "/bucket/", 404, b"<html>", "bucket-route"),
    ("changed bytes", "/bucket/", 206, b"x" * 300_000, "corrupted"),
    ("plain http", "", 400, b"The plain HTTP request was sent to HTTPS port", "scheme"),
]


@pytest.mark.parametrize(("part", "status", "body", "fault"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_fault_has_its_name(start: Start, part: str, status: int, body: bytes, fault: str) -> None:
    outcome = verify(from_elsewhere(start(answering(part, status, body))))
    assert outcome.fault == fault
    assert outcome.what
    assert not outcome.ok


def test_what_the_driver_said_decides_which_step_repairs_the_database(start: Start) -> None:
    def next_for(message: str) -> str:
        body = json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": message}).encode()
        return verify(from_elsewhere(start(answering("search", 503, body)))).next

    assert next_for("connection refused") == "provision postgres --host 10.0.0.9"
    assert next_for('password authentication failed for user "mlflow"') == "provision database --host 10.0.0.9"


def test_redirects_are_reported_and_not_followed(start: Start) -> None:
    def fault(location: str) -> Outcome:
        return verify(Target(start(answering("", 302, b"", {"Location": location})).url))

    assert "https" in fault("https://mlflow.example.com/x?state=1").next
    assert "MLFLOW_TRACKING_TOKEN" in fault("/oauth2/sign_in?rd=/").next
    assert fault("").fault == "redirect"


def test_a_run_that_is_not_in_the_stacks_database_is_a_fault(start: Start) -> None:
    class Connection:
        row: tuple[object, ...] | None = None

        def cursor(self) -> Connection:
            return self

        def __enter__(self) -> Connection:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def execute(self, sql: str, values: tuple[str, ...]) -> None:
            assert "run_uuid" in sql

        def fetchone(self) -> tuple[object, ...] | None:
            return self.row

        def close(self) -> None:
            return

    outcome = verify(Target(start().url), database=Database(Connection, "postgres", "database"))
    assert outcome.fault == "other-database", outcome
    Connection.row = (1,)
    outcome = verify(Target(start().url), database=Database(Connection, "postgres", "database"))
    assert outcome.ok, outcome

    def refuses() -> Connection:
        raise RuntimeError('FATAL: password authentication failed for user "mlflow"\nDETAIL')

    outcome = verify(Target(start().url, repair=""), database=Database(refuses, "postgres", "database"))
    assert (outcome.fault, outcome.next) == ("database", "provision database")
    # One that is not the stack's own has no step.
    outcome = verify(Target(start().url, repair=""), database=Database(refuses, "", ""))
    assert (outcome.fault, outcome.next) == ("database", "provision")


def test_the_short_check_is_three_requests_on_one_connection_and_writes_nothing(start: Start) -> None:
    server = start()
    assert quick(Target(server.url)) == (False, pytest.approx(0, abs=2000), "no verified test run yet", False)
    verify(Target(server.url))
    server.requests.clear()
    server.connections = 0
    result = quick(Target(server.url))
    assert result.ok
    assert [method for method, _ in server.requests] == ["POST", "GET", "GET"]
    assert server.connections == 1


def test_the_short_check_sees_a_lost_object_a_changed_one_and_a_blocked_browser(start: Start) -> None:
    server = start()
    verify(Target(server.url))
    kept = next(key for key in server.objects if key.endswith("kept.txt"))
    body = server.objects.pop(kept)
    assert not quick(Target(server.url)).ok
    server.objects[kept] = body[::-1]
    assert not quick(Target(server.url)).ok
    server.objects[kept] = body
    assert quick(Target(server.url)).ok
    server.hook = answering("ajax-api", 403, b"Cross-origin request blocked")
    assert not quick(Target(server.url)).ok


def test_the_short_check_tells_a_server_that_starts_from_one_that_answers(start: Start) -> None:
    server = start()
    verify(Target(server.url))
    server.hook = answering("ajax-api", 502, b"Bad Gateway")
    assert quick(Target(server.url)).unanswered
    server.hook = answering("ajax-api", 500, b"Internal Server Error")
    assert not quick(Target(server.url)).unanswered
    server.hook = None
    assert not quick(Target(server.url)).unanswered


def test_the_short_check_works_without_presigned_addresses(start: Start) -> None:
    server = start(answering("/presigned/", 501, b"{}"), presigned=False)
    verify(Target(server.url))
    assert quick(Target(server.url)).ok


def test_hostile_ids_never_reach_a_path(start: Start) -> None:
    server = start(answering("runs/create", 200, b'{"run": {"info": {"run_id": "../../x", "artifact_uri": "a"}}}'))
    outcome = verify(Target(server.url))
    assert "run" in failed(outcome)
    assert not any(".." in path for _, path in server.requests)


# --- clients that go to the store themselves


def direct(server: FakeMlflow, access: str = "clientkey") -> Target:
    server.root, server.keys = "s3://direct", {"clientkey"}
    return Target(server.url, repair="--host h", direct=DirectStore(server.url, access, Secret("s" * 40)))


def test_artifacts_go_straight_to_the_store_with_the_clients_key(start: Start) -> None:
    server = start()
    target = direct(server)
    outcome = verify(target)
    assert failed(outcome) == []
    details = {check.id: check.detail for check in outcome.checks}
    assert details["artifact-upload"] == "0.3 MB straight into the bucket, with the clients' key"
    assert details["artifact-download"] == "0.3 MB straight from the bucket"
    assert sorted(key.rsplit("/", 1)[1] for key in server.objects) == ["kept.txt", "payload.bin"]
    assert not [path for _, path in server.requests if "mlflow-artifacts/" in path]
    assert quick(target).ok


def test_an_older_test_run_is_removed_straight_from_the_store_and_nothing_else(start: Start) -> None:
    server = start()
    target = direct(server)
    earlier = verify(target).run_id
    server.objects["somebody/else"] = b"theirs"
    server.objects[f"1/{earlier}/artifacts-of-others/x"] = b"theirs"
    again = verify(target)
    assert failed(again) == []
    left = {key.split("/verify/")[0] for key in server.objects}
    assert left == {f"1/{again.run_id}/artifacts", "somebody/else", f"1/{earlier}/artifacts-of-others/x"}


def test_a_key_that_the_store_does_not_know_is_the_buckets_to_mend(start: Start) -> None:
    server = start()
    outcome = verify(direct(server, "another"))
    assert failed(outcome) == ["artifact-upload"]
    assert "InvalidAccessKeyId" in next(check.detail for check in outcome.checks if check.status == "fail")
    assert outcome.next == "provision bucket --host h"
    assert quick(direct(server, "another")).ok is False


def test_an_experiment_of_the_time_before_is_told_apart(start: Start) -> None:
    server = start()
    target = direct(server)
    server.root = "mlflow-artifacts:"
    outcome = verify(target)
    assert failed(outcome) == ["artifact-upload"]
    assert outcome.fault == "mode"
