"""One exec that applies several changes of one lane, proves them, or puts the files back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from provisioner.engine import script
from provisioner.engine.events import Applied, Begun, Done, Failed, Kept, OnEvent, Said
from provisioner.engine.probe import Probe, Seen, by_kind, fragments, read
from provisioner.engine.quoting import emit as emit_text
from provisioner.engine.quoting import encode, printable, word
from provisioner.engine.resource import Change, HostResource, Planned
from provisioner.errors import Locked, ProtocolError, ProvisionError
from provisioner.transport.base import Session
from provisioner.values import dataclass

Journal = Callable[[Planned, str], str]
"""The line that the host's own log gets when a change was made (`ok`) or did not take (`failed`); empty for none."""

LOG = "/var/log/provision/audit.jsonl"
BACKUPS = "/var/backups/provision"
RUN = "/run/provision"

# `keep PATH` comes before anything is replaced. $K holds what was there before this run, $J names what the
# run replaced and made, whichever exec did it. A unit that ran before is named to `undo_unit UNIT PATH...`
# ahead of its restart: when a fragment then fails, those of PATH that this run changed are put back (all
# that this exec changed, when none is named) and the unit is started on them. `proven` ends that.
# `revert` reads sh that takes back what is in no file: run, the last first, when an atomic exec fails.
_TOOLS = r"""
mkdir -p -m 0700 @RUN@ && chmod 0700 @RUN@
exec 9>>@RUN@/work
: >"$T/none"
O=@OWNER@
if ! flock -s -n 9 || { [ -n "$O" ] && [ "$(head -n 1 @RUN@/owner 2>/dev/null)" != "$O" ]; }; then
  frame locked - 0 "$T/none"; frame end - 0 "$T/none"; exit 1
fi
K=@BACKUPS@/@STAMP@; J=@RUN@/journal/@STAMP@
for d in @RUN@/journal/*; do [ "$d" = "$J" ] || rm -rf -- "$d"; done
mkdir -p "$J"
: >>"$J/kept"; : >>"$J/made"
: >"$T/kept"; : >"$T/made"; : >"$T/units"; : >"$T/undo"; : >"$T/back"
keep() {
  if grep -qxF -e "$1" "$J/made"; then
    printf '%s\n' "$1" >>"$T/made"
  elif [ -e "$1" ] || [ -L "$1" ]; then
    if ! [ -e "$K$1" ] && ! [ -L "$K$1" ]; then
      mkdir -p "$K$(dirname "$1")"
      if [ -d "$1" ] && ! [ -L "$1" ]; then
        # Never a copy, and never removed file by file: it may be large, or have a disk mounted in it.
        if [ "$(stat -c %d -- "$1")" != "$(stat -c %d -- "$K")" ]; then
          echo "$1 is a directory on a disk of its own: move it away yourself" >&2; exit 1
        fi
        mv -T -- "$1" "$K$1"
      else
        # Not at once under its name: a copy cut short must not pass for what was there.
        rm -rf -- "$K$1.part"
        cp -a -- "$1" "$K$1.part"
        mv -f -T -- "$K$1.part" "$K$1"
      fi
    fi
    printf '%s\n' "$1" >>"$J/kept"; printf '%s\n' "$1" >>"$T/kept"
  else
    printf '%s\n' "$1" >>"$J/made"; printf '%s\n' "$1" >>"$T/made"
  fi
}
put_back() { # PATH...: as they were before this run
  for p; do
    if grep -qxF -e "$p" "$J/made"; then
      [ -e "$p" ] || [ -L "$p" ] || continue
      if [ -d "$p" ] && ! [ -L "$p" ]; then continue; fi
      rm -f -- "$p"
    elif grep -qxF -e "$p" "$J/kept"; then
      rm -rf -- "$p.provision-undo"
      cp -a -- "$K$p" "$p.provision-undo" || continue
      if [ -d "$p.provision-undo" ] && ! [ -L "$p.provision-undo" ]; then rm -f -- "$p"; fi
      mv -f -T -- "$p.provision-undo" "$p" || continue
    else
      continue
    fi
    printf '%s\n' "$p" >>"$T/back"
  done
}
undo_unit() {
  printf '%s\n' "$1" >>"$T/units"; shift
  if [ $# -eq 0 ]; then : >"$T/all"; else printf '%s\n' "$@" >>"$T/undo"; fi
}
proven() { : >"$T/units"; : >"$T/undo"; rm -f "$T/all"; }
revert() { cat >/dev/null; }
undo() {
  [ -s "$T/units" ] || return 0
  [ ! -e "$T/all" ] || cat "$T/kept" "$T/made" >>"$T/undo"
  while IFS= read -r q; do put_back "$q"; done <"$T/undo"
  systemctl daemon-reload
  while IFS= read -r u; do systemctl reset-failed "$u"; timeout 45 systemctl restart "$u"; done <"$T/units"
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
  undo >/dev/null 2>&1 </dev/null
  sort -u "$T/back" >"$T/back.list"
  frame back - 0 "$T/back.list"
  look
  kept
  frame end - 0 "$T/none"
  exit 1
}
"""

