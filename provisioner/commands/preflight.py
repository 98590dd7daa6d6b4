"""Everything that would go wrong, at once, before anything is changed."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence

from provisioner.commands import downloads
from provisioner.commands.view import View
from provisioner.door import Door
from provisioner.engine import probe
from provisioner.engine.check import Check
from provisioner.errors import Refused
from provisioner.resources.facts import Facts
from provisioner.transport.base import Session

SUPPORTED = {"ubuntu": ("22.04", "24.04", "26.04"), "debian": ("12", "13")}
_STORE_PORT = 9000
_CLOCK = 300
"""Seconds of difference from which S3 signatures start to be refused (15 min) come near."""


def checks(session: Session, view: View) -> list[Check]:
    """The checks of the host and of every chosen step."""
    forwarded = view.context.here.holds("store", "database")
    found = [*seen(view), *([_forwarding(session)] if forwarded else []), *downloads.checks(session, view)]
    return found if any(check.status == "fail" for check in found) else [*found, *_trials(session, view)]


def _trials(session: Session, view: View) -> list[Check]:
    """What steps try out before a run changes anything. A plan tries nothing."""
    found: list[Check] = []
    for step in view.steps:
        trials = getattr(step, "trials", None)
        if trials is not None and (probes := trials(view.context)):
            found.extend(step.tried(view.context, probes, probe.look(session, probes)))  # type: ignore[attr-defined]
    return found


def seen(view: View) -> list[Check]:
    """Those of `checks` that what was seen already decides: nothing more is asked of the host."""
    facts = view.facts
    found = [_system(facts), _systemd(facts), _clock(facts), _apt(facts)]
    if view.context.here.holds("proxy"):
        found.append(_public(view))
    for step in view.steps:
        found.extend(step.preflight(view.context))
    return found


def refuse(found: Sequence[Check], arguments: str) -> None:
    """Refused (exit 4) when a check failed; `arguments` make the same call again."""
    failed = [check for check in found if check.status == "fail"]
    if failed:
        raise Refused(
            f"{len(failed)} of {len(found)} checks failed; nothing was changed",
            why="; ".join(f"{check.title}: {check.detail}" for check in failed),
            next=f"provision {arguments}",
        )


def _system(facts: Facts) -> Check:
    releases = SUPPORTED.get(facts.distribution, ())
    name = facts.pretty or f"{facts.distribution} {facts.release}"
    if facts.release not in releases or facts.architecture not in {"amd64", "arm64"}:
        return Check(
            "system",
            "system",
            "fail",
            detail=f"{name} on {facts.architecture} is not supported",
            fix="Ubuntu 22.04, 24.04, 26.04 or Debian 12, 13 on amd64 or arm64",
        )
    return Check("system", "system", "ok", detail=f"{name}, {facts.architecture}")


def _systemd(facts: Facts) -> Check:
    if not facts.booted or facts.systemd < 249:
        return Check(
            "systemd",
            "systemd",
            "fail",
            detail="systemd is not running as process 1" if not facts.booted else f"systemd {facts.systemd} is too old",
            fix="a server or VM, or a container that boots systemd 249 or newer",
        )
    return Check("systemd", "systemd", "ok", detail=str(facts.systemd))


def _clock(facts: Facts) -> Check:
    away = facts.now - time.time()
    if facts.now and abs(away) > _CLOCK:
        return Check(
            "clock",
            "clock",
            "fail",
            detail=f"the host's clock is {abs(away):.0f} s {'ahead' if away > 0 else 'behind'}: "
            "signed requests would be refused",
            fix="timedatectl set-ntp true   (on the host)",
        )
    return Check("clock", "clock", "ok")


def _apt(facts: Facts) -> Check:
    if facts.apt_lock:
        return Check(
            "apt",
            "apt",
            "warn",
            detail=f"locked by {facts.apt_lock}; the run would wait for it, 10 minutes at most",
        )
    return Check("apt", "apt", "ok")


def _forwarding(session: Session) -> Check:
    if session.forwards(_STORE_PORT):
        return Check("forwarding", "forwarding", "ok")
    return Check(
        "forwarding",
        "forwarding",
        "warn",
        detail="sshd forbids it: the store and the database, which listen for the server itself only, are reached "
        "through a helper process for each connection. Slower by about 0.1 s each; nothing is left out",
        fix="AllowTcpForwarding local in the server's sshd_config avoids that",
    )


def _exposed(door: Door, facts: Facts) -> str:
    """A public address that is answered: one of the URL's own, or of the host where a DNS name leaves open which
    is meant; empty when there is none."""
    literals = [address for name in door.names if (address := _literal(name)) is not None]
    if len(literals) < len(door.names):
        literals += [address for each in facts.addresses if (address := _literal(each)) is not None]
    return next((str(address) for address in literals if address.is_global), "")


def _literal(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _public(view: View) -> Check:
    """Clients need an address; a public one without TLS is refused unless it was asked for, one without a login
    in any case."""
    if view.unnamed is not None:
        return Check(
            "address",
            "address",
            "fail",
            detail=f"{view.unnamed.what}: {view.unnamed.why}",
            fix=view.unnamed.next,
        )
    door, access = view.context.door, view.settings.access
    public = _exposed(door, view.facts)
    private = "a private address: --set access.names='[\"10.0.0.5\"]'"
    if public and access.auth == "none":
        # With TLS too: it hides what is sent, it does not ask who sends it.
        return Check(
            "address",
            "address",
            "fail",
            detail=f"{public} is a public address: without a login everyone on the internet reads, changes and "
            "deletes all runs",
            fix=f"accounts: --set access.auth=password   or {private}",
        )
    if public and door.scheme == "http" and not access.public_http:
        return Check(
            "address",
            "address",
            "fail",
            detail=f"{public} is a public address: passwords and artifacts would travel unencrypted",
            fix=f"TLS: --set access.tls=internal   or {private}   or, knowing it: --allow-public-http",
        )
    return Check("address", "address", "ok", detail=door.url)
