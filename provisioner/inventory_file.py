"""An inventory file as it lies on the disk: read within bounds, parsed, every problem with its place."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provisioner import checks, schema, sources, toml_lines
from provisioner.documents import Reading, read
from provisioner.errors import UsageError

LIMIT = 1024 * 1024


def read_file(path: Path) -> Reading:
    """The validated content of an inventory; its problems are still in `problems`."""
    text, barred = _text(path)
    if (long := toml_lines.overlong(text)) is not None:
        raise UsageError(f"{path}:{long}: a line of more than 8192 characters", why="an inventory has none")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        line = match[1] if match else str(text.count("\n") + 1)
        words = checks.shown(str(error).partition(" (at ")[0]).strip('"')
        raise UsageError(f"{path}:{line}: not TOML: {words}", next="the format: https://toml.io") from error
    except (RecursionError, ValueError) as error:
        raise UsageError(f"{path}:1: not TOML: nested too deep or a number too long") from error
    found = toml_lines.lines(text)
    reading = read(document, lambda where: f"{path}:{toml_lines.line(found, where)}")
    reading.barred = barred
    return reading


def _text(path: Path) -> tuple[str, str]:
    """What the file says, and why its commands do not run: both of the same open file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UsageError(f"{path}: not a file", next="name an inventory file: --inventory FILE")
            raw = file.read(LIMIT + 1)
            barred = sources.distrust(path, os.fstat(handle))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UsageError(f"{checks.shown(str(path))}: {reason}", next="name another: --inventory FILE") from error
    if len(raw) > LIMIT:
        raise UsageError(f"{path}: larger than 1 MiB", why="an inventory is a page of text")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n"), barred
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not UTF-8", next="save the file as UTF-8") from error


def absolute(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings whose files are named from `folder`, with their whole paths."""
    found = dict(values)
    for name, value in values.items():
        if ((key := schema.known().get(name)) and key.operator) or (name in schema.ROOTS and value != "own"):
            found[name] = path_from(value, folder)
        elif name == "access.tls" and isinstance(value, Mapping):
            found[name] = {part: path_from(file, folder) for part, file in value.items()}
    return found


def path_from(raw: str, folder: Path) -> str:
    """`raw` as it is meant in `folder`, whole; UsageError for the home of a user that there is not."""
    try:
        path = Path(raw).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{checks.shown(raw)}: no home folder of that user") from error
    return os.path.normpath(Path.cwd() / folder / path)
