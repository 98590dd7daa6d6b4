"""A login role that may nothing but work in its own database; its password as a SCRAM verifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from provisioner import assets
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit
from provisioner.engine.resource import UNKNOWN, Change, HostResource
from provisioner.resources.mark import MarkProbe, made
from provisioner.resources.postgresql import psql, scram
from provisioner.resources.postgresql.server import RoleState, ServerProbe
from provisioner.secrets import Secret
from provisioner.values import dataclass

WANTED = frozenset({"login", "inherit"})
_HARMFUL = frozenset(
    {"default_transaction_read_only", "transaction_read_only", "search_path", "role", "session_authorization"}
)
"""Settings under which MLflow's own statements fail or go elsewhere; others are tuning and stay."""
_WORDS = {
    "superuser": "it is a superuser",
    "createdb": "it may create databases",
    "createrole": "it may create roles",
    "replication": "it may replicate",
    "bypassrls": "it bypasses row security",
}


@dataclass(frozen=True, kw_only=True)
class Role(HostResource):
    """A role with exactly these rights and this password."""

    name: str
    password: Secret
    limit: int
    """Connections it may have at once."""
    server: ServerProbe
    fresh: bool = False
    """There is no cluster yet: what is not seen is absent."""
    guest: bool = False

    @property
    def mark(self) -> MarkProbe:
        return MarkProbe(f"role.{self.name}")

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.server, self.mark)

    def diff(self, seen: Seen) -> Change | None:
        state, title = seen[self.server], f"role {self.name}"
        if state.role is None:
            if state.running or self.fresh:
                return Change("create", "absent", title=title)
            return Change("check", "seen only while PostgreSQL runs", title=title)
        reasons = self._reasons(state.role)
        marked = seen[self.mark]
        if not reasons and marked:
            return None
        asks = None
        if self.guest and not marked:
            asks = f"the role {self.name} was there before and gets this stack's password and rights"
        had = state.role.password if isinstance(state.role.password, Secret) else None
        return Change("change", ", ".join(reasons) or "not marked as this stack's", title=title, asks=asks, payload=had)

    def _reasons(self, role: RoleState) -> list[str]:
        reasons = [_WORDS[name] for name in sorted(role.attributes - WANTED)]
        if "login" not in role.attributes:
            reasons.append("it may not log in")
        if "inherit" not in role.attributes:
            reasons.append("it does not inherit")
        if role.password is not UNKNOWN:
            known = role.password if isinstance(role.password, Secret) else None
            if not scram.matches(self.password, known):
                reasons.append(scram.reason(known))
        if role.limit != self.limit:
            reasons.append(f"connection limit {role.limit if role.limit >= 0 else 'none'}, wanted {self.limit}")
        if role.until is not None:
            reasons.append(f"its password ends {role.until[:32]}")
        if role.groups:
            reasons.append(f"it is a member of {', '.join(sorted(role.groups))[:100]}")
        if role.settings & _HARMFUL:
            reasons.append(f"it carries {', '.join(sorted(role.settings & _HARMFUL))}")
        return reasons

    def after(self, seen: Seen) -> Seen:
        state = seen[self.server]
        kept = state.role.settings - _HARMFUL if state.role else frozenset()
        role = RoleState(WANTED, self.limit, UNKNOWN, settings=kept)
        return seen.put(self.server, replace(state, role=role)).put(self.mark, True)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for role, change in items:
            variables = {"role": role.name, "limit": str(role.limit), "verifier": ""}
            if "password" in change.reason or change.action != "change":
                variables["verifier"] = scram.verifier(role.password).reveal()
            tools = psql.running(role.server.version)
            if variables["verifier"] and isinstance(change.payload, Secret):
                before = {"role": role.name, "verifier": change.payload.reveal()}
                back = f"{psql.feed(assets.sql('postgresql/password.sql'), before)} | administer postgres"
                text = "\n".join([tools, back, ""])
                parts.append(f"{emit(text.encode())} | revert")
            parts += [
                made(role.mark.name),
                tools,
                f"{psql.feed(assets.sql('postgresql/role.sql'), variables)} | administer postgres",
            ]
        return "\n".join(parts)
