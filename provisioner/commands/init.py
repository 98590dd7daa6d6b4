"""`init`: an inventory with the settings a stack was made with, or the commented example."""

from __future__ import annotations

import shlex
from pathlib import Path

import tomli_w

from provisioner import schema
from provisioner.assets import example
from provisioner.commands.options import Options, one_stack, session
from provisioner.commands.view import View, look_at_record
from provisioner.errors import Exit, Refused, UsageError
from provisioner.inventory import HostRequest
from provisioner.report.answer import answer
from provisioner.settings import Settings
from provisioner.topology import ROLES


def init(options: Options, output: str) -> Exit:
    """Write `output`; an existing file is never replaced."""
    path = Path(output).expanduser()
    if path.exists():
        raise Refused(
            f"{path} exists", why="it may be yours; nothing is overwritten", next="provision init -o OTHER.toml"
        )
    text = _of_stack(options) if options.hosts or options.inventory else example()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    named = "" if path == Path("inventory.toml") else f" --inventory {shlex.quote(str(path))}"
    edit = "" if options.hosts else f"edit {path}, then:  "
    lines = [f"wrote {path}", f"next   {edit}provision plan{named}"]
    answer("init", lines, as_json=options.json, file=str(path))
    return Exit.OK


def _of_stack(options: Options) -> str:
    request = one_stack(options)
    with session(request, options) as connection:
        return inventory_of(look_at_record(connection, request))


def inventory_of(view: View) -> str:
    """An inventory that selects the stack's hosts and says what differs from the defaults."""
    request, members = view.request, view.settings.topology.members
    if request.parts:
        hosts = {part.host.name: (_connection(part.host), part.roles) for part in request.parts}
    elif members:
        # Called by one of its hosts: how the others are reached from here their addresses say at best.
        own = _connection(request.host)
        hosts = {m.name: (own if m.name == view.context.name else {"address": m.address}, m.roles) for m in members}
    else:
        host = request.host
        name = host.name if host.name.replace("-", "").replace(".", "").isalnum() else "server"
        hosts = {name: (_connection(host), ROLES)}
    document: dict[str, object] = {
        "roles": {role: [name for name, (_, roles) in hosts.items() if role in roles] for role in ROLES},
        "hosts": {name: connection for name, (connection, _) in hosts.items()},
    }
    document.update(_chosen(view.settings))
    head = (
        "# Made by `provision init` from what the host records. Keys that are not here keep their defaults:\n"
        "# docs/inventory.md lists all of them. No secrets belong in this file.\n\n"
    )
    return head + tomli_w.dumps(document)


def _connection(host: HostRequest) -> dict[str, object]:
    keys = ("address", "user", "port", "identity", "host_key", "jump", "internal")
    return {key: value for key in keys if (value := getattr(host, key)) is not None}


def _chosen(settings: Settings) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for dotted, key in schema.known().items():
        table, name = dotted.split(".")
        value = settings.get(dotted)
        if key.operator or value is None or value == schema.default(dotted):
            continue
        if dotted == "store.data" and value == schema.DATA_DIRECTORIES[settings.store.engine]:
            continue
        if isinstance(value, tuple):
            value = list(value)
        elif not isinstance(value, str | int | float | bool):
            value = dict(value)
        found.setdefault(table, {})[name] = value
    return found
