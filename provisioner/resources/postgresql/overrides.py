"""Settings that override those of our own file: by ALTER SYSTEM, or by a line that is read later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Self

from provisioner import assets
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import printable, word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.postgresql import psql
from provisioner.resources.postgresql.clusters import Cluster
from provisioner.resources.postgresql.server import FileSetting, ServerProbe, ServerState
from provisioner.values import dataclass

AUTO = "postgresql.auto.conf"


@dataclass(frozen=True, kw_only=True)
class Overrides(HostResource):
    """No file overrides ours, in a cluster of this tool's own. Only the settings that ours names are
    looked at; the file that had the line is kept."""

    cluster: Cluster
    wanted: Mapping[str, str] = field(hash=False)
    server: ServerProbe
    keep: Callable[[Iterable[tuple[str, str]]], str] | None = field(default=None, compare=False, repr=False)
    """Names and values that override ours -> the setting that says the same."""

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.server,)

    def found(self, state: ServerState) -> tuple[FileSetting, ...]:
        # Ours not among the files (it is written by this plan): all that names our settings and is
        # read after conf.d counts, which is what ALTER SYSTEM wrote.
        if not any(line.path == self.cluster.conf for line in state.files):
            return tuple(line for line in state.files if line.path.endswith(f"/{AUTO}") and line.name in self.wanted)
        return state.shadows(self.wanted, self.cluster.conf)

    def diff(self, seen: Seen) -> Change | None:
        found = [line for line in self.found(seen[self.server]) if self._ours_to_mend(line)]
        if not found:
            return None
        reasons = []
        for line in found:
            text = printable(line.value)[:60]
            where = "ALTER SYSTEM" if line.path.endswith(f"/{AUTO}") else f"{line.path}:{line.line}"
            reasons.append(f"{line.name} = {text or chr(39) * 2} by {where}, wanted {self.wanted[line.name][:60]}")
        keep = self.keep((line.name, line.value) for line in found) if self.keep is not None else ""
        title = "settings that override ours"
        return Change("change", "; ".join(reasons), title=title, keep=keep, payload=tuple(found))

    def _ours_to_mend(self, line: FileSetting) -> bool:
        return line.path.endswith(f"/{AUTO}") or line.path.startswith(f"{self.cluster.directory}/")

    def after(self, seen: Seen) -> Seen:
        state = seen[self.server]
        gone = {line for line in self.found(state) if self._ours_to_mend(line)}
        settings = dict(state.settings)
        for name in {line.name for line in gone if line.name in state.restart}:
            known = settings.get(name)
            # What the running server was started with stays in force until it is started again.
            if known is not None and known.source in {line.path for line in gone}:
                settings[name] = replace(known, pending=True)
        left = tuple(line for line in state.files if line not in gone)
        return seen.put(self.server, replace(state, files=left, settings=settings))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for overrides, change in items:
            version = overrides.cluster.version
            parts += [psql.running(version)]
            for line in change.payload:
                path = word(line.path)
                parts.append(f"keep {path}")
                if line.path.endswith(f"/{AUTO}"):
                    statement = assets.sql("postgresql/reset_setting.sql")
                    parts.append(f"{psql.feed(statement, {'name': line.name})} | administer postgres")
                else:
                    # Renamed into place with owner and mode; the line numbers of the others stay.
                    parts += [
                        f"cp -p -- {path} {path}.provision-new",
                        f"sed '{int(line.line)}s/^/# see conf.d (provision): /' {path} >{path}.provision-new",
                        f"mv -f -T -- {path}.provision-new {path}",
                    ]
            changed = [line.path for line in change.payload]
            parts.append(psql.reload(overrides.cluster.unit, [overrides.cluster.conf, *changed]))
        return "\n".join(parts)
