"""What a host has that its bare image had not: found by walking both, with nothing of this tool's own tables.

What packages brought is dpkg's to answer for. Where one program keeps many files of its own (a virtual environment,
a data directory) one line tells every combination of kind, mode and owner that is in there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

ROOTS = ("etc", "home", "opt", "root", "srv", "usr/local", "var")
NOISE = re.compile(
    r"/(var/(cache|tmp|log|lib/(apt|dpkg|systemd|ucf|pam|dbus|private|postgresql/\.cache))(/.*)?"
    r"|etc/(alternatives|rc.\.d|ssl|ld\.so\.cache|machine-id|\.updated|\.pwd\.lock|group-?|gshadow-?|passwd-?|shadow-?"
    r"|subuid-?|subgid-?|hostname|hosts|resolv\.conf|mtab|ucf\.conf|sysctl\.d|ssh)(/.*)?"
    r"|etc/systemd/(network|system/.*(network|apt-daily)[^/]*)(/.*)?|root/(\.cache|\.ssh|\.bash_history|date|mark)(/.*)?|var/\.updated)"
)
BULK = re.compile(r"/(opt/mlflow/\d[^/]*|opt/[a-z]+/data|var/lib/postgresql/\d+/main|opt/mlflow/python[^/]*)")
NAMES = ((re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z"), "TIME"), (re.compile(r"minio-[0-9a-f]{12}"), "minio-HASH"))


def told(live: Path, image: Path) -> list[str]:
    """One line for everything of `live` that is new or has other rights than in `image`, sorted by path."""
    users, groups = _names(live / "etc/passwd"), _names(live / "etc/group")
    packaged = _packaged(live)
    lines: dict[str, str] = {}
    bulk: dict[str, set[str]] = {}
    for path in _paths(live):
        if NOISE.fullmatch(path) or path in packaged:
            continue
        found, before = (live / path[1:]).lstat(), _standing(image / path[1:])
        line = _line(found, users, groups)
        inside = BULK.match(path)
        if inside is not None and inside[0] != path:
            bulk.setdefault(inside[0], set()).add(line)
        elif before is None or _line(before, users, groups) != line or _content(before) != _content(found):
            lines[path] = line
    for root, combinations in bulk.items():
        lines[f"{root}/**"] = "\n".join(sorted(combinations))
    return [f"{line}  {_plain(path)}" for path, text in sorted(lines.items()) for line in text.splitlines()]


def dangerous(live: Path, image: Path) -> list[str]:
    """Everything, packages' files too, that the image had not and that is set-id or writable for all."""
    found = []
    for path in _paths(live, ("etc", "home", "opt", "root", "srv", "usr", "var")):
        mode = (live / path[1:]).lstat().st_mode
        if stat.S_ISLNK(mode) or os.path.lexists(image / path[1:]):
            continue
        sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if (mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISDIR(mode)) or (mode & stat.S_IWOTH and not sticky):
            found.append(f"{stat.S_IMODE(mode):04o} {path}")
    return found


def _paths(live: Path, roots: tuple[str, ...] = ROOTS) -> Iterator[str]:
    for root in roots:
        for folder, folders, files in os.walk(live / root, followlinks=False):
            shown = "/" + str(Path(folder).relative_to(live))
            for name in (*folders, *files):
                yield f"{shown}/{name}"


def _line(found: os.stat_result, users: dict[int, str], groups: dict[int, str]) -> str:
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    owner = f"{users.get(found.st_uid, str(found.st_uid))}:{groups.get(found.st_gid, str(found.st_gid))}"
    mode = "    " if kind == "link" else f"{stat.S_IMODE(found.st_mode):04o}"
    return f"{kind:<9} {mode} {owner:<21}"


def _names(file: Path) -> dict[int, str]:
    return {int(fields[2]): fields[0] for line in file.read_text().splitlines() if len(fields := line.split(":")) > 2}


def _packaged(live: Path) -> set[str]:
    paths: set[str] = set()
    for file in (live / "var/lib/dpkg/info").glob("*.list"):
        paths.update(file.read_text().splitlines())
    return paths


def _standing(path: Path) -> os.stat_result | None:
    return path.lstat() if os.path.lexists(path) else None


def _content(found: os.stat_result) -> tuple[float, int]:
    """What changes with a file's content; a directory is told by what is in it."""
    return (0.0, 0) if stat.S_ISDIR(found.st_mode) else (found.st_mtime, found.st_size)


def _plain(path: str) -> str:
    for pattern, name in NAMES:
        path = pattern.sub(name, path)
    return path
