"""`secrets rotate` on a stack of several hosts: one exec cannot hold both sides of a secret there.

A turn is a new generation of its secrets, brought about in an order. Every host is looked at, locked and willing; the
operator's copy is written; then what gives (store, database) changes on its hosts, and what takes (MLflow, one server
after the other, and the proxy) on theirs. On each host each part is one exec, all or nothing, with the host's document
last in the first of them. Then all is proven once. A failure opens one more generation with the earlier values, the
same way; a kill leaves the newest generation here and on the hosts that have it: the next run brings it to the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from provisioner import vault
from provisioner.commands.agreement import Company
from provisioner.commands.clients import recent
from provisioner.commands.converge import LOCKED, PROVEN, STARTING
from provisioner.commands.kept import RECORD_STEP
from provisioner.commands.meeting import Team
from provisioner.commands.options import select
from provisioner.commands.rotation import GROUPS, USERS, Rotation, Turn, returned
from provisioner.commands.telling import told
from provisioner.commands.view import View, look
from provisioner.engine.plan import Plan
from provisioner.errors import Exit, ProtocolError, ProvisionError, Refused, Unreachable
from provisioner.values import dataclass

_GIVING = frozenset({"store", "database"})
"""The roles whose services let somebody in by a secret that another host shows."""


@dataclass(frozen=True)
class Outcome:
    """How a turn ended on one host."""

    error: ProvisionError | None
    begun: bool
    """The new values may be on some host."""


class Followed(ProvisionError):
    """Another host failed, and this one stopped."""


class Together(Rotation):
    """New secrets for a stack of several hosts, as the thread of one of them gives them."""

    _all: Team | None = None
    _rounds = 0
    _begun = False
    _kept: vault.Vault | None = None
    """What a turn makes of this machine's copy."""
    _holds_door = False

    def _view(self) -> View:
        return look(self.session, self.request, renew=self._renew, renewal=self._renewal, company=self.company)

    def _look(self) -> View:
        view = super()._look()
        # Of one that refuses its own report says why; see `_willing`.
        gone = {name for name, error in self.team.meeting.gone().items() if error.exit is not Exit.REFUSED}
        here = {*self.team.meeting.names} - gone
        absent = [member.name for member in view.settings.topology.members if member.name not in here]
        if absent:
            raise Refused(
                f"a secret is made new on all hosts of the stack together, and {', '.join(absent)} takes no part",
                next=f"provision {select(self.request.whole)}".rstrip(),
            )
        self._holds_door = view.context.here.holds("proxy")
        return view

    def _possible(self, turns: Sequence[Turn], view: View) -> Sequence[Turn]:
        stay = {"tls.root": "every host must trust the next root before one shows a certificate of it"}
        if view.settings.topology.spread("store"):
            stay["store.root"] = "its servers know each other by it, so that none could be taken back by itself"
        asked = [group for turn in turns for group in turn]
        left = [tuple(group for group in turn if group not in stay) for turn in turns]
        names = view.secrets.vault.live
        held = {g: why for g, why in stay.items() if g in asked and any(each in names for each in GROUPS.get(g, ()))}
        if not any(left):
            raise Refused(
                f"{asked[0]} is not rotated on a stack of several hosts yet",
                why=stay[asked[0]],
                next=f"the others are:  provision secrets rotate all {select(self.request)}".rstrip(),
            )
        if self.team.leads:
            self.result.told += [f"{group} stays on a stack of several hosts: {why}" for group, why in held.items()]
        return [turn for turn in left if turn]

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        """A meeting of its own: a host that fails in it leaves it, and still takes part in what follows."""
        everybody = self._all = self._all or self.team
        self._rounds += 1
        meeting = everybody.meeting.agree(everybody.name, f"round-{self._rounds}", None, everybody.meeting.apart)
        self.team = Team(meeting, everybody.name, everybody.sessions)
        self.company = Company(meeting, everybody.name)
        try:
            yield
        except Exception as error:
            meeting.leave(everybody.name, error if isinstance(error, ProvisionError) else ProvisionError("a fault"))
            raise
        finally:
            meeting.leave(everybody.name, None)

    def _tidy(self) -> View:
        self.atomic, self._renew = False, None
        with self._meeting():
            view = self._look()
            self._refuse(view)
            self._willing()
            if view.plan:
                self._change(view)
            else:
                self.team.tell(LOCKED, *(step.name for step in view.all_steps))
            self._everybody("worked")
        self.atomic = True
        return view

    def _proven(self, parts: Mapping[str, Sequence[str]], before: vault.Vault) -> None:
        names = [name for part in parts.values() for name in part]
        users: dict[str, Sequence[str]] = {}
        if self._holds_door:
            users = {group: recent(self.session, account) for group, account in USERS.items() if group in parts}
        own, ends = self._tried()
        own = None if isinstance(own, Followed) else own
        failed = {name: end.error for name, end in ends.items() if end.error is not None}
        assert self._all is not None
        if not failed and len(ends) == len(self._all.meeting.names):
            for group, part in parts.items() if self._holds_door else ():
                self.result.told += told(group, part, users.get(group, ()), select(self.request))
            return
        # The copy here has the new values: where they are not yet, the next run brings them.
        if len(ends) < len(self._all.meeting.names):
            raise own or self._unfinished(failed)
        if not any(end.begun for end in ends.values()):
            self._agreed("unchanged", lambda _: self._undo(before))
            raise own or Followed("nothing was changed here", why=_who(failed), exit=_first(failed).exit)
        if any(_lost(error) for error in failed.values()):
            raise own or self._unfinished(failed)
        self._renew, self._renewal = (lambda secrets: returned(secrets, before, names)), "the earlier value again"
        self.patience = STARTING
        _, again = self._tried()
        left = {name: end.error for name, end in again.items() if end.error is not None}
        if left or len(again) < len(ends):
            raise self._unfinished(left or failed)
        first = _first(failed)
        try:
            self._tidy()
        except ProvisionError as error:
            self.result.notes.append(f"what the new value left behind stays for the next run: {error.what}")
        raise ProvisionError(
            f"{', '.join(parts)}: the earlier value is back on every host",
            why="\n".join(filter(None, [_who(failed), first.why])),
            next=first.next,
            exit=first.exit,
        ) from own

    def _undo(self, before: vault.Vault) -> None:
        """The copy as it was, unless another command has changed it meanwhile."""
        copy, _ = vault.read_controller(self.request.id)
        if self._kept is not None and copy == self._kept:
            vault.write_controller(before)

    def _tried(self) -> tuple[ProvisionError | None, Mapping[str, Outcome]]:
        """One turn: what it failed with here, and how it ended on every host."""
        error = None
        self._begun = False
        try:
            self._turn()
        except ProvisionError as failure:
            error = failure
        self._count()
        ends = self._agreed(f"end-{self._rounds}", dict, Outcome(error, self._begun))
        return error, ends

    def _agreed(self, question: str, decide: Callable[[Mapping[str, Any]], Any], brought: object = None) -> Any:
        assert self._all is not None
        return self._all.meeting.agree(self._all.name, question, brought, decide)

    def _unfinished(self, failed: Mapping[str, ProvisionError]) -> ProvisionError:
        return ProvisionError(
            "the change of secrets is not finished on every host",
            why=_who(failed),
            next=f"provision {select(self.request.whole)}".rstrip(),
            exit=_first(failed).exit if failed else Exit.FAILED,
        )

    def _turn(self) -> None:
        self._begin()
        with self._meeting():
            view = self._look()
            self._refuse(view)
            self._willing()
            if view.plan:
                view = self._change(view)
            else:
                self.team.tell(LOCKED)
                self._give(view, "")
            self._everybody("worked")
            if self.team.leads:
                self._verify(view)
            else:
                self.team.wait_for_leader(PROVEN)

    def _keep(self, view: View) -> None:
        """New values are kept once every host is ready for them: see `_give`."""
        if not self.atomic:
            super()._keep(view)

    def _staged(self, view: View, owner: str) -> View:
        if not self.atomic:
            return super()._staged(view, owner)
        self._give(view, owner)
        return view

    def _give(self, view: View, owner: str) -> None:
        """The new values on this host: first what gives, and once all hosts have that, what takes."""

        def keep(_: object) -> None:
            if not self.team.meeting.gone():
                vault.write_controller(view.secrets.vault)

        self._kept = view.secrets.vault
        self._everybody("held", keep)
        self._begun = True
        giving, taking = _parts(view)
        self._part(view, giving, owner)
        self._everybody("given")
        if any(planned.step == "mlflow" for planned in taking.changes):
            servers = [member.name for member in view.settings.topology.of("mlflow")]
            earlier = servers[: servers.index(self.team.name)][-1:]
            try:
                self.team.meeting.wait([f"step:mlflow@{name}" for name in earlier])
            except ProvisionError as error:
                raise Followed("nothing more was changed here", why=error.what, exit=error.exit) from error
        self._part(view, taking, owner)
        self.team.tell("mlflow")

    def _part(self, view: View, plan: Plan, owner: str) -> None:
        if plan:
            self._run(view, plan, owner)

    def _everybody(self, question: str, decide: Callable[[Mapping[str, Any]], Any] = dict) -> None:
        """Until every host is here; ProvisionError where one is not any more."""
        self.team.meeting.agree(self.team.name, question, True, decide)
        gone = self.team.meeting.gone()
        if gone:
            raise Followed("nothing more was changed here", why=_who(gone), exit=_first(gone).exit)


