"""The settings of our own file in conf.d: what they shall be, and their text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioner.resources.postgresql.clusters import Cluster
from provisioner.resources.postgresql.server import ServerState

RESERVE = 20
"""Connections for administrators, backups, monitoring and verify, beside MLflow's own."""
DEFAULT_CONNECTIONS = 100


def connections(workers: int, accounts: bool = False, hosts: int = 1) -> int:
    """Connections that MLflow may have at once: two SQLAlchemy engines of at most 5 + 10 for each
    worker (tracking store, model registry; with accounts of its own a third), and one engine for
    migrations, jobs and verify. On each of `hosts`."""
    return (workers * (45 if accounts else 30) + 15) * hosts


def owned(
    *, certificate: str, workers: int, extra: Mapping[str, str], accounts: bool = False, hosts: int = 1
) -> dict[str, str]:
    """For a cluster of our own: also what equals the default, so that a change elsewhere is noticed.
    `certificate`: the file with key and chain that other hosts are shown, empty where none may come.
    `workers`: of MLflow, on each of `hosts`.

    Every network listens when one is allowed in: pg_hba.conf says who gets through, and a
    listener bound to one address is lost when that address comes up after the server.
    """
    return {
        "listen_addresses": "*" if certificate else "localhost",
        "max_connections": str(max(DEFAULT_CONNECTIONS, connections(workers, accounts, hosts) + RESERVE)),
        "password_encryption": "scram-sha-256",
        **(_tls(certificate) if certificate else {}),
        **_plain(extra),
    }


def _tls(certificate: str) -> dict[str, str]:
    """Key and chain of one file: a renewal replaces both at once."""
    return {
        "ssl": "on",
        "ssl_cert_file": certificate,
        "ssl_key_file": certificate,
        "ssl_min_protocol_version": "TLSv1.2",
    }


def guest(
    cluster: Cluster,
    state: ServerState,
    current: bytes | None,
    *,
    allow: bool,
    workers: int,
    extra: Mapping[str, str],
    accounts: bool = False,
    hosts: int = 1,
) -> dict[str, str]:
    """For a cluster that was there before: only wider than what its own files say, never narrower.

    `current` is our file as it stands; it decides while the server does not answer.
    """
    if not state.running:
        return {**parsed(current or b""), **_plain(extra)}
    settings: dict[str, str] = {}
    listens = state.foreign_value("listen_addresses", cluster.conf) or "localhost"
    if allow and not {"*", "0.0.0.0"} & {each.strip() for each in listens.split(",")}:  # noqa: S104
        settings["listen_addresses"] = "*"
    allowed = state.foreign_value("max_connections", cluster.conf) or str(DEFAULT_CONNECTIONS)
    needed = connections(workers, accounts, hosts) + RESERVE
    if not allowed.isdigit() or int(allowed) < needed:
        settings["max_connections"] = str(needed)
    return {**settings, **_plain(extra)}


def _plain(extra: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(extra.items()))


def literal(value: str) -> str:
    """`value` in postgresql.conf's single quotes."""
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError("a setting's value has a control character in it")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def parsed(content: bytes) -> dict[str, str]:
    """The settings of a file of ours; lines that are not in its form are left out."""
    found = {}
    for line in content.decode("utf-8", "replace").splitlines():
        match = re.fullmatch(r"([a-z][a-z0-9_.]*) = '((?:[^'\\]|''|\\\\)*)'", line)
        if match:
            found[match[1]] = match[2].replace("''", "'").replace("\\\\", "\\")
    return found
