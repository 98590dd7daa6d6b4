"""The key exchange begun before Fabric is imported: both take their time, and neither needs the other.

Importing Fabric costs more than `ssh HOST true` does on a fast machine, half of it Invoke (a task
runner's parser, YAML, unittest.mock), which the SSH library imports too without needing it.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramiko.transport import Transport

# Several hosts are connected to at once, and a lazy module is not safe to load from two threads.
_importing = threading.Lock()


def start(sock: Any, prepare: Callable[[Transport], None], banner_timeout: float) -> Transport:
    """A paramiko Transport over `sock`, `prepare`d and negotiating in its own thread.

    Its `start_client`, which the SSH client calls as always, waits for the end of what has begun.
    """
    with _importing:
        _defer("invoke")
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
    with _importing:
        from fabric import Config, Connection
    return Config, Connection


def _defer(name: str) -> None:
    """Have `import name` cost nothing until something of it is used (importlib's own recipe)."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
