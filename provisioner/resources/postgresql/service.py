"""The service of a cluster: it runs, starts at boot and has read its files; a restart only where nothing
less helps, and never of a guest without consent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Self

from provisioner import assets
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import Change, HostResource
from provisioner.errors import Refused
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.postgresql import psql
from provisioner.resources.postgresql.clusters import OWN_CONF, Cluster, Clusters, ClustersProbe
from provisioner.resources.postgresql.server import ServerProbe, ServerState, Setting
from provisioner.resources.postgresql.units import ClusterUnitProbe
from provisioner.resources.unit import Service
from provisioner.values import dataclass

COST = "requests to MLflow fail for about 2 s"


@dataclass(frozen=True, kw_only=True)
class ClusterService(Service):
    """`postgresql@VERSION-main.service`. Its boot is a matter of start.conf, so `enabled` is False.

    `wanted`: the settings of our own file, as they stand there.
    """

    cluster: Cluster
    wanted: Mapping[str, str] = field(hash=False)
    server: ServerProbe
    guest: bool = False
    certificate: str = ""
    """The file with the certificate that it shows; empty where it is not this tool's."""
    enabled: bool = False

    @property
    def probe(self) -> ClusterUnitProbe:
        return ClusterUnitProbe(self.unit)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (*super().probes(), self.server, ClustersProbe())

    def diff(self, seen: Seen) -> Change | None:
        base = super().diff(seen)
        if base is not None and base.action == "start":
            return base
        start = self._start(seen)
        waiting = self._waiting(seen[self.server])
        if waiting:
            names = ", ".join(waiting)
            return Change(
                "restart",
                f"{names}: only a restart changes it",
                title=self.unit,
                interrupts=f"restart {self.unit}, {self.cost}",
                asks=f"PostgreSQL was here before; this restarts it for all its clients: systemctl restart {self.unit}"
                if self.guest
                else None,
            )
        if base is not None:
            return base
        if seen[self.server].unrecorded:
            return Change(
                "reload",
                "it was reloaded past systemd: which files it has read is not known",
                title=self.unit,
                interrupts="reload, no connection is dropped",
            )
        if start != "auto" and not self.guest:
            return Change("run", f"start.conf says {start}: it would not start at boot", title=self.unit)
        return None

    def _start(self, seen: Seen) -> str:
        return next((c.start for c in seen[ClustersProbe()].found if c.id == self.cluster.id), "auto")

    def _waiting(self, state: ServerState) -> list[str]:
        """Settings of ours that wait for a restart, now or once this plan's files are in place."""
        if not state.running:
            return []
        waiting = []
        shadowed = {line.name for line in state.shadows(self.wanted, self.cluster.conf)}
        for name, value in self.wanted.items():
            known = state.settings.get(name)
            on_disk = next((f.value for f in reversed(state.files) if f.name == name), None)
            written = on_disk is not None and _same(on_disk, value) and name not in shadowed
            pending = known is not None and known.pending and (written or not _same(known.value, value))
            predicted = name in state.restart and not written and not (known is not None and _same(known.value, value))
            if pending or predicted:
                waiting.append(name)
        return waiting

    def after(self, seen: Seen) -> Seen:
        seen = super().after(seen)
        state = seen[self.server]
        settings = dict(state.settings)
        for name, value in self.wanted.items():
            settings[name] = Setting(value, name in state.restart, self.cluster.conf)
        if not state.running:
            settings = {}
        seen = seen.put(self.server, replace(state, settings=settings, unrecorded=False))
        clusters = seen[ClustersProbe()]
        found = tuple(
            replace(c, start="auto", running=True) if c.id == self.cluster.id and not self.guest else c
            for c in clusters.found
        )
        return seen.put(ClustersProbe(), replace(clusters, found=found))

    def _fragment(self, change: Change) -> str:
        unit = word(self.unit)
        lines = [psql.running(self.cluster.version)]
        if not self.guest:
            start = word(f"{self.cluster.directory}/start.conf")
            lines.append(
                f"if [ -f {start} ] && ! grep -Eq '^[[:space:]]*auto' {start}; then keep {start}; "
                f"sed -i 's/^[[:space:]]*[a-z][a-z]*[[:space:]]*$/auto/' {start}; systemctl daemon-reload; fi"
            )
        # pg_ctlcluster says nothing but that the reason is in the log.
        log = word(f"/var/log/postgresql/postgresql-{self.cluster.id}.log")
        lines.append(
            f"trap '[ $? -eq 0 ] || tail -n 20 {log} 2>/dev/null | sed -n \"s/^.* FATAL:  /why /p\" | tail -n 1' EXIT"
        )
        if change.action == "restart":
            return "\n".join([*lines, super()._fragment(change)])
        if change.action == "run":
            return "\n".join(lines)
        if change.action == "start":
            if change.reason.startswith("masked"):
                lines.append(
                    f"systemctl unmask -q {unit}; systemctl unmask -q --runtime {unit}; systemctl daemon-reload"
                )
            # The package has started what was absent when the plan was made: a reload is enough then.
            lines.append(f"if ! systemctl -q is-active {unit}; then\n{super()._fragment(change)}\nport=\nfi")
        if self.certificate:
            # Where files are taken back, the server must read what they were.
            lines.append(f"echo 'systemctl reload {self.unit}' | revert")
        # Checked before it is reloaded: the running server never sees files that it would not take.
        lines += [psql.reload(self.unit, self.inputs)]
        if self.certificate:
            lines.append(
                f'n=0\nuntil [ -z "$port" ] || {psql.shows(self.certificate)}; do\n'
                "  n=$((n + 1))\n  if [ $n -ge 50 ]; then\n"
                f"    echo 'it does not show the certificate of' {word(self.certificate)} >&2\n    exit 1\n  fi\n"
                "  sleep 0.1\ndone"
            )
        if not self.guest:
            # ALTER SYSTEM undone, or a setting whose need for a restart only the server knows.
            lines.append(
                f'pending=0\n[ -z "$port" ] || pending=$({_pending(self.wanted)} | administer postgres)\n'
                f'if [ "$pending" != 0 ]; then\n  say "restarting {self.unit}"\n'
                f"{super()._fragment(replace(change, action='restart'))}\nfi"
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class BootService(Service):
    """`postgresql.service`, the wrapper that starts the clusters at boot. A restart of it would
    restart every cluster, so it is only ever started."""

    def _fragment(self, change: Change) -> str:
        unit = word(self.unit)
        lines = []
        if change.reason.startswith("masked"):
            lines.append(f"systemctl unmask {unit}; systemctl unmask --runtime {unit}; systemctl daemon-reload")
        # Enabling runs update-rc.d as well and takes seconds.
        lines.append(f'[ "$(systemctl is-enabled {unit})" = enabled ] || systemctl enable -q {unit}')
        return "\n".join([*lines, f"systemctl start {unit}"])


def _pending(names: Iterable[str]) -> str:
    return psql.feed(assets.sql("postgresql/pending.sql"), {"names": ",".join(names)})


def _same(one: str, other: str) -> bool:
    return one.strip().lower() == other.strip().lower()


@dataclass(frozen=True, kw_only=True)
class MainCluster(HostResource):
    """The cluster VERSION/main exists. The package makes it, unless it is told not to."""

    cluster: Cluster

    @property
    def conf(self) -> PathProbe:
        return PathProbe(f"{self.cluster.directory}/postgresql.conf", read=False)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.conf, ClustersProbe())

    def diff(self, seen: Seen) -> Change | None:
        title = f"cluster {self.cluster.version}/main"
        known = next((c for c in seen[ClustersProbe()].found if c.id == self.cluster.id), None)
        if known is not None and not known.initialised:
            raise Refused(
                f"the data of PostgreSQL {known.version} is gone: {known.data} holds no database",
                why="its configuration is still there; starting empty is not this tool's decision",
                next=f"mount or restore {known.data}, or give it up: pg_dropcluster {known.version} main",
            )
        if seen[self.conf].kind == "absent":
            return Change("create", "absent", title=title)
        return None

    def after(self, seen: Seen) -> Seen:
        state: Clusters = seen[ClustersProbe()]
        found = tuple(c for c in state.found if c.id != self.cluster.id)
        seen = seen.put(
            ClustersProbe(), replace(state, found=(*found, replace(self.cluster, running=True, initialised=True)))
        )
        return seen.put(self.conf, PathState("file", 0o644, "postgres", "postgres"))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        return "\n".join(
            f"[ -e {word(item.conf.path)} ] || pg_createcluster {word(item.cluster.version)} main --start"
            for item, _ in items
        )


