"""The key and the root of a store that is not this tool's: brought along, never made, and refused where they lack."""

from __future__ import annotations

import base64
from dataclasses import replace

from provisioner import secret_kinds, vault
from provisioner.errors import Refused
from provisioner.secrets import Secret
from provisioner.settings import Settings

CA = "store.ca"
_KEY, _SECRET = 20, 40
"""Characters that MinIO takes at most of a user's key and its secret."""


def brought(decision: vault.Decision, settings: Settings, select: str) -> vault.Decision:
    """`decision` with the root that `store.ca` names. Raises Refused (4) where a key that only its owner knows is
    missing, UsageError (64) for a file that holds no certificate."""
    if secret_kinds.own_store(settings):
        _short(decision.vault)
        return decision
    missing = [name for name in secret_kinds.to_bring(settings) if name not in decision.vault.live]
    if missing:
        variables = {"store.user.key": "STORE_KEY", "store.user.secret": "STORE_SECRET"}
        lines = [f'  "{name}" = {{ env = "{variables.get(name, "CLIENT_" + name[13:].upper())}" }}' for name in missing]
        raise Refused(
            f"the key of the external store is not known: {', '.join(missing)}",
            why='with store.engine = "external" no key is made: it is what its owner gives',
            next="\n".join(["say in the inventory where it comes from (env, file or command):", "[secrets]", *lines]),
        )
    return _with_root(decision, settings, select)


def _with_root(decision: vault.Decision, settings: Settings, select: str) -> vault.Decision:
    file, held = settings.store.ca, decision.vault.live.get(CA)
    if file is None:
        return decision
    if file == "own":
        if held is None:
            raise Refused(
                "the root of the external store is not known",
                why="neither the host nor this machine keeps it",
                next=f"provision {select} --set store.ca=FILE",
            )
        return decision
    from provisioner.certificates.brought import certificates_in

    packed = Secret(",".join(base64.b64encode(der).decode("ascii") for der in certificates_in(file, "store.ca")))
    if held is not None and held.value == packed:
        return decision
    decided = decision.renewed(vault.changed(decision.vault, CA, packed))
    return replace(decided, because=decision.because or f"store.ca is {file}")


def _short(kept: vault.Vault) -> None:
    """A key of another store may be longer than one of this tool's takes."""
    for name, most in (("store.user.key", _KEY), ("store.user.secret", _SECRET)):
        entry = kept.live.get(name)
        if entry is not None and len(entry.value.reveal()) > most:
            raise Refused(
                f"the secret {name} has {len(entry.value.reveal())} characters, this store takes {most}",
                next="choose a shorter one where it comes from",
            )
