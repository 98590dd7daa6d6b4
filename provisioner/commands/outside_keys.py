"""The keys, the login and the roots of a store and of a database that are not this tool's: brought along, never made,
and refused where they lack."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace

from provisioner import secret_kinds, vault
from provisioner.errors import Refused, UsageError
from provisioner.secrets import Secret
from provisioner.settings import Settings

_KEY, _SECRET = 20, 40
"""Characters that MinIO takes at most of a user's key and its secret."""
_VARIABLES = {
    "store.user.key": "STORE_KEY",
    "store.user.secret": "STORE_SECRET",
    "database.password": "DATABASE_PASSWORD",
}


_MISSING = {
    "store": (
        "the key of the external store",
        'with store.engine = "external" no key is made: it is what its owner gives',
    ),
    "database": (
        "the password of the external database's role",
        'with database.engine = "external" the role is what its administrator made; with an administrator\'s login '
        "(database.admin.user, database.admin.password) it would be made here",
    ),
}


def not_made(settings: Settings, given: Mapping[str, Secret]) -> tuple[str, ...]:
    """The secrets of a stack that are not generated where they are missing. `given`: those that this run was given;
    who may make the database's role may also choose its password."""
    names = secret_kinds.to_bring(settings)
    return tuple(name for name in names if name != "database.password" or not administers(settings, given))


def administers(settings: Settings, given: Mapping[str, Secret]) -> bool:
    """Whether this run has an administrator's login to an external database. UsageError for half of one."""
    had = [name for name in secret_kinds.PASSING if name in given]
    if secret_kinds.own_database(settings) or not had:
        return False
    if len(had) < len(secret_kinds.PASSING):
        raise UsageError(
            f"[secrets] name {had[0]} alone",
            why="an administrator's login is a name and a password",
            next=f"name {' and '.join(secret_kinds.PASSING)}, or neither",
        )
    return True


def kept(settings: Settings, given: Mapping[str, Secret]) -> dict[str, Secret]:
    """Those of `given` that become the stack's; of those that only a run uses none, where it has a use for them."""
    used = administers(settings, given)
    return {name: value for name, value in given.items() if not (used and name in secret_kinds.PASSING)}


def passing(settings: Settings, given: Mapping[str, Secret]) -> dict[str, Secret]:
    """Those of `given` that a run uses and that are kept nowhere."""
    used = administers(settings, given)
    return {name: value for name, value in given.items() if used and name in secret_kinds.PASSING}


def brought(
    decision: vault.Decision, settings: Settings, select: str, given: Mapping[str, Secret] | None = None
) -> vault.Decision:
    """`decision` with the roots that `store.ca` and `database.ca` name. Raises Refused (4) where a key or a login that
    only its owner knows is missing, UsageError (64) for a file that holds no certificate."""
    if secret_kinds.own_store(settings):
        _short(decision.vault)
    missing = [name for name in not_made(settings, given or {}) if name not in decision.vault.live]
    if missing:
        variables = {name: _VARIABLES.get(name, f"CLIENT_{name[13:].upper()}") for name in missing}
        lines = [f'  "{name}" = {{ env = "{variable}" }}' for name, variable in variables.items()]
        of, why = _MISSING[missing[0].partition(".")[0]]
        raise Refused(
            f"{of} is not known: {', '.join(missing)}",
            why=why,
            next="\n".join(["say in the inventory where it comes from (env, file or command):", "[secrets]", *lines]),
        )
    if not secret_kinds.own_store(settings):
        decision = _with_root(decision, "store.ca", settings.store.ca, select)
    if not secret_kinds.own_database(settings):
        decision = _with_root(decision, "database.ca", settings.database.ca, select)
    return decision


def _with_root(decision: vault.Decision, name: str, file: str | None, select: str) -> vault.Decision:
    """`name`: of the setting, and of the secret that keeps what is in its file."""
    held = decision.vault.live.get(name)
    if file is None:
        return decision
    if file == "own":
        if held is None:
            raise Refused(
                f"the root of the external {name.partition('.')[0]} is not known",
                why="neither the host nor this machine keeps it",
                next=f"provision {select} --set {name}=FILE",
            )
        return decision
    from provisioner.certificates.brought import certificates_in

    packed = Secret(",".join(base64.b64encode(der).decode("ascii") for der in certificates_in(file, name)))
    if held is not None and held.value == packed:
        return decision
    decided = decision.renewed(vault.changed(decision.vault, name, packed))
    return replace(decided, because=decision.because or f"{name} is {file}")


def _short(kept: vault.Vault) -> None:
    """A key of another store may be longer than one of this tool's takes."""
    for name, most in (("store.user.key", _KEY), ("store.user.secret", _SECRET)):
        entry = kept.live.get(name)
        if entry is not None and len(entry.value.reveal()) > most:
            raise Refused(
                f"the secret {name} has {len(entry.value.reveal())} characters, this store takes {most}",
                next="choose a shorter one where it comes from",
            )
