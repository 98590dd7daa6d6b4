"""The steps as tasks of Fabric's own program: `fab -r provisioner -H HOST STEP`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Operator, Stack

PROJECT = Path(__file__).resolve().parents[2]
FAB = Path(sys.executable).with_name("fab")
pytestmark = pytest.mark.skipif(not FAB.exists(), reason="Fabric's program is not beside this Python")


def fab(operator: Operator, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    home = operator.state.parent / (operator.state.name + ".home")
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [str(FAB), "-r", str(PROJECT / "provisioner"), *arguments],
        cwd=home,
        env={**os.environ, "XDG_STATE_HOME": str(operator.state), "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def reach(stack: Stack) -> tuple[str, ...]:
    return ("-H", f"root@{stack.address}", "-i", stack.reach()[-1])


def test_fab_lists_every_step(operator: Operator) -> None:
    done = fab(operator, "--list")
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines()[1:] if line.strip()}
    steps = {"minio", "seaweedfs", "external-store", "postgres", "mysql", "external-database", "database"}
    between_hosts = {"certificates", "peers", "cluster", "gate"}
    served = {"bucket", "mlflow", "proxy"}
    assert set(listed) == {*steps, *served, *between_hosts, "provision"}
    assert all(listed.values()), "each says what it does"


def test_without_a_host_it_says_what_is_missing(operator: Operator) -> None:
    done = fab(operator, "postgres")
    assert done.returncode == 64, done.stderr
    assert "-H HOST" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_of_a_finished_stack_changes_nothing(stack: Stack) -> None:
    lives = stack.lives()
    done = fab(stack.operator, *reach(stack), stack.engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to change" in done.stdout
    assert stack.lives() == lives
    whole = fab(stack.operator, *reach(stack), "provision")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "nothing to change" in whole.stdout


def test_a_step_repairs_what_differs(stack: Stack) -> None:
    stack.on("chmod 0644 /etc/mlflow/mlflow.env")
    done = fab(stack.operator, *reach(stack), "mlflow")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mlflow.env" in done.stdout
    assert stack.on("stat -c %a /etc/mlflow/mlflow.env") == "600\n"


def test_an_unknown_host_key_is_kept_by_the_tool_and_a_changed_one_is_caught(stack: Stack, operator: Operator) -> None:
    done = fab(operator, *reach(stack), stack.engine)
    kept = operator.state / "provision" / "known_hosts"
    assert stack.address in kept.read_text(), done.stderr
    assert not (operator.state.with_name("state.home") / ".ssh" / "known_hosts").exists()
    (line,) = kept.read_text().splitlines()
    name, kind, _ = line.split()
    kept.write_text(f"{name} {kind} AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
    done = fab(operator, *reach(stack), stack.engine)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "forget-key" in done.stdout + done.stderr


def test_the_other_stores_step_is_refused_with_this_stacks_name(stack: Stack) -> None:
    other = {"minio": "seaweedfs", "seaweedfs": "minio"}[stack.engine]
    done = fab(stack.operator, *reach(stack), other)
    assert done.returncode == 64, done.stdout + done.stderr
    assert f"its store is {stack.engine}" in done.stdout + done.stderr
