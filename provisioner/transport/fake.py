"""A `Session` for tests of what stands above: scripts run in a local shell, nobody becomes root."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.transport.base import Result
from provisioner.transport.process import ProcessSession
from provisioner.transport.sudo import Way


class FakeSession(ProcessSession):
    """Runs scripts with `sh` as the current user and remembers them.

    `answer`, when given, is asked first: a Result it returns is the reply, None runs the script.
    `environment` replaces the shell's (for a PATH with stand-ins).
    """

    fingerprint = "SHA256:" + "0" * 43

    def __init__(
        self,
        host: str = "fake",
        *,
        answer: Callable[[bytes], Result | None] | None = None,
        environment: Mapping[str, str] | None = None,
        address: str = "192.0.2.1",
    ) -> None:
        super().__init__(host, Way.ROOT, environment)
        self.address = address
        self.scripts: list[bytes] = []
        self._answer = answer

    def run(
        self,
        script: bytes,
        *,
        privileged: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        timeout: float = 60.0,
        limit: int = 64 * 2**20,
    ) -> Result:
        self.scripts.append(script)
        reply = self._answer(script) if self._answer is not None else None
        if reply is None:
            return super().run(script, privileged=privileged, on_output=on_output, timeout=timeout, limit=limit)
        with self._lock:
            self.channels += 1
        if on_output is not None and reply.stdout:
            on_output(reply.stdout)
        return reply
