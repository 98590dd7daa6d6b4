"""`secrets list|show|export|import`: the only commands besides `env` that reveal any."""

from __future__ import annotations

import sys
from pathlib import Path

from provisioner import secret_kinds, vault
from provisioner.commands.options import Options, one_stack, select, session
from provisioner.commands.view import NoStack, look_at_record
from provisioner.errors import Exit, Refused, Unreachable, UsageError
from provisioner.inventory import StackRequest
from provisioner.report.answer import answer


def list_secrets(options: Options) -> Exit:
    """Names and generations; no values."""
    request = one_stack(options)
    entries = _document(request, options).live
    rows = [{"name": name, "generation": entry.generation, "what": _what(name)} for name, entry in entries.items()]
    lines = [f"{name:<22} generation {entry.generation:<4} {_what(name)}" for name, entry in entries.items()]
    answer("secrets list", lines, as_json=options.json, stack=request.id, secrets=rows)
    return Exit.OK


def show_secret(options: Options, name: str) -> Exit:
    """One value, as it is, with a newline."""
    request = one_stack(options)
    document = _document(request, options)
    if name not in document.live:
        raise UsageError(f"no secret is called {name}", next=f"one of: {', '.join(document.live)}")
    value = document[name].reveal()
    if options.json:
        answer("secrets show", (), as_json=True, stack=request.id, name=name, value=value)
    else:
        print(value)
    return Exit.OK


def export_secrets(options: Options) -> Exit:
    """The whole document, for a safe place; `secrets import` reads it."""
    sys.stdout.write(vault.serialise(_document(one_stack(options), options)))
    return Exit.OK


def import_secrets(options: Options, file: str) -> Exit:
    """Values of an exported document become newer than both sides' own; the next run applies them."""
    request = one_stack(options)
    text = _read(file)
    try:
        document = vault.parse(text, "the given document" if file == "-" else file)
    except Refused as error:
        raise UsageError(error.what, why=error.why, next="correct it; nothing was imported") from None
    others: tuple[vault.Vault, ...] = ()
    try:
        current = _document(request, options, empty=True)
    except vault.Conflict as conflict:
        # This import is what decides it: newer than both sides where they differ from it.
        current, others = conflict.controller, (conflict.host,)
    merged = vault.imported(current, document, *others)
    changed = [name for name in merged.entries if merged.entries.get(name) != current.entries.get(name)]
    path = vault.write_controller(merged)
    if not changed:
        lines = ["nothing to import: every value is already the same"]
    else:
        lines = [f"imported {', '.join(changed)} into {path}", f"next   provision {select(request)}"]
    answer("secrets import", lines, as_json=options.json, stack=request.id, imported=changed)
    return Exit.OK


def _document(request: StackRequest, options: Options, *, empty: bool = False) -> vault.Vault:
    """The right values: the host's and this machine's reconciled; this machine's alone when the host
    does not answer, which is said."""
    local, warning = vault.read_controller(request.id)
    if warning:
        print(warning, file=sys.stderr)
    found: vault.Vault | None = None
    nothing: NoStack | None = None
    try:
        for each in request.each():
            try:
                with session(each, options) as connection:
                    seen = look_at_record(connection, each).secrets.vault
            except NoStack as error:
                nothing = error  # a host of several that was rebuilt: the others know theirs
                continue
            found = seen if found is None else vault.reconcile(found, seen, request.id, ()).vault
    except Unreachable as error:
        if local is None:
            raise
        print(f"{error.what}; these are this machine's copies", file=sys.stderr)
        return local
    found = found or local
    if found is None and nothing is not None and not empty:
        raise nothing
    return found or vault.Vault(request.id)


def _what(name: str) -> str:
    kind = secret_kinds.kind_of(name)
    return kind.doc if kind else ""


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(vault.LIMIT + 1)
    try:
        path = Path(file).expanduser()
        if not path.is_file():
            raise UsageError(f"{file} is not a file", next="provision secrets import FILE")
        with path.open("rb") as handle:
            return handle.read(vault.LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