# All or nothing: the exec goes to its end when whoever started it is gone, and a failure takes all of it back.
_ATOMIC = r"""
trap '' HUP PIPE
: >"$T/revert"
proven() { :; }
revert() { cat - "$T/revert" >"$T/revert.new"; mv -f "$T/revert.new" "$T/revert"; }
undo() {
  cat "$T/kept" "$T/made" >"$T/undo"
  while IFS= read -r q; do put_back "$q"; done <"$T/undo"
  ( . "$T/revert" )
  systemctl daemon-reload
  while IFS= read -r u; do systemctl reset-failed "$u"; timeout 90 systemctl restart "$u"; done <"$T/units"
}
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


def no_journal(_: Planned, _result: str) -> str:
    return ""


def compose(
    changes: Sequence[Planned],
    mark: str,
    stamp: str,
    journal: Journal = no_journal,
    owner: str = "",
    atomic: bool = False,
) -> str:
    """The whole script of a batch; every frame key is a group's number."""
    places = {"@RUN@": word(RUN), "@BACKUPS@": word(BACKUPS), "@STAMP@": word(stamp), "@OWNER@": word(owner)}
    tools = _TOOLS
    for place, value in places.items():
        tools = tools.replace(place, value)
    probes = by_kind(probe for planned in changes for probe in planned.resource.probes())
    # A function: what was made before a failure is looked at too.
    body = [tools, *([_ATOMIC] if atomic else ()), f"look() {{\n{script.gather(fragments(probes))}\n}}"]
    for number, group in enumerate(groups(changes)):
        # Not `if ( … )`: a shell ignores `set -e` inside a condition.
        body.append(
            f'frame begin g{number} 0 "$T/none"\n'
            f'( set -eu\n{group.fragment()}\n) >"$T/log" 2>&1\nended $?\n'
            f'frame applied g{number} 0 "$T/none"'
        )
        lines = "".join(journal(planned, "ok") for planned in group.items)
        if lines:
            body.append(_logging(lines))
    body += ["look", "kept"]
    return script.wrap("\n".join(body), mark)


def _logging(lines: str) -> str:
    return f"mkdir -p -m 0750 {word(LOG.rsplit('/', 1)[0])} && {emit_text(lines.encode())} >>{word(LOG)}"


def log(session: Session, lines: str) -> None:
    """Append `lines` to the host's own log, for changes that no script on the host made."""
    mark = script.boundary()
    reader = script.FrameReader(mark, lambda frame: None)
    result = session.run(encode(script.wrap(_logging(lines), mark)), on_output=reader.feed)
    script.require_end(reader, result.stderr, result.status)


def run(
    session: Session,
    changes: Sequence[Planned],
    *,
    stamp: str,
    emit: OnEvent,
    journal: Journal = no_journal,
    owner: str = "",
    atomic: bool = False,
) -> Seen:
    """Apply `changes` with one exec; gives what is seen afterwards.

    `owner`: what names this run in the host's lock; nothing is done when another run has taken it.
    `atomic`: a failure takes all of `changes` back, a lost connection leaves none half done.
    Raises ProvisionError when a fragment failed (its files are back by then) or a change did not take, Locked.
    """
    mark = script.boundary()
    frames: list[script.Frame] = []
    parts = groups(changes)
    current: list[tuple[Group, float]] = []
    ends: dict[str, script.Frame] = {}
    applied: dict[str, tuple[Planned, float]] = {}

    def on_frame(frame: script.Frame) -> None:
        if frame.kind == "begin":
            group = _group(parts, frame.key)
            current[:] = [(group, time.monotonic())]
            for planned in group.items:
                emit(Begun(planned))
        elif frame.kind == "applied" and current:
            group, started = current.pop()
            for planned in group.items:
                applied[planned.id] = (planned, time.monotonic() - started)
                emit(Applied(planned))
        elif frame.kind == "say":
            emit(Said(changes[0].step if not current else current[0][0].items[0].step, _text(frame.data)))
        elif frame.kind in {"failed", "back", "locked"}:
            ends[frame.kind] = frame
        elif frame.kind == "kept":
            emit(Kept(changes[0].step, tuple(_text(frame.data).splitlines())))
        else:
            frames.append(frame)

    reader = script.FrameReader(mark, on_frame)
    patience = max(type(p.resource).patience for p in changes if isinstance(p.resource, HostResource))
    text = encode(compose(changes, mark, stamp, journal, owner, atomic))
    result = session.run(text, on_output=reader.feed, timeout=patience)
    if "locked" in ends:
        raise taken(session.host)
    looked = by_kind(probe for p in changes for probe in p.resource.probes())
    if "failed" in ends:
        _told(applied, _seen(looked, frames), emit)
        group, started = current[0] if current else (parts[0], time.monotonic())
        detail = _text(ends["failed"].data)
        for planned in group.items:
            emit(Failed(planned, time.monotonic() - started, detail))
        back = _text(ends["back"].data).splitlines() if "back" in ends else []
        raise _failure(session.host, group, detail, back, ends["failed"].status)
    script.require_end(reader, result.stderr, result.status)
    after = read(looked, frames)
    missed = _told(applied, after, emit)
    if missed:
        with suppress(ProvisionError):  # the change that did not take is what counts
            log(session, "".join(journal(planned, "failed") for planned, _ in missed))
        planned, left = missed[0]
        raise ProvisionError(
            f"{planned.step}: {planned.change.title or planned.id} did not take",
            why=left.reason,
            detail="\n".join(left.diff),
            next="something else on the host changes it back; find that first",
        )
    return after


