"""Our block in a cluster's pg_hba.conf."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Self

from provisioner import assets
from provisioner.engine.probe import Seen, look
from provisioner.engine.quoting import emit, printable, word
from provisioner.engine.resource import UNKNOWN, Change
from provisioner.errors import ProvisionError
from provisioner.resources.paths import PathResource, PathState, ago
from provisioner.resources.postgresql import hba, psql
from provisioner.resources.postgresql.hba import Access
from provisioner.transport.base import Session
from provisioner.values import dataclass


@dataclass(frozen=True, kw_only=True)
class HostAccess(PathResource):
    """The block that lets one role into one database, in pg_hba.conf of a cluster. Its other lines
    stay as they are. A file that the server would not accept is put back in the same exec."""

    access: Access
    version: str
    keep: Callable[[Sequence[str]], str] | None = field(default=None, compare=False, repr=False)
    """Networks that somebody let in -> the setting that says the same."""

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        title = self.path
        if state.kind == "absent":
            return Change("create", "absent", title=title, diff=tuple(f"+{line}" for line in self.access.lines))
        if state.content is UNKNOWN:
            return None
        if not isinstance(state.content, bytes):
            raise ProvisionError(f"{self.path} cannot be read", why=f"it is a {state.kind}, or larger than 256 KiB")
        wanted = hba.applied(state.content, self.access)
        if wanted == state.content:
            return None
        reason = printable(hba.reason(state.content, self.access))
        if "absent" not in reason:
            reason += f"; last changed {ago(state.age)}"
        more = [each for each in hba.networks(state.content) if each not in self.access.everywhere]
        return Change(
            "change",
            reason,
            title=title,
            diff=_diff(state.content, wanted),
            keep=self.keep(more) if self.keep is not None else "",
            payload=(state.content, wanted),
        )

    def after(self, seen: Seen) -> Seen:
        state = seen[self.probe]
        if isinstance(state.content, bytes):
            return seen.put(self.probe, replace(state, content=hba.applied(state.content, self.access)))
        return seen.put(self.probe, PathState("file", 0o640, "postgres", "postgres", UNKNOWN))

    def prepare(self, session: Session, change: Change, say: Callable[[str], None]) -> Change:
        """A file that the package only just made is read now."""
        if change.payload is not None:
            return change
        seen = look(session, self.probes())
        if seen[self.probe].kind == "absent":
            raise ProvisionError(
                f"{self.path} is still absent",
                why="another version of PostgreSQL was installed than expected",
                next="run the same command again: it uses the version that is there",
            )
        found = self.diff(seen)
        return found if found is not None else replace(change, payload=(b"", b""))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        return "\n".join(_place(access, *change.payload) for access, change in items if change.payload[1])


def _place(item: HostAccess, before: bytes, wanted: bytes) -> str:
    path, beside = word(item.path), word(item.path + ".provision-new")
    digest = hashlib.sha256(before).hexdigest()
    return f"""[ "$(sha256sum <{path})" = "{digest}  -" ] || {{ echo {path} 'was changed meanwhile' >&2; exit 1; }}
keep {path}
rm -f -- {beside}
cp -p -- {path} {beside}
{emit(wanted)} >{beside}
mv -f -T -- {beside} {path}
{psql.running(item.version)}
if [ -n "$port" ]; then
  {psql.feed(assets.sql("postgresql/hba_errors.sql"))} | administer postgres >"$T/hba.errors" ||
    echo 'pg_hba.conf could not be checked' >>"$T/hba.errors"
  if [ -s "$T/hba.errors" ]; then
    put_back {path}
    sed 's/^/why /' "$T/hba.errors" >&2
    echo 'next correct that line, then run the same command again' >&2
    exit 1
  fi
fi"""


def _diff(before: bytes, wanted: bytes) -> tuple[str, ...]:
    old, new = (printable(data.decode("utf-8", "replace")).splitlines() for data in (before, wanted))
    lines = difflib.unified_diff(old, new, lineterm="", n=1)
    return tuple(line for line in lines if not line.startswith(("---", "+++")))[:60]
