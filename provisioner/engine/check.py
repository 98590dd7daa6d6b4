"""One thing that was looked at and how it is: what `verify`, `status` and preflight report."""

from __future__ import annotations

from typing import Literal

from provisioner.values import dataclass

Status = Literal["ok", "fail", "skip", "warn"]


@dataclass(frozen=True)
class Check:
    """A finished check. `id` is stable, it is a contract in `--json`; `title` is for readers."""

    id: str
    title: str
    status: Status
    seconds: float = 0.0
    detail: str = ""
    """What was seen, without secrets, printable; may have several lines."""
    fix: str | None = None
    """The command or setting that helps, when something is wrong."""
    group: str = ""
    """Checks that a reader sees as one line while all of them pass."""

    def as_json(self) -> dict[str, object]:
        """The object under `checks` in the JSON document."""
        return {
            "id": self.id,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "detail": self.detail,
            "fix": self.fix,
        }
