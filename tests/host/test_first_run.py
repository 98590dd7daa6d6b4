"""The first run on a fresh server, the second that finds nothing to do, and what the other commands
tell of the stack. The tests that change settings come last; `stack` is as new at the start."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from provisioner.runtime import mlflow as runtime

from .conftest import PRIVATE_KEY, Operator, Ran, Stack

STATUSES = {"ok", "warn", "skip"}
ACTIONS = {"create", "change", "remove", "start", "restart", "reload", "run", "check"}


def search(url: str, account: str = "", password: str = "") -> tuple[int, Any]:
    """Status and document of one search for experiments, as a client sends it."""
    body = json.dumps({"max_results": 5}).encode()
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/experiments/search", body)
    request.add_header("Content-Type", "application/json")
    if account:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{account}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def variables(stack: Stack) -> dict[str, str]:
    run = stack.run("env", "--format", "json")
    assert run.code == 0, run.err
    found: dict[str, str] = json.loads(run.out)
    return found


def assert_as_wanted(run: Ran) -> None:
    assert run.code == 0, run.why
    assert run.changed() == []


def test_the_plan_of_a_fresh_server_is_what_the_run_reports(stack: Stack) -> None:
    assert stack.planned.code == 2
    assert stack.planned.json["exit"] == 2
    plan, run = stack.planned.host, stack.first.host
    assert {(c["step"], c["resource"]) for c in plan["changes"]} == {(c["step"], c["resource"]) for c in run["changes"]}
    assert len(plan["changes"]) == len(run["changes"]) > 35
    assert plan["resources"] == run["resources"]
    assert all(change["seconds"] is None for change in plan["changes"])
    assert all(change["seconds"] is not None for change in run["changes"])


def test_the_document_of_the_first_run_is_complete(stack: Stack) -> None:
    document, host = stack.first.json, stack.first.host
    assert (document["schema"], document["command"], document["exit"]) == (1, "apply", 0)
    assert document["seconds"] > 0
    assert (host["host"], host["vantage"], host["error"]) == (stack.address, "direct", None)
    assert host["connections"] == 1
    assert host["url"] == stack.url
    assert host["run"].startswith(f"{stack.url}/#/experiments/")
    for change in host["changes"]:
        assert change.keys() >= {"step", "resource", "action", "reason", "interrupts", "seconds", "diff"}
        assert change["action"] in ACTIONS
        assert change["reason"]
    steps = list(dict.fromkeys(change["step"] for change in host["changes"]))
    assert set(steps) == {"settings", stack.engine, "postgres", "database", "bucket", "mlflow", "proxy"}
    for check in host["checks"]:
        assert check.keys() >= {"id", "status", "seconds", "detail", "fix"}
    assert {check["status"] for check in host["checks"]} <= STATUSES
    assert {"login", "browser", "run", "metrics", "artifact-upload", "artifact-download"} <= stack.first.checks.keys()


def test_no_secret_is_in_any_output_of_the_first_run(stack: Stack) -> None:
    document = json.loads((stack.operator.state / "provision" / stack.address / "secrets.json").read_text())
    values = [each["value"] for each in document["secrets"].values()]
    assert len(values) >= 8
    for text in (stack.planned.out, stack.planned.err, stack.first.out, stack.first.err):
        assert not [value for value in values if value in text]


def test_the_stack_answers_who_has_the_login(stack: Stack) -> None:
    found = variables(stack)
    assert search(stack.url)[0] == 401
    assert search(stack.url, "mlflow", "wrong")[0] == 401
    status, document = search(stack.url, found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_PASSWORD"])
    assert status == 200
    assert len(document["experiments"]) == 2  # Default, and verify's own


def test_a_second_run_changes_nothing_with_one_connection_and_two_channels(stack: Stack) -> None:
    stack.run("plan", "--json")
    lives = stack.lives()
    cursor = stack.on("journalctl -n0 --show-cursor -q | sed -n 's/^-- cursor: //p'").strip()

    run = stack.run("--json")

    assert_as_wanted(run)
    assert run.host["connections"] == 1
    assert run.host["channels"] <= 2
    assert stack.lives() == lives
    log = stack.on(f"journalctl -q -o cat --after-cursor='{cursor}' -t sshd -t sshd-session")
    assert log.count("Accepted publickey") == 1
    assert 1 <= log.count("Starting session") <= 2
    assert log.count("Starting session") == run.host["channels"]


def test_a_plain_second_run_says_so_in_one_line(stack: Stack) -> None:
    run = stack.run()
    assert run.code == 0
    (line,) = (line for line in (run.out + run.err).splitlines() if "nothing to change" in line)
    assert "answers in" in line


def test_nothing_is_pending_after_the_run(stack: Stack) -> None:
    plan = stack.run("plan", "--exit-code", "--json")
    assert_as_wanted(plan)
    assert plan.json["command"] == "plan"


def test_verify_is_green_and_keeps_one_run(stack: Stack) -> None:
    first, second = stack.run("verify", "--json"), stack.run("verify", "--json")
    for run in (first, second):
        assert run.code == 0, run.why
        assert set(run.checks.values()) <= STATUSES
    assert first.host["run"] != second.host["run"]
    found = variables(stack)
    _, experiments = search(stack.url, "mlflow", found["MLFLOW_TRACKING_PASSWORD"])
    (verified,) = (e["experiment_id"] for e in experiments["experiments"] if e["experiment_id"] != "0")
    rows = stack.on(
        'runuser -u postgres -- psql -qXAt mlflow -c "SELECT run_uuid FROM runs '
        f"WHERE experiment_id = {int(verified)} AND lifecycle_stage = 'active'\""
    ).split()
    assert rows == [second.host["run"].rsplit("/", 1)[1]]


def test_status_tells_services_data_and_drift(stack: Stack) -> None:
    run = stack.run("status", "--json")
    assert_as_wanted(run)
    services = {service["unit"]: service for service in run.host["services"]}
    assert services.keys() >= set(stack.units)
    assert {service["active"] for service in services.values()} == {"active"}
    assert run.host["answer"]["ok"]
    assert services["mlflow-server.service"]["version"] == runtime.VERSION
    assert all(services[unit]["version"] for unit in stack.units)
    assert all(row["free"] > 0 for row in run.host["data"])
    store, database = run.host["data"]
    # At least the artifacts and the run of the verification.
    assert store["objects"] >= 1
    assert store["objects_bytes"] >= 5_000_000
    counted = stack.on(
        "runuser -u postgres -- psql -qXAt -d mlflow -c \"SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'\""
    )
    assert database["runs"] == int(counted) >= 1
    assert database["experiments"] >= 2
    drifted = stack.operator.run("status", *stack.reach())
    assert "drift" in drifted.out


def test_status_of_a_drifted_stack_exits_one(stack: Stack) -> None:
    stack.on("chmod 0644 /etc/mlflow/mlflow.env")
    run = stack.run("status", "--json")
    stack.on("chmod 0600 /etc/mlflow/mlflow.env")
    assert run.code == 1
    assert run.changed() == ["file:mlflow.env"]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_shell_takes_the_environment(stack: Stack, shell: str) -> None:
    run = stack.run("env")
    script = 'eval "$1"; printf "%s\\n" "$MLFLOW_TRACKING_URI" "$MLFLOW_TRACKING_USERNAME" "$MLFLOW_TRACKING_PASSWORD"'
    done = subprocess.run([shell, "-c", script, shell, run.out], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(variables(stack).values())
    assert done.stderr == ""


def test_every_format_of_the_environment_says_the_same(stack: Stack) -> None:
    wanted = variables(stack)
    assert wanted == {
        "MLFLOW_TRACKING_URI": stack.url,
        "MLFLOW_TRACKING_USERNAME": "mlflow",
        "MLFLOW_TRACKING_PASSWORD": stack.secret("login"),
    }
    assert json.loads(stack.run("env", "--json").out) == wanted
    dotenv = stack.run("env", "--format", "dotenv").out
    assert dict(line.split("=", 1) for line in dotenv.splitlines()) == wanted
    python = stack.run("env", "--format", "python").out + "import json; print(json.dumps(dict(os.environ)))"
    done = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, check=True)
    assert wanted.items() <= json.loads(done.stdout).items()


def test_the_environment_of_no_stack_is_empty_and_an_error(stack: Stack, operator: Operator) -> None:
    wrong = stack.run("env", "--format", "yaml")
    nobody = operator.run("env", "--host", "root@10.151.0.78", "-i", str(PRIVATE_KEY))
    assert (wrong.code, wrong.out) == (64, "")
    assert (nobody.code, nobody.out) == (3, "")


def test_the_inventory_that_init_writes_plans_nothing(stack: Stack, tmp_path: Path) -> None:
    run = stack.run("init", "-o", str(tmp_path / "inventory.toml"))
    assert run.code == 0, run.err
    written = tomllib.loads((tmp_path / "inventory.toml").read_text())
    assert {"store", "database", "mlflow", "proxy"} <= written["roles"].keys()
    assert stack.secret("login") not in (tmp_path / "inventory.toml").read_text()

    stack.operator.cwd = tmp_path
    try:
        plan = stack.operator.run("plan", "--exit-code", "--json")
    finally:
        stack.operator.cwd = None
    assert_as_wanted(plan)
    again = stack.run("init", "-o", str(tmp_path / "inventory.toml"))
    assert again.code == 4
    assert "inventory.toml exists" in " ".join(again.err.split())


def test_secrets_are_listed_without_values_and_shown_by_name(stack: Stack) -> None:
    listed = stack.run("secrets", "list")
    assert listed.code == 0
    assert "login" in listed.out
    assert stack.secret("login") not in listed.out
    assert stack.run("secrets", "show", "login").out == stack.secret("login") + "\n"
    unknown = stack.run("secrets", "show", "logins")
    assert (unknown.code, unknown.out) == (64, "")


def test_another_operator_finds_nothing_to_change(stack: Stack, operator: Operator) -> None:
    run = operator.run("--json", *stack.reach())
    assert_as_wanted(run)
    shown = operator.run("secrets", "show", "login", *stack.reach())
    assert shown.out == stack.secret("login") + "\n"
    # A copy of its own: should the server be rebuilt now, this operator brings back the same secrets.
    copy = operator.state / "provision" / stack.address / "secrets.json"
    assert json.loads(copy.read_text())["secrets"]["login"]["value"] == stack.secret("login")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_an_imported_secret_reaches_server_and_clients(stack: Stack, operator: Operator, tmp_path: Path) -> None:
    exported = stack.run("secrets", "export")
    document = json.loads(exported.out)
    document["secrets"]["login"]["value"] = "pass word'$\"%{}é"
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps(document))

    imported = stack.run("secrets", "import", str(file))
    assert imported.code == 0, imported.err
    assert "imported login" in imported.out
    assert "pass word" not in imported.out + imported.err

    run = stack.run("--json")
    assert run.code == 0, run.why
    assert set(run.changed()) <= {"file:secrets.json", "file:nginx-accounts"}
    assert "file:nginx-accounts" in run.changed()
    found = variables(stack)
    assert found["MLFLOW_TRACKING_PASSWORD"] == "pass word'$\"%{}é"
    assert search(stack.url, "mlflow", found["MLFLOW_TRACKING_PASSWORD"])[0] == 200
    done = subprocess.run(
        ["dash", "-c", 'eval "$1"; printf %s "$MLFLOW_TRACKING_PASSWORD"', "dash", stack.run("env").out],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == found["MLFLOW_TRACKING_PASSWORD"]
    assert_as_wanted(stack.run("plan", "--json", "--exit-code"))
    # Somebody who holds an earlier copy gets the newer one, and does not bring the old one back.
    assert operator.run("secrets", "import", str(file), *stack.reach()).code == 0
    assert_as_wanted(operator.run("--json", *stack.reach()))


def test_settings_stick(stack: Stack, operator: Operator) -> None:
    chosen = stack.run("--no-auth", "--set", "access.port=5001", "--set", "mlflow.workers=3", "--json")
    assert chosen.code == 0, chosen.why
    expected = {"file:stack.toml", "file:mlflow.env", "file:nginx-site", "unit:mlflow-server.service"}
    assert expected <= set(chosen.changed())
    assert chosen.change("file:nginx-accounts")["action"] == "remove"
    assert stack.host.exec("ls /etc/nginx/provision-mlflow.htpasswd").rc != 0
    url = f"http://{stack.address}:5001"
    assert search(url)[0] == 200

    assert_as_wanted(stack.run("--json"))
    assert_as_wanted(operator.run("plan", "--json", "--exit-code", *stack.reach()))
    assert variables(stack) == {"MLFLOW_TRACKING_URI": url}
    assert stack.run("status", "--json").host["url"] == url
    processes = stack.on("pgrep -c -u mlflow -f multiprocessing-fork")
    assert int(processes) == 3
    with pytest.raises(urllib.error.URLError):
        search(stack.url)