def _seen(looked: Mapping[type[Probe[Any]], Sequence[Probe[Any]]], frames: Sequence[script.Frame]) -> Seen | None:
    try:
        return read(looked, frames)
    except ProvisionError:
        return None  # a failure is told already; what cannot be seen after it is told as not done


def _told(applied: dict[str, tuple[Planned, float]], after: Seen | None, emit: OnEvent) -> list[tuple[Planned, Change]]:
    """Tells each applied change as done or, when it is not there to be seen, as failed; gives the latter."""
    missed = []
    for planned, seconds in applied.values():
        left = planned.resource.diff(after) if after is not None else Change("check", "not seen after the failure")
        if left is None:
            emit(Done(planned, seconds))
        else:
            missed.append((planned, left))
            emit(Failed(planned, seconds, left.reason))
    return missed


def taken(host: str) -> Locked:
    """What to say when this run no longer holds the host."""
    return Locked(
        f"another run has taken over {host}",
        why="this one was not heard of for 15 s: asleep, or its link was down",
        next="wait for the other to end, then run the same command again",
    )


def _group(parts: Sequence[Group], key: str) -> Group:
    if not re.fullmatch("g[0-9]{1,5}", key) or int(key[1:]) >= len(parts):
        raise ProtocolError("the host's answer makes no sense", why=f"it speaks of a part {key[:20]!r}")
    return parts[int(key[1:])]


def _failure(host: str, group: Group, detail: str, back: Sequence[str], status: int) -> ProvisionError:
    names = ", ".join(p.change.title or p.id for p in group.items)
    restored = f"; put back as they were before: {', '.join(back)}" if back else ""
    hints = [hint for p in group.items if isinstance(p.resource, HostResource) and (hint := p.resource.hint)]
    said, rest = _said(detail)
    told = said.get("why") or reason(detail) or f"it ended with status {status} and said nothing"
    return ProvisionError(
        f"{group.items[0].step}: {names} failed{restored}",
        why=f"{said['what']}: {told}" if "what" in said and "why" in said else told,
        detail=rest,
        next=said.get("next")
        or "\n".join([f"{hint}   (on {host})" for hint in hints[:3]])
        or "correct that, then run the same command again: it continues from what is there",
    )


def _text(data: bytes) -> str:
    return printable(data.decode("utf-8", "replace").replace("\r", "\n"))


def _said(text: str) -> tuple[dict[str, str], str]:
    """What a fragment said itself of its failure, lines that begin with `what`, `why`, `next`, and all others.

    The last `what` and `why` count; several `next` are several lines.
    """
    said: dict[str, str] = {}
    rest = []
    for line in text.splitlines():
        word, _, told = line.partition(" ")
        if word in {"what", "why"}:
            said[word] = told[:600]
        elif word == "next":
            said[word] = f"{said[word]}\n{told[:300]}" if word in said else told[:300]
        else:
            rest.append(line)
    return said, "\n".join(rest)


# What systemd itself says of a unit in its journal; the program's own words tell why.
_SYSTEMD = re.compile(r"\S+\.(service|socket|timer): |(Starting|Started|Stopping|Stopped|Failed to start) ")


def reason(text: str) -> str:
    """The last line that says why, at most 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not _SYSTEMD.match(line)] or lines
    return told[-1][:300] if told else ""
