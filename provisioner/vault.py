"""A stack's secrets: one document on the host, a copy on the operator's machine, and which of them is right.

The host's /etc/provision/secrets.json is the authority that service files, role passwords and store
users are rendered from. The copy on the operator's machine makes a rebuilt host the same stack again.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from provisioner import accounts, state
from provisioner.errors import ProvisionError, Refused
from provisioner.secret_kinds import MADE, check, kept_by, kind_of
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.values import dataclass

HOST_FILE = "/etc/provision/secrets.json"
SCHEMA = 1
LIMIT = 256 * 1024

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}(\.[a-z][a-z0-9-]{0,40}){0,3}")


@dataclass(frozen=True)
class Entry:
    """One secret and how often it was replaced. A removed one keeps its place without a value: left out, the
    other side's copy would bring it back."""

    value: Secret
    generation: int
    removed: bool = False


@dataclass(frozen=True)
class Vault:
    """A stack's secrets by name. `vault["login"]` is the Secret; names of newer versions are kept.

    `stack` is the name in the document, given once: a second operator who calls the host by another
    name does not rewrite it. `home` is the stack's folder on this machine where it differs.
    """

    stack: str
    entries: Mapping[str, Entry] = field(default_factory=dict)
    home: str = field(default="", compare=False)

    def __getitem__(self, name: str) -> Secret:
        return self.entries[name].value

    @property
    def live(self) -> dict[str, Entry]:
        """The entries that were not removed."""
        return {name: entry for name, entry in self.entries.items() if not entry.removed}

    @property
    def ended(self) -> tuple[str, ...]:
        """The accounts that were removed."""
        gone = [accounts.account_of(name) for name, entry in self.entries.items() if entry.removed]
        return tuple(name for name in gone if name is not None)

    def secrets(self) -> dict[str, Secret]:
        """Every secret by name."""
        return {name: entry.value for name, entry in self.live.items()}

    def generations(self) -> dict[str, int]:
        """Every secret's generation by name."""
        return {name: entry.generation for name, entry in self.entries.items()}


@dataclass(frozen=True)
class Decision:
    """The right values, and what each side lacks (names only). `rebuilt`: the host had no document and
    got this machine's values."""

    vault: Vault
    to_host: tuple[str, ...]
    to_controller: tuple[str, ...]
    generated: tuple[str, ...]
    rebuilt: bool = False
    because: str = ""
    """Why values are other than on either side, where this machine's user says so."""
    replaced: tuple[str, ...] = ()
    """Of the secrets that the stack had, those that got such a value."""

    def renewed(self, wanted: Vault) -> Decision:
        """The same with `wanted` values, which neither side has yet."""
        names = tuple(name for name, entry in wanted.entries.items() if self.vault.entries.get(name) != entry)
        return replace(
            self,
            vault=wanted,
            to_host=tuple(sorted({*self.to_host, *names})),
            to_controller=tuple(sorted({*self.to_controller, *names})),
        )


class Conflict(Refused):
    """Host and operator's machine have different values of one generation; both documents are here for
    `secrets import`, which decides."""

    def __init__(self, names: list[str], host: Vault, controller: Vault, stack: str, hostname: str, select: str):
        path = shlex.quote(str(controller_file(stack)))
        super().__init__(
            f"{hostname} and this machine disagree about {len(names)} secret{'s' if len(names) > 1 else ''}: "
            + ", ".join(names),
            why="both were made independently and only you know which ones clients use; nothing was changed",
            next=f"keep the host's:       mv {path} {path}.other\n"
            f"keep this machine's:   provision secrets import {select} {path}\n"
            f"then again:            provision {select}",
        )
        self.host = host
        self.controller = controller


