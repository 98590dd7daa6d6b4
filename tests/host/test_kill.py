"""A run that dies, a run that is interrupted, two runs at once: what is begun goes on, nothing is done twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import FIRST_RUN, Operator, Ran

KILLED, SHARED = "10.151.0.82", "10.151.0.83"
PARTING = 25.0
"""Seconds an interrupted command may take to end; one or two on an idle machine."""

APT = "[ -s /run/provision/owner ] && pgrep -x apt-get"
VENV = "ls -d /opt/mlflow/3*/lib"
"""What tells, on the host, that this work is under way."""


def arguments(address: str) -> tuple[str, ...]:
    return ("--set", "store.engine=seaweedfs", "--host", f"root@{address}", "-i", str(PRIVATE_KEY))


def until(host: LabHost, sign: str, process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Until `sign` succeeds on the host while `process` still runs."""
    end = time.monotonic() + seconds
    while host.exec(f"{{ {sign}; }} >/dev/null 2>&1").rc:
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"the run ended early, exit {process.returncode}\n{out}\n{err}")
        assert time.monotonic() < end, f"never seen: {sign}"
        time.sleep(0.1)


def ended(process: subprocess.Popen[str], seconds: float) -> Ran:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"not ended after {seconds} s\n{out}\n{err}") from None
    assert "Traceback" not in err, err
    return Ran(process.returncode, out, err)


def holding(host: LabHost, owner: Operator, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """The process once it waits no more. On a slow machine what it waits for may outlast its patience:
    then it says so (6), and another one waits on."""
    for _ in range(4):
        while process.poll() is None:
            if host.exec(f"grep -q 'pid {process.pid},' /run/provision/owner").rc == 0:
                return process
            time.sleep(0.1)
        gave_up = ended(process, 10)
        assert gave_up.code == 6, gave_up.why
        assert re.search(r"\S+@\S+, pid \d+, provision, since", gave_up.out + gave_up.err)
        process = owner.start(*arguments(KILLED))
    raise AssertionError("the work of a killed run never ended")


def patient(owner: Operator, address: str) -> Ran:
    """A whole run; again where what is left of an earlier one outlasts its patience (6)."""
    for _ in range(4):
        ran = owner.run(*arguments(address), "--json", timeout=FIRST_RUN)
        if ran.code != 6:
            break
    return ran


def working(host: LabHost) -> bool:
    """Something of a run, living or dead, still holds the lock that its work inherited."""
    return host.exec("[ -e /run/provision/work ] && ! flock -n /run/provision/work true").rc == 0


def secrets_of(operator: Operator, address: str) -> str:
    return (operator.state / "provision" / address / "secrets.json").read_text()


@pytest.fixture(scope="module")
def killed() -> Iterator[LabHost]:
    with hosts.running("t-kill", KILLED, cache=True) as host:
        yield host


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("kill") / "state")


def test_killed_twice_and_interrupted_once_the_next_run_waits_and_ends_verified(
    killed: LabHost, owner: Operator
) -> None:
    first = owner.start(*arguments(KILLED))
    until(killed, APT, first)
    first.kill()
    first.wait()
    assert working(killed), "apt was at work and held nothing"
    begun = secrets_of(owner, KILLED)

    second = owner.start(*arguments(KILLED))
    assert second.stderr is not None
    told = waits(second)
    assert re.search(rf"waits for \S+@\S+, pid {first.pid}, provision, since \d\d:\d\d UTC", told), told
    second = holding(killed, owner, second)
    until(killed, VENV, second)
    second.kill()
    second.wait()

    third = holding(killed, owner, owner.start(*arguments(KILLED)))
    third.send_signal(signal.SIGINT)
    asked = time.monotonic()
    interrupted = ended(third, 60)
    assert time.monotonic() - asked < PARTING
    assert interrupted.code == 130
    assert "interrupted" in interrupted.err + interrupted.out
    assert "run the same command again" in interrupted.err + interrupted.out

    last = patient(owner, KILLED)
    assert last.code == 0, last.why
    assert set(last.checks.values()) <= {"ok", "warn"}, last.checks
    assert last.checks["artifact-download"] == "ok"
    assert json.loads(secrets_of(owner, KILLED)) == json.loads(begun), "a killed run's secrets were lost"

    again = owner.run(*arguments(KILLED), "--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    assert not working(killed)
    half = killed.check("find /etc /usr/local /opt/mlflow /opt/seaweedfs -name '*.new' -not -path '*/lib/python*'")
    assert half == ""
    assert killed.check("dpkg --audit").strip() == ""


def waits(process: subprocess.Popen[str], seconds: float = 120) -> str:
    """stderr up to the line that says whom it waits for."""
    assert process.stderr is not None
    lines: list[str] = []
    end = time.monotonic() + seconds
    for line in process.stderr:
        lines.append(line)
        if "waits for" in line:
            return "".join(lines)
        assert time.monotonic() < end, "".join(lines)
    raise AssertionError("".join(lines))


def test_a_stack_that_runs_survives_a_kill_in_the_middle_of_a_repair(killed: LabHost, owner: Operator) -> None:
    killed.check("sed -i 's/^MemoryMax=.*/MemoryMax=2G/' /etc/systemd/system/mlflow-server.service")
    process = owner.start(*arguments(KILLED))
    until(killed, "grep -q '^MemoryMax=3G' /etc/systemd/system/mlflow-server.service", process, 60)
    process.kill()
    process.wait()
    mended = owner.run(*arguments(KILLED), "--json")
    assert mended.code == 0, mended.why
    assert killed.check("systemctl show -P MemoryMax mlflow-server.service").strip() == str(3 * 2**30)
    assert owner.run(*arguments(KILLED), "--json").changed() == []


@pytest.fixture(scope="module")
def shared() -> Iterator[LabHost]:
    with hosts.running("t-two", SHARED, cache=True) as host:
        yield host


def test_two_operators_at_once_make_one_stack_with_one_set_of_secrets(shared: LabHost, tmp_path: Path) -> None:
    both = [Operator(tmp_path / name) for name in ("anna", "berta")]
    processes = [operator.start(*arguments(SHARED), "--json") for operator in both]
    runs = [ended(process, FIRST_RUN + 200) for process in processes]

    assert {run.code for run in runs} <= {0, 6}, [run.out + run.err for run in runs]
    assert 0 in {run.code for run in runs}
    named: Callable[[int], str] = lambda n: rf"pid {processes[1 - n].pid}, provision, since"  # noqa: E731
    for n, run in enumerate(runs):
        if run.code == 6:
            assert re.search(named(n), run.host["error"]["why"]), run.out
    assert any(re.search(rf"waits for .*{named(n)}", run.err) for n, run in enumerate(runs)), [r.err for r in runs]

    for operator in both:
        again = operator.run(*arguments(SHARED), "--json")
        assert again.code == 0, again.why
        assert again.changed() == []
    one, other = (secrets_of(operator, SHARED) for operator in both)
    assert one == other == shared.check("cat /etc/provision/secrets.json")
