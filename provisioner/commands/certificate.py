"""The certificate that a stack was given: taken up, kept, and refused before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from provisioner import vault
from provisioner.certificates.material import OWN, Material, unpack
from provisioner.errors import Refused
from provisioner.settings import Recorded, Settings

SOON = 30
"""Days of which a run warns."""


def taken(
    decision: vault.Decision, settings: Settings, recorded: Recorded | None, names: Sequence[str], select: str
) -> tuple[vault.Decision, list[str]]:
    """The secrets with the certificate that `access.tls` names, one generation up when it is another one, and
    what to warn of. Nothing is written here. `names`: those that clients use, empty when not known.

    Raises UsageError (64) and Refused (4) for one that cannot be used.
    """
    if settings.access.encryption != "own":
        return decision, []
    from provisioner.certificates import brought

    held, files = _held(decision.vault), settings.access.tls
    warnings = []
    if isinstance(files, Mapping):
        found = brought.read(files)
        used = recorded is not None and recorded.values.get("access.tls") == "own"
        if used and held is not None and found != held and brought.older(found, held):
            warnings.append(f"{files['cert']} is older than the stack's certificate, which is kept")
        elif found != held:
            brought.judge(found, names, files["cert"])
            changed = vault.changed(decision.vault, OWN, found.pack())
            both = (tuple(sorted({*side, OWN})) for side in (decision.to_host, decision.to_controller))
            to_host, to_controller = both
            decision = replace(decision, vault=changed, to_host=to_host, to_controller=to_controller)
            held = found
    if held is None:
        raise Refused(
            "this stack has no certificate of your own",
            why="neither the host nor this machine keeps one",
            next=f'provision {select} --set \'access.tls={{cert = "FILE", key = "FILE"}}\'',
        )
    before = recorded.values if recorded is not None else {}
    asked = (before.get("access.tls"), before.get("access.names")) != ("own", settings.access.names)
    if asked and (lacking := brought.uncovered(held, names)):
        raise Refused(
            f"the stack's certificate is not for {', '.join(lacking)}",
            why="clients that use this name would refuse it",
            next="get one for every name, or set access.names to what it is for",
        )
    if (left := brought.days(held)) < SOON:
        warnings.append(f"the certificate {f'ends in {left} days' if left >= 0 else 'is over'}: renew it and run again")
    return decision, warnings


def _held(kept: vault.Vault) -> Material | None:
    entry = kept.live.get(OWN)
    try:
        return unpack(entry.value) if entry is not None else None
    except ValueError:
        return None
