"""Secrets whose values come from the operator's machine: read once by `plan` and by a run, before any host is
asked, and put among the stack's secrets where they differ from them."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner import accounts, secret_kinds, vault
from provisioner.errors import UsageError
from provisioner.inventory import Inventory, StackRequest
from provisioner.secrets import Secret, generate
from provisioner.sources import Source

_ROOM = 64 * 1024
"""Bytes of a file or of what a command prints."""
_PATIENCE = 30.0
"""Seconds for one command."""


def bring(found: Inventory) -> Inventory:
    """The stacks with the values of their secrets' sources. Every source is read once, whatever the number of
    stacks. Raises UsageError (64), which never shows a value."""
    sources = found.stacks[0].secret_sources
    if not sources:
        return found
    # All that can be refused is refused before the first command runs.
    for source in sources.values():
        if source.kind == "command" and source.barred:
            raise UsageError(
                f"{source.place}: its command does not run",
                why=source.barred,
                next="commands run only from an inventory that --inventory names, that is yours, and that nobody else "
                "can write",
            )
    texts: dict[tuple[str, tuple[str, ...]], Secret] = {}
    warnings: list[str] = []
    brought = {}
    variables = [each.what[0] for each in sources.values() if each.kind == "env"]
    for source in sorted(sources.values(), key=lambda each: each.kind == "command"):
        once = source.kind, source.what
        if once not in texts:
            texts[once] = Secret(_read(source, variables, warnings))
        brought[source.secret] = _checked(source, texts[once])
    stacks = (replace(each, brought=brought, warnings=tuple(warnings)) for each in found.stacks)
    return replace(found, stacks=tuple(stacks))


def to_make(names: tuple[str, ...], request: StackRequest) -> list[str]:
    """Those of `names` that are generated where they are missing: nothing says what they are."""
    return [name for name in names if name not in request.brought]


def with_sources(
    decision: vault.Decision,
    request: StackRequest,
    wanted: tuple[str, ...],
    chosen: tuple[str, ...],
    straight: tuple[str, ...] = (),
) -> tuple[vault.Decision, list[str]]:
    """`decision` with the values of `request`'s sources, and what to warn of.

    `wanted`: the names of the stack's secrets. `chosen`: single steps; they only take what the stack does not have
    yet, because a changed secret is for all that use it. `straight`: those that are changed on the other side already,
    where the earlier value may be none any more: a run takes them like any other setting.
    """
    secrets, warnings, reasons = decision.vault, list(request.warnings), []
    replaced = []
    for name, value in request.brought.items():
        source = request.secret_sources[name]
        entry = secrets.entries.get(name)
        if entry is not None and entry.value == value and not entry.removed:
            continue
        if (entry is None and name not in wanted) or (entry is not None and entry.removed):
            who = accounts.account_of(name)
            add = f": provision user add {who}" if who else ""
            warnings.append(f"{source.place}: this stack has no secret {name}{add}")
            continue
        if entry is not None and chosen:
            warnings.append(f"{name} has another value at its source ({source}): a run of all steps takes it")
            continue
        if entry is not None and name not in straight:
            replaced.append(name)
        secrets = vault.changed(secrets, name, value)
        reasons.append(f"the value of {name} comes from {source}")
    if not reasons:
        return decision, warnings
    for key, before in secret_kinds.BEFORE.items():
        if key.replace(".key", ".secret") in replaced and key not in request.brought:
            # Under a name of its own, so that the earlier one serves until MLflow uses the other.
            secrets = vault.changed(secrets, key, generate(20))
            replaced.append(key)
        if key in replaced:
            # It goes once the new one serves.
            secrets = vault.changed(secrets, before, decision.vault[key])
    decided = replace(decision.renewed(secrets), because=", ".join(reasons), replaced=tuple(replaced))
    return decided, warnings


def of_groups(groups: Mapping[str, tuple[str, ...]], request: StackRequest) -> dict[str, Source]:
    """Group -> the source of one of its secrets, for the groups that are not generated."""
    given = request.secret_sources
    return {group: given[name] for group, names in groups.items() for name in names if name in given}


def refuse(source: Source, next: str) -> UsageError:
    """Why a secret with a source gets no generated value."""
    return UsageError(
        f"{source.secret} is not generated: its value comes from {source}",
        why=f"{source.place}: the next run would bring that value back",
        next=f"change it there, then:  provision {next}",
    )


def _checked(source: Source, text: Secret) -> Secret:
    try:
        if accounts.account_of(source.secret) is not None:
            # A login is somebody's choice here: the rules of `user passwd`.
            accounts.password(text.reveal())
        return secret_kinds.check(source.secret, text.reveal())
    except UsageError as error:
        raise UsageError(
            f"{source.place}: {error.what}", why=error.why or f"it comes from {source}", next=error.next
        ) from None


def _read(source: Source, variables: Sequence[str], warnings: list[str]) -> str:
    """What a source says. Commands do not see the `variables` that hold other secrets."""
    if source.kind == "env":
        name = source.what[0]
        value = os.environ.get(name, "")
        if not value:
            how = "empty" if name in os.environ else "not set"
            raise UsageError(f"{source.place}: the environment variable {name} is {how}", next=f"set {name}")
        return value
    raw = _file(source, warnings) if source.kind == "file" else _output(source, variables)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{source.place}: {source} gives no UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise UsageError(f"{source.place}: {source} gives nothing")
    return text


def _file(source: Source, warnings: list[str]) -> bytes:
    path = Path(source.what[0])
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise UsageError(f"{source.place}: {path} is not a file")
            raw = file.read(_ROOM + 1)
    except OSError as error:
        raise UsageError(f"{source.place}: {path}: {error.strerror}") from error
    if len(raw) > _ROOM:
        raise UsageError(f"{source.place}: {path} is larger than {_ROOM // 1024} KiB")
    if state.st_mode & stat.S_IWOTH:
        raise UsageError(
            f"{source.place}: {path} can be written by everybody",
            why="anybody on this machine could choose the secret",
            next=f"chmod 600 {shlex.quote(str(path))}",
        )
    if state.st_mode & stat.S_IROTH:
        warnings.append(f"{path} holds a secret and others may read it: chmod 600 {shlex.quote(str(path))}")
    return raw


def _output(source: Source, variables: Sequence[str]) -> bytes:
    """What the command prints. Its words on stderr are shown only where it fails, without what it printed."""
    from provisioner.children import Trouble, output

    try:
        return output(source.what, Path(source.folder), seconds=_PATIENCE, room=_ROOM, without=variables)
    except Trouble as error:
        raise UsageError(
            f"{source.place}: its command {error.how}: {shlex.join(source.what)}",
            next="try it by hand; it gets no terminal to ask on",
            detail=error.said,
        ) from None
