"""nginx in front of MLflow and the bucket: one address, one open port, one login."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner.assets import render
from provisioner.door import Door
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.reserved import EXPOSED
from provisioner.resources import mutual
from provisioner.resources.answers import Ask, answers
from provisioner.resources.file import File, NoFile
from provisioner.resources.nginx import NginxBuild, NginxBuildProbe
from provisioner.secret_kinds import own_store
from provisioner.settings import Settings
from provisioner.steps import Context, gate, inner, mlflow_environment, nginx, own_accounts, tls
from provisioner.steps.host_certificates import ROOT_FILE, leaf
from provisioner.steps.proxy_login import HEAD, accounts
from provisioner.values import dataclass

SITE = "/etc/nginx/conf.d/provision-mlflow.conf"
ACCOUNTS = "/etc/nginx/provision-mlflow.htpasswd"
ACCESS_LOG = "/var/log/nginx/provision-mlflow.access.log"


@dataclass(frozen=True)
class Proxy:
    """nginx, the one open port."""

    name: str = "proxy"
    summary: str = "nginx: one address for MLflow and its artifacts"
    needs: tuple[str, ...] = ("certificates", "bucket", "mlflow", "gate")
    provides: str = "proxy"
    roles: tuple[str, ...] = ("proxy",)

    def applies(self, settings: Settings) -> bool:
        return True

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return *nginx.looks(SITE), NginxBuildProbe()

    def resources(self, context: Context) -> Sequence[Resource]:
        certificate = tls.file(context)
        own = own_accounts.wanted(context)
        login = own_accounts.NGINX_LOGIN if own else None
        between = inner.certificate(context)
        opened = inner.gates(context.here)
        files = (SITE, *filter(None, [certificate, login]))
        if between is not None:
            files += (between.path, ROOT_FILE)
        if opened:
            files += (inner.SITE,)
        resources: list[Resource] = [*nginx.software(context)]
        needs = (nginx.PACKAGE,)
        if context.settings.access.auth == "password":
            resources.append(
                File(
                    id="file:nginx-accounts",
                    path=ACCOUNTS,
                    content=accounts(context.secrets).encode(),
                    group=nginx.worker_group(context),
                    mode=0o640,
                    hide=("*",),
                    needs=needs,
                )
            )
        if own:
            resources.append(
                File(
                    id="file:nginx-health",
                    path=own_accounts.NGINX_LOGIN,
                    content=own_accounts.nginx_login(context).encode(),
                    mode=0o600,
                    hide=("*",),
                    needs=needs,
                )
            )
        # Logins are passed on only once MLflow asks for them itself.
        asked: tuple[str, ...] = needs
        if own:
            others = [
                f"after:{step}@{each.name}" for each in context.here.others("mlflow") for step in ("gate", "mlflow")
            ]
            asked += ("unit:mlflow-server.service", *others)
        if between is not None:
            resources.append(leaf(between, needs))
            asked += (between.id,)
        if opened:
            resources.append(gate.site(context, needs))
        elif not context.here.topology.single:
            reason = "no other host has what this one has"
            resources.append(NoFile(id="file:nginx-gate", path=inner.SITE, ours=HEAD.encode(), reason=reason))
        resources += [
            *tls.resources(context, needs),
            nginx.drop_in(context, files),
            File(
                id="file:nginx-site",
                path=SITE,
                content=site(context).encode(),
                check_in_place=_proven(context),
                needs=asked,
            ),
            nginx.service(context, files, answers(*_health(context)), asked),
            *tls.leftovers(context),
        ]
        if not own:
            reason = "MLflow keeps no accounts any more"
            resources.append(
                NoFile(id="file:nginx-health", path=own_accounts.NGINX_LOGIN, ours=HEAD.encode(), reason=reason)
            )
        if context.settings.access.auth != "password":
            # After the reload: until then nginx reads it at every request.
            resources.append(
                NoFile(id="file:nginx-accounts", path=ACCOUNTS, ours=HEAD.encode(), reason="there is no login any more")
            )
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        yield nginx.port_check(context, context.door.port, SITE, "add: --set access.port={free}")
        if exposed(context) is not None:
            check = nginx.port_check(context, EXPOSED, SITE, "add: --set store.expose=false", others=True)
            yield replace(check, id=f"port-{EXPOSED}")
        yield from _guest(context)

    def version(self, context: Context) -> str:
        return nginx.version(context)

    def headline(self, context: Context) -> str:
        login = {"password": "", "mlflow": ", MLflow asks for the login"}.get(
            context.settings.access.auth, ", no login"
        )
        encrypted = {"off": "", "internal": ", TLS with a root of its own", "own": ", TLS"}
        opened = f" and, for the store, {EXPOSED}" if exposed(context) else ""
        return f"nginx on port {context.door.port}{opened}{encrypted[context.settings.access.encryption]}{login}"


def _proven(context: Context) -> str:
    """nginx takes the file; one that asks for no login itself stands only before an MLflow that does."""
    taken = "nginx -t -q"
    if not own_accounts.wanted(context):
        return taken

    def ask(port: int) -> Ask:
        return Ask(port, "/api/2.0/mlflow/experiments/search?max_results=1", mlflow_environment.HOST, (401,))

    servers = inner.upstream(context.here, "mlflow")
    if not servers.name:
        return f"{taken} && {answers(ask(mlflow_environment.PORT))}"
    # One on this host is asked directly: the gate before it opens with this very site.
    elsewhere = [member.address for member in context.here.others("mlflow")]
    asked = [mutual.answers(inner.peer("mlflow"), *((each, ask(inner.GATES["mlflow"])) for each in elsewhere))]
    if context.here.holds("mlflow"):
        asked.append(answers(ask(mlflow_environment.PORT)))
    return "\n".join([f"{taken} || exit 1", *(f"{{ {each}\n}} || exit 1" for each in asked)])


def health(context: Context) -> Mapping[str, Any] | None:
    """How /health is answered; None where this nginx has not what it takes.

    Of the store MLflow is asked, which looks with its own key; where it passes no artifacts on, the store itself is
    asked for an object without a key, and refuses it."""
    if not context.known(NginxBuildProbe(), NginxBuild()).auth_request:
        return None
    own = nginx.worker_group(context) == "www-data"  # nginx.org's packages know another user, and another place
    login = own_accounts.NGINX_LOGIN if own_accounts.wanted(context) else ""
    through = context.settings.artifacts.mode == "proxied"
    listing = mlflow_environment.NOTHING_LISTED
    store = {"through": through, "path": listing if through else f"/{context.settings.store.bucket}/.provision-health"}
    if not through and not own_store(context.settings):
        store = {}  # Clients go elsewhere, by ways that are not this server's.
    if not context.settings.mlflow.tracks:
        store = {}  # MLflow itself is asked for nothing else.
    return {
        "login": login,
        "listing": listing,
        "cache": f"/var/{'lib' if own else 'cache'}/nginx/provision-health",
        "store": store,
    }


def site(context: Context) -> str:
    """/etc/nginx/conf.d/provision-mlflow.conf."""
    return _site(context, version(context))


def version(context: Context) -> str:
    """What the site says of itself when it is asked on the host."""
    return hashlib.sha256(_site(context, "").encode()).hexdigest()[:16]


def _site(context: Context, version: str) -> str:
    return render(
        "nginx-site.conf.j2",
        listen=listen(context, context.door.port),
        exposed=listen(context, EXPOSED) if exposed(context) else (),
        certificate=tls.file(context),
        only=[re.escape(address) for address in only(context)],
        names=[_bracketed(name) for name in context.door.names if len(name) <= _HASHED] or ["_"],
        # The bucket of a store that is not this stack's is none of this server's: nothing leads there.
        bucket=re.escape(context.settings.store.bucket) if own_store(context.settings) else "",
        named=context.settings.store.bucket,
        origins=[_pattern(origin) for origin in context.door.origins],
        hosts=[_pattern(_bracketed(name)) for name in context.door.names],
        accounts=ACCOUNTS if context.settings.access.auth == "password" else None,
        passed=own_accounts.wanted(context),
        mlflow=inner.upstream(context.here, "mlflow"),
        tracks=context.settings.mlflow.tracks,
        store=inner.upstream(context.here, "store"),
        identity=inner.IDENTITY,
        root=ROOT_FILE,
        health=health(context),
        version=version,
    )


_HASHED = 40
"""Longer names do not fit nginx's table of names by default; the one site of a port needs none."""


