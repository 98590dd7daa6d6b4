"""systemd units: running, enabled, unmasked, and running what their files say today.

Each unit records at every start and reload, whoever caused it, the digests of its input files in
/run/provision/UNIT (`record_line` gives the directive). Recorded against today's decides restart
or reload, so a run killed between write and restart heals at the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word, words
from provisioner.engine.resource import UNKNOWN, Change, HostResource, Unknown
from provisioner.resources.paths import PathProbe, PathState
from provisioner.values import dataclass

_UNIT = re.compile(r"[A-Za-z0-9@_.:-]{1,120}\.(service|timer|socket|target)")
_ENABLED = frozenset({"enabled", "static", "alias", "enabled-runtime", "generated", "indirect"})
"""What `systemctl enable` can do no more about."""
PLANNED = "new"
"""The invocation of a unit that this plan starts."""
_PROPERTIES = (
    "Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,NRestarts,"
    "ActiveEnterTimestampMonotonic,MemoryCurrent,MemoryMax,FragmentPath,DropInPaths,Job"
)
# systemctl exits with 0 for units that do not exist; anything else is systemd busy with a reload of its own.
# Of a host that is still booting the services are not stopped, their start is only queued: waited for 40 s.
_LOOK = rf"""
show() {{
  [ -d /run/systemd/system ] || return 0
  systemctl show -p {_PROPERTIES} -- "$@" 2>/dev/null || {{ sleep 1; systemctl show -p {_PROPERTIES} -- "$@"; }}
}}
set -- @UNITS@
shown=$(show "$@"); n=0
while [ "$n" -lt 80 ]; do
  case $shown in *Job=[1-9]*) ;; *) break ;; esac
  sleep 0.5; n=$((n + 1)); shown=$(show "$@")
done
cut -d' ' -f1 /proc/uptime
printf '%s\n' "$shown"
for u; do
  [ -f "/run/provision/$u" ] && ! [ -L "/run/provision/$u" ] || continue
  printf 'record %s\n' "$u"; head -c 65536 "/run/provision/$u"
done
"""


@dataclass(frozen=True)
class UnitState:
    """A unit as systemd has it, and what it was last started with."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = ""
    enabled: str = ""
    need_reload: bool = False
    invocation: str = ""
    restarts: int = 0
    since: float = 0.0
    """Seconds it has been active."""
    memory: int | None = None
    """Bytes."""
    memory_max: int | None = None
    fragment_path: str = ""
    drop_ins: tuple[str, ...] = ()
    record: dict[str, str] = field(default_factory=dict, hash=False)
    """Input path -> what it was at the last start or reload; empty when not recorded by it."""


@dataclass(frozen=True)
class UnitProbe(Probe[UnitState]):
    """Asks systemd for one unit."""

    unit: str

    kind: ClassVar[str] = "units"

    def __post_init__(self) -> None:
        # systemctl shows nothing of any unit when one name is a template's.
        if not _UNIT.fullmatch(self.unit) or "@." in self.unit:
            raise ValueError(f"not a unit's name: {self.unit!r}")

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return cls.look(words(*(p.unit for p in probes)))

    @staticmethod
    def look(units: str) -> str:
        """The fragment for `units`: sh words, quoted."""
        return _LOOK.replace("@UNITS@", units)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[UnitState]:
        head, *records = re.split(r"^record ", output.decode("utf-8", "replace"), flags=re.MULTILINE)
        uptime_line, _, shown = head.partition("\n")
        uptime = float(uptime_line or 0)
        recorded: dict[str, tuple[str, dict[str, str]]] = {}
        for record in records:
            name, _, body = record.partition("\n")
            recorded[name] = _record(body)
        # By name, not by position: nothing at all is shown for a name that systemd does not take.
        blocks: dict[str, dict[str, str]] = {}
        for text in shown.strip().split("\n\n"):
            block = _block(text)
            for name in (*block.get("Names", "").split(), block.get("Id", "")):
                blocks.setdefault(name, block)
        for probe in probes:
            state = _state(blocks.get(probe.unit, {}), uptime)
            invocation, record_of = recorded.get(probe.unit, ("", {}))
            if invocation and invocation == state.invocation:
                state = replace(state, record=record_of)
            yield state


def _block(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) < 2**63 else None


