"""[secrets] of an inventory: where a secret's value comes from when it is not a generated one. Reads no value."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from provisioner import accounts, secret_kinds
from provisioner.certificates.material import OWN, ROOT
from provisioner.values import dataclass

TABLE = "secrets"
KINDS = ("env", "file", "command")
FORMS = '{ env = "NAME" }, { file = "PATH" } or { command = ["WORD", "..."] }'
# The store keeps what its administrator owns under that name, so it stays; the others are no values to choose.
_NOT_CHOSEN: tuple[str, ...] = (
    "store.root.user",
    "store.ca",
    "database.ca",
    "store.user.before",
    "store.client.before",
    OWN,
    ROOT,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_WORDS, _LETTERS, _PATH = 64, 4096, 4096


@dataclass(frozen=True)
class Source:
    """Where one secret's value comes from. Nothing in it is secret."""

    secret: str
    kind: str
    """env, file or command."""
    what: tuple[str, ...]
    """A variable's name, a path or the command's words."""
    place: str
    """`inventory.toml:12: secrets.login`, for what is said of it."""
    folder: str = ""
    """The inventory's: paths count from it, and commands run in it."""
    barred: str = ""
    """Why a command of this inventory does not run; empty where it may."""

    def __str__(self) -> str:
        return f"{self.kind} {shlex.join(self.what) if self.kind == 'command' else self.what[0]}"


def choosable() -> list[str]:
    """The names of secrets whose value a user may choose; every account's besides."""
    return [name for name in secret_kinds.NAMES if name not in _NOT_CHOSEN]


def entries(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path in the table, entry): `database.password = {…}` without quotes is a table in a table."""
    for part, value in table.items():
        here = (*path, part)
        inner = isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values())
        if inner and len(here) < 4:
            yield from entries(value, here)
        else:
            yield here, value


def source(secret: str, entry: object, place: str) -> Source:
    """The source that an entry means. Raises ValueError in words that repeat nothing of it: what stands there
    by mistake may be the secret."""
    if secret not in choosable() and not accounts.is_secret(secret):
        raise ValueError(_no_such(secret))
    if not isinstance(entry, dict) or len(entry) != 1 or next(iter(entry)) not in KINDS:
        raise ValueError(f"expected one of {FORMS}; the value itself does not belong here")
    ((kind, value),) = entry.items()
    return Source(secret, kind, _CHECKS[kind](value), place)


def placed(found: Source, folder: Path, barred: str) -> Source:
    """The source of an inventory in `folder`. Raises RuntimeError for the home folder of nobody."""
    what = found.what
    if found.kind == "file":
        what = (os.path.normpath(Path.cwd() / folder / Path(what[0]).expanduser()),)
    return Source(found.secret, found.kind, what, found.place, str(Path.cwd() / folder), barred)


def distrust(path: Path, state: os.stat_result) -> str:
    """Why commands of the inventory at `path`, open as `state`, do not run; empty where they may: whoever can
    write it would run commands as the user."""
    if state.st_uid != os.geteuid():
        return f"{path} belongs to another user (uid {state.st_uid})"
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be written by others than you: chmod go-w {shlex.quote(str(path))}"
    for folder in {path.parent, Path(os.path.realpath(path)).parent}:
        rights = folder.stat().st_mode
        if rights & stat.S_IWOTH and not rights & stat.S_ISVTX:
            return f"everybody can replace it: {folder.absolute()} can be written by all"
    return ""


def _no_such(secret: str) -> str:
    if secret in secret_kinds.NAMES:
        return "is made by this tool and cannot be chosen"
    near = difflib.get_close_matches(secret[:100], choosable(), 1)
    return (
        f"unknown secret{f', did you mean {near[0]}?' if near else ''} One of: {', '.join(choosable())}, account.NAME"
    )


def _env(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError('env: expected the name of an environment variable, like "MLFLOW_DB_PASSWORD"')
    return (value,)


def _file(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not 0 < len(value) <= _PATH or not value.isprintable():
        raise ValueError('file: expected a path on this machine, like "secrets/login"')
    return (value,)


def _command(value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list) and 0 < len(value) <= _WORDS else [""]
    if (
        not all(isinstance(word, str) and len(word) <= _LETTERS and word.isprintable() for word in words)
        or not words[0]
    ):
        raise ValueError(
            f'command: expected a list of 1 to {_WORDS} words, like ["pass", "show", "mlflow/store"]; no shell reads it'
        )
    return tuple(words)


_CHECKS = {"env": _env, "file": _file, "command": _command}
