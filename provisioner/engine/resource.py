"""What a host should hold: resources, the changes that lead there, and the value `UNKNOWN`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from enum import Enum
from typing import Any, ClassVar, Final, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.transport.base import Session
from provisioner.values import dataclass


class _Unknown(Enum):
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown.UNKNOWN
"""What cannot be known before an earlier change was made; shown as such in a plan."""
Unknown = _Unknown


@dataclass(frozen=True)
class Change:
    """The difference between seen and wanted, in words for a user.

    `action`: create, change, remove, start, restart, reload, run, check. `check` stands for a
    resource that cannot be seen yet (its service is down): it is looked at again when its turn
    comes and may turn out to need nothing.
    """

    action: str
    reason: str
    """Why, short: `absent`, `last changed 2 h ago`, `mode 0644, wanted 0600`."""
    title: str = ""
    """What the user sees instead of the logical id (a path, a unit's name)."""
    interrupts: str | None = None
    """What it costs clients: `restart mlflow-server.service, clients wait about 5 s`."""
    diff: tuple[str, ...] = ()
    """Unified-diff lines without secrets; already printable."""
    loss: str | None = None
    """Something that cannot be brought back (a database that was gone is created empty)."""
    asks: str | None = None
    """Needs the user's consent (`--yes`): foreign content is replaced or destroyed."""
    keep: str = ""
    """What to set, to have what this change undoes: `[mlflow] memory = "512M"`."""
    download: int = 0
    """Bytes the host or the operator will fetch, when known."""
    payload: Any = None
    """For the resource's own use between diff and apply; never shown."""


@dataclass(frozen=True, kw_only=True)
class Resource(ABC):
    """One thing on a host, described as wanted. Subclasses are frozen dataclasses.

    `id`: `kind:name`, unique on a host. `needs`: ids that must be applied before this one, or
    `step:NAME` for everything of a step; besides, resources of one lane are applied in the order
    in which their step lists them.
    """

    id: str
    step: str = ""
    needs: tuple[str, ...] = ()
    lane: str = ""
    """Changes of one lane share execs and keep their order; lanes run side by side."""

    @abstractmethod
    def probes(self) -> tuple[Probe[Any], ...]: ...

    @abstractmethod
    def diff(self, seen: Seen) -> Change | None:
        """Pure. None when nothing is to be done; Refused where a run must not decide it."""

    @abstractmethod
    def after(self, seen: Seen) -> Seen:
        """What will be seen once applied. Law: `diff(after(seen)) is None`."""

    def of(self, step: str, lane: str = "") -> Self:
        return replace(self, step=step, lane=self.lane or lane or step)


@dataclass(frozen=True, kw_only=True)
class HostResource(Resource):
    """A resource that a POSIX sh fragment on the host brings about."""

    patience: ClassVar[float] = 120.0
    """Seconds an apply fragment of this kind may stay silent."""
    elsewhere: ClassVar[bool] = False
    """`prepare` writes elsewhere than on the host: under the work lock, as its execs do."""

    @property
    def hint(self) -> str:
        """The command that tells more on the host when applying it failed; empty for none."""
        return ""

    def prepare(self, session: Session, change: Change, say: Callable[[str], None]) -> Change:
        """Runs on the operator's side just before the exec, for what must be sent ahead (a
        binary); gives the change, usually with a `payload` for `apply`."""
        return change

    @classmethod
    @abstractmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        """A fragment that applies all `items`: consecutive changes of one kind and lane.

        It runs as root under `set -eu`, stdin closed, in a private 0700 directory `$T`. `say TEXT`
        reports progress. Whatever it replaces goes through `keep PATH` first (see apply.py).
        """


@dataclass(frozen=True, kw_only=True)
class ClientResource(Resource):
    """A resource that only a client library sees and changes, through a forwarded channel."""

    @abstractmethod
    def ready(self, seen: Seen) -> bool:
        """Whether the service that holds it was seen to answer."""

    def arrive(self, session: Session) -> None:
        """Its turn has come in a run, and it could not be seen before: waits for a service that may still be starting.
        Changes nothing."""
        return

    @abstractmethod
    def look(self, session: Session) -> Seen:
        """Read it; raises ProvisionError when it cannot be read."""

    @abstractmethod
    def perform(self, session: Session, change: Change) -> None:
        """Bring it about."""


@dataclass(frozen=True)
class Planned:
    """A change of one resource, in its place in the plan."""

    resource: Resource
    change: Change
    seconds: float | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        return self.resource.id

    @property
    def step(self) -> str:
        return self.resource.step
