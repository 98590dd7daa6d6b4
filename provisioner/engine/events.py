"""What happens during a run, for whoever draws or records it. Emitted from several threads, one
at a time."""

from __future__ import annotations

from collections.abc import Callable

from provisioner.engine.resource import Planned
from provisioner.values import dataclass


@dataclass(frozen=True)
class Begun:
    """A change is being made."""

    planned: Planned


@dataclass(frozen=True)
class Said:
    """Progress in a fragment's own words: `31 of 52 MB`."""

    step: str
    text: str


@dataclass(frozen=True)
class Applied:
    """A change's commands have ended well; nobody has looked yet whether it took."""

    planned: Planned


@dataclass(frozen=True)
class Done:
    """A change was made, in so many seconds, and was seen afterwards."""

    planned: Planned
    seconds: float


@dataclass(frozen=True)
class Unneeded:
    """A `check` that turned out to need nothing."""

    planned: Planned


@dataclass(frozen=True)
class Failed:
    """A change failed; `detail` is the end of what its commands said."""

    planned: Planned
    seconds: float
    detail: str


@dataclass(frozen=True)
class Kept:
    """Paths on the host under which what was replaced is kept."""

    step: str
    paths: tuple[str, ...]


Event = Begun | Said | Applied | Done | Unneeded | Failed | Kept
OnEvent = Callable[[Event], None]
