"""`status`: one screen of how the stack is. Exit 1 when something wants attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.commands.access import target
from provisioner.commands.agreement import Company
from provisioner.commands.host import run as run_on_hosts
from provisioner.commands.meeting import Team
from provisioner.commands.options import Options, select
from provisioner.commands.telling import fill
from provisioner.commands.view import NoStack, View, look
from provisioner.engine import probe
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word
from provisioner.errors import Exit
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.resources.bucket import Bucket
from provisioner.resources.bucketcount import Count, count
from provisioner.resources.dbms import ROWS
from provisioner.resources.paths import PathProbe
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.steps import dbms, version
from provisioner.transport.base import Session
from provisioner.values import dataclass


@dataclass(frozen=True)
class Usage:
    """Bytes used below a directory and free on its disk; None where counting took too long."""

    used: int | None
    free: int | None


@dataclass(frozen=True)
class UsageProbe(Probe[Usage]):
    """How full a directory and its disk are; counting is given up after 5 s."""

    path: str

    kind: ClassVar[str] = "usage"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = []
        for p in probes:
            path = word(p.path)
            lines += [
                f"u=$(timeout 5 du -sk -- {path} 2>/dev/null | cut -f1)",
                f"f=$(df -Pk -- {path} 2>/dev/null | sed -n '2s/^.*[^0-9]\\([0-9][0-9]*\\)  *[0-9][0-9]*% .*/\\1/p')",
                'echo "$u|$f"',
            ]
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Usage]:
        for line in output.decode("utf-8", "replace").splitlines():
            used, free = (int(field) * 1024 if field.strip().isdigit() else None for field in line.split("|"))
            yield Usage(used, free)


def status(options: Options, reporter: Reporter) -> Exit:
    """Look at services, address, disks and drift of each stack."""

    def work(session: Session, request: StackRequest, result: HostResult, team: Team) -> None:
        request = request.as_recorded()
        view = look(session, request, deep=options.deep, company=Company(team.meeting, team.name))
        if not view.exists:
            raise NoStack(f"{session.host} carries no stack of this tool", next=f"provision {select(request)}")
        fill(result, view)
        versions = {step.name: version(step, view.context) for step in view.all_steps}
        services = {
            r.unit: (r.step, view.seen[r.probe])
            for r in view.resources
            if isinstance(r, Service) and r.unit.endswith(".service")
        }
        result.extra["services"] = [
            _service(unit, versions.get(step, ""), state) for unit, (step, state) in services.items()
        ]
        result.extra["data"] = [row for row in _data(session, view) if _tells(view, str(row["what"]))]
        missing = _drives(session, view)
        if view.settings.topology.spread("store") and view.context.here.first("store"):
            result.extra["drives"] = missing
        member = view.context.here.member
        if member is not None:
            result.extra["roles"] = list(member.roles)
        if not view.context.here.holds("proxy"):
            result.url = ""
        elif view.unnamed is None:
            _answers(result, view, request)
        else:
            # What differs from a stand-in is no drift.
            result.refused.append(view.unnamed)
            result.changes, result.total = [], 0
        certificates = result.extra["certificates"] = _certificates(view)
        ending = any(each["days"] < DAYS or each["renewal"] == "failed" for each in certificates)
        silent = view.context.here.holds("proxy") and result.quick_ms is None
        silent = silent or not result.extra.get("store", {}).get("ok", True)
        wrong = result.changes or result.refused or silent or ending or missing
        result.exit = Exit.FAILED if wrong else Exit.OK

    return run_on_hosts("status", options, reporter, work)[0]


DAYS = 14
"""Fewer days left of a certificate than this want attention: it was to be renewed with 30."""


def _tells(view: View, what: str) -> bool:
    """Whether this host is asked about the store or the database: about a database that no host has, the first that
    MLflow runs on."""
    here = view.context.here
    if what == "database" and not dbms.known(view.settings):
        return here.first("mlflow")
    return here.holds(what)


def _certificates(view: View) -> list[dict[str, Any]]:
    """The certificates that this host's services show, as their files have them."""
    from provisioner.resources.certificate import days_left
    from provisioner.steps import certificates, tls
    from provisioner.steps.host_certificates import SERVICE

    unit = view.seen.get(UnitProbe(SERVICE))
    renewal = unit.active if unit is not None else "unknown"
    shown: list[tuple[str, str, str | None]] = [
        (each.title, each.path, renewal) for each in certificates.of(view.context)
    ]
    if view.settings.access.encryption == "own":
        shown.append(("the URL", tls.DOOR, None))
    rows = []
    for title, path, renewed in shown:
        state = view.seen.get(PathProbe(path))
        found = days_left(state) if state is not None else None
        if found is not None:
            days, until, names = found
            rows.append({"of": title, "days": days, "until": until, "names": list(names), "renewal": renewed})
    return rows


