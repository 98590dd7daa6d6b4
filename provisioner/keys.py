"""What is known of one inventory key, kept as metadata of a dataclass field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

from provisioner import checks
from provisioner.values import dataclass


@dataclass(frozen=True)
class Key:
    """One inventory key. `check` normalises or raises ValueError("expected" words); `later` returns
    the reason why a well-formed value is not available yet, or None."""

    doc: str
    kind: str
    check: checks.Check
    example: str
    default: str
    sticky: bool = True
    operator: bool = False
    private: bool = False
    """A value that is refused may hold a password by mistake: no error repeats it."""
    later: Callable[[Any], str | None] = lambda _value: None
    recorded: Callable[[Any], Any] = lambda value: value
    """What of a value the host records: one that names files of the operator's machine stands for what is in them."""


def key(
    default: Any,
    check: checks.Check,
    doc: str,
    *,
    kind: str = "string",
    example: str,
    shown: str | None = None,
    sticky: bool = True,
    operator: bool = False,
    private: bool = False,
    later: Callable[[Any], str | None] | None = None,
    recorded: Callable[[Any], Any] | None = None,
) -> Any:
    """A dataclass field. `shown` is the default as the reference prints it; `operator` marks a value
    that means something on the operator's machine only and is never recorded on a host."""
    if shown is None:
        shown = _shown(default)
    known = Key(doc, kind, check, example, shown, sticky, operator, private, later or (lambda _value: None))
    if recorded is not None:
        known = replace(known, recorded=recorded)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"key": known})
    return field(default=default, metadata={"key": known})


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{}"
    return f'"{value}"' if isinstance(value, str) else str(value)
