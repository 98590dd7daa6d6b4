"""The keys of [hosts] and [roles]: how hosts are reached, and which does what."""

from __future__ import annotations

from provisioner import addresses, checks
from provisioner.keys import key as _key
from provisioner.values import dataclass


@dataclass(frozen=True)
class Host:
    """How one host is reached; NAME is what `--host` and [roles] call it."""

    address: str | None = _key(
        None,
        addresses.host_spec,
        "Address, DNS name or alias of ~/.ssh/config.",
        example='address = "10.151.0.1"',
        shown="NAME",
        sticky=False,
    )
    user: str | None = _key(
        None,
        addresses.user_name,
        "User that logs in.",
        example='user = "ubuntu"',
        shown="ssh's own",
        sticky=False,
    )
    port: int | None = _key(
        None,
        checks.integer(1, 65535),
        "sshd's port.",
        kind="integer",
        example="port = 2222",
        shown="ssh's own",
        sticky=False,
    )
    identity: str | None = _key(
        None,
        checks.local_path,
        "Private key file on this machine.",
        example='identity = "~/.ssh/id_ed25519"',
        shown="ssh's own",
        sticky=False,
        operator=True,
    )
    host_key: str | None = _key(
        None,
        addresses.host_key,
        "The host key's fingerprint; any other is refused.",
        example='host_key = "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDTzuLqsbd7CLXJEeE"',
        sticky=False,
    )
    jump: str | None = _key(
        None,
        addresses.jump,
        "Jump host or hosts, as ssh's ProxyJump.",
        example='jump = "ubuntu@bastion.example.com"',
        shown="ssh's own",
        sticky=False,
    )
    internal: str | None = _key(
        None,
        addresses.internal,
        "With [roles] over several hosts: IP address under which the other hosts reach it.",
        example='internal = "10.151.0.1"',
        shown="the one that ssh reaches",
        sticky=False,
    )
    sudo: str = _key(
        "auto",
        checks.one_of("auto", "none"),
        '"auto": sudo unless logged in as root. "none": never sudo.',
        example='sudo = "auto"',
        sticky=False,
    )


def _role(doc: str, example: str) -> tuple[str, ...]:
    roles: tuple[str, ...] = _key(
        (), checks.list_of(addresses.host_spec), doc, kind="list", example=example, shown="the host", sticky=False
    )
    return roles


@dataclass(frozen=True)
class Roles:
    """Which host does what; one may have several roles. Without this table `--host` says where all of them are."""

    store: tuple[str, ...] = _role("Host of the store.", example='store = ["mlflow-1"]')
    database: tuple[str, ...] = _role("Host of the database.", example='database = ["mlflow-1"]')
    mlflow: tuple[str, ...] = _role("Hosts of the tracking server.", example='mlflow = ["mlflow-1"]')
    proxy: tuple[str, ...] = _role(
        "Host of the address clients use: of all, the one that they reach.", example='proxy = ["mlflow-1"]'
    )
