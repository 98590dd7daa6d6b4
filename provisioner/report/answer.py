"""What a command without hosts to report on answers: lines, or the same as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from provisioner.report.text import clean

SCHEMA = 1


def answer(command: str, lines: Sequence[str], *, as_json: bool, **members: Any) -> None:
    """Print `lines`, or `members` below `schema`, `command` and `exit` (0: failures are told elsewhere)."""
    if as_json:
        print(json.dumps({"schema": SCHEMA, "command": command, "exit": 0, **members}, indent=1))
        return
    for line in lines:
        print(clean(line))
