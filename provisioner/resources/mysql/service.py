"""The server's unit: it runs, starts at boot and has read its files. What it can change while it runs it is told;
a restart only where nothing less helps, and never of a guest without consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit, word, words
from provisioner.engine.resource import Change
from provisioner.resources.mysql import client, conf
from provisioner.resources.mysql.server import ServerProbe, ServerState
from provisioner.resources.unit import Service
from provisioner.values import dataclass

COST = "requests to MLflow fail for about 2 s"
DYNAMIC = frozenset({"max_connections", "log_bin_trust_function_creators"})
"""What a guest is given while it runs."""


def reread_line(files: Sequence[str]) -> str:
    """The directive for a unit whose reload reads `files` and no other input: of the others the record keeps what
    they were at the start."""
    others = " ".join(f"-e '  {path}'" for path in files)
    return (
        'ExecReload=+-/bin/sh -c "umask 077; '
        f"{{ grep -vF {others} /run/provision/%n; sha256sum {' '.join(files)}; }} "
        '>/run/provision/%n.new 2>/dev/null; mv -f /run/provision/%n.new /run/provision/%n"'
    )


@dataclass(frozen=True, kw_only=True)
class ServerService(Service):
    """`mariadb.service` or `mysql.service` of this tool's own. `reloads`: files of systemd's alone, which the
    server does not read, and its certificate."""

    certificate: str = ""
    """The file with what it shows other hosts; empty where none may come. Then its unit has a reload, which reads
    this file only."""

    def _fragment(self, change: Change) -> str:
        if change.action != "reload" or self.certificate:
            return super()._fragment(change)
        # It has no reload. systemd has read them by now (daemon-reload); what the server reads is as recorded.
        unit = word(self.unit)
        return (
            f"( umask 077; {{ systemctl show -p InvocationID --value {unit}; "
            f"sha256sum {words(*self.inputs)} 2>/dev/null || :; }} >/run/provision/{unit}.new )\n"
            f"mv -f /run/provision/{unit}.new /run/provision/{unit}\nproven"
        )


@dataclass(frozen=True, kw_only=True)
class GuestService(Service):
    """A server that was there before: what it lacks it is told while it runs. `wanted`: the settings of our file."""

    wanted: Mapping[str, str] = field(hash=False)
    server: ServerProbe

    def probes(self) -> tuple[Probe[Any], ...]:
        return (*super().probes(), self.server)

    def diff(self, seen: Seen) -> Change | None:
        base = super().diff(seen)
        if base is not None:
            return base
        waiting = self._waiting(seen[self.server])
        if not waiting:
            return None
        reason = f"{', '.join(waiting)}: not as in our file"
        if set(waiting) <= DYNAMIC:
            return Change("run", reason, title=self.unit, payload=tuple(waiting))
        return Change(
            "restart",
            f"{', '.join(waiting)}: only a restart changes it",
            title=self.unit,
            interrupts=f"restart {self.unit}, {self.cost}",
            asks=f"it was here before; this restarts it for all its clients: systemctl restart {self.unit}",
        )

    def _waiting(self, state: ServerState) -> list[str]:
        running = state.variables
        return [n for n, v in self.wanted.items() if state.running and n in running and conf.differs(v, running[n])]

    def after(self, seen: Seen) -> Seen:
        state = seen[self.server]
        if state.running:
            seen = seen.put(self.server, replace(state, variables={**state.variables, **self.wanted}))
        return super().after(seen)

    def _fragment(self, change: Change) -> str:
        if change.action != "run" or not change.payload:
            return super()._fragment(change)
        lines = "".join(f"SET GLOBAL {name} = {self.wanted[name]};\n" for name in change.payload)
        return f"{client.FUNCTIONS}\n{emit(lines.encode())} | administer"
