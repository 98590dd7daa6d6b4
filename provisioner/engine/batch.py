"""One exec that applies several changes of one lane, proves them, or puts the files back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from provisioner.engine import script
from provisioner.engine.events import Begun, Done, Failed, Kept, OnEvent, Said
from provisioner.engine.probe import Seen, by_kind, fragments, read
from provisioner.engine.quoting import emit as emit_text
from provisioner.engine.quoting import encode, printable, word
from provisioner.engine.resource import HostResource, Planned
from provisioner.errors import ProvisionError
from provisioner.transport.base import Session

Journal = Callable[[Planned], str]
"""The line that the host's own log gets when a change is done; empty for none."""

LOG = "/var/log/provision/audit.jsonl"
BACKUPS = "/var/backups/provision"
RUN = "/run/provision"

# `keep` is called before anything is replaced. When a fragment fails, what this exec kept is put
# back, what it made is removed, and the units named to `undo_unit` (they ran before) run again on it.
_TOOLS = r"""
mkdir -p -m 0700 @RUN@ && chmod 0700 @RUN@
exec 9>>@RUN@/work
flock -s -n 9 || exit 98
K=@BACKUPS@/@STAMP@
: >"$T/kept"; : >"$T/made"; : >"$T/units"
keep() {
  if [ -e "$1" ] || [ -L "$1" ]; then
    if ! [ -e "$K$1" ] && ! [ -L "$K$1" ]; then
      mkdir -p "$K$(dirname "$1")"
      cp -a -- "$1" "$K$1"
    fi
    printf '%s\n' "$1" >>"$T/kept"
  else
    printf '%s\n' "$1" >>"$T/made"
  fi
}
undo_unit() { printf '%s\n' "$1" >>"$T/units"; }
undo() {
  [ -s "$T/units" ] || return 0
  while IFS= read -r p; do rm -rf -- "$p"; done <"$T/made"
  while IFS= read -r p; do
    rm -rf -- "$p.provision-undo"
    cp -a -- "$K$p" "$p.provision-undo" && { [ -d "$p" ] && rm -rf -- "$p"; mv -f -T -- "$p.provision-undo" "$p"; }
  done <"$T/kept"
  systemctl daemon-reload
  while IFS= read -r u; do systemctl reset-failed "$u"; systemctl restart --no-block "$u"; done <"$T/units"
}
kept() {
  sort -u "$T/kept" | sed "s|^|$K|" >"$T/kept.list"
  [ -s "$T/kept.list" ] && frame kept - 0 "$T/kept.list"
  return 0
}
ended() { # status: stop here when a fragment failed
  [ "$1" -eq 0 ] && return 0
  tail -c 8000 "$T/log" >"$T/tail"
  frame failed - "$1" "$T/tail"
  undo >/dev/null 2>&1
  kept
  : >"$T/none"
  frame end - 0 "$T/none"
  exit 1
}
: >"$T/none"
trap 'exit 141' PIPE
"""


@dataclass(frozen=True)
class Group:
    """Consecutive changes of one kind: one fragment."""

    items: tuple[Planned, ...]

    def fragment(self) -> str:
        kind = type(self.items[0].resource)
        assert issubclass(kind, HostResource)
        return kind.apply([(p.resource, p.change) for p in self.items])  # type: ignore[misc]


def groups(changes: Sequence[Planned]) -> list[Group]:
    return [Group(tuple(items)) for _, items in groupby(changes, key=lambda p: type(p.resource))]


def no_journal(_: Planned) -> str:
    return ""


def compose(changes: Sequence[Planned], mark: str, stamp: str, journal: Journal = no_journal) -> str:
    """The whole script of a batch; every frame key is a group's number."""
    body = [_TOOLS.replace("@RUN@", RUN).replace("@BACKUPS@", BACKUPS).replace("@STAMP@", word(stamp))]
    for number, group in enumerate(groups(changes)):
        # Not `if ( … )`: a shell ignores `set -e` inside a condition.
        body.append(
            f'frame begin g{number} 0 "$T/none"\n'
            f'( set -eu\n{group.fragment()}\n) >"$T/log" 2>&1\nended $?\n'
            f'frame applied g{number} 0 "$T/none"'
        )
        lines = "".join(journal(planned) for planned in group.items)
        if lines:
            body.append(f"mkdir -p -m 0750 {word(LOG.rsplit('/', 1)[0])} && {emit_text(lines.encode())} >>{word(LOG)}")
    probes = by_kind(probe for planned in changes for probe in planned.resource.probes())
    body.append(script.gather(fragments(probes)))
    body.append("kept")
    return script.wrap("\n".join(body), mark)


def run(
    session: Session, changes: Sequence[Planned], *, stamp: str, emit: OnEvent, journal: Journal = no_journal
) -> Seen:
    """Apply `changes` with one exec; gives what is seen afterwards.

    Raises ProvisionError when a fragment failed (its files are back by then) or when a change did
    not take.
    """
    mark = script.boundary()
    frames: list[script.Frame] = []
    parts = groups(changes)
    current: list[tuple[Group, float]] = []
    failure: list[script.Frame] = []

    def on_frame(frame: script.Frame) -> None:
        if frame.kind == "begin":
            group = parts[int(frame.key[1:])]
            current[:] = [(group, time.monotonic())]
            for planned in group.items:
                emit(Begun(planned))
        elif frame.kind == "applied" and current:
            group, started = current.pop()
            for planned in group.items:
                emit(Done(planned, time.monotonic() - started))
        elif frame.kind == "say":
            emit(Said(changes[0].step if not current else current[0][0].items[0].step, _text(frame.data)))
        elif frame.kind == "failed":
            failure.append(frame)
        elif frame.kind == "kept":
            emit(Kept(changes[0].step, tuple(_text(frame.data).splitlines())))
        else:
            frames.append(frame)

    reader = script.FrameReader(mark, on_frame)
    patience = max(type(p.resource).patience for p in changes if isinstance(p.resource, HostResource))
    result = session.run(encode(compose(changes, mark, stamp, journal)), on_output=reader.feed, timeout=patience)
    if failure:
        group, started = current[0] if current else (parts[0], time.monotonic())
        detail = _text(failure[0].data)
        for planned in group.items:
            emit(Failed(planned, time.monotonic() - started, detail))
        names = ", ".join(p.change.title or p.id for p in group.items)
        said = _said(detail)
        why = f"{said['what']}: {said['why']}" if "what" in said and "why" in said else said.get("why", last_line(detail))
        raise ProvisionError(
            f"{group.items[0].step}: {names} failed", why=why, next=said.get("next", ""), detail=detail
        )
    script.require_end(reader, result.stderr, result.status)
    return read(by_kind(probe for p in changes for probe in p.resource.probes()), frames)


def _text(data: bytes) -> str:
    return printable(data.decode("utf-8", "replace").replace("\r", "\n"))


def _said(text: str) -> dict[str, str]:
    """What a fragment said itself of its failure: lines that begin with `what`, `why`, `next`.

    The last `what` and `why` count; several `next` are several lines.
    """
    said: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word in {"what", "why"}:
            said[word] = rest[:600]
        elif word == "next":
            said[word] = f"{said[word]}\n{rest[:300]}" if word in said else rest[:300]
    return said


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
