"""What the operator's machine remembers of a stack besides its secrets: a copy of its record for a rebuild,
and the local MinIO binary it was made with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from provisioner import record, state
from provisioner.errors import ProvisionError, UsageError
from provisioner.resources.facts import Facts
from provisioner.settings import Recorded
from provisioner.values import dataclass

_FACTS = ("distribution", "release", "architecture", "kernel_machine", "python_path")


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine: absolute path, size in bytes, SHA-256."""

    path: str
    size: int
    sha256: str


def local_file(path: str, stack: str) -> LocalFile:
    """The file and its SHA-256; hashed again only when size, inode or times differ from the last run's.

    Raises UsageError (64) for a missing, unreadable or empty file and for anything but a regular one.
    """
    where = Path(path).expanduser().absolute()
    try:
        seen = where.stat()
        if not where.is_file():
            raise UsageError(f"{where} is not a file", next="name the binary itself: --set store.binary=FILE")
        if seen.st_size == 0:
            raise UsageError(f"{where} is empty", next="fetch or build it again")
        stamp = [seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]
        known = _hint(stack)
        if known.get("path") == str(where) and known.get("stamp") == stamp and isinstance(known.get("sha256"), str):
            return LocalFile(str(where), seen.st_size, known["sha256"])
        with where.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(
            f"{where} cannot be read: {error.strerror or error}",
            why="store.binary names a MinIO server binary on this machine",
            next="correct the path, or leave it out to keep what the host has",
        ) from error
    _remember(stack, {"path": str(where), "stamp": stamp, "sha256": digest})
    return LocalFile(str(where), seen.st_size, digest)


def binary_hint(stack: str) -> str | None:
    """The path that last served as this stack's binary, if a file is still there."""
    path = _hint(stack).get("path")
    return path if isinstance(path, str) and path.startswith("/") and Path(path).is_file() else None


def remember_record(stack: str, text: str) -> None:
    """Keep a copy of the host's stack.toml: after a rebuild the host has none, and the same command
    shall give the same stack."""
    path = state.stack_dir(stack) / "stack.toml"
    if not path.is_file() or path.read_bytes() != text.encode():
        state.write_private(path, text.encode())


def finished_before(stack: str) -> bool:
    """Whether a run of this machine has ever come to the end of its changes."""
    return (state.stack_dir(stack) / "stack.toml").is_file()


def recall_record(stack: str) -> Recorded | None:
    """The copy, for a host that has no record of its own; None when there is none."""
    path = state.stack_dir(stack) / "stack.toml"
    raw, _ = state.read_private(path, record.LIMIT)
    return None if raw is None else record.parse_recorded(raw, "this machine", str(path))


def remember_facts(stack: str, facts: Facts, place: str = "") -> None:
    """Keep what decides where things are on the host: with it the next run sees all with one exec. `place` names
    the host where the stack has several."""
    document = {name: getattr(facts, name) for name in _FACTS}
    path = _facts_file(stack, place)
    text = json.dumps(document).encode()
    if not path.is_file() or path.read_bytes() != text:
        state.write_private(path, text)


def _facts_file(stack: str, place: str) -> Path:
    folder = state.stack_dir(stack)
    return folder / "hosts" / place / "facts.json" if place else folder / "facts.json"


def recall_facts(stack: str, place: str = "") -> Facts | None:
    """What was remembered; None when nothing usable is there: it only ever saves a look."""
    try:
        raw, _ = state.read_private(_facts_file(stack, place), 64 * 1024)
        found = json.loads(raw) if raw else {}
        values = {name: found[name] for name in _FACTS}
        if not all(isinstance(values[name], str) for name in _FACTS):
            return None
        return Facts(**values)
    except (ProvisionError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _hint(stack: str) -> dict[str, Any]:
    """The remembered file, {} when nothing usable is there: it only ever saves work."""
    try:
        raw, _ = state.read_private(state.stack_dir(stack) / "binary.json", 64 * 1024)
        found = json.loads(raw) if raw else {}
    except (ProvisionError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(stack: str, content: dict[str, Any]) -> None:
    state.write_private(state.stack_dir(stack) / "binary.json", json.dumps(content).encode())
