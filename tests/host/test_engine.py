"""The engine on a real host: what a failed start puts back, and one writer at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from provisioner import lock
from provisioner.engine import plan, probe
from provisioner.engine.apply import Run
from provisioner.engine.resource import Resource
from provisioner.errors import Exit, Locked, ProvisionError
from provisioner.lab import hosts, identity
from provisioner.lab.host import LabHost
from provisioner.resources.file import File
from provisioner.resources.unit import Service, record_line
from provisioner.transport.fabric import ConnectOptions, FabricSession, connect
from provisioner.transport.target import parse_target

ADDRESS = "10.151.0.34"
UNIT, CONF = "/etc/systemd/system/toy.service", "/etc/toy.conf"
TOY = f"""[Service]
{record_line([UNIT, CONF])}
ExecStart=/bin/sh -c "grep -q good {CONF} || {{ echo the config says bad; exit 1; }}; exec sleep 10000"
Restart=always
RestartSec=0.2
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def host() -> Iterator[LabHost]:
    """Debian 13 with sudo-rs and coreutils in Rust ahead of the others."""
    with hosts.running("engine", ADDRESS, suite="trixie", variant="sudo-rs", sudo_user=hosts.SudoUser("ops")) as made:
        yield made


@pytest.fixture
def session(host: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FabricSession]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    session = connect(parse_target(f"ops@{ADDRESS}"), ConnectOptions(identity=identity.PRIVATE_KEY))
    yield session
    session.close()


def toy(conf: bytes, *, apart: bool = False) -> list[Resource]:
    """A service and its files; `apart`: another lane comes between them, so they need two execs."""
    between = File(id="file:between", path="/etc/toy.between", content=os.urandom(8).hex().encode()).of("between")
    needs = (between.id,) if apart else ()
    return [
        File(id="file:conf", path=CONF, content=conf).of("toy"),
        File(id="file:unit", path=UNIT, content=TOY.encode()).of("toy"),
        *([between] if apart else []),
        Service(
            id="unit:toy.service",
            unit="toy.service",
            inputs=(UNIT, CONF),
            health="grep -q good /etc/toy.conf && systemctl -q is-active toy.service",
            health_seconds=20,
            needs=needs,
        ).of("toy"),
    ]


def apply(session: FabricSession, resources: Sequence[Resource], **options: Any) -> list[str]:
    """Actions that were taken."""
    made = plan.make(resources, probe.look(session, plan.probes_of(resources)))
    Run(session, made, stamp=f"T{time.time_ns()}", emit=lambda event: None, **options).all()
    return [p.change.action for p in made.changes]


@pytest.mark.parametrize("apart", [False, True], ids=["in one exec", "in two execs"])
def test_a_failed_start_puts_the_files_back_and_the_service_runs_on_them(
    host: LabHost, session: FabricSession, apart: bool
) -> None:
    apply(session, toy(b"good\n"))
    with pytest.raises(ProvisionError) as caught:
        apply(session, toy(b"bad\n", apart=apart))
    assert "toy.service failed; put back as they were before: /etc/toy.conf" in caught.value.what
    assert caught.value.why == "the config says bad"
    assert "journalctl -u toy.service" in caught.value.next
    assert host.check("cat /etc/toy.conf; systemctl is-active toy.service").split() == ["good", "active"]
    assert apply(session, toy(b"good\n")) == []


@pytest.mark.parametrize(
    ("damage", "actions"),
    [
        ("systemctl restart toy", []),
        ("systemctl stop toy", ["start"]),
        ("systemctl disable -q toy", ["run"]),
        ("touch /etc/systemd/system/toy.service", ["run"]),
        ("rm /run/provision/toy.service", ["restart"]),
        ("systemctl stop toy; rm /etc/systemd/system/toy.service; systemctl mask -q toy", ["change", "start"]),
        ("echo better good >/etc/toy.conf; systemctl restart toy; echo good >/etc/toy.conf", ["restart"]),
    ],
)
def test_a_service_is_repaired_from_its_state(
    host: LabHost, session: FabricSession, damage: str, actions: list[str]
) -> None:
    apply(session, toy(b"good\n"))
    host.check(damage)
    assert apply(session, toy(b"good\n")) == actions
    assert apply(session, toy(b"good\n")) == []


_HOLDER = f"""
import sys, time
from provisioner import lock
from provisioner.engine import plan, probe
from provisioner.engine.apply import Run
from provisioner.lab import identity
from provisioner.resources.file import File
from provisioner.transport.fabric import ConnectOptions, connect
from provisioner.transport.target import parse_target
session = connect(parse_target("ops@{ADDRESS}"), ConnectOptions(identity=identity.PRIVATE_KEY))
with lock.hold(session, command="first", seen_owner=b"", say=print) as holding:
    print("holds", flush=True)
    if sys.argv[1] == "stop":
        sys.stdin.readline()
        check = ":"
    else:
        check = "say working; sleep 6; echo survived >/etc/first.done"
    file = File(id="file:first", path="/etc/first", content=b"first", check=check).of("first")
    made = plan.make([file], probe.look(session, plan.probes_of([file])))
    try:
        Run(session, made, stamp="first", owner=holding.owner, emit=lambda e: print(e, flush=True)).all()
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


def holder(how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("holds" if how == "stop" else "Said"):
            break
    return process


def test_the_work_of_a_killed_run_is_waited_for_and_goes_on_to_its_end(host: LabHost, session: FabricSession) -> None:
    process = holder("work")
    process.kill()
    process.wait()
    said: list[str] = []
    with lock.hold(session, command="second", seen_owner=b"", say=said.append) as holding:
        assert host.check("cat /etc/first.done").strip() == "survived"
    assert holding.moved
    assert "first" in said[0]
    assert host.check("ls -d /run/provision.* 2>/dev/null || :") == ""


def test_a_run_that_fell_asleep_loses_the_host_and_writes_nothing_when_it_wakes(
    host: LabHost, session: FabricSession
) -> None:
    host.check("rm -f /etc/first")
    process = holder("stop")
    process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    with lock.hold(session, command="second", seen_owner=b"", say=lambda text: None):
        assert time.monotonic() - begun < 20
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate("\n", timeout=60)
    assert "Locked" in out
    assert host.check("ls /etc/first 2>/dev/null || :") == ""


def test_a_host_that_stays_taken_is_an_error_that_says_whose_it_is(
    host: LabHost, session: FabricSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WAIT", 2)
    other = connect(parse_target(f"ops@{ADDRESS}"), ConnectOptions(identity=identity.PRIVATE_KEY))
    with lock.hold(other, command="provision minio", seen_owner=b"", say=print), pytest.raises(Locked) as caught:  # noqa: SIM117
        with lock.hold(session, command="second", seen_owner=b"", say=print):
            pass
    other.close()
    assert caught.value.exit is Exit.LOCKED
    assert "provision minio" in caught.value.why


def test_a_restarted_host_has_nothing_to_repair(host: LabHost) -> None:
    session = connect(parse_target(f"ops@{ADDRESS}"), ConnectOptions(identity=identity.PRIVATE_KEY))
    apply(session, toy(b"good\n"))
    session.close()
    hosts.reboot("engine")
    session = connect(parse_target(f"ops@{ADDRESS}"), ConnectOptions(identity=identity.PRIVATE_KEY))
    assert apply(session, toy(b"good\n")) == []
    session.close()