def _service(unit: str, version: str, state: UnitState) -> dict[str, object]:
    return {
        "unit": unit,
        "version": version or None,
        "active": state.active,
        "enabled": state.enabled,
        "seconds": round(state.since),
        "restarts": state.restarts,
        "memory": state.memory,
        "memory_max": state.memory_max,
    }


def _data(session: Session, view: View) -> list[dict[str, object]]:
    bucket = UsageProbe(view.settings.store.data or "/")
    engine = dbms.of(view.settings)
    database = UsageProbe(engine.data)
    rows = engine.rows(view.context, "experiments", "runs", "lifecycle_stage")
    tracks = view.settings.mlflow.tracks
    wanted: list[Probe[Any]] = [bucket, *([database] if engine.data else []), rows] if tracks else [bucket]
    seen = probe.look(session, wanted)
    found = _objects(session, view)
    store = {
        **_used("store", bucket, seen[bucket]),
        "objects": found.objects if found else None,
        "objects_bytes": found.size if found else None,
        "more_objects": found.more if found else None,
    }
    if not tracks:
        return [store]
    counted = seen[rows]
    usage = seen[database] if engine.data else Usage(None, None)
    return [
        store,
        {
            **_used("database", database, usage),
            "experiments": counted[0] if counted else None,
            "runs": counted[1] if counted else None,
            "more_runs": counted[1] >= ROWS if counted else None,
        },
    ]


def _used(what: str, probe: UsageProbe, usage: Usage) -> dict[str, object]:
    return {"what": what, "path": probe.path, "used": usage.used, "free": usage.free}


def _objects(session: Session, view: View) -> Count | None:
    """What the store lists; None where it does not run or does not answer."""
    for resource in view.resources:
        if isinstance(resource, Bucket) and resource.ready(view.seen):
            return count(resource.store, session, resource.bucket)
    return None


def _drives(session: Session, view: View) -> list[dict[str, str]]:
    """The drives of a store over several hosts that are not as they should be, as its first host sees them."""
    if not view.settings.topology.spread("store"):
        return []
    from provisioner.resources.drives import ailing
    from provisioner.steps.minio_cluster import every

    for resource in view.resources:
        if isinstance(resource, Bucket) and resource.ready(view.seen):
            states = ailing(resource.store, session, [url for _, _, url in every(view.context)])
            return [
                {"host": host, "path": path, "state": states[url]}
                for host, path, url in every(view.context)
                if url in states
            ]
    return []


def _answers(result: HostResult, view: View, request: StackRequest) -> None:
    from provisioner.verify.quick import quick

    asked = target(view, select(request))
    found = quick(asked)
    result.extra["answer"] = {"ok": found.ok, "milliseconds": round(found.milliseconds, 1), "detail": found.detail}
    if found.ok:
        result.quick_ms = found.milliseconds
    if asked.exposed is not None:
        from provisioner.verify import exposed

        detail = exposed.answers(asked, view.settings.store.bucket)
        result.extra["store"] = {"url": asked.exposed.endpoint, "ok": not detail, "detail": detail}
