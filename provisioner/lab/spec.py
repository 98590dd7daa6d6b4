"""What a host is asked to be, and how that is written down beside it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Any

from provisioner.errors import Refused
from provisioner.lab import network
from provisioner.lab.process import Identity
from provisioner.values import dataclass

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class Bind:
    """A directory of this machine that the host sees (and may write) at another path."""

    source: str
    target: str


@dataclass(frozen=True)
class Account:
    """A sudo user as the host stores it: a crypt(5) hash, or "" for no password."""

    name: str
    hash: str = ""
    nopasswd: bool = True


@dataclass(frozen=True)
class Spec:
    """Everything needed to build the same host again."""

    name: str
    address: str
    suite: str = "bookworm"
    variant: str = "plain"
    packages: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()  # directories below the host's own layer, topmost first; the image is last
    ssh_public_keys: tuple[str, ...] = ()
    account: Account | None = None
    bind: tuple[Bind, ...] = ()
    sshd: tuple[str, ...] = ()
    host_key_types: tuple[str, ...] = ("ed25519",)
    memory: int | None = None  # bytes
    cache: bool = False


@dataclass(frozen=True)
class Record:
    """A host's state file: the specification, and the process when one was started."""

    spec: Spec
    process: Identity | None = None
    schema: int = field(default=1)


def checked_name(name: str) -> str:
    """`name` when it can name a host (it becomes a directory, a cgroup, a machine and a host name)."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} cannot name a host", next="use up to 31 lower-case letters, digits and hyphens")
    return name


def checked(spec: Spec) -> Spec:
    """`spec` when every field is safe to act on; raises Refused otherwise."""
    checked_name(spec.name)
    network.checked(spec.address)
    for bind in spec.bind:
        for path in (bind.source, bind.target):
            if not path.startswith("/") or re.search(r"[:\\\s]", path):
                raise Refused(f"cannot bind {path!r}", next="give absolute paths without blanks and colons")
    for text in (*spec.ssh_public_keys, *spec.sshd):
        if "\n" in text or "\0" in text:
            raise Refused("a public key and an sshd setting are one line each")
    for kind in spec.host_key_types:
        if kind not in ("ed25519", "ecdsa", "rsa"):
            raise Refused(f"no host key type {kind!r}", next="use ed25519, ecdsa or rsa")
    if spec.account and not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", spec.account.name):
        raise Refused(f"{spec.account.name!r} is not a user name")
    return spec


def write(path: Path, record: Record) -> None:
    """Replace the state file; 0600, because it holds a password hash."""
    staged = path.with_suffix(".new")
    staged.unlink(missing_ok=True)
    staged.touch(mode=0o600)
    staged.write_text(json.dumps(asdict(record), indent=1) + "\n")
    staged.replace(path)


def read(path: Path) -> Record | None:
    """The record at `path`; None when there is none or it cannot be understood."""
    try:
        document = json.loads(path.read_text())
        process = document["process"]
        return Record(_spec(document["spec"]), Identity(**process) if process else None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _spec(document: dict[str, Any]) -> Spec:
    known = {one.name: document[one.name] for one in fields(Spec) if one.name in document}
    account = known.pop("account", None)
    bind = tuple(Bind(**one) for one in known.pop("bind", ()))
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}
    return Spec(**plain, bind=bind, account=Account(**account) if account else None)
