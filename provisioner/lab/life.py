"""One host's directory, mounts and process: built, booted, halted. Callers hold the host's lock."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from provisioner.errors import ProvisionError
from provisioner.lab import identity, mounts, network, packagecache, process
from provisioner.lab.host import LabHost
from provisioner.lab.places import HOSTS
from provisioner.lab.spec import Record, Spec, read, write

BOOT_SECONDS = 60.0
# Some services take most of a minute to stop (SeaweedFS up to 26 s); a disk that is thrown away need not wait.
STOP_SECONDS = 100.0
DISCARD_SECONDS = 10.0


def build(spec: Spec, *, keep_host_keys: bool = False) -> LabHost:
    """Give `spec` a writable layer with its identity in it, and boot it. On failure nothing stays."""
    home = HOSTS / spec.name
    try:
        prepare_tree(spec)
        identity.install(spec, home / "root", keep_host_keys=keep_host_keys)
        return boot(spec)
    except BaseException:
        halt(spec.name, seconds=DISCARD_SECONDS)  # a half-built host must not keep its address
        mounts.remove_tree(home)
        raise


def prepare_tree(spec: Spec) -> None:
    """Mount the host's tree at HOSTS/NAME/root; with a new writable layer, put cached packages in it."""
    home = HOSTS / spec.name
    for part in ("upper", "work", "root"):
        (home / part).mkdir(exist_ok=True)
    if spec.cache and not any((home / "upper").iterdir()):
        packagecache.seed(home / "upper")
    _mount(spec)


def _mount(spec: Spec) -> None:
    home = HOSTS / spec.name
    if not mounts.at_or_below(home / "root"):
        lower = [Path(path) for path in spec.lower]
        mounts.mount_overlay(lower, home / "upper", home / "work", home / "root")


def boot(spec: Spec) -> LabHost:
    """Start systemd in the host's tree and wait for its sshd.

    Raises ProvisionError with the console's last lines when it ends early or does not answer in time.
    """
    home = HOSTS / spec.name
    network.ensure()
    _mount(spec)
    binds = [f"--bind={bind.source}:{bind.target}" for bind in spec.bind]
    if spec.cache:
        binds += [f"--bind={source}:{target}" for source, target in packagecache.binds()]
    argv = (
        "systemd-nspawn", "--quiet", f"--directory={home / 'root'}", "--boot", "--register=no", "--keep-unit",
        f"--network-bridge={network.BRIDGE}", f"--machine={spec.name}", "--resolv-conf=off", *binds,
    )  # fmt: skip
    console = home / "console.log"
    started = process.spawn(spec.name, argv, console, memory=spec.memory)
    record = Record(spec, started)
    write(home / "state.json", record)
    _await_ssh(spec, started, console)
    return seen(record)


def halt(name: str, *, seconds: float = STOP_SECONDS) -> bool:
    """Shut the host down, unmount its tree, and keep what it downloaded; fine when it is not running.

    Returns False when it had to be killed after `seconds`.
    """
    home = HOSTS / name
    record = read(home / "state.json")
    clean = process.end(name, record.process if record else None, seconds=seconds)
    mounts.unmount(home)
    if record:
        if record.spec.cache:
            packagecache.harvest(home / "upper")
        write(home / "state.json", Record(record.spec))
    return clean


def seen(record: Record) -> LabHost:
    """The host of a record with a living process."""
    if record.process is None:
        raise ValueError(f"host {record.spec.name} was never started")
    return LabHost(record.spec.name, record.spec.address, HOSTS / record.spec.name / "root", record.process.pid)


def _await_ssh(spec: Spec, started: process.Identity, console: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not _answers(spec.address):
        dead = not process.alive(started)
        if dead or time.monotonic() > deadline:
            why = "systemd-nspawn ended" if dead else f"no SSH answer at {spec.address} in {BOOT_SECONDS:.0f} s"
            lines = console.read_text(errors="replace").splitlines() if console.exists() else []
            raise ProvisionError(f"host {spec.name} did not come up", why=why, detail="\n".join(lines[-15:]))
        time.sleep(0.05)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1.0) as connection:
            connection.settimeout(3.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
