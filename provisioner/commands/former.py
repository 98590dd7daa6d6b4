"""What a host's files were made from: tells a changed setting or secret from a changed file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from provisioner import record, vault
from provisioner.door import Door
from provisioner.engine.resource import Resource
from provisioner.resources.file import File
from provisioner.settings import RECORD, Recorded, Settings, effective
from provisioner.steps import Context, placed


def with_former(
    resources: Iterable[Resource],
    context: Context,
    recorded: Recorded | None,
    secrets: vault.Vault | None,
    door: Callable[[Settings], Door],
    renewal: str,
) -> list[Resource]:
    """`resources` whose files know what the settings and the secrets that the host has make of them.

    `context`: as decided; `door` gives the address of other settings; `secrets`: those that the host has where they
    are others, and `renewal` why. Costs nothing while both stay.
    """
    resources = list(resources)
    if recorded is None:
        return resources
    was = effective({}, {}, recorded)
    switched = was != context.settings
    if not switched and secrets is None:
        return resources
    before = replace(context, settings=was, door=door(was) if switched else context.door)
    if secrets is not None:
        # What the host lacks is new to it either way.
        known = {**context.secrets, **secrets.secrets()}
        before = replace(before, secrets=known, generations=secrets.generations(), ended=secrets.ended)
    files = {
        resource.path: resource.content
        for step in placed(before)
        for resource in step.resources(before)
        if isinstance(resource, File)
    }
    files[RECORD] = record.dump_recorded(was, context.stack).encode()
    why = "a setting was changed" if switched else renewal
    return [replace(r, former=files.get(r.path), unlike_former=why) if isinstance(r, File) else r for r in resources]
