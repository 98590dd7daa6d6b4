"""`user add|remove|list|passwd`: who may log in."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from provisioner import accounts, vault
from provisioner.certificates.material import trusted
from provisioner.commands import sources
from provisioner.commands.account_hosts import Seats, connected, looked_at
from provisioner.commands.env import shell, variables
from provisioner.commands.logins import Decide, Wanted, change
from provisioner.commands.options import Options, one_stack, select
from provisioner.errors import Exit, Refused, UsageError
from provisioner.report.answer import answer
from provisioner.secrets import Secret, generate
from provisioner.values import dataclass

_ROOM = 4096
"""Characters that are read of a given password."""


@dataclass(frozen=True)
class Password:
    """Where an account's password comes from: one that somebody chose, or a generated one."""

    chosen: Secret | None = None

    @property
    def value(self) -> Secret:
        return self.chosen or generate(24)


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

    def decide(seats: Seats) -> Wanted:
        view = seats.view
        secret, document = accounts.secret_of(account), view.secrets.vault
        entry = document.live.get(secret)
        if entry is None and account not in seats.in_mlflow:
            document = vault.changed(document, secret, password.value)
        elif entry is None or not seats.lacks(document, account):
            known = f"provision secrets show {secret} {select(view.request)}" if entry else "the one given in MLflow"
            raise Refused(
                f"the account {account} is there already",
                next=f"its password:   {known}\nanother one:    provision user passwd {account} {select(view.request)}",
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

    def decide(seats: Seats) -> Wanted:
        secret, document = accounts.secret_of(account), seats.view.secrets.vault
        before = _live(document, account, seats)
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

    def decide(seats: Seats) -> Wanted:
        secret, document = accounts.secret_of(account), seats.view.secrets.vault
        entry = document.entries.get(secret)
        if entry is not None and entry.removed:
            return Wanted(document)
        before = _live(document, account, seats)
        return Wanted(vault.without(document, secret), refused=before)

    view = change("user remove", options, account, decide)
    lines = [f"{account} is no account any more at {view.named().url}"]
    if account in view.settings.access.users:
        lines.append(f"access.users still names {account}: take it out of the inventory, it stays removed either way")
    answer("user remove", lines, as_json=options.json, stack=view.request.id, user=account)
    return Exit.OK


def list_users(options: Options) -> Exit:
    """Every account; no passwords."""
    request = one_stack(options)
    with connected(options) as places:
        seats = looked_at(places)
    view = seats.view
    known = accounts.passwords(view.secrets.vault.secrets())
    rows = [
        {"name": name, "operator": name == accounts.OPERATOR, "declared": name in view.settings.access.users}
        for name in dict.fromkeys((*known, *sorted(seats.in_mlflow)))
    ]
    notes = {accounts.OPERATOR: "the operator's own"}
    notes.update(dict.fromkeys(view.settings.access.users, "named by access.users"))
    notes.update(dict.fromkeys(seats.in_mlflow - set(known), "made in MLflow"))
    lines = [f"{row['name']:<20} {notes.get(str(row['name']), '')}".rstrip() for row in rows]
    answer("user list", lines, as_json=options.json, stack=request.id, users=rows)
    return Exit.OK


def _granted(command: str, options: Options, account: str, password: Password, decide: Decide) -> Exit:
    """Change, and show what a client pastes: with the password where it was generated."""
    made: list[Wanted] = []

    def remembered(seats: Seats) -> Wanted:
        made[:] = [decide(seats)]
        return made[0]

    view = change(command, options, account, remembered)
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
    if trusted(view.settings.access.encryption, view.context.secrets):
        print(f"They need the file of its root, too: provision env --ca FILE {select(view.request)}", file=sys.stderr)
    return Exit.OK


def _named(name: str) -> str:
    try:
        return accounts.name(name)
    except ValueError as error:
        raise UsageError("that is no account's name", why=f"expected {error}") from None


def _live(document: vault.Vault, account: str, seats: Seats) -> Secret | None:
    """Its password; None for an account that was made in MLflow. UsageError where there is no such account."""
    entry = document.live.get(accounts.secret_of(account))
    if entry is None and account in seats.in_mlflow:
        return None
    if entry is None:
        there: Sequence[str] = tuple(accounts.passwords(document.secrets()))
        raise UsageError(
            f"no account is called {account}",
            why=f"there are {', '.join(there)}",
            next=f"provision user add {account} {select(seats.view.request)}",
        )
    return entry.value


def _asked_twice() -> Secret:
    from provisioner.asking import secretly

    instead = "use --password-stdin, or neither: one is made"
    first = accounts.password(secretly("password: ", "--ask-password", instead))
    if secretly("once more: ", "--ask-password", instead) != first.reveal():
        raise UsageError("the two are not the same", next="try again; nothing was changed")
    return first
