"""Single steps touch only what is theirs, and say what they need; switches that lose data are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost

from .conftest import ENGINES, PRIVATE_KEY, Operator, Ran, Stack, store_settings

STEPS = ("postgres", "database", "bucket", "mlflow", "proxy")
FRESH = "10.151.0.76"
OTHER = {"minio": "seaweedfs", "seaweedfs": "minio"}


@pytest.fixture(scope="module")
def fresh() -> Iterator[LabHost]:
    with hosts.running("t-fresh", FRESH) as host:
        yield host


def on_fresh(operator: Operator, *arguments: str) -> Ran:
    return operator.run(*arguments, "--host", f"root@{FRESH}", "-i", str(PRIVATE_KEY), "--json")


@pytest.mark.parametrize("step", ["store", *STEPS])
def test_a_step_of_a_whole_stack_changes_nothing(stack: Stack, step: str) -> None:
    name = stack.engine if step == "store" else step
    run = stack.run(name, "--json")
    assert run.code == 0, run.why
    assert run.json["command"] == name
    assert run.changed() == []


def test_a_step_repairs_its_own_and_leaves_the_others(stack: Stack) -> None:
    stack.on("chmod 0644 /etc/mlflow/mlflow.env")
    stack.on("chmod 0600 /etc/nginx/conf.d/provision-mlflow.conf")
    assert set(stack.run("plan", "--json").changed()) == {"file:mlflow.env", "file:nginx-site"}
    lives = stack.lives()

    assert stack.run("mlflow", "--json").changed() == ["file:mlflow.env"]
    assert stack.run("plan", "--json").changed() == ["file:nginx-site"]
    assert stack.run("proxy", "--json").changed() == ["file:nginx-site"]
    assert stack.run("plan", "--json").changed() == []
    assert stack.lives() == lives


@pytest.mark.parametrize(
    ("step", "needs"),
    [("bucket", "store"), ("database", "postgres"), ("mlflow", "bucket"), ("proxy", "mlflow")],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_need_that_is_not_met_is_named_with_its_command(
    fresh: LabHost, tmp_path: Path, engine: str, step: str, needs: str
) -> None:
    run = on_fresh(Operator(tmp_path / "state"), step, "--set", f"store.engine={engine}")
    assert run.code == 4, run.why
    error = run.host["error"]
    need = engine if needs == "store" else needs
    assert error["what"].startswith(f"{step} needs ")
    commands = error["next"].splitlines()
    assert any(line.startswith(f"provision {need} --host") and FRESH in line for line in commands), commands
    assert fresh.exec("test -e /etc/provision").rc == 1


def test_a_stopped_need_is_named_with_its_command(stack: Stack) -> None:
    stack.on(f"systemctl stop {stack.store_unit}")
    try:
        run = stack.run("bucket", "--json")
    finally:
        stack.on(f"systemctl start {stack.store_unit}")
    assert run.code == 4, run.out
    assert run.host["error"]["next"].startswith(f"provision {stack.engine} --host")


def test_the_other_engines_step_says_which_engine_this_stack_has(stack: Stack) -> None:
    run = stack.run(OTHER[stack.engine])
    assert run.code in (4, 64), run.why
    assert f"this stack has no {OTHER[stack.engine]}" in run.out + run.err
    assert f"provision {stack.engine}" in run.out + run.err


def test_a_step_that_nobody_knows_is_a_usage_error(stack: Stack) -> None:
    run = stack.run("postgresql")
    assert run.code == 64
    assert run.out == ""


@pytest.mark.parametrize(
    "setting",
    [
        "store.engine",
        "store.data=/srv/elsewhere",
        "store.bucket=another",
        "database.name=another",
    ],
)
def test_a_switch_that_would_leave_data_behind_is_refused(stack: Stack, setting: str) -> None:
    key = setting.partition("=")[0]
    if setting == "store.engine":
        setting = f"store.engine={OTHER[stack.engine]}"
    run = stack.run("--set", setting, "--json")
    assert run.code == 4, run.why
    assert key in run.host["error"]["what"]
    assert run.host["error"]["why"]
    assert run.host["error"]["next"]
    assert run.changed() == []
    plan = stack.run("plan", "--json", "--exit-code")
    assert plan.code == 0, plan.out


def test_another_versions_tables_are_refused_and_everything_else_is_still_told(stack: Stack) -> None:
    as_mlflow = "runuser -u postgres -- psql -qXAt -d mlflow -c"
    was = stack.on(f"{as_mlflow} 'SELECT version_num FROM alembic_version'").strip()
    stack.on(f"{as_mlflow} \"UPDATE alembic_version SET version_num = 'deadbeef'\"; systemctl stop nginx")

    plan = stack.run("plan", "--json")
    assert plan.code == 4, plan.why
    assert plan.changed() == ["unit:nginx.service"]
    assert "deadbeef" in plan.host["error"]["what"]
    status = stack.run("status")
    assert status.code == 1, status.why
    assert "mlflow-server" in status.out
    assert "deadbeef" in status.out
    run = stack.run("--json")
    assert run.code == 4, run.why
    assert run.changed() == []
    assert "deadbeef" in run.host["error"]["what"]

    stack.on(f"{as_mlflow} \"UPDATE alembic_version SET version_num = '{was}'\"; systemctl start nginx")
    assert stack.run("plan", "--json", "--exit-code").code == 0


def test_a_fresh_server_can_be_filled_step_by_step(fresh: LabHost, tmp_path: Path) -> None:
    operator = Operator(tmp_path / "state")
    engine = "minio" if len(store_settings("minio")[1]) > len("store.binary=") else "seaweedfs"
    store = on_fresh(operator, engine, *store_settings(engine))
    assert store.code == 0, store.why
    assert {change["step"] for change in store.host["changes"]} == {"settings", engine}
    bucket = on_fresh(operator, "bucket")
    assert bucket.code == 0, bucket.why
    assert {change["step"] for change in bucket.host["changes"]} == {"bucket"}
    assert "bucket:mlflow" in bucket.changed()
    assert fresh.exec("command -v psql nginx").rc != 0
    assert on_fresh(operator, "bucket").changed() == []
