"""MinIO: one server process on one directory, on loopback; clients reach the bucket through the proxy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.resource import Resource
from provisioner.errors import ProvisionError, UsageError
from provisioner.resources import elf
from provisioner.resources.binary import Binary, Fetched, Sent, Source
from provisioner.resources.drop_ins import DropIns
from provisioner.resources.file import Directory, File, Link
from provisioner.resources.tree import DataDirectory
from provisioner.resources.unit import Service, UnitProbe, record_line
from provisioner.resources.user import SystemUser
from provisioner.secrets import Secret
from provisioner.settings import Binary as Wanted
from provisioner.settings import Installed, Settings
from provisioner.settings import binary as wanted_binary
from provisioner.steps import Context
from provisioner.steps.minio_builds import DEFAULT, DEFAULT_VERSION, MEMBERS, Build, build, release_in
from provisioner.steps.storeports import store_ports

UNIT = "minio.service"
UNIT_FILE = "/etc/systemd/system/minio.service"
ENVIRONMENT = "/etc/default/minio"
PROGRAM = "/usr/local/bin/minio"
BUILDS = "/opt/minio/bin"
USER = "minio-user"
WAYS_OUT = (
    "a file you have:    --set store.binary=./minio",
    "a mirror:           --set store.url=URL --set store.sha256=SUM",
    "without that site:  --set store.engine=seaweedfs",
)


@dataclass(frozen=True)
class Minio:
    name: str = "minio"
    summary: str = "the object store MinIO"
    needs: tuple[str, ...] = ()
    provides: str = "store"

    def applies(self, settings: Settings) -> bool:
        return settings.store.engine == "minio"

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return program(context).probe, UnitProbe(UNIT)

    def resources(self, context: Context) -> Sequence[Resource]:
        binary = program(context)
        data = context.settings.store.data
        unit = render("minio.service.j2", data=data, record=record_line([UNIT_FILE, ENVIRONMENT], [PROGRAM])).encode()
        resources: tuple[Resource, ...] = (
            SystemUser(id=f"user:{USER}", name=USER, home="/opt/minio"),
            Directory(id="directory:minio", path="/opt/minio"),
            DataDirectory(
                id="directory:minio-data", path=data, owner=USER, group=USER, mode=0o750, sentinels=(".minio.sys",)
            ),
            binary,
            Link(id="link:minio", path=PROGRAM, target=binary.path),
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
            DropIns(id="drop-ins:minio", unit=UNIT, content=unit, variables=("MINIO_[A-Z_]*",)),
            Service(
                id=f"unit:{UNIT}",
                unit=UNIT,
                inputs=(UNIT_FILE, ENVIRONMENT),
                links=(PROGRAM,),
                cost="uploads and downloads wait about 1 s",
            ),
        )
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        yield from store_ports(context, UNIT, {9000: "the store", 9001: "its console"})
        yield from _foreign_unit(context)
        yield from _program_check(context)

    def headline(self, context: Context) -> str:
        found = installed_build(context)
        known = str(found) if found else _named(wanted_binary(context.settings, context.store_hint))
        holes = ", known holes" if found and found.holes else ""
        return f"{known}{holes}, data in {context.settings.store.data}"


def program(context: Context) -> Binary:
    """The server's program. Its path is told by the hash that its source is known by, so that a plain
    re-run names the same one; UsageError (64) when a named file cannot be used."""
    wanted = wanted_binary(context.settings, context.store_hint)
    source, sha256, key = _source(wanted, context.facts.architecture)
    return Binary(
        id="binary:minio",
        path=f"{BUILDS}/minio-{key[:12]}",
        source=source,
        sha256=sha256,
        members=MEMBERS,
        links=(PROGRAM,),
        architecture=context.facts.architecture,
        ways_out=WAYS_OUT,
    )


def _source(wanted: Wanted, architecture: str) -> tuple[Source, str | None, str]:
    """Where it comes from, its own hash when known, and the hash that names it on the host."""
    if wanted.source == "file":
        if wanted.path is not None and wanted.wanted is None:
            local = elf.open_program(wanted.path, MEMBERS)
            if wanted.sha256 not in (None, local.sha256, local.download):
                raise UsageError(
                    f"{local.path} has not the sha256 that store.sha256 names",
                    why=f"it is {local.download}",
                    next="correct one of them",
                )
            return Sent(wanted.path), local.sha256, local.sha256
        digest = wanted.wanted or ""
        return Sent(wanted.path), digest, digest
    if wanted.url is not None and wanted.sha256 is not None:
        return Fetched(wanted.url, wanted.sha256), wanted.wanted, wanted.sha256
    default = DEFAULT.get(architecture, DEFAULT["amd64"])
    return default, wanted.wanted, default.sha256


def installed(context: Context, seen: Seen) -> Installed | None:
    """What stack.toml records once the program is on the host; None while it is not."""
    wanted = wanted_binary(context.settings, context.store_hint)
    binary = program(context)
    state = seen.get(binary.probe)
    if state is None or state.kind != "file" or not state.sha256:
        return None
    version = str(build(state.version, state.sha256))
    if binary.source in DEFAULT.values():
        version = DEFAULT_VERSION
    if isinstance(binary.source, Fetched):
        return Installed(wanted.source, state.sha256, version, binary.source.url, binary.source.sha256)
    return Installed("file", state.sha256, version)


def installed_build(context: Context) -> Build | None:
    """The build that is on the host now, when it has been seen."""
    state = context.seen.get(program(context).probe)
    return build(state.version, state.sha256) if state is not None and state.kind == "file" else None


def _named(wanted: Wanted) -> str:
    if wanted.version:
        return wanted.version
    return {"default": DEFAULT_VERSION, "url": "the build of store.url", "file": "the build of store.binary"}[
        wanted.source
    ]


def _environment(context: Context) -> str:
    secret = context.secrets.get
    return render(
        "minio.env.j2",
        data=context.settings.store.data,
        user=secret("store.root.user") or Secret(""),
        password=secret("store.root.password") or Secret(""),
    )


def _foreign_unit(context: Context) -> Iterable[Check]:
    unit = context.seen.get(UnitProbe(UNIT))
    if unit is not None and unit.fragment_path not in ("", UNIT_FILE, "/dev/null"):
        yield Check(
            "minio-foreign",
            "minio.service",
            "fail",
            detail=f"{unit.fragment_path} belongs to another installation of MinIO",
            fix="remove that package first (its data stays), or use another server",
        )


def _program_check(context: Context) -> Iterable[Check]:
    """Whether the program can be had and fits, before anything is sent; and what is known against it."""
    binary = program(context)
    state = context.seen.get(binary.probe)
    there = state is not None and state.kind == "file" and state.sha256 == (binary.sha256 or state.noted)
    version = state.version if there and state is not None else ""
    if isinstance(binary.source, Sent) and not there:
        try:
            local = binary.local()
            version = version or release_in(local.path)
        except ProvisionError as error:
            yield Check("minio-binary", "MinIO's binary", "fail", detail=f"{error.what}: {error.why}", fix=error.next)
            return
    digest = binary.sha256 or (binary.source.sha256 if isinstance(binary.source, Fetched) else "")
    holes = build(version, digest).holes
    if holes:
        yield Check(
            "minio-holes",
            "MinIO's build",
            "warn",
            detail=f"{build(version, digest)} has known holes: {'; '.join(holes)}",
            fix=f"use {DEFAULT_VERSION}: --set store.url=default",
        )


STEP = Minio()
