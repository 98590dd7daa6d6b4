"""Files, directories and links with exact content, owner and mode."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit, printable, word, words
from provisioner.engine.resource import Change
from provisioner.resources.paths import (
    PathProbe,
    PathResource,
    PathState,
    ago,
    directory_rights,
    owner_and_mode,
    rights_differ,
)
from provisioner.secrets import masked
from provisioner.values import dataclass

_DIFF_LINES = 200
_DIFFERS = "=(secret, differs)"
_WIDTH, _BEFORE = 60, 20
"""Characters of a line in a reason, and those of them that stand before what differs."""
_UNITS = "/etc/systemd/system/"


@dataclass(frozen=True, kw_only=True)
class File(PathResource):
    """A regular file. Several consecutive ones are staged, checked, backed up and then renamed
    into place together."""

    content: bytes = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    hide: tuple[str, ...] = ()
    """Keys of `KEY=value` lines whose values are secret; `("*",)`: no line is ever shown."""
    check: str = ""
    """sh that fails when the staged file (`$f`) is not good."""
    check_in_place: str = ""
    """sh that runs after the rename, for files that only their program can check; when it fails
    the former files are put back in the same exec."""
    parent_mode: int = 0o755
    keep: Callable[[bytes], str] | None = field(default=None, compare=False, repr=False)
    """Edited content -> the setting that says the same; empty where there is none."""
    because: str = ""
    """Why the content is another one, where that is known; otherwise the file itself tells what it can."""
    former: bytes | None = field(default=None, repr=False)
    """What the settings and secrets before made of it, where they were others: on a host that has just this,
    nobody edited the file."""
    unlike_former: str = "a setting was changed"
    """Why `former` was another content."""

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.kind == "absent":
            return Change("create", "absent", title=self.path, diff=self._lines(b""))
        if state.kind == "directory":
            return Change("change", "a directory is in its place", title=self.path, asks="the directory is moved aside")
        reasons = []
        if state.kind == "link":
            masks = state.target == "/dev/null"
            reasons.append("masked by a link to /dev/null" if masks else f"a link to {printable(state.target[:80])}")
        elif state.kind != "file":
            reasons.append("not a regular file")
        elif state.content != self.content:
            old = state.content if isinstance(state.content, bytes) else b""
            # An edit, a rotated secret or another release of this tool: the time is all that the file tells.
            why = self.unlike_former if state.content == self.former else f"last changed {ago(state.age)}"
            reasons.append(f"{self._summary(old)}; {self.because or why}")
        if state.kind == "file":
            reasons += rights_differ(state, self.owner, self.group, self.mode)
        if not reasons:
            return None
        old = state.content if isinstance(state.content, bytes) else b""
        edited = state.kind == "file" and old not in (self.content, self.former)
        keep = self.keep(old) if self.keep is not None and edited else ""
        return Change("change", ", ".join(reasons), title=self.path, diff=self._lines(old), keep=keep)

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, PathState("file", self.mode, self.owner, self.group, self.content))

    def _shown(self, data: bytes, other: bytes) -> list[str]:
        """Lines of `data` for a reader; a secret says only whether it is the same in `other`."""
        same = set(other.decode("utf-8", "replace").splitlines())
        lines = []
        for line in data.decode("utf-8", "replace").splitlines():
            name, equals, _ = line.partition("=")
            if equals and name.strip() in self.hide:
                line = f"{name}=(secret, {'unchanged' if line in same else 'differs'})"
            lines.append(printable(masked(line)))
        return lines

    def _lines(self, old: bytes) -> tuple[str, ...]:
        if "*" in self.hide:
            return ()
        # The mark behind a differing secret keeps the two sides apart for the line matcher.
        before = [f"{line} was" if line.endswith(_DIFFERS) else line for line in self._shown(old, self.content)]
        lines = difflib.unified_diff(before, self._shown(self.content, old), lineterm="", n=2)
        body = [line.replace("differs) was", "was)") for line in lines if not line.startswith(("---", "+++"))]
        if len(body) > _DIFF_LINES:
            body = [*body[:_DIFF_LINES], f" ({len(body) - _DIFF_LINES} more lines)"]
        return tuple(body)

    def _summary(self, old: bytes) -> str:
        if "*" in self.hide:
            return "content differs"
        before, wanted = self._shown(old, self.content), self._shown(self.content, old)
        gone = [line for line in before if line not in wanted or line.endswith(_DIFFERS)]
        new = [line for line in wanted if line not in before or line.endswith(_DIFFERS)]
        if len(gone) == len(new) == 1 and gone[0] and new[0]:
            return gone[0] if gone == new else ", wanted ".join(_apart(gone[0], new[0]))
        parts = [
            f"{text[0].strip(' ;')[:_WIDTH] or 'an empty line'} is {what}"
            if len(text) == 1
            else f"{len(text)} lines are {what}"
            for text, what in ((gone, "not wanted"), (new, "missing"))
            if text
        ]
        if parts:
            return ", ".join(parts)
        if before != wanted:
            return "the order of its lines differs" if len(before) == len(wanted) else "lines are there more than once"
        breaks = b"".join(old.splitlines()) == b"".join(self.content.splitlines())
        return f"only {'line breaks differ' if breaks else 'what cannot be shown differs'}"

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        stage, place, rename = [], [], []
        # The unit itself may be as it was recorded, and then nothing else makes systemd read its file again.
        edited = any(change.action == "change" and file.path.startswith(_UNITS) for file, change in items)
        reread = ["systemctl daemon-reload"] if edited else []
        for number, (file, _) in enumerate(items):
            target, beside = word(file.path), word(file.path + ".provision-new")
            digest = hashlib.sha256(file.content).hexdigest()
            stage.append(f'f=$T/stage{number}\n{emit(file.content)} >"$f"')
            stage.append(f'[ "$(sha256sum <"$f")" = "{digest}  -" ]')
            if file.check:
                stage.append(f"( {file.check}\n)")
            place += [
                f"f=$T/stage{number}",
                f"[ -d {word(_parent(file.path))} ] || mkdir -p -m {file.parent_mode:04o} {word(_parent(file.path))}",
                f"keep {target}",
                f'rm -f -- {beside}\ncat "$f" >{beside}',
                owner_and_mode(file.path + ".provision-new", file.owner, file.group, file.mode),
            ]
            rename.append(f"mv -f -T -- {beside} {target}")
        # Together they were wrong, together they go back.
        paths = words(*(file.path for file, _ in items))
        checks = list(dict.fromkeys(file.check_in_place for file, _ in items if file.check_in_place))
        prove = [f"if ! ( {check}\n); then put_back {paths}; exit 1; fi" for check in checks]
        # Directories are read whole by some programs: nothing half-placed may stay in one.
        beside = words(*(file.path + ".provision-new" for file, _ in items))
        clean = f"unplaced() {{ rm -f -- {beside}; }}\ntrap unplaced EXIT"
        return "\n".join([*stage, clean, *place, *rename, *prove, *reread])


@dataclass(frozen=True, kw_only=True)
class NoFile(PathResource):
    """A file that this tool wrote and that nothing needs any more is gone; it can be made again, so no copy is
    kept. One that does not begin with `ours` is somebody else's and stays."""

    ours: bytes
    """How every such file of this tool begins."""
    reason: str

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.kind != "file" or not isinstance(state.content, bytes) or not state.content.startswith(self.ours):
            return None
        return Change("remove", self.reason, title=self.path)

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, PathState("absent")) if self.diff(seen) else seen

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        return "\n".join(f"rm -f -- {word(file.path)}" for file, _ in items)


