"""`mlflow.serve = "artifacts"`: a server that passes artifacts on for a tracking server elsewhere, here a bare one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .clients import Client
from .conftest import LANE, Stack, make_stack

ADDRESS = f"10.151.0.{int(LANE) + 10}"
ONLY = ("--set", "mlflow.serve=artifacts")
WORK = """
import json, mlflow
mlflow.set_tracking_uri("http://127.0.0.1:5600")
mlflow.set_experiment("apart")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("größe", "sub/größe.txt")
back = mlflow.artifacts.load_text(run.info.artifact_uri + "/sub/größe.txt")
found = [each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id, "sub")]
print(json.dumps({"uri": run.info.artifact_uri, "back": back, "found": found}))
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("halves")
    yield from make_stack("seaweedfs", f"t-halves-{LANE}", ADDRESS, folder, *ONLY)


def test_the_run_ends_verified_as_what_it_is_and_a_second_one_changes_nothing(stack: Stack) -> None:
    checks = stack.first.checks
    assert set(checks.values()) == {"ok"}, stack.first.host["checks"]
    assert {"no-tracking", "artifact-download", "bucket-object", "bucket-policy"} <= set(checks)
    assert {"run", "database-row"}.isdisjoint(checks)
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.why
    assert not again.host["checks"], "the short check was enough"


def test_there_is_no_database_and_nothing_of_one(stack: Stack) -> None:
    assert stack.on("command -v psql || :") == ""
    assert "database.password" not in stack.on("cat /etc/provision/secrets.json")
    status = stack.run("status", "--json")
    assert status.code == 0, status.why
    assert [row["what"] for row in status.host["data"]] == ["store"]


def test_clients_of_a_tracking_server_elsewhere_keep_their_artifacts_here(stack: Stack, client: Client) -> None:
    told = stack.run("env").out
    place = f"mlflow-artifacts://{ADDRESS}:5000"
    assert f"export MLFLOW_ARTIFACT_LOCATION={place}\n" in told
    assert "MLFLOW_TRACKING_URI" not in told
    options = f"--no-serve-artifacts --default-artifact-root {place}/apart --workers 1 --port 5600"
    client.host.check(
        "systemd-run -q --unit=their-mlflow --property=WorkingDirectory=/root --setenv=MLFLOW_DISABLE_TELEMETRY=true "
        f"/opt/client/bin/mlflow server {options}"
    )
    try:
        answers = "curl -fs -o /dev/null http://127.0.0.1:5600/version"
        client.host.check(f"for i in $(seq 300); do {answers} && exit 0; sleep 0.3; done; exit 1", seconds=150)
        done = client.work(told, WORK)
    finally:
        client.host.exec("systemctl stop their-mlflow")
    assert done["uri"].startswith(f"{place}/apart/")
    assert (done["back"], done["found"]) == ("größe", ["sub/größe.txt"])


def test_health_speaks_for_the_bucket_and_nothing_else_of_mlflow_is_served(stack: Stack) -> None:
    login = f'user = "mlflow:{stack.secret("login")}"\n'

    def asked(path: str, stdin: str = login) -> str:
        return stack.on(f"curl -s -K - -o /dev/null -w '%{{http_code}}' '{stack.url}{path}'", stdin=stdin)

    assert asked("/health", "") == "200"
    assert asked("/", "") == "401"
    closed = ("/", "/graphql", "/api/2.0/mlflow/experiments/search?max_results=1", "/static-files/x", "/get-artifact")
    assert {path: asked(path) for path in closed} == dict.fromkeys(closed, "404")
    assert asked("/version") == "200"


def test_a_stack_with_runs_does_not_become_half_of_it_and_tracking_may_be_added(stack: Stack) -> None:
    added = stack.run("--set", "mlflow.serve=all", "--json", timeout=400)
    assert added.code == 0, added.why
    assert added.checks["database-row"] == "ok"
    back = stack.run("--set", "mlflow.serve=artifacts", "--json")
    assert back.code == 4, back.why
    assert "another tracking server" in back.host["error"]["why"]
    assert stack.run("--set", "mlflow.serve=tracking").code == 64
