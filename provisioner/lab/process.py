"""Host processes: detached, each in a cgroup of its own, found again without mistaking a stranger
for one, and ended for certain."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from provisioner.errors import Refused
from provisioner.lab.machine import run
from provisioner.values import dataclass

_CGROUPS = Path("/sys/fs/cgroup")
# Moves itself into the cgroups before nspawn looks at its own: two hosts whose nspawn started in the same
# cgroup would share the payload cgroup, and stopping a unit in one would kill the other's.
_JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@"'


@dataclass(frozen=True)
class Identity:
    """A process, told apart from every other that ever had its number."""

    pid: int
    start: int
    boot: str


def identify(pid: int) -> Identity | None:
    """The identity of a living process; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, start = parse_stat(stat)
    return None if state in "ZX" else Identity(pid, start, boot_id())


def parse_stat(text: str) -> tuple[str, int]:
    """State letter and start time (clock ticks since boot) of /proc/PID/stat, whose second field, the
    program's name, may hold blanks and parentheses."""
    fields = text[text.rindex(")") + 2 :].split(" ")
    return fields[0], int(fields[19])


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def alive(identity: Identity) -> bool:
    return identify(identity.pid) == identity


def spawn(name: str, argv: Sequence[str], log: Path, *, memory: int | None = None) -> Identity:
    """Start `argv` detached from the caller, output to `log`, in the cgroup of host `name`.

    `memory` is a limit in bytes.
    """
    if _systemd():
        limits = [f"--property=MemoryMax={memory}"] if memory else []
        command = [
            "systemd-run", "--scope", "--quiet", "--collect", f"--unit={_scope(name)}", "--property=Delegate=yes",
            *limits, "--", *argv,
        ]  # fmt: skip
    else:
        command = ["sh", "-c", _JOIN, "sh", *(str(path) for path in _join(name, memory)), "--", *argv]
    env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "LC_ALL": "C.UTF-8"}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        command[0],
        command,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return identify(pid) or Identity(pid, -1, boot_id())


def end(name: str, identity: Identity | None, *, seconds: float) -> bool:
    """Let the host shut down (SIGTERM to its nspawn), and kill what is left after `seconds`.

    Returns whether it ended by itself. What is killed is the content of the host's own cgroup, so a
    recycled process id is never hit.
    """
    clean = True
    if identity is not None:
        if alive(identity):
            _signal(identity, signal.SIGTERM)
            _await_end(identity, seconds)
        if alive(identity):
            clean = False
            _signal(identity, signal.SIGKILL)
            _await_end(identity, 5.0)
        with contextlib.suppress(OSError):  # ours to reap when this very process started it
            os.waitpid(identity.pid, os.WNOHANG)
    _clear(name)
    return clean


def leftovers() -> list[str]:
    """Names of hosts that still have a cgroup, whether or not anything else of them is left."""
    if _systemd():
        argv = ("systemctl", "list-units", "--plain", "--no-legend", "--all", _scope("*"))
        lines = run(argv, what="list the lab's scopes", check=False).stdout.splitlines()
        return sorted(name for line in lines for name in re.findall(r"^provision-lab-(.+)\.scope\s", line))
    found = {path.name for root in _hierarchies() for path in (root / "provision-lab").glob("*") if path.is_dir()}
    return sorted(found)


def _signal(identity: Identity, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if alive(identity):  # the descriptor now holds the process that was just identified
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _await_end(identity: Identity, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while alive(identity) and time.monotonic() < deadline:
        time.sleep(0.03)


def _systemd() -> bool:
    """Whether systemd runs this machine; it then owns the cgroup tree, and hosts live in its scopes."""
    return Path("/run/systemd/system").is_dir()


def _scope(name: str) -> str:
    return f"provision-lab-{name}.scope"


def _hierarchies() -> list[Path]:
    """Roots of the cgroup trees a host needs its own group in: the one of version 2, or beside it, on
    machines that still mount version 1, systemd's named one and memory's."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [_CGROUPS / part for part in ("unified", "systemd", "memory") if (_CGROUPS / part).is_dir()]


def _join(name: str, memory: int | None) -> list[Path]:
    joined = []
    for root in _hierarchies():
        group = root / "provision-lab" / name
        try:
            group.mkdir(parents=True, exist_ok=True)
        except OSError as failed:
            raise Refused(
                "disposable hosts need cgroups of their own",
                why=f"{group} cannot be made: {failed.strerror}",
                next="use a machine or a virtual machine instead of a container",
            ) from None
        if memory:
            for limit in ("memory.max", "memory.limit_in_bytes"):
                if (group / limit).exists():
                    (group / limit).write_text(str(memory))
        joined.append(group / "cgroup.procs")
    return joined


def _clear(name: str) -> None:
    """Kill whatever still runs in the host's cgroups and remove them."""
    if _systemd():
        run(("systemctl", "stop", _scope(name)), what=f"end host {name}", seconds=30, check=False)
        return
    for root in _hierarchies():
        group = root / "provision-lab" / name
        if not group.is_dir():
            continue
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + 5
        while group.is_dir() and time.monotonic() < deadline:
            for path, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
            if group.is_dir():
                time.sleep(0.05)
