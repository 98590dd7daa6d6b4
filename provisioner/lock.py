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
from dataclasses import dataclass
from datetime import UTC, datetime

from provisioner.engine.quoting import encode, printable, word
from provisioner.errors import Locked, ProtocolError
from provisioner.resources.paths import PathProbe
from provisioner.transport.base import Session

OWNER = PathProbe("/run/provision/owner")
"""Who holds or last held the session lock; a run compares it with what it probed."""
WAIT = 120

# `head -c 1 | wc -c` tells a heartbeat from the end of the stream; `read -t` is not POSIX.
_SCRIPT = r"""main() {
LC_ALL=C; export LC_ALL
umask 077
mkdir -p -m 0700 /run/provision && chmod 0700 /run/provision
o=/run/provision/owner
show() { printf '%s ' "$1"; tail -n +2 "$o" 2>/dev/null | head -c 200 | tr '\n' ' '; echo; }
exec 8>>/run/provision/session 9>>/run/provision/work
if ! flock -n 8; then
  show wait
  flock -w @WAIT@ 8 || { show busy; exit 0; }
fi
if ! flock -n 9; then
  show wait
  flock -w @WAIT@ 9 || { show busy; exit 0; }
fi
flock -u 9; exec 9>&-
printf 'held '; head -n 1 "$o" 2>/dev/null | head -c 80 || :; echo
printf '%s\n%s\n' @ID@ @WHO@ >"$o.new" && mv -f "$o.new" "$o"
echo ready
while [ "$(timeout 13 head -c 1 | wc -c)" -eq 1 ]; do :; done
}
main
"""


@dataclass(frozen=True)
class Holding:
    moved: bool
    """Another run held the lock since the host was looked at: look again."""


@contextmanager
def hold(session: Session, *, command: str, seen_owner: bytes, say: Callable[[str], None]) -> Iterator[Holding]:
    """Hold the host's session lock. Locked (exit 6) when it does not come free in time.

    `seen_owner` is the content of OWNER when the host was looked at; `say` gets a sentence while
    waiting.
    """
    who = f"{getpass.getuser()}@{socket.gethostname()}, pid {os.getpid()}, {command}, since {_now()}"
    script = _SCRIPT.replace("@WAIT@", str(WAIT)).replace("@ID@", secrets.token_hex(8)).replace("@WHO@", word(who))
    held = session.hold(encode(script))
    try:
        previous = ""
        while True:
            line = held.read_line(WAIT * 2 + 10)
            if line is None:
                raise ProtocolError("the host's lock could not be taken", why="the connection gave no answer")
            kind, _, rest = printable(line.rstrip("\n")).partition(" ")
            if kind == "wait":
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
        yield Holding(moved=previous != first)
    finally:
        held.release()


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M UTC")