def _apart(one: str, other: str) -> tuple[str, str]:
    """Two different lines, short enough for a reason, and different still."""
    bare = one.strip(" ;"), other.strip(" ;")
    one, other = bare if bare[0] != bare[1] and all(bare) else (one, other)
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if same < _WIDTH - 1:
        return one[:_WIDTH], other[:_WIDTH]
    start, end = same - _BEFORE, same - _BEFORE + _WIDTH - 1
    return f"…{one[start:end]}", f"…{other[start:end]}"


def _parent(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


@dataclass(frozen=True, kw_only=True)
class Directory(PathResource):
    """A directory with owner and mode; its content is nobody's business here."""

    owner: str = "root"
    group: str = "root"
    mode: int = 0o755

    @property
    def probe(self) -> PathProbe:
        return PathProbe(self.path, read=False)

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.kind == "absent":
            return Change("create", "absent", title=self.path)
        if state.kind != "directory":
            return Change("change", f"a {state.kind} is in its place", title=self.path, asks="it is moved aside")
        reasons = rights_differ(state, self.owner, self.group, self.mode)
        return Change("change", ", ".join(reasons), title=self.path) if reasons else None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, PathState("directory", self.mode, self.owner, self.group))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for directory, _ in items:
            path = word(directory.path)
            lines += [
                f"if [ -e {path} ] && ! [ -d {path} ] || [ -L {path} ]; then keep {path}; rm -f -- {path}; fi",
                f"[ -d {path} ] || mkdir -p -m 0755 {path}",
                directory_rights(directory.path, directory.owner, directory.group, directory.mode),
            ]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Link(PathResource):
    """A symbolic link, switched atomically."""

    target: str
    guest: bool = False
    """Nothing on the host says that what stands at `path` is of this tool: it is replaced after a yes only,
    unless it leads to the folder that `target` is in."""

    @property
    def _destination(self) -> PathProbe:
        return PathProbe(self.target if self.target.startswith("/") else f"{_parent(self.path)}/{self.target}", False)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe, self._destination)

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.kind == "link" and state.target == self.target:
            return None
        if state.kind == "absent":
            return Change("create", "absent", title=self.path)
        if state.kind == "link":
            near = _parent(state.target) == _parent(self.target)
            return Change(
                "change",
                f"led to {printable(state.target[:80])}, wanted {self.target}",
                title=self.path,
                asks="it is replaced" if self.guest and not near else None,
            )
        return Change(
            "change",
            f"a {state.kind} is in its place",
            title=self.path,
            asks="it is moved aside" if self.guest or state.kind == "directory" else None,
        )

    def after(self, seen: Seen) -> Seen:
        # What it will lead to, where that stays as it is: who runs it already need not start again.
        there = seen.get(self._destination)
        identity = there.identity if there is not None else ""
        after = PathState("link", 0o777, "root", "root", target=self.target, identity=identity)
        # Whoever runs what it leads to looks at it without reading.
        return seen.put(self.probe, after).put(PathProbe(self.path, read=False), after)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for link, _ in items:
            path, beside = word(link.path), word(link.path + ".provision-new")
            lines += [
                f"mkdir -p -m 0755 {word(_parent(link.path))}",
                f"keep {path}",
                f"ln -sfn -- {word(link.target)} {beside}",
                f"mv -f -T -- {beside} {path}",
            ]
        return "\n".join(lines)
