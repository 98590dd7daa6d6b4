"""Drop-ins that somebody put beside a unit of ours: those that change what it runs, as whom or how
confined go to the backups, those that only tune it stay.

Only directories of this unit count; what a distribution says about every service is its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import printable, word, words
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.values import dataclass

_LIMIT = 64 * 1024
_MOST = 64
_ROOTS = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)

# systemd.unit, systemd.service, systemd.exec, systemd.resource-control (257): settings of a [Service]
# that change neither what runs, as whom, with which files nor what it may do. What is not here is not
# harmless: a setting that a newer systemd brings is looked at by a person first.
_TUNING = re.compile(
    r"(Memory|(Startup)?(CPU|IO)|BlockIO|Tasks|OOM|ManagedOOM|NUMA|Limit|Log|Syslog|Timeout|Restart|StartLimit|Watchdog)"
    r"[A-Za-z]*|Nice|Slice|AllowedCPUs|AllowedMemoryNodes|RuntimeMaxSec|IPAccounting|TimerSlackNSec|CoredumpReceive"
)
_NOT_TUNING = frozenset(
    {"MemoryDenyWriteExecute", "LogNamespace", "RestartForceExitStatus", "RestartPreventExitStatus"}
)


@dataclass(frozen=True)
class DropIn:
    """One drop-in of a unit: path and content."""

    path: str
    content: bytes | None
    """None when it is larger than 64 KiB."""


@dataclass(frozen=True)
class DropInProbe(Probe[tuple[DropIn, ...]]):
    """Reads every drop-in of one unit."""

    unit: str

    kind: ClassVar[str] = "drop-ins"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = ["n=0"]
        for probe in probes:
            folders = words(*(f"{root}/{name}.d" for name in _names(probe.unit) for root in _ROOTS))
            lines.append(
                f"for d in {folders}; do\n"
                '  [ -d "$d" ] || continue\n'
                '  for p in "$d"/*.conf; do\n'
                f'    [ -e "$p" ] && [ $n -lt {_MOST} ] || continue; n=$((n + 1))\n'
                f'    printf "%s|%s|%s\\n" {word(probe.unit)} "$(printf %s "$p" | base64 | tr -d "\\n")" '
                f'"$(head -c {_LIMIT + 1} -- "$p" 2>/dev/null | base64 | tr -d "\\n")"\n'
                "  done\ndone"
            )
        return "\n".join([*lines, ":"])

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[tuple[DropIn, ...]]:
        found: dict[str, list[DropIn]] = {}
        for line in output.decode("ascii", "replace").splitlines():
            unit, name, data = line.split("|")
            path = base64.b64decode(name, validate=True).decode("utf-8", "surrogateescape")
            content = base64.b64decode(data, validate=True)
            found.setdefault(unit, []).append(DropIn(path, content if len(content) <= _LIMIT else None))
        return [tuple(found.get(probe.unit, ())) for probe in probes]


def _names(unit: str) -> list[str]:
    """`a-b.service` reads a-b.service.d and a-.service.d (systemd.unit)."""
    stem, _, suffix = unit.rpartition(".")
    parts = stem.split("-")
    return [unit, *(f"{'-'.join(parts[:n])}-.{suffix}" for n in range(len(parts) - 1, 0, -1))]


def settings(content: bytes) -> list[tuple[str, str, str]]:
    """(section, name, value) of a unit file, continued lines joined."""
    found = []
    section = ""
    text = content.decode("utf-8", "replace").replace("\\\n", " ")
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        name, equals, value = line.partition("=")
        if equals:
            found.append((section, name.strip(), value.strip()))
    return found


def offences(content: bytes | None, ours: bytes, variables: frozenset[str]) -> tuple[str, ...]:
    """What in a drop-in changes the unit beyond tuning, as `User=root`; empty when nothing does.

    `ours`: the unit file, whose own settings may be repeated. `variables`: names that its environment
    sets, or whose change would change what runs.
    """
    if content is None:
        return ("larger than a drop-in is",)
    own = set(settings(ours))
    found = []
    for section, name, value in settings(content):
        if (section, name, value) in own or section not in {"Service", "Unit"}:
            continue
        if section == "Unit":
            harmless = not name.startswith(("Condition", "Assert", "StopWhen", "Joins", "RefuseManual", "Requires"))
        elif name == "Environment":
            harmless = not any(_named(value, variable) for variable in variables) and bool(value)
        else:
            harmless = bool(_TUNING.fullmatch(name)) and name not in _NOT_TUNING
        if not harmless:
            found.append(
                printable(f"{name}={value}" if name != "Environment" else f"Environment={value.split('=')[0]}")
            )
    return tuple(text[:60] for text in found)


def _named(value: str, variable: str) -> bool:
    return re.search(rf"(^|[\s\"']){variable}=", value) is not None


@dataclass(frozen=True, kw_only=True)
class DropIns(HostResource):
    """No foreign drop-in changes what `unit` runs. A moved one makes the unit restart: what runs
    may have been started with it."""

    unit: str
    content: bytes
    """The unit file."""
    variables: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """Drop-ins of ours."""
    restarts: str = ""
    """The unit with whose restart `unit` starts again, where that is another one."""

    @property
    def _main(self) -> UnitProbe:
        return UnitProbe(self.restarts or self.unit)

    @property
    def probe(self) -> DropInProbe:
        return DropInProbe(self.unit)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe, self._main)

    def hostile(self, seen: tuple[DropIn, ...]) -> dict[str, tuple[str, ...]]:
        """Path -> offences."""
        variables = frozenset((*self.variables, "LD_[A-Z_]*", "PYTHON[A-Z]*", "PATH", "BASH_ENV", "ENV"))
        judged = {d.path: offences(d.content, self.content, variables) for d in seen if d.path not in self.own}
        return {path: why for path, why in judged.items() if why}

    def tolerated(self, seen: tuple[DropIn, ...]) -> tuple[str, ...]:
        """Paths of foreign drop-ins that stay; worth a line in a report."""
        hostile = self.hostile(seen)
        return tuple(d.path for d in seen if d.path not in hostile and d.path not in self.own)

    def diff(self, seen: Seen) -> Change | None:
        hostile = self.hostile(seen[self.probe])
        if not hostile:
            return None
        first = next(iter(hostile))
        more = f" and {len(hostile) - 1} more" if len(hostile) > 1 else ""
        offence = next(iter(hostile[first]))
        return Change(
            "remove",
            f"it sets {offence}",
            title=printable(first) + more,
            diff=tuple(f"-{printable(path)}: {text}" for path, why in hostile.items() for text in why)[:200],
            payload=tuple(hostile),
        )

    def after(self, seen: Seen) -> Seen:
        hostile = self.hostile(seen[self.probe])
        seen = seen.put(self.probe, tuple(d for d in seen[self.probe] if d.path not in hostile))
        state = seen.get(self._main) or UnitState()
        return seen.put(self._main, replace(state, record={})) if hostile else seen

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for drop_ins, change in items:
            for path in change.payload:
                lines.append(f"keep {word(path)}\nrm -f -- {word(path)}")
                lines.append(f"rmdir -- {word(path.rsplit('/', 1)[0])} 2>/dev/null || :")
            # Without a record the unit restarts, in this run or, should it be killed here, in the next.
            lines.append(f"rm -f -- /run/provision/{word(drop_ins.restarts or drop_ins.unit)}")
        return "\n".join(lines)