def _state(properties: dict[str, str], uptime: float) -> UnitState:
    entered = _number(properties.get("ActiveEnterTimestampMonotonic", "")) or 0
    return UnitState(
        load=properties.get("LoadState", "not-found"),
        active=properties.get("ActiveState", "inactive"),
        sub=properties.get("SubState", ""),
        enabled=properties.get("UnitFileState", ""),
        need_reload=properties.get("NeedDaemonReload") == "yes",
        invocation=properties.get("InvocationID", ""),
        restarts=_number(properties.get("NRestarts", "")) or 0,
        since=max(0.0, uptime - entered / 1e6) if entered else 0.0,
        memory=_number(properties.get("MemoryCurrent", "")),
        memory_max=_number(properties.get("MemoryMax", "")),
        fragment_path=properties.get("FragmentPath", ""),
        drop_ins=tuple(properties.get("DropInPaths", "").split()),
    )


def _record(body: str) -> tuple[str, dict[str, str]]:
    lines = body.splitlines()
    record: dict[str, str] = {}
    for line in lines[1:]:
        value, _, path = line.partition("  ")
        record[path] = value
    return (lines[0].strip() if lines else ""), record


def record_line(files: Sequence[str], links: Sequence[str] = (), directive: str = "ExecStartPre") -> str:
    """The unit directive that records `files` (by sha256) and `links` (by what they lead to).

    `+` runs it as root outside the sandbox; the record is 0600 and is renamed into place. An
    environment variable would not survive in nginx and PostgreSQL.
    """
    commands = ["echo $$INVOCATION_ID"]
    if files:
        commands.append(f"sha256sum {' '.join(files)}")
    if links:
        commands.append(f"stat -L -c '%%d:%%i:%%s:%%Y  %%n' {' '.join(links)}")
    return (
        f'{directive}=+-/bin/sh -c "umask 077; mkdir -p -m 0700 /run/provision; '
        f"{{ {'; '.join(commands)}; }} >/run/provision/%n.new 2>/dev/null; "
        'mv -f /run/provision/%n.new /run/provision/%n"'
    )


def _called(path: str) -> str:
    """How a reader calls an input: by its name, a hidden mark by what it marks."""
    folder, _, name = path.rpartition("/")
    return folder if name.startswith(".") else name


def _today(state: PathState, linked: bool) -> str | Unknown | None:
    if linked:
        return state.identity or (UNKNOWN if state.kind == "link" else None)
    return state.sha256


