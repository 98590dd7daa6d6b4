"""One writer at a time on a host.

`session` is held by a channel of the connection and freed within 15 s when its heartbeat stops;
`work` is inherited by every writing exec (see engine/batch.py), so it is held while anything of a
killed run still works. A new run waits for both, 120 s at most, saying whose they are.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from provisioner import prune
from provisioner.engine.quoting import encode, printable, word
from provisioner.errors import Locked, ProtocolError
from provisioner.resources.paths import PathProbe
from provisioner.transport.base import Session
from provisioner.values import dataclass

OWNER = PathProbe("/run/provision/owner")
"""Who holds or last held the session lock; a run compares it with what it probed."""
WAIT = 120
_LINES = 20
"""More than the script ever says before it holds the lock: a host's answer is never trusted to end."""

# `head -c 1 | wc -c` tells a heartbeat from the end of the stream; `read -t` is not POSIX.
_SCRIPT = r"""main() {
LC_ALL=C; export LC_ALL
umask 077
mkdir -p -m 0700 /run/provision && chmod 0700 /run/provision
o=/run/provision/owner
show() { printf '%s ' "$1"; tail -n +2 "$o" 2>/dev/null | head -c 200 | tr '\n' ' '; echo; }
exec 8>>/run/provision/session 9>>/run/provision/work
until=$(($(date +%s) + @WAIT@))
take() { # fd: all that is left of the time is for it
  flock -n "$1" && return 0
  show wait
  left=$((until - $(date +%s)))
  flock -w $((left > 0 ? left : 0)) "$1"
}
take 8 && take 9 || { show busy; exit 0; }
@TIDY@printf 'held '; head -n 1 "$o" 2>/dev/null | head -c 80 || :; echo
printf '%s\n%s\n' @ID@ @WHO@ >"$o.new" && mv -f "$o.new" "$o"
# Only now: an exec of the run that was here before finds the lock taken, or its owner gone.
flock -u 9; exec 9>&-
echo ready
while [ "$(timeout 13 head -c 1 | wc -c)" -eq 1 ]; do :; done
# Who looked while this one worked must not take what was seen for what is there now.
printf '%s\n%s\n' @ID@-ended @WHO@ >"$o.new" && mv -f "$o.new" "$o"
}
main
"""


@dataclass(frozen=True)
class Holding:
    """The session lock, held."""

    moved: bool
    """Another run, or what was left of one, worked since the host was looked at: look again."""
    owner: str
    """What names this run on the host; each writing exec looks whether it still does."""


@contextmanager
def hold(session: Session, *, command: str, seen_owner: bytes, say: Callable[[str], None]) -> Iterator[Holding]:
    """Hold the host's session lock. Locked (exit 6) when it does not come free in time.

    `seen_owner` is the content of OWNER when the host was looked at; `say` gets a sentence while
    waiting.
    """
    who = f"{operator()}, pid {os.getpid()}, {command}, since {_now()}"
    owner = secrets.token_hex(8)
    script = (
        _SCRIPT.replace("@TIDY@", prune.tidy())
        .replace("@WAIT@", str(WAIT))
        .replace("@ID@", owner)
        .replace("@WHO@", word(who))
    )
    held = session.hold(encode(script))
    try:
        previous, waited = "", False
        for left in range(_LINES, -1, -1):
            line = held.read_line(WAIT + 20)
            if line is None or not left:
                raise ProtocolError(
                    "the host's lock could not be taken",
                    why="the connection gave no answer" if left else "the host's answer has no end",
                    next="run the same command again",
                )
            kind, _, rest = printable(line.rstrip("\n")).partition(" ")
            if kind == "wait":
                waited = True
                say(f"waits for {rest.strip() or 'another run'}")
            elif kind == "busy":
                raise Locked(
                    f"{session.host} is being worked on by somebody else",
                    why=rest.strip() or "an earlier run's work has not ended",
                    next="wait for it to end, then run the same command again",
                )
            elif kind == "held":
                previous = rest.strip()
            elif kind == "ready":
                break
        first = seen_owner.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
        yield Holding(moved=waited or previous != first, owner=owner)
    finally:
        held.release()


def operator() -> str:
    """`anna@laptop`; a container's user may have no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M UTC")
