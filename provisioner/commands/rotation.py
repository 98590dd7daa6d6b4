"""`secrets rotate`: new values on both sides, one group after the other, each proven before the next.

A group is one exec on the host that takes everything back when a part of it fails, and that goes to its end when
the operator's side is gone. The host's own document is written last in it. The operator's copy is written before,
so that nothing generated is lost: it is newer then, and the next run finishes what a kill left.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from provisioner import accounts, secret_kinds, vault
from provisioner.certificates.material import ROOT
from provisioner.commands import sources
from provisioner.commands.agreement import Renew
from provisioner.commands.clients import recent
from provisioner.commands.converge import Converge
from provisioner.commands.kept import RECORD_STEP
from provisioner.commands.ledger import stamp
from provisioner.commands.options import select
from provisioner.commands.telling import source_notes, told
from provisioner.commands.view import NoStack, View, look
from provisioner.engine.plan import Plan
from provisioner.engine.resource import ClientResource, Planned
from provisioner.errors import Exit, ProtocolError, ProvisionError, Refused, Unreachable, UsageError
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult
from provisioner.steps import own_accounts

ALL = "all"
# The name of the store's administrator stays: what it owns is kept under it.
GROUPS: dict[str, tuple[str, ...]] = {
    "store.root": ("store.root.password",),
    "store.user": ("store.user.key", "store.user.secret"),
    "store.client": ("store.client.key", "store.client.secret"),
    "database.password": ("database.password",),
    "mlflow.flask-key": ("mlflow.flask-key",),
    "mlflow.kek": ("mlflow.kek",),
    "login": ("login",),
    "accounts": (),
    "tls.root": (ROOT,),
}
"""What is changed together, in the order of `all`; `accounts` are those that there are."""
USERS = {"login": accounts.OPERATOR, "tls.root": ""}
"""Of the groups that clients keep something of: the account by which they are known, empty for every client."""


Turn = tuple[str, ...]
"""The groups that are changed with one exec."""


def chosen(name: str) -> tuple[Turn, ...]:
    """The turns that rotate `name` (a group, a secret of one, `all`)."""
    if name == ALL:
        # The administrator by itself: with the new one the store's users are made.
        return (("store.root",), tuple(group for group in GROUPS if group != "store.root"))
    found = next((group for group, names in GROUPS.items() if name == group or name in names), None)
    if accounts.is_secret(name):
        return ((name,),)
    if found is None:
        raise UsageError(f"{name} is not a secret that can be rotated", next=f"one of: {', '.join(GROUPS)}, {ALL}")
    return ((found,),)


def members(group: str, secrets: vault.Vault, elsewhere: Collection[str] = ()) -> tuple[str, ...]:
    """The secrets of a group that this stack has and that can be made; of the accounts those whose password does
    not come from `elsewhere`."""
    names = GROUPS.get(group, (group,))
    if group == "accounts":
        names = tuple(name for name in secrets.live if accounts.is_secret(name) and name not in elsewhere)
    return tuple(name for name in names if name in secrets.live)


def generated(turns: Sequence[Turn], request: StackRequest, result: HostResult) -> Sequence[Turn]:
    """`turns` without the groups whose values come from elsewhere; UsageError (64) where no other was asked for."""
    asked = [group for turn in turns for group in turn]
    other = sources.of_groups({group: GROUPS.get(group, (group,)) for group in asked}, request)
    if all(group in other for group in asked):
        raise sources.refuse(other[asked[0]], select(request))
    stay = list(other.values())
    if "accounts" in asked:
        stay += [each for name, each in request.secret_sources.items() if accounts.is_secret(name)]
    result.told += [
        f"{each.secret} stays: its value comes from {each}; change it there, then:\n  provision {select(request)}"
        for each in stay
    ]
    left = (tuple(group for group in turn if group not in other) for turn in turns)
    return [turn for turn in left if turn]


def _makeable(turns: Sequence[Turn], view: View, arguments: str) -> Sequence[Turn]:
    """`turns` without the keys of a store and the login of a database that are somebody else's; UsageError (64) where
    nothing else was asked for."""
    given = set(secret_kinds.to_bring(view.settings))
    if not given:
        return turns
    left = [tuple(group for group in turn if not given & set(GROUPS.get(group, ()))) for turn in turns]
    if not any(left) and turns[0][0] == "database.password":
        raise UsageError(
            "database.password is not generated: it is of a role in a database that this tool did not make",
            why="the database is changed by its administrator, whose login is not kept here",
            next=f"as its administrator:  ALTER ROLE {view.settings.database.user} PASSWORD '…';\n"
            f"give it as database.password where [secrets] says, then:  provision {arguments}",
        )
    if not any(left):
        raise UsageError(
            f"{turns[0][0]} is not generated: it is a key of a store that this tool did not make",
            next=f"make a new key there, give it where [secrets] says, then:  provision {arguments}",
        )
    return [turn for turn in left if turn]


def renewed(secrets: vault.Vault, names: Sequence[str]) -> vault.Vault:
    """`secrets` with new values for `names`."""
    for key in secret_kinds.BEFORE.keys() & set(names):
        secrets = vault.changed(secrets, secret_kinds.BEFORE[key], secrets[key])
    for name in names:
        kind = secret_kinds.kind_of(name)
        if kind is not None and kind.make is not None:
            secrets = vault.changed(secrets, name, kind.make())
    return secrets


def returned(secrets: vault.Vault, earlier: vault.Vault, names: Sequence[str]) -> vault.Vault:
    """`secrets` with the values that `names` had in `earlier`, newer than all."""
    for key in secret_kinds.BEFORE.keys() & set(names):
        secrets = vault.changed(secrets, secret_kinds.BEFORE[key], secrets[key])
    for name in names:
        secrets = vault.changed(secrets, name, earlier[name])
    return secrets


class Rotation(Converge):
    """New secrets for one connected host."""

    atomic = True
    _renew: Renew | None = None
    _renewal = "a new value"
    _own = False
    """MLflow keeps the accounts."""
    _done: list[Planned]

    def of(self, turns: Sequence[Turn]) -> None:
        """Every turn, proven; raises what the first failure was, which is taken back by then."""
        view = self._look()
        if not view.exists:
            raise NoStack(
                f"{self.session.host} carries no stack of this tool", next=f"provision {select(self.request)}"
            )
        if view.plan:
            first = view.plan.changes[0]
            raise Refused(
                f"{self.session.host} is not as wanted: {len(view.plan.changes)} changes come first",
                why=f"{first.step}: {first.change.title or first.id}: {first.change.reason}",
                next=f"provision {select(self.request)}",
            )
        turns = self._possible(_makeable(turns, view, select(self.request)), view)
        elsewhere = self.request.secret_sources
        left = [turn for turn in turns if any(members(group, view.secrets.vault, elsewhere) for group in turn)]
        if not left:
            none = " and no ".join(group for turn in turns for group in turn)
            raise UsageError(f"this stack has no {none}", next=f"provision secrets list {select(self.request)}")
        self._willing()
        with self._counted():
            for groups in self._apart(left, view):
                self._rotate(groups, view.secrets.vault)
                self._count()
                view = self._tidy()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """What the result has of changes in the end is what all of the turns made, whatever they came to."""
        self._done = []
        self._count()
        try:
            yield
        finally:
            self._count()
            self.result.changes = self._done

    def _count(self) -> None:
        """What was changed since the last count is not forgotten with the next look."""
        self._done += self.result.changes
        self.result.changes = []

    def _possible(self, turns: Sequence[Turn], view: View) -> Sequence[Turn]:
        """`turns` without what cannot be made new on this stack."""
        return turns

    def _apart(self, turns: Sequence[Turn], view: View) -> Sequence[Turn]:
        """`turns`, where MLflow keeps the accounts with their logins in turns of their own: for those it must run,
        with a database's password that is not changed meanwhile."""
        self._own = own_accounts.chosen(view.settings)
        if not self._own:
            return turns
        parts = (
            tuple(group for group in turn if _is_login(group) is logins) for turn in turns for logins in (False, True)
        )
        elsewhere = self.request.secret_sources
        return [part for part in parts if any(members(each, view.secrets.vault, elsewhere) for each in part)] or turns

    def _tidy(self) -> View:
        """What the new values leave behind goes: the store's earlier user."""
        self.atomic, self._renew = False, None
        view = self._look()
        if view.plan:
            self._refuse(view)
            self._change(view)
        self.atomic = True
        return view

    def _rotate(self, groups: Turn, before: vault.Vault) -> None:
        parts = {group: members(group, before, self.request.secret_sources) for group in groups}
        names = [name for part in parts.values() for name in part]
        self._renew = lambda secrets: renewed(secrets, names)
        self._proven({group: part for group, part in parts.items() if part}, before)

    def _proven(self, parts: Mapping[str, Sequence[str]], before: vault.Vault) -> None:
        """One turn, which changes the secrets of `parts` (by group); where it fails both sides have those of
        `before` again."""
        names = [name for part in parts.values() for name in part]
        users = {group: recent(self.session, account) for group, account in USERS.items() if group in parts}
        try:
            self._turn()
        except (Unreachable, ProtocolError):
            raise  # the host may be done with it or not: the newer copy here finishes it with the next run
        except ProvisionError as error:
            if error.exit is not Exit.VERIFY:
                # MLflow's accounts are no file that is put back: one generation up, the next run gives them again.
                logins = [name for name in names if self._own and _is_login(name)]
                vault.write_controller(returned(before, before, logins))
                raise
            self._count()
            self._renew, self._renewal = (lambda secrets: returned(secrets, before, names)), "the earlier value again"
            self._turn()
            raise ProvisionError(
                f"{', '.join(parts)}: the earlier value is back, with the new one the verification failed",
                why=error.why or error.what,
                next=error.next,
                exit=Exit.VERIFY,
            ) from error
        for group, part in parts.items():
            self.result.told += told(group, part, users.get(group, ()), select(self.request))

    def _begin(self) -> None:
        # A stamp of its own: what is put back is as it was before this turn.
        while self.stamp == (now := stamp()):
            time.sleep(0.2)
        self.stamp = now
        self.result.step_seconds.clear()

    def _turn(self) -> None:
        self._begin()
        view = self._look()
        self._refuse(view)
        self._verify(self._change(view))

    def _view(self) -> View:
        return look(self.session, self.request, renew=self._renew, renewal=self._renewal)

    def _ordered(self, plan: Plan) -> Plan:
        """A new user of the store first, while the old one still serves; the host's document last. What could not
        be seen with the new values is looked at again after that, and the old user goes with the next look."""
        if not self.atomic:
            return plan
        staying = [_free(each) for each in plan.changes if each.change.action != "remove"]

        def place(planned: Planned) -> int:
            if isinstance(planned.resource, ClientResource):
                return 3 if planned.change.action == "check" else 0
            return 2 if planned.step == RECORD_STEP else 1

        return replace(plan, changes=tuple(sorted(staying, key=place)))


