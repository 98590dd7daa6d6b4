"""What every command tells of a host that it has looked at, and of a verification."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from provisioner import accounts, controller
from provisioner.commands.access import store_url
from provisioner.commands.options import select
from provisioner.commands.view import View
from provisioner.engine.resource import Planned
from provisioner.errors import Exit, ProvisionError
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.reserved import EXPOSED
from provisioner.settings import kept as kept_settings
from provisioner.sources import Source

if TYPE_CHECKING:
    from provisioner.verify.run import Outcome


def keep(changes: Sequence[Planned]) -> list[str]:
    """How to keep what was edited on the host. Nothing where the settings were changed in this run: then
    that is why the files differed."""
    if any(planned.id == "file:stack.toml" for planned in changes):
        return []
    return list(dict.fromkeys(line for planned in changes for line in planned.change.keep.splitlines()))


def fill(result: HostResult, view: View) -> None:
    """What every command tells of a host it has looked at."""
    result.select = select(view.request)
    result.facts = view.facts
    result.total = view.plan.total
    result.changes = list(view.plan.changes)
    result.planned = list(view.plan.changes)
    result.refused = list(view.plan.refused)
    result.fresh = not view.exists
    result.unseen = not controller.finished_before(view.request.id)
    result.steps = {step.name: step.headline(view.context) for step in view.steps}
    result.url = "" if view.unnamed else view.context.door.url
    result.store_url = store_url(view.context.door, view.settings) if view.settings.store.expose and result.url else ""
    result.login = view.settings.access.auth != "none"
    result.version = view.settings.mlflow.version
    result.warnings = list(view.warnings)
    result.notes = [
        f"kept {key} = {value!r} from the host's record; the inventory does not name it"
        for key, value in kept_settings(view.settings, view.request.inventory)
    ]
    result.notes += [*account_notes(view), *switch_notes(view), *exposure_notes(view), *source_notes(view)]


_SWITCHED = {
    "password": "nginx asks for the login",
    "mlflow": "MLflow asks for the login, with permissions of its own: new accounts may read everything",
    "none": "clients need no login any more; one that they still send is ignored",
}


def switch_notes(view: View) -> list[str]:
    """What clients must change when another part asks for the login."""
    before, now = view.recorded.values.get("access.auth") if view.recorded else None, view.settings.access.auth
    if before in (None, now):
        return []
    lines = [f"access.auth is {now} instead of {before}: {_SWITCHED[now]}"]
    if before == "none":
        lines.append("clients need a login now: provision env, provision user add NAME")
    if before != "none" and now != "none":
        lines.append("accounts that `provision user` made keep their names and passwords: clients change nothing")
    if before == "mlflow":
        lines.append("accounts and passwords made in MLflow itself count no more: provision user add NAME")
    return lines


def exposure_notes(view: View) -> list[str]:
    """What clients must change when the store's own port opens or closes."""
    before, now = view.recorded and bool(view.recorded.values.get("store.expose")), view.settings.store.expose
    if before in (None, now):
        return []
    direct = view.settings.artifacts.mode == "direct"
    if now and direct:
        return [
            f"store.expose: the store answers on port {EXPOSED} too; clients that have the URL's address of it go on, "
            "`provision env` tells the new one"
        ]
    if now:
        return [
            f"store.expose: the store answers on port {EXPOSED} too, for who has store.client.key and "
            "store.client.secret (provision secrets show); MLflow's clients change nothing"
        ]
    if direct:
        return [
            f"store.expose: port {EXPOSED} closes; clients that use it need the URL's address of it: `provision env`"
        ]
    return [
        f"store.expose: port {EXPOSED} closes, and the clients' key opens nothing any more; MLflow's clients change "
        "nothing"
    ]


def account_notes(view: View) -> list[str]:
    """Names of `access.users` that do not fit the accounts that there are."""
    entries = view.secrets.vault.entries
    named = {account: entry for secret, entry in entries.items() if (account := accounts.account_of(secret))}
    return accounts.odd(
        view.settings.access.users,
        view.recorded.values.get("access.users", ()) if view.recorded else (),
        [account for account, entry in named.items() if not entry.removed],
        [account for account, entry in named.items() if entry.removed],
        view.settings.access.auth != "none",
    )


def take(result: HostResult, outcome: Outcome, reporter: Reporter) -> None:
    """A verification's outcome into the result; ProvisionError (exit 5) when it is red."""
    result.checks.extend(outcome.checks)
    result.vantage = outcome.vantage
    result.run_url = outcome.run_url or ""
    result.step_seconds["verify"] = outcome.seconds
    result.verified = outcome.ok
    reporter.verified(result, outcome.seconds)
    if not outcome.ok:
        raise ProvisionError(outcome.what, why=outcome.why, next=outcome.next, exit=Exit.VERIFY)


def source_notes(view: View) -> list[str]:
    """The commands that were run, and what was taken from where."""
    run = [f"ran for {s.secret}: {shlex.join(s.what)}" for s in _ran(view.request)]
    return run + ([view.secrets.because] if view.secrets.because else [])


def _ran(request: StackRequest) -> list[Source]:
    return [each for name, each in request.secret_sources.items() if each.kind == "command" and name in request.brought]


def told(group: str, names: Sequence[str], users: Sequence[str], arguments: str) -> list[str]:
    """Of a secret that was made new: who must get it, and what ends with the earlier one."""
    seen = f"; of late it was used from {', '.join(users)}" if users else ""
    if group == "login":
        return [f"The account mlflow has a new password{seen}:\n  provision env {arguments}"]
    if group == "accounts" or accounts.is_secret(group):
        return [
            f"The account {name.partition('.')[2]} has a new password:\n  provision secrets show {name} {arguments}"
            for name in names
            if accounts.is_secret(name)
        ]
    if group == "tls.root":
        return [f"Every client must trust the new root{seen}:\n  provision env --ca FILE {arguments}"]
    if group == "mlflow.flask-key":
        return ["Forms that were open in a browser must be loaded again."]
    if group == "store.client":
        # `env` tells it where MLflow's clients need it; with store.expose others may have it.
        return [
            f"Clients need the store's new key, the earlier one is gone:\n  provision env {arguments}\n"
            f"  provision secrets show store.client.key {arguments}\n"
            f"  provision secrets show store.client.secret {arguments}"
        ]
    if group == "store.user":
        return ["Addresses of artifacts that were handed out before no longer work (they live 5 minutes)."]
    return []
