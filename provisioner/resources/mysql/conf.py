"""The settings of our own file: what they shall be, and their text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioner.resources.mysql.server import CHARSET, COLLATION, ServerState

RESERVE = 20
"""Connections for administrators, backups, monitoring and verify, beside MLflow's own."""
DEFAULT_CONNECTIONS = 151
_PLAIN = re.compile(r"[A-Za-z0-9_.:/,+@%*-]+")
_LINE = re.compile(r"([a-z][a-z0-9_]*) = (?:\"((?:[^\"\\]|\\[\"\\])*)\"|(\S+))")


def connections(workers: int, accounts: bool = False) -> int:
    """Connections that one host's MLflow may have at once: two SQLAlchemy engines of at most 5 + 10 for each worker
    (tracking store, model registry; with accounts of its own a third), and one engine for migrations, jobs and
    verify."""
    return workers * (45 if accounts else 30) + 15


def owned(*, certificate: str, needed: int, binary_log: bool, extra: Mapping[str, str]) -> dict[str, str]:
    """For a server of our own. `certificate`: the file with key and chain that other hosts are shown, empty where
    none may come. With one it listens on every address: a listener bound to one is lost when that address comes up
    after the server. `needed`: connections of MLflow on all hosts."""
    settings = {
        "bind_address": "*" if certificate else "127.0.0.1",
        "character_set_server": CHARSET,
        "collation_server": COLLATION,
        "max_allowed_packet": "67108864",
        "max_connections": str(max(DEFAULT_CONNECTIONS, needed + RESERVE)),
        # Logins are of addresses, and a name server that is away must not keep them out.
        "skip_name_resolve": "ON",
    }
    if certificate:
        # Key and chain of one file: a renewal replaces both at once.
        settings |= {"ssl_cert": certificate, "ssl_key": certificate, "tls_version": "TLSv1.2,TLSv1.3"}
    if binary_log:
        settings["log_bin_trust_function_creators"] = "ON"
    return {**settings, **dict(sorted(extra.items()))}


def guest(state: ServerState, current: bytes | None, *, needed: int, extra: Mapping[str, str]) -> dict[str, str]:
    """For a server that was there before: only wider than it is, never narrower. `current` is our file as it
    stands: what it says stays, since what was there without it cannot be seen any more."""
    settings = parsed(current or b"")
    if state.running:
        wanted = needed + RESERVE
        if _number(state.variables.get("max_connections")) < wanted:
            settings["max_connections"] = str(max(wanted, _number(settings.get("max_connections"))))
        # Without it a trigger of MLflow's schema takes an administrator (error 1419).
        if state.log_bin and state.variables.get("log_bin_trust_function_creators") != "ON":
            settings["log_bin_trust_function_creators"] = "ON"
    return {**settings, **dict(sorted(extra.items()))}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 10 else 0


def text(value: str) -> str:
    """`value` as an option file has it; quoted where a `#` or a blank would end it."""
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError("a setting's value has a control character in it")
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parsed(content: bytes) -> dict[str, str]:
    """The settings of a file of ours; lines that are not in its form are left out."""
    found = {}
    for line in content.decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match:
            found[match[1]] = match[3] if match[3] is not None else re.sub(r"\\(.)", r"\1", match[2])
    return found


def differs(wanted: str, running: str) -> bool:
    """Whether a running server has another value than the file; sizes with a suffix are not compared."""
    names = {"1": "on", "0": "off", "true": "on", "false": "off"}
    one, other = (names.get(each.strip().lower(), each.strip().lower()) for each in (wanted, running))
    return one != other and not re.fullmatch(r"\d+[kmgtpe]", one)
