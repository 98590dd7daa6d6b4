"""Disposable hosts: start, stop, reboot, rebuild, freeze. Whatever is done to one holds that host's lock."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from provisioner.errors import ProvisionError, Refused
from provisioner.lab import identity, images, layers, life, machine, mounts, network, process
from provisioner.lab.host import LabHost
from provisioner.lab.places import HOSTS, LAYERS, locked, prepare
from provisioner.lab.spec import Account, Bind, Record, Spec, checked, checked_name, read, write
from provisioner.secrets import Secret
from provisioner.values import dataclass

KEEP = "PROVISION_LAB_KEEP"


@dataclass(frozen=True)
class SudoUser:
    """A user beside root whom the lab's key lets in, with every right through sudo."""

    name: str
    password: Secret | None = None
    nopasswd: bool = True


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

    `layer` starts it from what another host had become (image and suite are the layer's; `keep_host_keys`
    keeps that host's SSH keys); `packages` become part of the image; `sshd` are lines of sshd_config that
    win over the distribution's; `memory` is a limit in bytes; `cache` shares downloaded packages with other
    hosts. Raises Refused when the name or the address is taken, ProvisionError when it does not come up.
    """
    machine.require()
    prepare()
    for one in bind:
        if not Path(one.source).exists():
            raise Refused(f"cannot bind {one.source}", why="it does not exist on this machine")
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
        return life.build(spec, keep_host_keys=keep_host_keys)


@contextmanager
def running(name: str, address: str, **options: Any) -> Iterator[LabHost]:
    """A host for the length of a `with`; `options` are `start`'s.

    A host of that name left behind by a killed run is replaced. With PROVISION_LAB_KEEP=1 in the
    environment it is left running, to be looked at.
    """
    stop(name)
    host = start(name, address, **options)
    try:
        yield host
    finally:
        if os.environ.get(KEEP, "") in ("", "0"):
            stop(name)


def stop(name: str) -> None:
    """Shut a host down and delete it; a host that is not there is fine."""
    with _held(name):
        life.halt(name, seconds=life.DISCARD_SECONDS)
        mounts.remove_tree(HOSTS / name)


def halt(name: str) -> None:
    """Shut a host down as if switched off; its disk stays."""
    with _held(name):
        _known(name)
        life.halt(name)


def boot(name: str) -> LabHost:
    """Start a halted host with the disk it has."""
    with _held(name):
        record = _known(name)
        if record.process and process.alive(record.process):
            return life.seen(record)
        life.halt(name)  # one that ended by itself left its mounts
        return life.boot(record.spec)


def reboot(name: str) -> LabHost:
    """Shut down cleanly and start again: same disk, same keys, empty /run."""
    with _held(name):
        record = _known(name)
        life.halt(name)
        return life.boot(record.spec)


def reset(name: str) -> LabHost:
    """The same server rebuilt from its bare image: same name and address, new SSH host keys, empty disk."""
    with _held(name):
        record = _known(name)
        spec = replace(record.spec, lower=record.spec.lower[-1:])
        _discard(name)
        write(HOSTS / name / "state.json", Record(spec))
        return life.build(spec)


def rewind(name: str) -> LabHost:
    """Forget what the host did since it was started or last frozen; its SSH host keys stay."""
    with _held(name):
        record = _known(name)
        kept = {path.name: path.read_bytes() for path in _keys(name)}
        modes = {path.name: path.stat().st_mode & 0o777 for path in _keys(name)}
        _discard(name)
        life.prepare_tree(record.spec)
        for file, content in kept.items():
            target = HOSTS / name / "root/etc/ssh" / file
            target.unlink(missing_ok=True)
            target.touch(mode=modes[file])
            target.write_bytes(content)
        return life.build(record.spec, keep_host_keys=True)


def snapshot(name: str, label: str | None = None) -> layers.Layer:
    """Freeze what the host has become as a layer that others can start from.

    The host is shut down cleanly (databases included) and started again on top of the layer. `label`
    names it for other processes (`layers.find`); a layer of that label loses it. Raises ProvisionError when
    it does not shut down cleanly.
    """
    with _held(name):
        record = _known(name)
        if not life.halt(name):
            raise ProvisionError(
                f"host {name} was not frozen",
                why=f"it did not shut down within {life.STOP_SECONDS:.0f} s and was switched off",
                next=f"python -m provisioner.lab boot {name}",
            )
        layer = layers.freeze(HOSTS / name / "upper", record.spec, label)
        spec = replace(record.spec, lower=layer.lower)
        write(HOSTS / name / "state.json", Record(spec))
        life.boot(spec)
        return layer


def get(name: str) -> LabHost:
    """A running host by name; raises Refused when there is none."""
    record = _known(name)
    if not record.process or not process.alive(record.process):
        raise Refused(f"host {name} is not running", next=f"python -m provisioner.lab boot {name}")
    return life.seen(record)


def records() -> list[Record]:
    """Every host's record, running or not, by name."""
    if not HOSTS.is_dir():
        return []
    found = (read(path / "state.json") for path in sorted(HOSTS.iterdir()))
    return [record for record in found if record]


def stop_all() -> list[str]:
    """Stop and delete every host, with whatever a killed caller left behind; their names."""
    prepare()
    names = {path.name for path in HOSTS.iterdir()} | set(process.leftovers())
    for name in sorted(names):
        stop(name)
    return sorted(names)


def prune() -> list[Path]:
    """Delete the images and unlabelled layers that no host stands on; their directories.

    Not while hosts are being started elsewhere: an image is in use only once its host has its name.
    """
    prepare()
    with locked("addresses"):
        removed = []
        for layer in reversed(layers.known()):
            if layer.label is None:
                with contextlib.suppress(Refused):
                    layers.remove(layer)
                    removed.append(LAYERS / layer.id)
        used = {path for record in records() for path in record.spec.lower}
        used |= {path for layer in layers.known() for path in layer.lower}
        for image in images.unused(used):
            mounts.remove_tree(image)
            removed.append(image)
        return removed


def _held(name: str) -> AbstractContextManager[int]:
    return locked(f"host-{checked_name(name)}")


def _known(name: str) -> Record:
    record = read(HOSTS / checked_name(name) / "state.json")
    if record is None:
        raise Refused(f"there is no host {name}", next="python -m provisioner.lab list")
    return record


def _keys(name: str) -> list[Path]:
    return sorted((HOSTS / name / "root/etc/ssh").glob("ssh_host_*"))


def _discard(name: str) -> None:
    """Halt the host and empty its writable layer."""
    life.halt(name, seconds=life.DISCARD_SECONDS)
    for part in ("upper", "work"):
        mounts.remove_tree(HOSTS / name / part)


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
            life.halt(spec.name)
            mounts.remove_tree(home)
        home.mkdir(mode=0o700)
        write(home / "state.json", Record(spec))
