"""A login that may nothing but work in its own databases, from the hosts that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from provisioner import assets
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit
from provisioner.engine.resource import UNKNOWN, Change, HostResource
from provisioner.resources.mark import MarkProbe, made
from provisioner.resources.mysql import client, passwords
from provisioner.resources.mysql.server import AccountState, ServerProbe, ServerState
from provisioner.secrets import Secret
from provisioner.values import dataclass

PRIVILEGES = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "DROP", "REFERENCES", "TRIGGER"}
)
"""What the migrations of MLflow 3.17.2 and its server need (measured); sql/mysql/grants.sql grants them."""


@dataclass(frozen=True, kw_only=True)
class Account(HostResource):
    """One user name: from each of `hosts` with exactly these rights and this password, and from no other."""

    name: str
    hosts: tuple[str, ...]
    """As the server compares them: an address, `10.0.0.0/255.255.255.0`, `localhost`."""
    encrypted: tuple[str, ...] = ()
    """Those of `hosts` from which it gets in by TLS only."""
    databases: tuple[str, ...]
    password: Secret
    limit: int
    """Connections it may have at once from each host."""
    mariadb: bool
    """The server is MariaDB: it keeps passwords in another form than MySQL."""
    server: ServerProbe
    fresh: bool = False
    """There is no server yet: what is not seen is absent."""
    guest: bool = False

    @property
    def mark(self) -> MarkProbe:
        return MarkProbe(f"role.{self.name}")

    @property
    def plugin(self) -> str:
        return passwords.NATIVE if self.mariadb else passwords.SHA2

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.server, self.mark)

    def diff(self, seen: Seen) -> Change | None:
        state, title = seen[self.server], f"user {self.name}"
        if not state.running and not self.fresh:
            return Change("check", "seen only while the server runs", title=title)
        reasons = {host: self._reasons(state.accounts[host], host) for host in self.hosts if host in state.accounts}
        absent = [host for host in self.hosts if host not in state.accounts]
        marked = seen[self.mark]
        extra = self._extra(state)
        words = [f"absent from {host}" for host in absent] if len(absent) < len(self.hosts) else ["absent"]
        words += [f"it may log in from {host[:60]}" for host in extra]
        words += [reason for host in reasons for reason in reasons[host]]
        if not words and not marked:
            words = ["not marked as this stack's"]
        if not words:
            return None
        asks = None
        if self.guest and not marked and state.accounts:
            asks = f"the user {self.name} was there before and gets this stack's password and rights"
        action = "create" if len(absent) == len(self.hosts) else "change"
        change = [host for host in self.hosts if host in absent or reasons[host]]
        payload = (change, extra, {host: state.accounts.get(host) for host in change})
        return Change(action, ", ".join(dict.fromkeys(words)), title=title, asks=asks, payload=payload)

    def _extra(self, state: ServerState) -> list[str]:
        """Hosts that nothing of this stack comes from, or no more."""
        return sorted(set(state.accounts) - set(self.hosts))

    def _reasons(self, account: AccountState, host: str) -> list[str]:
        reasons = []
        if account.password is not UNKNOWN and not self._right(account):
            reasons.append("its password differs")
        if account.locked:
            reasons.append("it is locked")
        if account.expired:
            reasons.append("its password is expired")
        if account.tls > int(host in self.encrypted):
            reasons.append("it must show a certificate" if account.tls > 1 else f"it must use TLS from {host}")
        elif account.tls < int(host in self.encrypted):
            reasons.append(f"it may log in without TLS from {host}")
        if account.limit != self.limit:
            reasons.append(f"connection limit {account.limit or 'none'}, wanted {self.limit}")
        return reasons + self._rights(account)

    def _right(self, account: AccountState) -> bool:
        kept = account.password
        if account.plugin != self.plugin or account.others or not isinstance(kept, Secret):
            return False
        try:
            return passwords.matches(self.plugin, self.password, bytes.fromhex(kept.reveal()))
        except ValueError:
            return False

    def _rights(self, account: AccountState) -> list[str]:
        wanted = {client.grantable(name): name for name in self.databases}
        reasons = []
        for key, name in wanted.items():
            lacking = PRIVILEGES - account.grants.get(key, frozenset())
            if lacking:
                some = "everything" if lacking == PRIVILEGES else ", ".join(sorted(lacking))
                reasons.append(f"it lacks {some} in {name}")
        if _beyond(account, wanted):
            reasons.append("it has rights beyond its databases")
        return reasons

    def after(self, seen: Seen) -> Seen:
        state = seen[self.server]
        grants = {client.grantable(name): PRIVILEGES for name in self.databases}
        wanted = AccountState(self.plugin, UNKNOWN, limit=self.limit, grants=grants)
        kept = {host: found for host, found in state.accounts.items() if host not in self._extra(state)}
        accounts = {**kept, **{host: replace(wanted, tls=int(host in self.encrypted)) for host in self.hosts}}
        return seen.put(self.server, replace(state, accounts=accounts)).put(self.mark, True)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = [client.FUNCTIONS]
        for account, change in items:
            hosts, extra, before = change.payload if change.payload is not None else (account.hosts, (), {})
            parts.append(made(account.mark.name))
            # Seen while the server was down: everything is put as it is wanted.
            for host in hosts if change.action != "check" else account.hosts:
                parts += account._at(host, before.get(host))
            parts += [f"{account._feed('drop_account', host)} | administer" for host in extra]
        return "\n".join(parts)

    def _at(self, host: str, was: AccountState | None) -> list[str]:
        kind = "mariadb" if self.mariadb else "mysql"
        lines = []
        if was is not None and was.plugin == self.plugin and isinstance(was.password, Secret) and not was.others:
            former = _ascii(was.password)
            if former and not self._right(was):
                back = self._feed(f"password_{kind}", host, password=former)
                text = f"{client.FUNCTIONS}\n{back} | administer\n"
                lines.append(f"{emit(text.encode())} | revert")
        new = passwords.stored(self.plugin, self.password).reveal()
        statements = [self._text(f"account_{kind}", host, password=new, limit=str(self.limit))]
        wanted = {client.grantable(name): name for name in self.databases}
        if was is None or _beyond(was, wanted):
            statements.append(self._text("revoke", host))
        statements += [self._text("grants", host, database=name) for name in self.databases]
        return [*lines, f"{emit(''.join(statements).encode())} | administer"]

    def _feed(self, name: str, host: str, **values: str) -> str:
        return emit(self._text(name, host, **values).encode())

    def _text(self, name: str, host: str, **values: str) -> str:
        text = assets.sql(f"mysql/{name}.sql").replace("@REQUIRE@", "SSL" if host in self.encrypted else "NONE")
        return client.statements(text, {"user": self.name, "host": host, **values})


def _beyond(account: AccountState, wanted: Mapping[str, str]) -> bool:
    """Rights that nobody asked for."""
    return bool(
        account.privileges
        or account.roles
        or account.more
        or any(key not in wanted or rights - PRIVILEGES for key, rights in account.grants.items())
    )


def _ascii(kept: Secret) -> str:
    """The catalogue's form as text; empty where it is none that a statement could carry."""
    try:
        text = bytes.fromhex(kept.reveal()).decode("ascii")
        client.literal(text)
    except ValueError:
        return ""
    return text
