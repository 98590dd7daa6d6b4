"""The two files in which a host keeps its stack's settings and secrets: looked at, read and wanted."""

from __future__ import annotations

from provisioner import record, vault
from provisioner.engine.resource import Resource
from provisioner.errors import Refused
from provisioner.resources.file import Directory, File
from provisioner.resources.paths import PathProbe, PathState
from provisioner.settings import RECORD, Recorded, Settings

STACK_FILE = PathProbe(RECORD)
SECRETS_FILE = PathProbe(vault.HOST_FILE)
RECORD_STEP = "settings"
"""The step name of the two."""


def record_resources(
    settings: Settings, secrets: vault.Vault, stack: str, because: str = "", first: tuple[str, ...] = ()
) -> list[Resource]:
    """The files in which the host keeps the stack's settings and secrets; `because`: why secrets are others, `first`:
    what must be done before they are noted."""
    text = record.dump_recorded(settings, stack)
    files: list[Resource] = [
        Directory(id="directory:etc-provision", path="/etc/provision"),
        File(
            id="file:secrets.json",
            path=vault.HOST_FILE,
            content=vault.serialise(secrets).encode(),
            mode=0o600,
            hide=("*",),
            because=because,
            needs=first,
        ),
        File(id="file:stack.toml", path=RECORD, content=text.encode(), mode=0o644),
    ]
    return [resource.of(RECORD_STEP) for resource in files]


def recorded_in(state: PathState, copy: Recorded | None, host: str) -> Recorded | None:
    """The host's record; after a rebuild there is none and this machine's copy stands in."""
    if state.kind == "absent":
        return copy
    if not isinstance(state.content, bytes):
        raise Refused(
            f"{RECORD} on {host} is not a file that can be used",
            why=f"it is a {state.kind}" if state.kind != "file" else "it is too large",
            next="look at it there; moved away, this machine's copy of the settings is used",
        )
    return record.parse_recorded(state.content, host)


def vault_in(state: PathState, host: str) -> vault.Vault | None:
    """The host's secrets; None where it has no file of them."""
    if state.kind == "absent":
        return None
    if state.kind != "file" or not isinstance(state.content, bytes):
        raise Refused(
            f"{vault.HOST_FILE} on {host} is not a file that can be used",
            why=f"it is a {state.kind}" if state.kind != "file" else "it is too large",
            next="look at it there; moved away, this machine's copy of the secrets is used",
        )
    return vault.parse(state.content, f"{vault.HOST_FILE} on {host}")
