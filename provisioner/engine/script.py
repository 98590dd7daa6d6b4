"""One script for one exec: fragments in, framed replies out.

A reply is `\\n<boundary> <kind> <key> <status> <length>\\n<length bytes>`. The boundary is 128
random bits made for this one exec, so no content can forge a frame; the `end` frame proves that
the whole script ran (an exit code proves nothing: sudo-rs can eat a script and say 0).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable

from provisioner.engine.quoting import word
from provisioner.errors import ProtocolError
from provisioner.values import dataclass

FRAME_LIMIT = 16 * 2**20
"""Bytes one frame may hold."""

_KEY = re.compile(r"[A-Za-z0-9_.:@/-]{1,200}")

# `main` is parsed whole before it runs: a script cut short on its way does nothing at all, and no
# command inside can eat the rest of the script from stdin.
_PRELUDE = r"""main() {
LC_ALL=C; export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
unset IFS ENV BASH_ENV CDPATH TMPDIR
umask 077
B=@BOUNDARY@
exec 3>&1
T=$(mktemp -d /run/provision.XXXXXX 2>/dev/null || mktemp -d /tmp/provision.XXXXXX) || exit 97
trap 'rm -rf "$T"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
trap 'exit 141' PIPE
frame() { # kind key status file
  set -- "$1" "$2" "$3" "$4" "$(wc -c <"$4")"
  printf '\n%s %s %s %s %d\n' "$B" "$1" "$2" "$3" "$5" >&3
  cat "$4" >&3
}
# In a subshell with SIGPIPE ignored: a lost operator must not kill apt in the middle.
say() { ( trap '' PIPE; printf '\n%s say - 0 %d\n%s' "$B" "${#1}" "$1" >&3 ) 2>/dev/null || :; }
"""
_CLOSE = r"""
: >"$T/none"
frame end - 0 "$T/none"
}
main </dev/null
"""


@dataclass(frozen=True)
class Frame:
    """One reply of a script."""

    kind: str
    key: str
    status: int
    data: bytes


def boundary() -> str:
    return secrets.token_hex(16)


def key(text: str) -> str:
    """`text` as a frame key; ValueError for one that could not be framed."""
    if not _KEY.fullmatch(text):
        raise ValueError(f"not a frame key: {text!r}")
    return text


def wrap(body: str, mark: str) -> str:
    """A whole script around `body`, answering with `mark`."""
    return _PRELUDE.replace("@BOUNDARY@", word(mark)) + body + _CLOSE


def gather(fragments: Iterable[tuple[str, str]], kind: str = "probe", prefix: str = "p") -> str:
    """Run read-only fragments side by side and frame their stdout in order.

    Each fragment's stderr is framed as `stderr` when it is not empty and the fragment failed.
    """
    fragments = list(fragments)
    lines: list[str] = []
    for number, (_, fragment) in enumerate(fragments):
        lines.append(f'(\n{fragment}\n) >"$T/{prefix}{number}" 2>"$T/{prefix}{number}.err" 3>&- & {prefix}{number}=$!')
    for number, (name, _) in enumerate(fragments):
        lines.append(
            f'wait "${prefix}{number}"; r=$?\n'
            f'[ $r -eq 0 ] || frame stderr {key(name)} $r "$T/{prefix}{number}.err"\n'
            f'frame {kind} {key(name)} $r "$T/{prefix}{number}"'
        )
    return "\n".join(lines) + "\n"


class FrameReader:
    """Parses frames as bytes arrive; calls `on_frame` for each. Foreign text between frames (a
    motd, a sudo lecture) is skipped. ProtocolError when a frame is malformed or too large."""

    def __init__(self, mark: str, on_frame: Callable[[Frame], None]):
        self._head = re.compile(
            rb"\n" + mark.encode() + rb" ([a-z]{1,16}) ([A-Za-z0-9_.:@/-]{1,200}) ([0-9]{1,3}) ([0-9]{1,10})\n"
        )
        self._on_frame = on_frame
        self._buffer = bytearray(b"\n")
        self._pending: tuple[str, str, int, int] | None = None
        self.ended = False

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while True:
            if self._pending is None:
                match = self._head.search(self._buffer)
                if match is None:
                    if len(self._buffer) > 65536:  # keep what could be the start of a header
                        del self._buffer[:-512]
                    return
                length = int(match[4])
                if length > FRAME_LIMIT:
                    raise ProtocolError(
                        f"the host sent a reply of {length} bytes", why=f"at most {FRAME_LIMIT} are accepted"
                    )
                self._pending = (match[1].decode(), match[2].decode(), int(match[3]), length)
                del self._buffer[: match.end()]
            kind, name, status, length = self._pending
            if len(self._buffer) < length:
                return
            data = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._pending = None
            if kind == "end":
                self.ended = True
            self._on_frame(Frame(kind, name, status, data))


def require_end(reader: FrameReader, stderr: bytes, status: int | None) -> None:
    """ProtocolError unless the end frame arrived."""
    if not reader.ended:
        tail = stderr[-2000:].decode("utf-8", "replace").strip()
        raise ProtocolError(
            "the host did not run the whole script",
            # A link that went down is told by the transport: here the shell itself has no status to tell.
            why="a signal ended its shell there: out of memory?"
            if status is None
            else f"it ended with status {status}",
            next="run the same command again: it continues from what is there",
            detail=tail,
        )
