"""`user add|remove|list|passwd`: who may log in. Changes the secrets and what is rendered from them for
logins, at once and on both sides, and nothing else on the host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from provisioner import accounts, audit, lock, vault
from provisioner.commands import sources
from provisioner.commands.access import ways
from provisioner.commands.env import shell, variables
from provisioner.commands.options import Options, one_stack, select, session
from provisioner.commands.view import NoStack, View, look, record_resources
from provisioner.engine import plan
from provisioner.engine.apply import Run
from provisioner.engine.events import Done, Event, Failed
from provisioner.engine.plan import Plan
from provisioner.engine.resource import Planned
from provisioner.errors import Exit, ProvisionError, Refused, UsageError
from provisioner.report.answer import answer
from provisioner.secrets import Secret, generate
from provisioner.transport.base import Session
from provisioner.values import dataclass

STEP = "proxy"
"""Whose resources say who gets in."""
_RENDERED = frozenset({"file:secrets.json", "file:nginx-accounts"})
"""The resources that an account's change is allowed to change."""
_ROOM = 4096
"""Characters that are read of a given password."""


@dataclass(frozen=True)
class Password:
    """Where an account's password comes from: one that somebody chose, or a generated one."""

    chosen: Secret | None = None

    @property
    def value(self) -> Secret:
        return self.chosen or generate(24)


@dataclass(frozen=True)
class Wanted:
    """The secrets as they shall be, and the passwords that then must and must not open the door."""

    vault: vault.Vault
    opens: Secret | None = None
    refused: Secret | None = None


Decide = Callable[[View], Wanted]


def password_given(*, stdin: bool, ask: bool) -> Password:
    """The password of the call, checked before anything is looked at; UsageError when it is not good."""
    if stdin and ask:
        raise UsageError("--password-stdin and --ask-password are both given", next="leave one of them out")
    if stdin:
        text = sys.stdin.read(_ROOM).removesuffix("\n").removesuffix("\r")
        return Password(accounts.password(text))
    return Password(_asked_twice()) if ask else Password()


def add(options: Options, name: str, password: Password) -> Exit:
    """A new account; one that an earlier call only began is finished."""
    account = _named(name)

    def decide(view: View) -> Wanted:
        secret, document = accounts.secret_of(account), view.secrets.vault
        entry = document.live.get(secret)
        if entry is None:
            document = vault.changed(document, secret, password.value)
        elif not _plan(view, document):
            raise Refused(
                f"the account {account} is there already",
                next=f"its password:   provision secrets show {secret} {select(view.request)}\n"
                f"another one:    provision user passwd {account} {select(view.request)}",
            )
        elif password.chosen not in (None, entry.value):
            document = vault.changed(document, secret, password.value)
        return Wanted(document, opens=document[secret])

    return _granted("user add", options, account, password, decide)


def passwd(options: Options, name: str, password: Password) -> Exit:
    """Another password for an account; the former one opens nothing any more."""
    account = _named(name)
    request = one_stack(options)
    if (source := request.secret_sources.get(accounts.secret_of(account))) is not None:
        raise sources.refuse(source, select(request))

    def decide(view: View) -> Wanted:
        secret, document = accounts.secret_of(account), view.secrets.vault
        before = _live(document, account, view)
        after = vault.changed(document, secret, password.value)
        return Wanted(after, opens=after[secret], refused=before if before != after[secret] else None)

    return _granted("user passwd", options, account, password, decide)


def remove(options: Options, name: str) -> Exit:
    """End an account. Saying it twice is no error: what an earlier call only began is finished."""
    account = _named(name)
    if account == accounts.OPERATOR:
        raise UsageError(
            f"{account} is the operator's own account and stays",
            why="`verify`, `env` and every run use it",
            next=f"another password for it:  provision user passwd {account}",
        )

    def decide(view: View) -> Wanted:
        secret, document = accounts.secret_of(account), view.secrets.vault
        entry = document.entries.get(secret)
        if entry is not None and entry.removed:
            return Wanted(document)
        before = _live(document, account, view)
        return Wanted(vault.without(document, secret), refused=before)

    view = _change("user remove", options, account, decide)
    lines = [f"{account} is no account any more at {view.named().url}"]
    if account in view.settings.access.users:
        lines.append(f"access.users still names {account}: take it out of the inventory, it stays removed either way")
    answer("user remove", lines, as_json=options.json, stack=view.request.id, user=account)
    return Exit.OK


