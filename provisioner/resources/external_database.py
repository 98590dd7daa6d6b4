"""A PostgreSQL that this tool did not make, as MLflow's host sees it with the login that was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Asked, Probe, Seen
from provisioner.engine.quoting import encode, word
from provisioner.engine.resource import Change, HostResource
from provisioner.errors import ProvisionError
from provisioner.resources.external_look import Told, create, look
from provisioner.resources.external_way import Place, Trouble, Way, through
from provisioner.resources.paths import ABSENT, PathProbe
from provisioner.resources.remote_database import HEAD, RemoteTables
from provisioner.transport.base import Session
from provisioner.values import dataclass

SECONDS_IN_ALL = 50.0
"""For all addresses: whoever waits for a look waits a minute."""
SECONDS_TO_MAKE_ALL = 420.0


def _told(session: Session, place: Place, seconds: float, work: Callable[[Way], Told]) -> Told:
    try:
        return through(session, place, seconds, work)
    except Trouble as trouble:
        return Told(trouble.word, trouble.said)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        # Whatever a server says that no server says.
        return Told("answer", f"what it says makes no sense: {type(error).__name__}")


@dataclass(frozen=True)
class ExternalLook(Asked[Told]):
    """A look that needs nothing on the host, and changes nothing."""

    place: Place

    def ask(self, session: Session) -> Told:
        return _told(session, self.place, SECONDS_IN_ALL, look)


@dataclass(frozen=True, kw_only=True)
class ExternalDatabase(HostResource):
    """Role and database are there: made where they were not, by the administrator that was given. Everything else
    that is in the way is refused before a run, by the step.

    While it is made a file beside the marks says so: a run that was cut off is taken up by the next one, to which the
    database may look as if all had been done."""

    elsewhere: ClassVar[bool] = True

    place: Place = field(repr=False)
    look: ExternalLook | None
    """None: it was proven, and is not asked for again."""
    identity: str
    """The file that says which database it is: what is made is named there at once, before anything reads it."""
    first: bool = True
    """Of several of one role the first one makes it."""

    @property
    def making(self) -> PathProbe:
        """The file that is there while it is made."""
        return PathProbe(f"/etc/provision/making.database.{self.place.name}", read=False)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.making,)

    def diff(self, seen: Seen) -> Change | None:
        told = seen.get(self.look) if self.look is not None else None
        if told is None or told.word != "missing" or not told.missing:
            if seen[self.making].kind == "absent":
                return None
            return Change("run", "it was cut off while it was made", title=f"database {self.place.name}")
        made = {"role": f"role {self.place.login.user}", "database": f"database {self.place.name}"}
        title = " and ".join(made[each] for each in told.missing if self.first or each != "role")
        return Change("create", "absent", title=f"{title} at {self.place.hosts[0][0]}")

    def after(self, seen: Seen) -> Seen:
        told = seen.get(self.look) if self.look is not None else None
        if self.look is not None and told is not None and told.word == "missing":
            seen = seen.put(self.look, Told("ok", database=RemoteTables(0, "", "")))
        return seen.put(self.making, ABSENT)

    def prepare(self, session: Session, change: Change, say: Callable[[str], None]) -> Change:
        """Makes them, through the connection to the host; the payload is what names the database."""
        begun = f"mkdir -p -m 0755 /etc/provision && : >{word(self.making.path)} && echo begun\n"
        result = session.run(encode(begun))
        told = Told("host", "/etc/provision cannot be written")
        if result.stdout == b"begun\n":
            told = _told(session, self.place, SECONDS_TO_MAKE_ALL, create)
        if told.word != "ok" or told.database is None:
            raise ProvisionError(
                f"{self.step}: {change.title} failed",
                why=f"role and database were not made: {told.word} {told.said}".rstrip(),
                next="correct that, then run the same command again: it continues from what is there",
            )
        return replace(change, payload=told.database.which)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for database, change in items:
            path, folder = word(database.identity), word(database.identity.rsplit("/", 1)[0])
            parts += [
                f"[ -d {folder} ] || mkdir -p -m 0755 {folder}",
                f"keep {path}",
                f"printf '%s\\n%s\\n' {word(HEAD)} {word(str(change.payload))} >{path}.provision-new",
                f"chown root:root {path}.provision-new; chmod 0644 {path}.provision-new",
                f"mv -f -T -- {path}.provision-new {path}",
                f"rm -f -- {word(database.making.path)}",
            ]
        return "\n".join(parts)
