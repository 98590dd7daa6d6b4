"""Disposable hosts: start, stop, reboot, rebuild, freeze.

A host is a directory: its own writable layer (`upper`), the merged tree (`root`), a state file and the
console's log. Whatever is done to one holds that host's lock.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.errors import ProvisionError, Refused
from provisioner.lab import identity, images, layers, machine, mounts, network, packagecache, process
from provisioner.lab.places import HOSTS, locked, prepare
from provisioner.lab.spec import Account, Bind, Record, Spec, checked, checked_name, read, write
from provisioner.secrets import Secret

BOOT_SECONDS = 60.0
STOP_SECONDS = 45.0


@dataclass(frozen=True)
class SudoUser:
    """A user beside root whom the lab's key lets in, with every right through sudo."""

    name: str
    password: Secret | None = None
    nopasswd: bool = True


@dataclass(frozen=True)
class LabHost:
    """A running host. `root` is its filesystem seen from this machine, `pid` its nspawn's."""

    name: str
    address: str
    root: Path
    pid: int


def start(
    name: str,
    address: str,
    *,
    suite: str = "bookworm",
    variant: str = "plain",
    packages: Sequence[str] = (),
    layer: layers.Layer | None = None,
    ssh_public_key: str | Sequence[str] = (),
    bind: Sequence[Bind] = (),
    sudo_user: SudoUser | None = None,
    sshd: Sequence[str] = (),
    host_key_types: Sequence[str] = ("ed25519",),
    memory: int | None = None,
    cache: bool = False,
    keep_host_keys: bool = False,
) -> LabHost:
    """A new host that answers SSH at `address`; root gets in with the lab's key (and `ssh_public_key`).

    `layer` starts it from what another host had become (its suite and image are the layer's); `packages`
    become part of the image; `sshd` are lines of sshd_config that win over the distribution's; `memory`
    is a limit in bytes; `cache` shares downloaded packages with other hosts. Raises Refused when the name
    or the address is taken, ProvisionError when it does not come up.
    """
    machine.require()
    prepare()
    network.ensure()
    lower = layer.lower if layer else (str(images.ensure(suite, variant, packages)),)
    account = None
    if sudo_user:
        hashed = identity.password_hash(Path(lower[-1]), sudo_user.password) if sudo_user.password else ""
        account = Account(sudo_user.name, hashed, sudo_user.nopasswd)
    spec = checked(
        Spec(
            name=name,
            address=address,
            suite=layer.suite if layer else suite,
            variant=layer.variant if layer else variant,
            packages=tuple(packages),
            lower=lower,
            ssh_public_keys=(ssh_public_key,) if isinstance(ssh_public_key, str) else tuple(ssh_public_key),
            account=account,
            bind=tuple(bind),
            sshd=tuple(sshd),
            host_key_types=tuple(host_key_types),
            memory=memory,
            cache=cache,
        )
    )
    with _held(name):
        _claim(spec)
        return _build(spec, keep_host_keys=keep_host_keys)


def stop(name: str) -> None:
    """Shut a host down and delete it; a host that is not there is fine."""
    with _held(name):
        home = HOSTS / name
        _halt(name)
        mounts.remove_tree(home)


def halt(name: str) -> None:
    """Shut a host down as if switched off; its disk stays, `boot` starts it again."""
    with _held(name):
        _known(name)
        _halt(name)


def boot(name: str) -> LabHost:
    """Start a halted host with the disk it has."""
    with _held(name):
        record = _known(name)
        if record.process and process.alive(record.process):
            return _seen(record)
        return _boot(record.spec)


def reboot(name: str) -> LabHost:
    """Shut down cleanly and start again: same disk, same keys, empty /run."""
    with _held(name):
        record = _known(name)
        _halt(name)
        return _boot(record.spec)


def reset(name: str) -> LabHost:
    """The same server rebuilt from nothing: same name and address, new SSH host keys, empty disk."""
    with _held(name):
        record = _known(name)
        _halt(name)
        for part in ("upper", "work"):
            mounts.remove_tree(HOSTS / name / part)
        return _build(record.spec)


