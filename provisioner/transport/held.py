"""A script that stays: its channel kept open and fed by a heartbeat until released."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError
from provisioner.transport.channels import Channels
from provisioner.transport.exchange import CHUNK, Silence, Stderr, send
from provisioner.transport.failures import shell_silent

if TYPE_CHECKING:
    from paramiko.channel import Channel

HEARTBEAT = 5.0
_START = 30.0
_LONGEST_LINE = 64 * 2**10


class ChannelHeld:
    """`Held` over an SSH channel; see there."""

    def __init__(self, channel: Channel, channels: Channels, refused: Callable[[bytes], ProvisionError]) -> None:
        self._channel = channel
        self._channels = channels
        self._refused = refused
        self._buffer = bytearray()
        self._stderr = Stderr()
        self._released = threading.Event()
        self._lock = threading.Lock()

    def begin(self, payload: bytes) -> None:
        """Send the script and wait until the shell is ready; then the heart beats."""
        try:
            send(self._channel, payload, _START, last=False)
        except Silence as error:
            raise shell_silent(self._channels.host, _START) from error
        until = time.monotonic() + _START
        while not self._stderr.ready:
            ended = self._ended()
            self._collect(min(1.0, until - time.monotonic()))
            if self._stderr.ready:
                break
            if ended:
                raise self._refused(self._stderr.tail or bytes(self._buffer))
            if time.monotonic() > until:
                raise shell_silent(self._channels.host, _START)
        threading.Thread(target=self._beat, name="provision-heartbeat", daemon=True).start()

    def read_line(self, timeout: float) -> str | None:
        until = time.monotonic() + timeout
        while True:
            line, newline, rest = bytes(self._buffer).partition(b"\n")
            if newline or len(line) > _LONGEST_LINE:
                self._buffer = bytearray(rest)
                return line.decode("utf-8", "replace")
            ended = self._ended()
            left = until - time.monotonic()
            moved = self._collect(max(0.0, min(left, 1.0)))
            if not moved and (ended or left <= 0):
                return None

    @property
    def alive(self) -> bool:
        return not self._released.is_set() and not self._ended() and self._channels.alive

    @property
    def stderr(self) -> bytes:
        """The end of what the script said on stderr, once `read_line` gave None."""
        return self._stderr.tail

    def release(self) -> None:
        with self._lock:
            if self._released.is_set():
                return
            self._released.set()
        self._channels.finish(self._channel)

    def _ended(self) -> bool:
        return bool(self._channel.closed or self._channel.eof_received or self._channel.exit_status_ready())

    def _collect(self, timeout: float) -> bool:
        """Take what is there, waiting up to `timeout` s for it."""
        channel = self._channel
        if not (channel.recv_ready() or channel.recv_stderr_ready()):
            poll = select.poll()
            poll.register(channel.fileno(), select.POLLIN)
            poll.poll(max(timeout, 0.0) * 1000)
        moved = False
        while channel.recv_stderr_ready():
            self._stderr.feed(channel.recv_stderr(CHUNK))
            moved = True
        while channel.recv_ready() and len(self._buffer) < 16 * _LONGEST_LINE:
            self._buffer += channel.recv(CHUNK)
            moved = True
        return moved

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            if self._ended():
                return
            try:
                self._channel.settimeout(HEARTBEAT)
                self._channel.sendall(b"\n")
            except (OSError, EOFError):
                return