def _free(planned: Planned) -> Planned:
    """The host's document waits for nothing but its place, which is after all that it could wait for."""
    if planned.step != RECORD_STEP:
        return planned
    return replace(planned, resource=replace(planned.resource, needs=()))


class Taking(Rotation):
    """Values of the operator's own in the place of those that the stack has, the way that new ones go."""

    def of_sources(self, view: View) -> None:
        """`view` is the look in which they were found to differ. Everything else of the stack comes first, as in
        any run."""
        brought, late, notes = self.request.brought, view.secrets.replaced, source_notes(view)
        self.request = replace(self.request, brought={n: v for n, v in brought.items() if n not in late})
        self.atomic = False
        view = self._look()
        self._refuse(view)
        if view.plan:
            view = self._change(view)
        parts = _grouped(late)
        first, rest = [(each,) for each in parts if each == "store.root"], tuple(g for g in parts if g != "store.root")
        with self._counted():
            for groups in self._apart([*first, *([rest] if rest else [])], view):
                self.atomic = True
                turn = {group: parts[group] for group in groups}
                taken = {name: brought[name] for part in turn.values() for name in part if name in brought}
                self.request = replace(self.request, brought={**self.request.brought, **taken})
                self._proven(turn, view.secrets.vault)
                self._count()
                view = self._tidy()
        self.result.notes += [note for note in notes if note not in self.result.notes]


def _is_login(name: str) -> bool:
    """Whether a group or a secret is somebody's login."""
    return name == "accounts" or accounts.account_of(name) is not None


def _grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """`names` by the groups that they are of."""
    parts: dict[str, list[str]] = {}
    for name in names:
        group = next((group for group, own in GROUPS.items() if name in own), name)
        parts.setdefault(group, []).append(name)
    return parts