def snapshot(name: str, label: str | None = None) -> layers.Layer:
    """Freeze what the host has become as a layer that others can start from.

    The host is shut down cleanly (databases included) and started again on top of the layer. `label`
    names it for other processes (`layers.find`); a layer of that label is replaced for new hosts.
    """
    with _held(name):
        record = _known(name)
        _halt(name)
        layer = layers.freeze(HOSTS / name / "upper", record.spec, label)
        spec = replace(record.spec, lower=layer.lower)
        write(HOSTS / name / "state.json", Record(spec))
        _boot(spec)
        return layer


def get(name: str) -> LabHost:
    """A running host by name; raises Refused when there is none."""
    record = _known(name)
    if not record.process or not process.alive(record.process):
        raise Refused(f"host {name} is not running", next=f"python -m provisioner.lab boot {name}")
    return _seen(record)


def records() -> list[Record]:
    """Every host's record, running or not, by name."""
    if not HOSTS.is_dir():
        return []
    found = (read(path / "state.json") for path in sorted(HOSTS.iterdir()))
    return [record for record in found if record]


def stop_all() -> list[str]:
    """Stop and delete every host, with what a killed caller left behind; their names."""
    names = sorted(path.name for path in HOSTS.iterdir()) if HOSTS.is_dir() else []
    for name in names:
        stop(name)
    return names


@contextlib.contextmanager
def _held(name: str):  # type: ignore[no-untyped-def]
    with locked(f"host-{checked_name(name)}"):
        yield


def _known(name: str) -> Record:
    record = read(HOSTS / checked_name(name) / "state.json")
    if record is None:
        raise Refused(f"there is no host {name}", next="python -m provisioner.lab list")
    return record


def _claim(spec: Spec) -> None:
    """Take name and address for `spec`, or raise Refused."""
    with locked("addresses"):
        for other in records():
            if other.spec.name == spec.name:
                state = "runs" if other.process and process.alive(other.process) else "exists"
                raise Refused(f"host {spec.name} {state} already", next=f"python -m provisioner.lab down {spec.name}")
            if other.spec.address == spec.address:
                raise Refused(f"{spec.address} is taken by host {other.spec.name}", next="choose another address")
        home = HOSTS / spec.name
        if home.exists():  # a start that was killed before it could write its state
            _halt(spec.name)
            mounts.remove_tree(home)
        home.mkdir(mode=0o700)
        write(home / "state.json", Record(spec))


def _build(spec: Spec, *, keep_host_keys: bool = False) -> LabHost:
    home = HOSTS / spec.name
    try:
        for part in ("upper", "work", "root"):
            (home / part).mkdir(exist_ok=True)
        if spec.cache:
            packagecache.seed(home / "upper")
        _mount(spec)
        identity.install(spec, home / "root", keep_host_keys=keep_host_keys)
        return _boot(spec)
    except BaseException:
        # A half-built host must not keep its address; the console's log goes into the error before.
        _halt(spec.name)
        mounts.remove_tree(home)
        raise


def _mount(spec: Spec) -> None:
    home = HOSTS / spec.name
    if not mounts.at_or_below(home / "root"):
        lower = [Path(path) for path in spec.lower]
        mounts.mount_overlay(lower, home / "upper", home / "work", home / "root")


def _boot(spec: Spec) -> LabHost:
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
    _await_ssh(record, console)
    return _seen(record)


def _await_ssh(record: Record, console: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    assert record.process is not None
    while not _answers(record.spec.address):
        dead = not process.alive(record.process)
        if dead or time.monotonic() > deadline:
            tail = "\n".join(console.read_text(errors="replace").splitlines()[-15:])
            why = "systemd-nspawn ended" if dead else f"no SSH answer at {record.spec.address} in {BOOT_SECONDS:.0f} s"
            raise ProvisionError(f"host {record.spec.name} did not come up", why=why, detail=tail)
        time.sleep(0.05)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1.0) as connection:
            connection.settimeout(3.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _halt(name: str) -> None:
    home = HOSTS / name
    record = read(home / "state.json")
    process.end(name, record.process if record else None, seconds=STOP_SECONDS)
    mounts.unmount(home)
    if record:
        if record.spec.cache:
            packagecache.harvest(home / "upper")
        write(home / "state.json", Record(record.spec))


def _seen(record: Record) -> LabHost:
    assert record.process is not None
    return LabHost(record.spec.name, record.spec.address, HOSTS / record.spec.name / "root", record.process.pid)
