"""What the engine asks of a connection: run a script, hold one, copy a blob, forward a port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from provisioner.values import dataclass


@dataclass(frozen=True)
class Result:
    """What one exec gave back. `stdout` and `stderr` are bounded by the caller's `limit` (bytes);
    `status` is None when the channel died without one. Never trust status 0 alone (sudo-rs can
    eat a script and say 0): the script's own end frame proves that it ran."""

    stdout: bytes
    stderr: bytes
    status: int | None


class Held(Protocol):
    """A command kept running on its own channel, fed by a heartbeat, ended by `release`."""

    def read_line(self, timeout: float) -> str | None:
        """The next line of its output; None when it ended or `timeout` (s) passed."""

    @property
    def alive(self) -> bool: ...

    def release(self) -> None: ...


class Session(Protocol):
    """One authenticated connection to one host; safe to use from several threads."""

    host: str
    """As the user wrote it."""
    connections: int

    @property
    def channels(self) -> int:
        """Exec channels opened so far (a contract: counted in `--json`)."""

    fingerprint: str
    """The server's key as `SHA256:...`."""
    new_host_key: bool
    """True when the key was seen for the first time and recorded by this connection."""
    address: str
    """The numeric address that was connected to (the last hop's, as ssh resolves it)."""
    jumped: bool
    """True when a gateway was used: the operator may not reach the host directly."""

    @property
    def alive(self) -> bool:
        """The link is up, as far as is known: a dead one is noticed within 20 s."""

    def run(
        self,
        script: bytes,
        *,
        privileged: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        timeout: float = 60.0,
        limit: int = 64 * 2**20,
    ) -> Result:
        """Run `script` with `sh` on one exec channel, as root when `privileged`.

        The script travels on stdin, never in argv. `on_output` sees stdout as it comes (from the
        calling thread). `timeout`: seconds WITHOUT any output before the channel is given up.
        """

    def put(self, source: Path | bytes, *, sha256: str, on_progress: Callable[[int, int], None] | None = None) -> str:
        """Copy a blob into a fresh 0700 directory of the login user on the host; gives its path
        there. Verified by hash before this returns. Never used for secrets."""

    def hold(self, script: bytes) -> Held:
        """Start `script` as root and keep its channel: a newline is written to its stdin every
        5 s (the heartbeat); when the link dies the script sees no more of them."""

    def forward(self, port: int, host: str = "127.0.0.1") -> AbstractContextManager[Path]:
        """A Unix socket in a fresh 0700 directory whose connections end at host:port as seen from
        the server. Through direct-tcpip; where sshd refuses that, through a relay on an exec
        channel. The socket is named `.s.PGSQL.<port>` so that libpq can use its directory."""

    def forwards(self, port: int) -> bool:
        """Whether sshd lets this connection lead to a port of the host; False where it forbids that and
        `forward` goes through a relay. Asked with one round trip, no exec channel."""

    def close(self) -> None: ...
