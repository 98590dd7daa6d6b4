"""MLflow's tracking server as `mlflow-server.service`, on loopback; clients reach it through the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from provisioner import accounts
from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.answers import Ask, answers
from provisioner.resources.drop_ins import DropInProbe, DropIns
from provisioner.resources.file import Directory, File, Link
from provisioner.resources.paths import PathProbe
from provisioner.resources.python_env import PythonEnv
from provisioner.resources.rewrapped import Rewrapped
from provisioner.resources.schema import Schema
from provisioner.resources.unit import Service, UnitProbe, record_line
from provisioner.resources.user import SystemUser
from provisioner.runtime import mlflow as runtime
from provisioner.secret_kinds import own_database, own_store
from provisioner.settings import Settings
from provisioner.steps import (
    Context,
    dbms,
    far_database,
    keeping,
    mlflow_accounts,
    mlflow_environment,
    own_accounts,
    sizes,
    tls,
)
from provisioner.steps.bucket import former
from provisioner.steps.database import IDENTITY
from provisioner.steps.mlflow_checks import IndexProbe, checks
from provisioner.steps.mlflow_spool import ROOM
from provisioner.steps.own_accounts import SITE
from provisioner.values import dataclass

UNIT = "mlflow-server.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
ENVIRONMENT = "/etc/mlflow/mlflow.env"
CURRENT = f"{runtime.HOME}/current"
USER = "mlflow"
_ASKED = f"grep -q '^ *auth_basic_user_file ' {SITE}"
"""sh: nginx asks for the login."""
_INTERPRETER = PathProbe("/usr/bin/python3")


@dataclass(frozen=True)
class Mlflow:
    """The tracking server."""

    name: str = "mlflow"
    summary: str = "the MLflow tracking server"
    needs: tuple[str, ...] = ("database", "bucket")
    provides: str = "mlflow"
    roles: tuple[str, ...] = ("mlflow",)

    def applies(self, settings: Settings) -> bool:
        return True

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        # The environment is named by its interpreter, which is itself a look: in the guess it is the
        # distribution's, and that is nearly always the one.
        venv = environment(context)
        return (
            _INTERPRETER,
            venv.probe,
            IndexProbe(venv.path, venv.python),
            ROOM,
            *_databases(context, venv),
            UnitProbe(UNIT),
            DropInProbe(UNIT),
            PathProbe(UNIT_FILE),
        )

    def resources(self, context: Context) -> Sequence[Resource]:
        venv = environment(context)
        alone = context.here.topology.single
        unit = unit_file(context).encode()
        variables = mlflow_environment.text(context).encode()
        # nginx asks for the login before MLflow ceases to.
        asked_first = ("unit:nginx.service",) if leaving(context) else ()
        before = (f"step:{dbms.maker(context.settings)}",) if context.settings.mlflow.tracks else ()
        resources: tuple[Resource, ...] = (
            venv.of(self.name, "venv"),
            SystemUser(id="user:mlflow", name=USER, home=mlflow_environment.HOME),
            Directory(id="directory:mlflow-settings", path="/etc/mlflow"),
            Directory(id="directory:mlflow", path=mlflow_environment.HOME, owner=USER, group=USER, mode=0o750),
            Directory(
                id="directory:mlflow-tmp",
                path=mlflow_environment.TEMPORARY,
                owner=USER,
                group=USER,
                mode=0o700,
            ),
            *_keys(context, venv),
            File(
                id="file:mlflow.env",
                path=ENVIRONMENT,
                content=variables,
                mode=0o600,
                keep=keeping.of_environment(variables),
                hide=mlflow_environment.SECRETS,
            ),
            *tls.trust_file(context),
            *far_database.files(context, venv.path),
            File(
                id=f"file:{UNIT}",
                path=UNIT_FILE,
                content=unit,
                keep=keeping.of_unit(unit),
                check=_ASKED if leaving(context) else "",
                needs=asked_first,
            ),
            drop_ins(context),
            Link(id="link:mlflow", path=CURRENT, target=context.settings.mlflow.version, needs=(venv.id,)),
            *_tables(context, venv),
            *mlflow_accounts.before(context, venv, _one_by_one(context)),
            Service(
                id=f"unit:{UNIT}",
                unit=UNIT,
                inputs=inputs(context),
                links=(CURRENT, venv.marker),
                health=answers(ready(context)),
                health_seconds=180,
                cost="clients wait about 10 s",
                needs=(venv.id, *before, *asked_first, *_one_by_one(context)),
            ),
            *tls.no_trust_file(context),
            *(former(context) if alone else ()),
            *mlflow_accounts.after(context),
        )
        # Of several hosts' the store's user waits for all servers: not as a part of what the others wait for.
        apart = () if alone else (each.of("bucket", "former") for each in former(context))
        return [*(resource.of(self.name) for resource in resources), *apart]

    def preflight(self, context: Context) -> Iterable[Check]:
        yield from checks(context, environment(context), drop_ins(context))
        if leaving(context) and not context.here.holds("proxy"):
            yield Check(
                "login-elsewhere",
                "login",
                "fail",
                detail="MLflow would cease to ask for the login before the URL's host, which is another one, begins to",
                fix='stay with access.auth = "mlflow", or go by access.auth = "none" while no client gets to the URL',
            )

    def version(self, context: Context) -> str:
        return context.settings.mlflow.version

    def headline(self, context: Context) -> str:
        workers = context.settings.mlflow.workers
        only = "" if context.settings.mlflow.tracks else ", artifacts only"
        return f"{context.settings.mlflow.version}, {workers} worker{'s' if workers > 1 else ''}{only}"


def environment(context: Context) -> PythonEnv:
    """The Python environment: of the distribution's interpreter when MLflow runs on it, else of the
    newest one that was found."""
    version = context.settings.mlflow.version
    own = context.seen.get(_INTERPRETER)
    match = re.fullmatch(r"(?:/usr/bin/)?python3\.(\d+)", own.target) if own is not None else None
    python = runtime.PYTHON
    if match and int(match[1]) < 10 and context.facts.python >= (3, 10):
        python = context.facts.python_path
    path = f"{runtime.HOME}/{version}"
    return PythonEnv(id="venv:mlflow", path=path, version=version, python=python, deep=context.deep)


def _keys(context: Context, venv: PythonEnv) -> list[Resource]:
    """What MLflow has stored behind its passphrase."""
    if not context.settings.mlflow.tracks:
        return []
    return [
        Rewrapped(
            id="keys:mlflow",
            environment=venv.path,
            env_file=ENVIRONMENT,
            unit=UNIT,
            passphrase=mlflow_environment.secret(context, "mlflow.kek"),
            version=mlflow_environment.kek_version(context),
            database=mlflow_environment.database_uri(context),
            needs=(venv.id, f"step:{dbms.maker(context.settings)}"),
        )
    ]


def _tables(context: Context, venv: PythonEnv) -> list[Resource]:
    if not context.settings.mlflow.tracks:
        return []
    far, engine = far_database.look(context, venv.path), dbms.of(context.settings)
    login = f"step:{dbms.maker(context.settings)}"
    return [
        Schema(
            id="schema:mlflow",
            environment=venv.path,
            env_file=ENVIRONMENT,
            server=far or engine.server(context),
            unit=UNIT if far else "",
            needs=(venv.id, login if far else engine.awaited(context), *_one_by_one(context)),
        )
    ]


def _databases(context: Context, venv: PythonEnv) -> tuple[Probe[Any], ...]:
    if not context.settings.mlflow.tracks:
        return ()
    far = far_database.look(context, venv.path)
    if far is None:
        return tuple(dbms.of(context.settings).servers(context))
    accounts = far_database.look(context, venv.path, accounts=True) if own_accounts.wanted(context) else None
    return (far, accounts) if accounts is not None else (far,)


def _one_by_one(context: Context) -> tuple[str, ...]:
    """Of several servers one after the other is started anew, and the first makes the tables."""
    servers = [member.name for member in context.here.topology.of("mlflow")]
    before = servers[: servers.index(context.name)] if context.name in servers else []
    return (f"after:mlflow@{before[-1]}",) if before else ()


def unit_file(context: Context) -> str:
    """/etc/systemd/system/mlflow-server.service."""
    venv = environment(context)
    names = {"ini": own_accounts.INI, "first": own_accounts.FIRST, "app": own_accounts.APP}
    own = names if own_accounts.wanted(context) else None
    return render(
        "mlflow-server.service.j2",
        beside=["network-online.target", *beside(context)],
        sizes=sizes.of(context),
        egress=sizes.egress(context),
        home=mlflow_environment.HOME,
        tracks=context.settings.mlflow.tracks,
        temporary=mlflow_environment.TEMPORARY,
        record=record_line(inputs(context), [CURRENT, venv.marker]),
        accounts=own,
    )


def beside(context: Context) -> list[str]:
    """The units of this host that it works with."""
    units = {"database": dbms.of(context.settings).unit(context), "store": f"{context.store_step}.service"}
    if not own_store(context.settings):
        units.pop("store")
    if not own_database(context.settings) or not context.settings.mlflow.tracks:
        units.pop("database")
    return [unit for role, unit in units.items() if context.here.holds(role)]


def inputs(context: Context) -> tuple[str, ...]:
    """The files that the server reads when it starts."""
    trusted = () if tls.trusted_by_server(context) is None else (tls.TRUST,)
    # Not the operator's first password: a start reads it only to make the account.
    accounts = (own_accounts.INI, own_accounts.IDENTITY) if own_accounts.wanted(context) else ()
    database = (IDENTITY,) if context.settings.mlflow.tracks else ()
    return UNIT_FILE, ENVIRONMENT, *database, *trusted, *accounts, *far_database.inputs(context)


def leaving(context: Context) -> bool:
    """It runs with accounts of its own and shall no more, while a login is still wanted."""
    state = context.seen.get(PathProbe(UNIT_FILE))
    content = state.content if state is not None and isinstance(state.content, bytes) else b""
    return context.settings.access.auth == "password" and own_accounts.APP.encode() in content


def drop_ins(context: Context) -> DropIns:
    variables = tuple(mlflow_environment.variables(context))
    return DropIns(id="drop-ins:mlflow", unit=UNIT, content=unit_file(context).encode(), variables=variables)


def ready(context: Context) -> Ask:
    """The server answers a search under the clients' own Host header: /health is green even when the database is gone
    or every client is refused. Without tracking it is asked for a list of the bucket, to see the latter."""
    own = own_accounts.wanted(context)
    if not context.settings.mlflow.tracks:
        # It goes to the store by the clients' address, which may not be there yet.
        return Ask(mlflow_environment.PORT, mlflow_environment.NOTHING_LISTED, context.door.authority, (200, 500))
    return Ask(
        mlflow_environment.PORT,
        "/api/2.0/mlflow/experiments/search",
        context.door.authority,
        # A login that MLflow does not have any more is the accounts' to mend: for that the server must run.
        accepted=(200, 401) if own else (200,),
        method="POST",
        body='{"max_results": 1}',
        user=accounts.OPERATOR if own else "",
        password=own_accounts.operator(context) if own else None,
    )


STEP = Mlflow()