def parse(text: str | bytes, where: str) -> Vault:
    """The document of `where` (a path, with its host). Raises Refused (4) without showing any content."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > LIMIT:
        raise _unusable(where, f"it has more than {LIMIT} bytes")
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _unusable(where, "it is not the JSON that this tool writes") from None
    if not isinstance(document, dict) or document.keys() != {"schema", "stack", "secrets"}:
        raise _unusable(where, "expected schema, stack and secrets")
    if _whole(document["schema"]) and document["schema"] > SCHEMA:
        raise Refused(
            f"{where} has schema {document['schema']}, this version of provision reads {SCHEMA}",
            why="a newer version of provision wrote it",
            next="run it with that version or a newer one",
        )
    if not _whole(document["schema"]) or document["schema"] != SCHEMA:
        raise _unusable(where, f"expected schema {SCHEMA}")
    stack, secrets = document["stack"], document["secrets"]
    if not isinstance(stack, str) or not 0 < len(stack) <= 200 or not stack.isprintable():
        raise _unusable(where, "expected the stack's name")
    if not isinstance(secrets, dict) or len(secrets) > 1000:
        raise _unusable(where, "expected a table of secrets")
    return Vault(stack, {name: _entry(name, secrets[name], where) for name in sorted(secrets)})


def serialise(vault: Vault) -> str:
    """The document, secrets revealed, sorted: equal vaults give equal bytes."""
    secrets = {
        name: {"removed": True, "generation": entry.generation}
        if entry.removed
        else {"value": entry.value.reveal(), "generation": entry.generation}
        for name, entry in sorted(vault.entries.items())
    }
    document = {"schema": SCHEMA, "stack": vault.stack, "secrets": secrets}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def reconcile(
    host: Vault | None,
    controller: Vault | None,
    stack: str,
    names: Iterable[str] = MADE,
    *,
    hostname: str | None = None,
    select: str = "",
) -> Decision:
    """Higher generation wins, one side's secret is copied to the other, what both lack is generated.

    Raises Refused (4) where both sides have the same generation of different values: only a person
    knows which one clients use. `select`: the arguments that choose the stack, for what it says to do.
    """
    ours = host.entries if host else {}
    copies = controller.entries if controller else {}
    decided: dict[str, Entry] = {}
    conflicts: list[str] = []
    for name in sorted({*ours, *copies}):
        here, there = ours.get(name), copies.get(name)
        if here and there and here.generation == there.generation and here != there:
            conflicts.append(name)
        decided[name] = max((e for e in (here, there) if e), key=lambda entry: entry.generation)
    if conflicts and host and controller:
        named = hostname or stack
        raise Conflict(conflicts, host, replace(controller, home=stack), stack, named, select or f"--host {named}")
    generated = tuple(name for name in sorted(names) if name not in decided)
    for name in generated:
        decided[name] = Entry(_made(name), 1)
    name_given = (host or controller or Vault(stack)).stack
    return Decision(
        Vault(name_given, dict(sorted(decided.items())), home=stack),
        tuple(name for name in sorted(decided) if ours.get(name) != decided[name]),
        tuple(name for name in sorted(decided) if copies.get(name) != decided[name]),
        generated,
        rebuilt=host is None and bool(copies),
    )


def _made(name: str) -> Secret:
    kind = kind_of(name)
    if kind is None or kind.make is None:
        raise ValueError(f"nothing says how the secret {name} is made")
    return kind.make()


def changed(vault: Vault, name: str, value: Secret) -> Vault:
    """`vault` with a new value for `name`, one generation up so that it wins everywhere."""
    before = vault.entries.get(name)
    entry = Entry(value, before.generation + 1 if before else 1)
    return replace(vault, entries=dict(sorted({**vault.entries, name: entry}.items())))


def without(vault: Vault, name: str) -> Vault:
    """`vault` with `name` removed, one generation up so that it is removed everywhere; also one that it never had."""
    before = vault.entries.get(name)
    entry = Entry(Secret(""), before.generation + 1 if before else 1, removed=True)
    return replace(vault, entries=dict(sorted({**vault.entries, name: entry}.items())))


def imported(current: Vault, document: Vault, *others: Vault) -> Vault:
    """`current` with the values of an exported document. What differs from `current` or from one of
    `others` (the host's document, after a Conflict) becomes newer than all, so that it wins everywhere.
    """
    entries = dict(current.entries)
    for name, entry in document.entries.items():
        seen = [side.entries[name] for side in (current, *others) if name in side.entries]
        if any((each.value, each.removed) != (entry.value, entry.removed) for each in seen):
            newest = max(each.generation for each in (entry, *seen))
            entries[name] = replace(entry, generation=newest + 1)
        elif not seen:
            entries[name] = entry
    return replace(current, entries=dict(sorted(entries.items())))


def part(vault: Vault, host: str, *settings: Settings) -> Vault:
    """What `host` keeps of `vault` by one of `settings`: all of it, where one host does everything."""
    if any(each.topology.single for each in settings):
        return vault
    mine = {name: entry for name, entry in vault.entries.items() if any(kept_by(name, each, host) for each in settings)}
    return replace(vault, entries=mine)


def controller_file(stack: str) -> Path:
    return state.stack_dir(stack) / "secrets.json"


def read_controller(stack: str) -> tuple[Vault | None, str | None]:
    """This machine's copy (None when there is none) and a warning when its mode had to be repaired."""
    path = controller_file(stack)
    raw, warning = state.read_private(path, LIMIT)
    return (None if raw is None else replace(parse(raw, str(path)), home=stack)), warning


def write_controller(vault: Vault) -> Path:
    """Replace this machine's copy as a whole, 0600 in a 0700 folder, flushed to the disk."""
    path = controller_file(vault.home or vault.stack)
    state.write_private(path, serialise(vault).encode())
    return path


def _entry(name: str, value: object, where: str) -> Entry:
    if not (_NAME.fullmatch(name) or accounts.is_secret(name)):
        raise _unusable(where, "a secret has a name that this tool never gives")
    forms = [{"value", "generation"}, *([{"removed", "generation"}] if accounts.is_secret(name) else [])]
    if not isinstance(value, dict) or value.keys() not in forms:
        raise _unusable(where, f"{name}: expected value and generation")
    secret, generation = value.get("value"), value["generation"]
    if not _whole(generation) or not 1 <= generation <= 2**31:
        raise _unusable(where, f"{name}: expected a generation from 1 on")
    if "removed" in value:
        if value["removed"] is not True:
            raise _unusable(where, f"{name}: expected removed = true")
        return Entry(Secret(""), generation, removed=True)
    if not isinstance(secret, str):
        raise _unusable(where, f"{name}: expected a string")
    try:
        return Entry(check(name, secret), generation)
    except ProvisionError as error:
        raise _unusable(where, error.what) from None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(_name: str) -> None:
    raise ValueError("not a JSON number")


def _unusable(where: str, why: str) -> Refused:
    return Refused(
        f"the secrets in {where} cannot be used",
        why=why,
        next="restore the file, or move it away: the other side's copy is used then (host or operator's machine)",
    )
