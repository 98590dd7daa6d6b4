"""One script over one SSH channel: written whole, its output read as it comes, memory bounded."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from provisioner.errors import ProtocolError
from provisioner.transport.sudo import READY
from provisioner.values import dataclass

if TYPE_CHECKING:
    from paramiko.channel import Channel

CHUNK = 32 * 2**10
_TAIL = 64 * 2**10
# After the command's exit its last output is already under way; a process it left behind that holds
# the channel's stdout open must not hold us.
_AFTER_EXIT = 2.0


class Silence(Exception):
    """Nothing came for the whole timeout. `ready`: the shell had announced itself before."""

    def __init__(self, *, ready: bool = True) -> None:
        super().__init__()
        self.ready = ready


@dataclass(frozen=True)
class Exchange:
    """What came back. `ready`: the shell announced itself, `stderr` is what followed; otherwise
    `stderr` is whatever was said instead (the login shell's or sudo's words)."""

    stdout: bytes
    stderr: bytes
    status: int | None
    ready: bool


class Stderr:
    """The end of a stderr, without what was said before the shell was ready."""

    def __init__(self) -> None:
        self.ready = False
        self.length = 0
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self.length += len(data)
        self._data += data
        if not self.ready:
            _, mark, after = bytes(self._data[-2 * _TAIL :]).partition(READY)
            if mark:
                self.ready, self._data = True, bytearray(after)
        if len(self._data) > 2 * _TAIL:
            del self._data[:-_TAIL]

    @property
    def tail(self) -> bytes:
        return bytes(self._data[-_TAIL:])


def exchange(
    channel: Channel,
    payload: bytes,
    *,
    host: str,
    on_output: Callable[[bytes], None] | None,
    timeout: float,
    limit: int,
) -> Exchange:
    """Send `payload`, close stdin, read both outputs until the end.

    Raises Silence, and ProtocolError when one of the outputs is longer than `limit` bytes. A dead link ends
    with status None.
    """
    stdout = bytearray()
    stderr = Stderr()
    send(channel, payload, timeout)
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    heard = time.monotonic()
    while True:
        moved = False
        while channel.recv_ready():
            data = channel.recv(CHUNK)
            moved = True
            stdout += data
            if len(stdout) > limit:
                raise too_much(host, limit)
            if on_output is not None:
                on_output(data)
        while channel.recv_stderr_ready():
            stderr.feed(channel.recv_stderr(CHUNK))
            moved = True
            if stderr.length > limit:
                raise too_much(host, limit)
        if moved:
            heard = time.monotonic()
            continue
        if channel.eof_received or channel.closed:
            if not channel.recv_ready() and not channel.recv_stderr_ready():
                break
            continue
        patience = _AFTER_EXIT if channel.exit_status_ready() else timeout
        left = heard + patience - time.monotonic()
        if left <= 0:
            if channel.exit_status_ready():
                break
            raise Silence(ready=stderr.ready)
        # The exit status alone does not wake the poll: look again in between.
        poll.poll(min(left, 1.0) * 1000)
    return Exchange(bytes(stdout), stderr.tail, status_of(channel), stderr.ready)


def too_much(host: str, limit: int) -> ProtocolError:
    return ProtocolError(
        f"{host} sent more than {limit / 2**20:.3g} MiB of output",
        why="the answer was given up: it must not fill this machine's memory, nor go on for ever",
    )


def send(channel: Channel, payload: bytes, timeout: float, *, last: bool = True) -> None:
    """Write all of `payload`; a remote that ended early is no error here, its answer says why."""
    channel.settimeout(timeout)
    try:
        # In pieces: sendall copies all that is left for every packet.
        for start in range(0, len(payload), CHUNK):
            channel.sendall(payload[start : start + CHUNK])
        if last:
            channel.shutdown_write()
    except TimeoutError as error:
        raise Silence from error
    except (OSError, EOFError):
        pass


def status_of(channel: Channel) -> int | None:
    """The exit status; None when there was none (a signal, a dead link).

    EOF comes before the status when the command closes its output first, so wait a moment."""
    if not channel.status_event.wait(10.0):
        return None
    return channel.exit_status if channel.exit_status >= 0 else None