def list_users(options: Options) -> Exit:
    """Every account; no passwords."""
    request = one_stack(options)
    with session(request, options) as connection:
        view = _look(connection, options)
    rows = [
        {"name": name, "operator": name == accounts.OPERATOR, "declared": name in view.settings.access.users}
        for name in accounts.passwords(view.secrets.vault.secrets())
    ]
    notes = {accounts.OPERATOR: "the operator's own"}
    notes.update(dict.fromkeys(view.settings.access.users, "named by access.users"))
    lines = [f"{row['name']:<20} {notes.get(str(row['name']), '')}".rstrip() for row in rows]
    answer("user list", lines, as_json=options.json, stack=request.id, users=rows)
    return Exit.OK


def _granted(command: str, options: Options, account: str, password: Password, decide: Decide) -> Exit:
    """Change, and show what a client pastes: with the password where it was generated."""
    made: list[Wanted] = []

    def remembered(view: View) -> Wanted:
        made[:] = [decide(view)]
        return made[0]

    view = _change(command, options, account, remembered)
    assert made[0].opens is not None
    values = {**variables(view), "MLFLOW_TRACKING_USERNAME": account}
    values.pop("MLFLOW_TRACKING_PASSWORD", None)
    if password.chosen is None:
        values["MLFLOW_TRACKING_PASSWORD"] = made[0].opens.reveal()
    if options.json:
        answer(command, (), as_json=True, stack=view.request.id, user=account, env=values)
        return Exit.OK
    sys.stdout.write(shell(values))
    told = f"the account {account} is there" if command == "user add" else f"{account} has another password"
    shown = f"shown again by: provision secrets show {accounts.secret_of(account)} {select(view.request)}"
    print(f"{told}; its login opens {view.named().url}", file=sys.stderr)
    if password.chosen is None:
        print(f"What stands above is what a client pastes; {shown}", file=sys.stderr)
    return Exit.OK


def _change(command: str, options: Options, account: str, decide: Decide) -> View:
    """Under the host's lock: the secrets here, then there with what is rendered from them; then the proof."""
    with session(one_stack(options), options) as connection:
        view = _look(connection, options)
        decide(view)  # what is refused is refused before the lock is waited for
        owner = view.seen[lock.OWNER].content
        with lock.hold(
            connection,
            command=f"provision {command}",
            seen_owner=owner if isinstance(owner, bytes) else b"",
            say=options.say or (lambda _: None),
        ) as holding:
            if holding.moved:
                view = _look(connection, options)
            wanted = decide(view)
            # Here first, as in every run: a killed one must not lose what it made.
            vault.write_controller(wanted.vault)
            _run(connection, view, command, _plan(view, wanted.vault), holding.owner)
        _prove(connection, view, account, wanted)
    return view


def _look(connection: Session, options: Options) -> View:
    """The stack as its host records it, with the steps that render accounts. Refused (exit 4) where
    there is none, where it has no accounts, and where it is not whole."""
    request = one_stack(options)
    view = look(connection, request.as_recorded(), (STEP,), clients=False)
    run = f"provision {select(request)}"
    if not view.exists:
        raise NoStack(f"{connection.host} carries no stack of this tool", next=run)
    if view.settings.access.auth == "none":
        raise Refused(
            "this stack has no accounts: whoever reaches it is in",
            next=f"provision --set access.auth=password {select(request)}",
        )
    unmet = [p for p in view.plan.unmet if p.step == STEP and p.id not in _RENDERED]
    if view.secrets.generated or unmet:
        lacks = [*view.secrets.generated, *(p.change.title or p.id for p in unmet)]
        raise Refused("the stack is not whole", why=f"it lacks {', '.join(lacks[:4])}", next=run)
    return view


