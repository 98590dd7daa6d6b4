"""MinIO: one server process on one directory, on loopback, or one on each of several hosts (minio_cluster.py);
clients reach the bucket through the proxy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from provisioner import controller
from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.errors import ProvisionError, UsageError
from provisioner.resources.binary import Binary, Fetched, Sent, Source
from provisioner.resources.drop_ins import DropIns
from provisioner.resources.file import Directory, File, Link
from provisioner.resources.tree import MARK
from provisioner.resources.unit import Service, UnitProbe, record_line
from provisioner.resources.user import SystemUser
from provisioner.secrets import Secret
from provisioner.settings import Installed, Settings, with_installed
from provisioner.settings import binary as wanted_binary
from provisioner.steps import Context, minio_cluster, minio_pools, sizes
from provisioner.steps.host_certificates import ROOT_FILE
from provisioner.steps.minio_builds import DEFAULT, DEFAULT_VERSION, MEMBERS, Build, build, release_in
from provisioner.steps.minio_cluster import UNIT, USER
from provisioner.steps.storeports import (
    data_check,
    foreign_unit,
    other_stores,
    rival_probes,
    rivals,
    store_ports,
    written,
)
from provisioner.values import dataclass

UNIT_FILE = "/etc/systemd/system/minio.service"
ENVIRONMENT = "/etc/default/minio"
PROGRAM = "/usr/local/bin/minio"
BUILDS = "/opt/minio/bin"
WAYS_OUT = (
    "a file you have:    --set store.binary=./minio",
    "a mirror:           --set store.url=URL --set store.sha256=SUM",
    "without that site:  --set store.engine=seaweedfs",
)


@dataclass(frozen=True)
class Minio:
    """The store, when the engine is MinIO."""

    name: str = "minio"
    summary: str = "the object store MinIO"
    needs: tuple[str, ...] = ("peers",)
    provides: str = "store"
    roles: tuple[str, ...] = ("store",)

    def applies(self, settings: Settings) -> bool:
        return settings.store.engine == "minio"

    def settle(self, context: Context) -> Settings:
        return settled(context)

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return program(context).probe, UnitProbe(UNIT), *minio_cluster.probes(context), *rival_probes(self.name)

    def resources(self, context: Context) -> Sequence[Resource]:
        binary = program(context)
        inputs, links = _inputs(context), (PROGRAM,)
        unit = render(
            "minio.service.j2",
            data=context.settings.store.data,
            mark=MARK,
            record=record_line(inputs, links),
            sizes=sizes.of(context),
            allowed=minio_cluster.allowed(context),
            cluster=minio_cluster.cluster(context, inputs, links),
        ).encode()
        resources: tuple[Resource, ...] = (
            SystemUser(id=f"user:{USER}", name=USER, home="/opt/minio"),
            Directory(id="directory:minio", path="/opt/minio"),
            *minio_cluster.directories(context),
            binary,
            Link(id="link:minio", path=PROGRAM, target=binary.path, guest=not written(context, ENVIRONMENT)),
            File(
                id="file:minio.env",
                path=ENVIRONMENT,
                content=_environment(context).encode(),
                mode=0o600,
                hide=("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
            ),
            File(
                id=f"file:{UNIT}",
                path=UNIT_FILE,
                content=unit,
                check=f'cp "$f" "$T/{UNIT}" && systemd-analyze verify "$T/{UNIT}"',
            ),
            *_pools(context),
            DropIns(id="drop-ins:minio", unit=UNIT, content=unit, variables=("MINIO_[A-Z_]*",)),
            *(() if rolling(context) else (service(context),)),
        )
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        for each in minio_cluster.directories(context):
            yield from data_check(context, each)
        yield from minio_cluster.drive_checks(context)
        yield from store_ports(context, (UNIT, *rivals(context, self.name)), {9000: "the store", 9001: "its console"})
        yield from other_stores(context, self.name)
        yield from foreign_unit(context, UNIT, UNIT_FILE, "MinIO", ENVIRONMENT)
        yield from _program_check(context)

    def version(self, context: Context) -> str:
        return _build(context).day

    def headline(self, context: Context) -> str:
        found = _build(context)
        holes = ", with known holes" if found.holes else ""
        data = ", ".join(minio_cluster.drives(context))
        return f"{found if found.day else 'the build that was named'}{holes}, data in {data}"


def service(context: Context, health: str = "", needs: tuple[str, ...] = ()) -> Service:
    """The unit. `health`: what tells that it is there again, and that a store over several hosts is whole."""
    certificate = minio_cluster.certificate(context)
    together = minio_cluster.spread(context) and not health
    return Service(
        id=f"unit:{UNIT}",
        unit=UNIT,
        inputs=_inputs(context),
        links=(PROGRAM,),
        reloads=(certificate.path,) if certificate is not None else (),
        health=health,
        health_seconds=minio_cluster.WAIT,
        cost="all of the store's servers at once, about 20 s without it"
        if together
        else "uploads and downloads wait about 1 s",
        needs=("step:peers", *needs) if certificate is not None else needs,
    )


def rolling(context: Context) -> bool:
    """Whether a restart of this server is that of one among several that go on."""
    shared = {ENVIRONMENT: _environment(context), minio_pools.CONFIG: minio_pools.config(context)}
    return minio_cluster.spread(context) and minio_cluster.rolling(context, shared)


def _pools(context: Context) -> Iterable[File]:
    text = minio_pools.config(context)
    if text:
        # Its server's own, which the sandbox keeps from writing it: MinIO reads it with O_NOATIME (internal/ioutil,
        # ReadFile), which the kernel allows a file's owner only.
        yield File(id="file:minio-pools.yaml", path=minio_pools.CONFIG, content=text.encode(), owner=USER, group=USER)


def _inputs(context: Context) -> tuple[str, ...]:
    certificate = minio_cluster.certificate(context)
    pools = (minio_pools.CONFIG,) if minio_pools.config(context) else ()
    return (UNIT_FILE, ENVIRONMENT, *pools, *((certificate.path, ROOT_FILE) if certificate is not None else ()))


def program(context: Context) -> Binary:
    """The server's program, named on the host by the hash of the file it comes from.

    UsageError (64) when a file of this machine that was named cannot be used.
    """
    settings = settled(context)
    installed = settings.installed
    assert installed is not None
    key = installed.download or installed.sha256
    source: Source = Fetched(installed.url, key)
    if installed.source == "file":
        source = Sent(settings.store.binary or context.store_hint, key)
    return Binary(
        id="binary:minio",
        path=f"{BUILDS}/minio-{key[:12]}",
        source=source,
        sha256=installed.sha256 or None,
        members=MEMBERS,
        links=(PROGRAM,),
        architecture=context.facts.architecture,
        ways_out=WAYS_OUT,
        marker=b"MINIO_ROOT_USER",
        deep=context.deep,
    )


def settled(context: Context) -> Settings:
    """The settings with the build that they mean, as the host shall record it: a plain re-run keeps it,
    whatever a later release of this tool pins."""
    settings, was = context.settings, context.settings.installed
    wanted = wanted_binary(settings, context.store_hint)
    if settings.store.binary is not None:
        now = _local(settings, context.stack or "unnamed")
    elif wanted.source == "file" and was is not None:
        return settings
    elif wanted.url is not None and wanted.sha256 is not None:
        version = DEFAULT_VERSION if wanted.sha256 in {each.sha256 for each in DEFAULT.values()} else ""
        now = Installed(wanted.source, "", version, wanted.url, wanted.sha256)
    else:
        default = DEFAULT.get(context.facts.architecture, DEFAULT["amd64"])
        now = Installed("default", "", DEFAULT_VERSION, default.url, default.sha256)
    if was is not None and (was.url, was.download or was.sha256) == (now.url, now.download):
        now = was
    elif settings.store.binary is not None:
        found = build(release_in(Path(settings.store.binary)))
        now = replace(now, version=str(found) if found.day else "")
    return with_installed(settings, now)


def _local(settings: Settings, stack: str) -> Installed:
    """A file of this machine, by its hash."""
    assert settings.store.binary is not None
    local = controller.local_file(settings.store.binary, stack)
    if settings.store.sha256 not in (None, local.sha256):
        raise UsageError(
            f"{local.path} has not the sha256 that store.sha256 names",
            why=f"its sha256 is {local.sha256}",
            next="correct one of them",
        )
    with Path(local.path).open("rb") as file:
        archive = file.read(2) == b"\x1f\x8b"
    return Installed("file", "" if archive else local.sha256, "", "", local.sha256)


def _build(context: Context) -> Build:
    """The build that runs or will run, as far as anything tells: its name when recorded, what it said itself
    when it was installed, its hash."""
    installed = settled(context).installed
    assert installed is not None
    named = build(installed.version, installed.download or installed.sha256)
    state = context.seen.get(program(context).probe)
    return named if named.day or state is None else build(state.version, state.sha256)


def _environment(context: Context) -> str:
    secret = context.secrets.get
    return render(
        "minio.env.j2",
        cluster=minio_cluster.cluster(context, (), ()),
        data=context.settings.store.data,
        user=secret("store.root.user") or Secret(""),
        password=secret("store.root.password") or Secret(""),
    )


def _program_check(context: Context) -> Iterable[Check]:
    """Whether a file of this machine can be had and fits, before it is sent; and what is known against it."""
    binary, found = program(context), _build(context)
    state = context.seen.get(binary.probe)
    there = state is not None and state.kind == "file" and state.sha256 == (binary.sha256 or state.noted)
    if isinstance(binary.source, Sent) and not there:
        try:
            binary.local()
        except ProvisionError as error:
            detail = f"{error.what}: {error.why}" if error.why else error.what
            yield Check("minio-binary", "MinIO's binary", "fail", detail=detail, fix=error.next)
            return
    if found.holes:
        yield Check(
            "minio-holes",
            "MinIO's build",
            "warn",
            detail=f"{found} has known holes: {'; '.join(found.holes)}",
            fix=f"use {DEFAULT_VERSION}: --set store.url=default",
        )
    else:
        yield Check("minio-holes", "MinIO's build", "ok", detail=str(found))


STEP = Minio()
