"""One JSON line per change, on the operator's machine and on the host; names of commands, never their input."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from provisioner import state
from provisioner.secrets import masked
from provisioner.values import dataclass

SCHEMA = 1
HOST_FILE = "/var/log/provision/audit.jsonl"
# A field longer than this is an excerpt; a line stays below what one O_APPEND write keeps together.
_FIELD = 500
_ROTATE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Event:
    """What was changed. `seconds` took `action` (create, change, restart, remove ...) on `resource`."""

    time: datetime
    stack: str
    host: str
    command: str
    step: str
    resource: str
    action: str
    reason: str = ""
    result: str = "ok"
    seconds: float = 0.0
    operator: str = ""


def line(event: Event) -> str:
    """One line of ASCII JSON with its newline: known secrets masked, control characters escaped."""
    document: dict[str, object] = {"schema": SCHEMA}
    for name, value in asdict(event).items():
        if isinstance(value, datetime):
            document[name] = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        elif isinstance(value, float):
            document[name] = round(value, 3)
        else:
            document[name] = masked(str(value))[:_FIELD]
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n"


def host_lines(events: Iterable[Event]) -> str:
    """The text to append to HOST_FILE on the host (root, 0600)."""
    return "".join(line(event) for event in events)


def path(stack: str) -> Path:
    return state.stack_dir(stack) / "audit.jsonl"


def append(stack: str, events: Iterable[Event]) -> None:
    """Append to this machine's log of `stack`, 0600; at 16 MiB it is moved to `audit.jsonl.1`."""
    text = host_lines(events)
    if not text:
        return
    log = path(stack)
    if log.is_file() and log.stat().st_size > _ROTATE:
        log.replace(log.with_name(log.name + ".1"))
    state.append_private(log, text.encode("ascii"))
