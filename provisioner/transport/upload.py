"""A blob to the host: `cat` on an exec channel, its hash computed there in the same exec.

Measured: 240 MB/s including the hash on loopback, against 127 for SFTP and 24 to 66 compressed.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError, UsageError
from provisioner.transport import failures
from provisioner.transport.exchange import CHUNK, Silence, exchange, send
from provisioner.transport.sudo import READY

if TYPE_CHECKING:
    from paramiko.channel import Channel

_STALLED = 60.0
_DONE = b"provision: stored "

# /var/tmp first: /tmp is half of the memory on Debian 13. What does not match is removed at once, a
# transfer cut short included.
_STORE = """\
umask 077
for base in /var/tmp "${TMPDIR:-/tmp}" "$HOME"; do
  dir=$(mktemp -d "$base/provision.XXXXXXXXXX" 2>/dev/null) && break
done
[ -n "$dir" ] || { echo "no directory to write to" >&2; exit 1; }
trap 'rm -rf "$dir"; exit 1' HUP INT TERM
cat >"$dir/blob" && got=$(sha256sum <"$dir/blob") || { rm -rf "$dir"; exit 1; }
got=${got%% *}
[ "$got" = "$1" ] || { rm -rf "$dir"; echo "sha256 is $got" >&2; exit 1; }
echo "provision: stored $dir/blob"
"""


def command(sha256: str) -> str:
    """The exec request that stores its stdin when it has this hash."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UsageError(f"not a sha256: {sha256[:80]!r}", why="it is 64 lower case hexadecimal digits")
    say = f'echo "{READY.decode().strip()}" >&2'
    return f"exec sh -c {shlex.quote(f'{say}{chr(10)}{_STORE}')} sh {sha256}"


def put(
    channel: Channel,
    source: Path | bytes,
    sha256: str,
    host: str,
    on_progress: Callable[[int, int], None] | None,
) -> str:
    """Send `source` over `channel` (started with `command`); gives the path on the host."""
    total = len(source) if isinstance(source, bytes) else source.stat().st_size
    local = hashlib.sha256()
    done = 0
    try:
        for chunk in _chunks(source):
            if channel.closed or channel.eof_received:
                break
            send(channel, chunk, _STALLED, last=False)
            local.update(chunk)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, total)
        got = exchange(channel, b"", host=host, on_output=None, timeout=_STALLED, limit=2**16)
    except Silence as error:
        raise failures.went_silent(host, _STALLED) from error
    if not got.ready and got.status is not None:
        raise failures.not_a_shell(host, got.stderr or got.stdout)
    path = next((line[len(_DONE) :] for line in got.stdout.splitlines() if line.startswith(_DONE)), None)
    if got.status == 0 and path is not None:
        return path.decode("utf-8", "surrogateescape")
    if got.status is None:
        raise failures.link_lost(host)
    if done == total and local.hexdigest() != sha256:
        raise ProvisionError(
            "the file is not the one that was asked for",
            why=f"its sha256 is {local.hexdigest()}, not {sha256}",
            next="check the file, or the sha256 that is set for it",
        )
    raise ProvisionError(
        f"{total / 1e6:.1f} MB could not be stored on {host}",
        why=got.stderr.decode("utf-8", "replace").strip() or "the transfer was cut short",
        next="free space in /var/tmp on the host (df /var/tmp), then run the same command again",
    )


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        for start in range(0, len(source), CHUNK):
            yield source[start : start + CHUNK]
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
