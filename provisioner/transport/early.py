"""The key exchange begun before Fabric is set up: both take their time, and neither needs the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramiko.transport import Transport


def library() -> None:
    """Import the SSH library. That takes longer than `ssh HOST true` on a fast machine, half of it for Invoke
    (a task runner's parser, YAML, unittest.mock), which it imports too."""
    import paramiko.transport  # noqa: F401


def start(sock: Any, prepare: Callable[[Transport], None], banner_timeout: float) -> Transport:
    """A paramiko Transport over `sock`, `prepare`d and negotiating in its own thread.

    Its `start_client`, which the SSH client calls as always, waits for the end of what has begun.
    """
    from paramiko.transport import Transport

    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its tracebacks land on stderr

    class Started(Transport):
        def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
            until = time.monotonic() + (timeout or banner_timeout)
            while not negotiated.wait(0.1) and self.is_active():
                if time.monotonic() > until:
                    raise TimeoutError("the key exchange takes too long")
            if not self.is_active():
                raise self.get_exception() or EOFError("negotiation failed")

    negotiated = threading.Event()
    transport = Started(sock)
    transport.banner_timeout = banner_timeout
    prepare(transport)
    Transport.start_client(transport, event=negotiated)
    return transport


def fabric() -> tuple[Any, Any]:
    """Fabric's Config and Connection."""
    from fabric import Config, Connection

    return Config, Connection