def _plan(view: View, document: vault.Vault) -> Plan:
    """What `document` changes on the host as it was seen, in what is rendered for logins."""
    context = replace(view.context, secrets=document.secrets())
    (step,) = (step for step in view.steps if step.name == STEP)
    rendered = [*record_resources(view.settings, document, view.request.id), *step.resources(context)]
    return plan.make([each for each in rendered if each.id in _RENDERED], view.seen)


def _run(connection: Session, view: View, command: str, changes: Plan, owner: str) -> None:
    audited: list[audit.Event] = []

    def line(planned: Planned, result: str, seconds: float) -> audit.Event:
        return audit.Event(
            time=datetime.now(UTC),
            stack=view.request.id,
            host=view.request.host.name,
            command=f"provision {command}",
            step=planned.step,
            resource=planned.id,
            action=planned.change.action,
            reason=planned.change.reason,
            result=result,
            seconds=seconds,
            operator=lock.operator(),
        )

    def emit(event: Event) -> None:
        if isinstance(event, Done | Failed):
            audited.append(line(event.planned, "ok" if isinstance(event, Done) else "failed", event.seconds))

    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    run = Run(
        connection,
        changes,
        stamp=stamp,
        emit=emit,
        journal=lambda planned, result: audit.host_lines([line(planned, result, 0.0)]),
        owner=owner,
    )
    try:
        run.all()
    finally:
        audit.append(view.request.id, audited)


def _prove(connection: Session, view: View, account: str, wanted: Wanted) -> None:
    """The login opens, the former one does not; ProvisionError (exit 5) where that is not so."""
    from provisioner.verify.api import Api
    from provisioner.verify.deadline import Deadline
    from provisioner.verify.http import HttpError

    with ways(connection, view, select(view.request)) as access:

        def status(password: Secret) -> int:
            api = Api(replace(access.target, username=account, password=password), Deadline(20))
            try:
                return api.raw("GET", "/version", limit=65536).status
            finally:
                api.close()

        try:
            opens = status(wanted.opens) if wanted.opens is not None else None
            refused = status(wanted.refused) if wanted.refused is not None else None
        except HttpError as error:
            raise _unproven(view, str(error)) from None
    if opens == 401:
        raise _unproven(view, f"the login of {account} is refused")
    if refused not in (None, 401):
        raise _unproven(view, f"the former login of {account} still opens (HTTP {refused})")
    if opens not in (None, 200):
        print(f"the login of {account} is let in, but MLflow answers {opens}: provision verify", file=sys.stderr)


def _unproven(view: View, why: str) -> ProvisionError:
    return ProvisionError(
        f"the accounts were changed, and {view.named().url} does not show it",
        why=why,
        next=f"provision {select(view.request)}",
        exit=Exit.VERIFY,
    )


def _named(name: str) -> str:
    try:
        return accounts.name(name)
    except ValueError as error:
        raise UsageError("that is no account's name", why=f"expected {error}") from None


def _live(document: vault.Vault, account: str, view: View) -> Secret:
    entry = document.live.get(accounts.secret_of(account))
    if entry is None:
        there: Sequence[str] = tuple(accounts.passwords(document.secrets()))
        raise UsageError(
            f"no account is called {account}",
            why=f"there are {', '.join(there)}",
            next=f"provision user add {account} {select(view.request)}",
        )
    return entry.value


def _asked_twice() -> Secret:
    from provisioner.asking import secretly

    instead = "use --password-stdin, or neither: one is made"
    first = accounts.password(secretly("password: ", "--ask-password", instead))
    if secretly("once more: ", "--ask-password", instead) != first.reveal():
        raise UsageError("the two are not the same", next="try again; nothing was changed")
    return first