def _addresses(texts: Iterable[str]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [address for text in texts if (address := _address(text)) is not None]


def exposed(context: Context) -> Door | None:
    """Where the bucket is reached on a port of its own; None where it is behind the URL only."""
    return context.door.at(EXPOSED) if context.settings.store.expose else None


def listen(context: Context, port: int) -> tuple[str, ...]:
    """What nginx listens on for `port`: every IPv4 address, and IPv6 where the host has it and clients could use it.

    Never a single address: at boot it may not be there yet, and a reload cannot go from all to one.
    """
    literals = _addresses(context.door.names)
    wants_ipv6 = len(literals) < len(context.door.names) or any(address.version == 6 for address in literals)
    has_ipv6 = any(address.version == 6 for address in _addresses(context.facts.addresses))
    return (str(port), f"[::]:{port}") if wants_ipv6 and has_ipv6 else (str(port),)


def only(context: Context) -> tuple[str, ...]:
    """The addresses that are answered, empty for all: those of the clients and loopback, where the host
    has a public address besides and clients use only private ones of it."""
    literals, carried = _addresses(context.door.names), _addresses(context.facts.addresses)
    if (
        len(literals) < len(context.door.names)
        or any(address.is_global for address in literals)
        or not any(address.is_global for address in carried)
        or not all(address in carried for address in literals)
    ):
        return ()
    return tuple(dict.fromkeys((*map(str, literals), mlflow_environment.HOST)))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _pattern(text: str) -> str:
    """`text` as it stands in a quoted regular expression of nginx."""
    return re.escape(text).replace("\\-", "-")


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _health(context: Context) -> list[Ask]:
    """Today's site answers, and keeps out who has no login. MLflow behind it may still be starting."""
    port, host, shown = context.door.port, context.door.authority, tls.file(context)
    asks = [
        Ask(port, "/.provision", host, wanted=f"site {version(context)}\n", certificate=shown),
        Ask(port, "/ajax-api/3.0/mlflow/assistant/", host, accepted=(403,), certificate=shown),
    ]
    if context.settings.access.auth == "password":
        asks.append(Ask(port, "/", host, accepted=(401,), certificate=shown))
    if (store := exposed(context)) is not None:
        wanted = f"site {version(context)}\n"
        asks.append(Ask(store.port, "/.provision", store.authority, wanted=wanted, certificate=shown))
    return asks


def _guest(context: Context) -> Iterable[Check]:
    if nginx.guest(context) and health(context) is None:
        yield Check(
            "nginx-health",
            "/health",
            "warn",
            detail="the nginx that is here was built without auth_request: /health asks for the login like every page",
        )
    yield from nginx.guest_checks(context)


STEP = Proxy()