@dataclass(frozen=True, kw_only=True)
class Includes(HostResource):
    """postgresql.conf reads conf.d, as the distribution's does; of a guest whose administrator took
    that out, only the one file of ours."""

    cluster: Cluster
    guest: bool = False

    def probes(self) -> tuple[Probe[Any], ...]:
        return (ClustersProbe(),)

    def diff(self, seen: Seen) -> Change | None:
        known = next((c for c in seen[ClustersProbe()].found if c.id == self.cluster.id), None)
        if known is None or known.includes:
            return None
        return Change("change", "it does not read conf.d", title=f"{self.cluster.directory}/postgresql.conf")

    def after(self, seen: Seen) -> Seen:
        state = seen[ClustersProbe()]
        found = tuple(replace(c, includes=True) if c.id == self.cluster.id else c for c in state.found)
        return seen.put(ClustersProbe(), replace(state, found=found))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for item, _ in items:
            path = word(f"{item.cluster.directory}/postgresql.conf")
            line = f"include_if_exists = 'conf.d/{OWN_CONF}'" if item.guest else "include_dir = 'conf.d'"
            parts += [
                f"keep {path}",
                f"cp -p -- {path} {path}.provision-new",
                f'[ -z "$(tail -c 1 {path})" ] || echo >>{path}.provision-new',
                f"printf '%s\\n' '# Written by provision: settings are in conf.d' {word(line)} >>{path}.provision-new",
                f"mv -f -T -- {path}.provision-new {path}",
                psql.running(item.cluster.version),
                psql.reload(item.cluster.unit, [f"{item.cluster.directory}/postgresql.conf"]),
            ]
        return "\n".join(parts)
