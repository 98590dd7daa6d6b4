"""nginx before the store and MLflow on hosts that clients do not use: it lets in the URL's host and nobody else.

MLflow asks for no login itself where nginx does at the URL: that nobody else reaches it is what keeps them out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources import mutual
from provisioner.resources.answers import Ask, answers
from provisioner.resources.file import File
from provisioner.settings import Settings
from provisioner.steps import Context, inner, nginx
from provisioner.steps.host_certificates import ROOT_FILE, leaf
from provisioner.values import dataclass


@dataclass(frozen=True)
class GateStep:
    """The way from the URL's host to what is on this one."""

    name: str = "gate"
    summary: str = "nginx: what the URL's host reaches on another one"
    needs: tuple[str, ...] = ("certificates",)
    provides: str = "gate"
    roles: tuple[str, ...] = ("store", "mlflow")

    def applies(self, settings: Settings) -> bool:
        return inner.wanted(settings)

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return nginx.looks(inner.SITE) if _here(context) else ()

    def resources(self, context: Context) -> Sequence[Resource]:
        certificate = inner.certificate(context)
        if not _here(context) or certificate is None:
            return []
        needs = (nginx.PACKAGE,)
        files = (inner.SITE, inner.IDENTITY, ROOT_FILE)
        resources = [
            *nginx.software(context),
            leaf(certificate, needs),
            nginx.drop_in(context, files),
            site(context, needs),
            nginx.service(context, files, health(context), needs),
        ]
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        if not _here(context):
            return
        for port in inner.ports(context.here):
            yield replace(nginx.port_check(context, port, inner.SITE, ""), id=f"port-{port}")
        yield from nginx.guest_checks(context)

    def version(self, context: Context) -> str:
        return nginx.version(context) if _here(context) else ""

    def headline(self, context: Context) -> str:
        opened = [f"{gate.role} on port {gate.port}" for gate in inner.gates(context.here)]
        return f"nginx, {' and '.join(opened)}, for the URL's host only" if _here(context) else "part of the proxy"


def _here(context: Context) -> bool:
    """The proxy's step has this host's nginx where both are on one."""
    return not context.here.holds("proxy") and bool(inner.gates(context.here))


def site(context: Context, needs: tuple[str, ...]) -> File:
    """/etc/nginx/conf.d/provision-gate.conf."""
    return File(
        id="file:nginx-gate",
        path=inner.SITE,
        content=inner.site(context, version(context)).encode(),
        check_in_place="nginx -t -q",
        needs=(*needs, "certificate:inner"),
    )


def version(context: Context) -> str:
    """What the site says of itself when it is asked on the host."""
    return hashlib.sha256(inner.site(context, "").encode()).hexdigest()[:16]


def health(context: Context) -> str:
    """sh: today's site answers this host's own nginx, and refuses who shows no certificate."""
    tried = []
    for gate in inner.gates(context.here):
        own = Ask(gate.port, "/.provision", "gate", wanted=f"gate {version(context)}\n")
        tried.append(mutual.answers(inner.peer(gate.role), (inner.LOOPBACK, own)))
        tried.append(answers(Ask(gate.port, "/", "gate", accepted=(400,), certificate=inner.IDENTITY)))
    return "\n".join(f"{{ {each}\n}} || exit 1" for each in tried)


STEP = GateStep()
