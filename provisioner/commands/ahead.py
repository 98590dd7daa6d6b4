"""Work that a run without changes would otherwise wait for: imports, and the read-only check.

Both begin while the host answers. The check asks the address that this machine remembers; its
answer counts only when the host turns out to be what was remembered.
"""

from __future__ import annotations

import importlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError
from provisioner.inventory import StackRequest
from provisioner.transport.base import Session

if TYPE_CHECKING:
    from provisioner.verify.quick import Quick
    from provisioner.verify.target import Target

_LATER = ("provisioner.commands.converge", "provisioner.verify.quick", "jinja2")


def warm() -> None:
    """Import in the background: first the SSH library, which the connection waits for, then what is needed
    once the host has answered. In this order the host does its part of the handshake meanwhile."""

    def load() -> None:
        from provisioner.transport import early

        early.library()
        from provisioner.steps import registry

        for name in _LATER:
            importlib.import_module(name)
        registry()

    threading.Thread(target=load, daemon=True).start()


class QuickAhead:
    """The read-only check of a remembered stack, begun before the host was looked at."""

    def __init__(self, session: Session, request: StackRequest, repair: str):
        self._target = _remembered(session, request, repair)
        self._future: Future[Quick] | None = None
        if self._target is not None:
            pool = ThreadPoolExecutor(1)
            self._future = pool.submit(_ask, self._target)
            pool.shutdown(wait=False)

    def answer(self, target: Target) -> Quick:
        """The check's answer for `target`: the one begun ahead when it asked just that."""
        if self._future is not None and self._target == target:
            return self._future.result()
        return _ask(target)

    def again(self, target: Target) -> Quick:
        """The check once more, now."""
        return _ask(target)


def _ask(target: Target) -> Quick:
    from provisioner.verify.quick import quick

    return quick(target)


def _remembered(session: Session, request: StackRequest, repair: str) -> Target | None:
    """The target as this machine remembers the stack; None where it does not, and where this is not the URL's host
    (--host chose others of several): the login is shown to no other."""
    from provisioner import controller, vault
    from provisioner.commands.access import login_target
    from provisioner.door import decide
    from provisioner.settings import effective

    if request.at("proxy").host != request.host:
        return None
    try:
        copy = controller.recall_record(request.id)
        kept, _ = vault.read_controller(request.id)
        if copy is None or kept is None:
            return None
        settings = effective(request.flags, request.inventory or {}, copy)
        door = decide(
            scheme=settings.access.scheme,
            port=settings.access.door_port,
            names=tuple(settings.access.names),
            target=request.host.address,
            address=session.address,
            addresses=(),
        )
        return login_target(door, settings, kept.secrets(), repair)
    except (ProvisionError, KeyError):
        return None
