"""What a host's files were made from: tells a changed setting from a changed file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from provisioner import record
from provisioner.door import Door
from provisioner.engine.resource import Resource
from provisioner.resources.file import File
from provisioner.settings import RECORD, Recorded, Settings, effective
from provisioner.steps import Context, ordered


def with_former(
    resources: Iterable[Resource], context: Context, recorded: Recorded | None, door: Callable[[Settings], Door]
) -> list[Resource]:
    """`resources` whose files know what the settings that the host has recorded make of them.

    `context`: as decided; `door` gives the address of other settings. Costs nothing while settings stay.
    """
    resources = list(resources)
    if recorded is None:
        return resources
    was = effective({}, {}, recorded)
    if was == context.settings:
        return resources
    before = replace(context, settings=was, door=door(was))
    files = {
        resource.path: resource.content
        for step in ordered(was)
        for resource in step.resources(before)
        if isinstance(resource, File)
    }
    files[RECORD] = record.dump_recorded(was, context.stack).encode()
    return [replace(r, former=files.get(r.path)) if isinstance(r, File) else r for r in resources]