@dataclass(frozen=True, kw_only=True)
class Service(HostResource):
    """A unit that runs, is enabled, and has read the files it depends on."""

    patience: ClassVar[float] = 300.0

    unit: str
    inputs: tuple[str, ...] = ()
    """Files whose content it reads at start; the unit file itself among them."""
    links: tuple[str, ...] = ()
    """Paths (programs, `current` links) that it runs; compared by what they lead to."""
    reloads: tuple[str, ...] = ()
    """Those of `inputs` for which a reload is enough."""
    health: str = ""
    """sh, exit 0 when it answers; polled after a start."""
    health_seconds: int = 60
    cost: str = "its clients wait"
    """What a restart costs clients."""
    enabled: bool = True
    along: tuple[str, ...] = ()
    """Units that start and stop with it (`Wants=` here, `PartOf=` there), without which nobody reaches it."""

    def __post_init__(self) -> None:
        UnitProbe(self.unit)

    @property
    def probe(self) -> UnitProbe:
        return UnitProbe(self.unit)

    @property
    def hint(self) -> str:
        return f"journalctl -u {self.unit} -e"

    def _input_probes(self) -> dict[str, PathProbe]:
        files = {path: PathProbe(path) for path in self.inputs}
        return files | {path: PathProbe(path, read=False) for path in self.links}

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe, *map(UnitProbe, self.along), *self._input_probes().values())

    def _stale(self, seen: Seen, state: UnitState) -> list[str]:
        """Inputs that differ from what the running process was started with."""
        stale = []
        for path, probe in self._input_probes().items():
            today = _today(seen[probe], path in self.links)
            recorded = state.record.get(path)
            if (
                not state.record
                # What a change of this plan leaves behind is not known, but that it was read is.
                or (today is not None and recorded != str(today))
                # A file that was not there at the start and is not there now stands in no record.
                or (today is None and recorded)
            ):
                stale.append(path)
        return stale

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        change = self._started(seen, state)
        if not self.enabled or state.enabled in _ENABLED:
            return change
        disabled = "disabled: it would not start at boot"
        if change is None:
            return Change("run", disabled, title=self.unit)
        if state.load in {"not-found", "masked"}:  # says it already
            return change
        return replace(change, reason=f"{change.reason}; {disabled}")

    def _started(self, seen: Seen, state: UnitState) -> Change | None:
        """What it takes for it to run with today's files now, whatever the next boot does."""
        if state.load == "masked":
            return Change("start", "masked", title=self.unit)
        if state.sub.startswith("auto-restart"):
            return Change("start", "it ends again and again", title=self.unit)
        if state.active not in {"active", "reloading", "activating"}:
            reason = "absent" if state.load == "not-found" else "failed" if state.active == "failed" else "stopped"
            return Change("start", reason, title=self.unit)
        still = [unit for unit in self.along if seen[UnitProbe(unit)].active != "active"]
        stale = self._stale(seen, state)
        if stale:
            names = ", ".join(_called(path) for path in stale[:3])
            what = f"it runs with an earlier {names}" if state.record else "it is not known what it was started with"
            if all(path in self.reloads for path in stale):
                return Change(
                    "reload",
                    f"it has not read today's {names}" if state.record else "it is not known what it has read",
                    title=self.unit,
                    interrupts="reload, no connection is dropped",
                )
            return Change(
                "restart",
                what,
                title=self.unit,
                interrupts=f"restart {self.unit}, {self.cost}",
            )
        if still:
            return Change("start", f"{still[0]} is stopped", title=self.unit)
        if state.need_reload:
            return Change("run", "systemd has not read its files", title=self.unit)
        return None

    def after(self, seen: Seen) -> Seen:
        record: dict[str, str] = {}
        for path, probe in self._input_probes().items():
            state = seen[probe]
            if path in self.links and not state.identity:
                state = replace(state, kind="file", identity="new")
                seen = seen.put(probe, state)
            elif path not in self.links and state.sha256 is None:
                state = replace(state, kind="file", content=b"")
                seen = seen.put(probe, state)
            record[path] = str(_today(state, path in self.links))
        for unit in self.along:
            seen = seen.put(UnitProbe(unit), UnitState("loaded", "active", "running"))
        return seen.put(
            self.probe, UnitState("loaded", "active", "running", "enabled", invocation=PLANNED, record=record)
        )

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        return "\n".join(["systemctl daemon-reload", *(service._fragment(change) for service, change in items)])

    def _fragment(self, change: Change) -> str:
        unit = word(self.unit)
        lines = []
        if change.action == "start":
            # Also where the plan saw no mask: a package is kept from starting by one until its turn comes.
            lines += [
                f'if [ "$(systemctl show -p LoadState --value {name})" = masked ]; then\n'
                f"  systemctl unmask -q {name}; systemctl unmask -q --runtime {name}; systemctl daemon-reload\nfi"
                for name in map(word, (self.unit, *self.along))
            ]
        if self.enabled:
            known = "static|alias|generated|indirect|enabled-runtime"
            lines.append(
                # Asked first: where an init script is there too, enabling runs 2 s of Perl each time.
                f'[ "$(systemctl is-enabled {unit} 2>/dev/null)" = enabled ] || systemctl enable -q {unit} || '
                f"case $(systemctl is-enabled {unit}) in {known}) ;; *) exit 1 ;; esac"
            )
        undo = f"undo_unit {words(self.unit, *self.inputs, *self.links)}"
        tail = f"{{ journalctl -u {unit} -n 20 --no-pager -o cat; exit 1; }}"
        if change.action in {"restart", "start"}:
            # What ran before must run again should this fail.
            lines.append(f"if systemctl -q is-active {unit}; then {undo}; fi")
            lines.append(f"systemctl reset-failed {unit} 2>/dev/null || :")
            lines.append(f"systemctl restart {unit} || {tail}")
        elif change.action == "reload":
            lines.append(undo)
            lines.append(f"systemctl reload-or-restart {unit} || {tail}")
        if self.health and change.action != "run":
            lines.append(self._wait(tail))
        lines.append("proven")
        return "\n".join(lines)

    def _wait(self, tail: str) -> str:
        unit = word(self.unit)
        return (
            f"t=$(($(date +%s) + {self.health_seconds})); n0=$(systemctl show -p NRestarts --value {unit})\n"
            f"until said=$( ( {self.health}\n) 2>&1 ); do\n"
            # A unit with Restart=always is never failed: it has ended more than twice instead.
            f"  n=$(systemctl show -p NRestarts --value {unit}); [ $((${{n:-0}} - ${{n0:-0}})) -lt 3 ] || "
            f"{{ echo 'it ends again and again while starting' >&2; {tail}; }}\n"
            f"  if systemctl -q is-failed {unit}; then echo 'it ended while starting' >&2; {tail}; fi\n"
            '  if [ "$(date +%s)" -ge $t ]; then '
            f'echo "no healthy answer within {self.health_seconds} s'
            """${said:+: $(printf '%s' "$said" | tail -n 1 | tr -d '\\000-\\037' | cut -c1-200)}" >&2; """
            f"{tail}; fi\n"
            "  sleep 0.1\ndone"
        )