def _parts(view: View) -> tuple[Plan, Plan]:
    """What gives, and what takes. The host's document goes with the first: who has a value keeps it."""
    giving = {step.name for step in view.all_steps if set(step.roles) <= _GIVING}
    first = tuple(planned for planned in view.plan.changes if planned.step in giving)
    if first:
        first = tuple(planned for planned in view.plan.changes if planned.step in {*giving, RECORD_STEP})
    ids = {planned.id for planned in first}
    later = tuple(planned for planned in view.plan.changes if planned.id not in ids)
    return replace(view.plan, changes=first), replace(view.plan, changes=later)


def _lost(error: ProvisionError) -> bool:
    """Whether the host may have done what it was asked to, for all that is known."""
    return isinstance(error, Unreachable | ProtocolError) or error.exit is Exit.INTERRUPTED


def _who(failed: Mapping[str, ProvisionError]) -> str:
    """`m1: what failed; m2: …`, of those that failed by themselves."""
    own = {name: error for name, error in failed.items() if not isinstance(error, Followed)} or failed
    return "; ".join(f"{name}: {error.what}" for name, error in own.items())


def _first(failed: Mapping[str, ProvisionError]) -> ProvisionError:
    """One that failed by itself, where there is one."""
    return next((error for error in failed.values() if not isinstance(error, Followed)), next(iter(failed.values())))
