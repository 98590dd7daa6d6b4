"""The settings of one stack: flags over inventory over what its host recorded over defaults."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from provisioner import outside, reserved, schema
from provisioner.errors import Refused, UsageError
from provisioner.pools import Pool
from provisioner.topology import Topology
from provisioner.values import dataclass

Origin = Literal["flag", "inventory", "record", "default"]
BinarySource = Literal["default", "url", "file"]

RECORD = "/etc/provision/stack.toml"

# The three keys that together say where MinIO's binary comes from: one layer decides for all of them.
_BINARY = ("store.binary", "store.url", "store.sha256")


@dataclass(frozen=True)
class Installed:
    """The MinIO binary a stack runs, as its host recorded it.

    `download` is the SHA-256 of the file it came from, `sha256` the binary's own: empty where that file
    is an archive or nobody had it here yet. `url` says where the file can be had again and is empty for one
    of the operator's.
    """

    source: BinarySource
    sha256: str = ""
    version: str = ""
    url: str = ""
    download: str = ""


@dataclass(frozen=True)
class Recorded:
    """A parsed stack.toml: dotted key -> value, and what a newer version of this tool wrote besides."""

    stack: str
    values: Mapping[str, Any]
    installed: Installed | None = None
    foreign: Mapping[str, Any] = field(default_factory=dict)
    topology: Topology = field(default_factory=Topology)
    edition: int = 0
    """How many times the settings of a stack over several hosts were changed; 0 for one host."""
    pools: tuple[Pool, ...] = ()
    """As Settings'."""


@dataclass(frozen=True)
class Settings:
    """What a stack shall be. `origins` tells for each dotted key which layer decided."""

    store: schema.Store = field(default_factory=schema.Store)
    database: schema.Database = field(default_factory=schema.Database)
    mlflow: schema.Mlflow = field(default_factory=schema.Mlflow)
    access: schema.Access = field(default_factory=schema.Access)
    artifacts: schema.Artifacts = field(default_factory=schema.Artifacts)
    topology: Topology = field(default_factory=Topology)
    installed: Installed | None = None
    pools: tuple[Pool, ...] = ()
    """The pools of a store over several hosts, in their order; none where it is one of all of its drives."""
    foreign: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)
    stack: str = field(default="", compare=False)
    """The stack's recorded name: another way to call its host does not change it."""
    edition: int = field(default=0, compare=False)
    """As Recorded's."""

    @property
    def database_clients(self) -> tuple[str, ...]:
        """The networks from which the database is reached besides its own host: those of `database.allow`, and the
        stack's other hosts that use it."""
        if self.database.engine == "external":
            return ()
        named = (each for each in self.database.allow if not ipaddress.ip_network(each).is_loopback)
        if not self.mlflow.tracks:
            return ()
        users = (m.address for m in self.topology.of("mlflow") if "database" not in m.roles and m.address)
        return tuple(dict.fromkeys((*named, *(str(ipaddress.ip_network(each)) for each in users))))

    @property
    def certifies(self) -> bool:
        """Whether certificates come from a root that the stack has for itself: that of the URL, or of a service
        that other hosts reach past it."""
        return self.access.encryption == "internal" or bool(self.database_clients) or not self.topology.single

    def get(self, dotted: str) -> Any:
        """The value of `store.engine` and the like."""
        table, name = dotted.split(".")
        return getattr(getattr(self, table), name)


@dataclass(frozen=True)
class Binary:
    """Which MinIO binary is wanted and where it can be had when the host lacks it.

    `wanted` is the SHA-256 the installed binary must have; None means that only the source knows
    (a new file, a new URL, or the release this tool pins). `path` is a file on the operator's
    machine: with the source "file" and no path the file is needed only when the host's binary
    is not the wanted one.
    """

    source: BinarySource
    wanted: str | None = None
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    version: str = ""


def effective(flags: Mapping[str, Any], inventory: Mapping[str, Any], recorded: Recorded | None = None) -> Settings:
    """Settings of the layers, highest first; a plain re-run therefore keeps what was chosen.

    `flags` and `inventory` hold validated values under dotted keys. `mlflow.env` replaces the whole
    table of the layers below, `mlflow.env.NAME` one entry of it. Raises UsageError (64) where keys
    contradict each other, Refused (4) where the host recorded something this release cannot do.
    """
    layers: tuple[tuple[Origin, Mapping[str, Any]], ...] = (
        ("flag", flags),
        ("inventory", inventory),
        ("record", recorded.values if recorded else {}),
    )
    layers = _without_the_other_engine(layers)
    layers = _one_binary(layers)
    origins: dict[str, Origin] = {}
    chosen: dict[str, dict[str, Any]] = {table: {} for table in schema.SETTINGS}
    for dotted, key in schema.known().items():
        table, name = dotted.split(".")
        if key.kind == "table":
            value, origin = _merged_table(dotted, layers, origins)
        else:
            origin, value = next(
                ((origin, layer[dotted]) for origin, layer in layers if dotted in layer),
                ("default", schema.default(dotted)),
            )
        if origin == "record" and (reason := key.later(value)):
            raise Refused(
                f"the host's {RECORD} says {dotted} = {value!r}",
                why=f"not available in this version of provision: {reason}",
                next="use the version of provision that set it up",
            )
        chosen[table][name], origins[dotted] = value, origin
    if not chosen["store"]["data"]:
        chosen["store"]["data"] = schema.DATA_DIRECTORIES[chosen["store"]["engine"]]
    same_engine = recorded is not None and recorded.values.get("store.engine") == chosen["store"]["engine"]
    outside.of_url(chosen["database"], origins)
    settings = Settings(
        **{table: section(**chosen[table]) for table, section in schema.SETTINGS.items()},
        installed=recorded.installed if recorded and same_engine else None,
        pools=recorded.pools if recorded and same_engine else (),
        topology=recorded.topology if recorded else Topology(),
        foreign=dict(recorded.foreign) if recorded else {},
        origins=origins,
        stack=recorded.stack if recorded else "",
        edition=recorded.edition if recorded else 0,
    )
    _agree(settings)
    return settings


def binary(settings: Settings, hint: str | None = None) -> Binary:
    """Where MinIO's binary comes from. `hint` is the path this machine last sent (see controller.py).

    Nothing chosen now: the recorded binary is wanted, whatever this release pins today, and its
    source is asked only when the host's copy is gone or altered.
    """
    store, was = settings.store, settings.installed
    if store.binary is not None:
        return Binary("file", path=store.binary, sha256=store.sha256)
    if store.url == "default":
        return Binary("default")
    if store.url is not None:
        known = was is not None and was.source == "url" and (was.url, was.download) == (store.url, store.sha256)
        wanted, version = (was.sha256, was.version) if was is not None and known else (None, "")
        return Binary("url", wanted=wanted or None, url=store.url, sha256=store.sha256, version=version)
    if was is None:
        return Binary("default")
    return Binary(
        was.source,
        wanted=was.sha256 or None,
        path=hint if was.source == "file" else None,
        url=was.url or None,
        sha256=was.download or None,
        version=was.version,
    )


def with_topology(settings: Settings, topology: Topology) -> Settings:
    """`settings` on other hosts."""
    return dataclasses.replace(settings, topology=topology)


def with_installed(settings: Settings, installed: Installed) -> Settings:
    """`settings` as they are recorded once the binary is on the host."""
    return dataclasses.replace(settings, installed=installed)


def kept(settings: Settings, inventory: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """What the host's record decided although a given inventory does not name it (and no default says so).

    Without an inventory (None) nothing is reported: keeping is then what was asked for.
    """
    if inventory is None:
        return ()
    found: list[tuple[str, Any]] = []
    for dotted, origin in settings.origins.items():
        if origin != "record":
            continue
        table, name, *entry = dotted.split(".", 2)
        value = getattr(getattr(settings, table), name)
        if entry:
            found.append((dotted, value[entry[0]]))
        elif schema.known()[dotted].kind != "table" and value != _default(dotted, settings):
            found.append((dotted, value))
    return tuple(found)


def _default(dotted: str, settings: Settings) -> Any:
    if dotted == "store.data":
        return schema.DATA_DIRECTORIES[settings.store.engine]
    return schema.default(dotted)


def _merged_table(
    dotted: str, layers: tuple[tuple[Origin, Mapping[str, Any]], ...], origins: dict[str, Origin]
) -> tuple[dict[str, str], Origin]:
    merged: dict[str, str] = {}
    top: Origin = "default"
    for origin, layer in layers:
        prefix = dotted + "."
        entries = {name.removeprefix(prefix): value for name, value in layer.items() if name.startswith(prefix)}
        whole = dotted in layer
        for name, value in {**(layer[dotted] if whole else {}), **entries}.items():
            if name not in merged:
                merged[name] = value
                origins[prefix + name] = origin
        if (entries or whole) and top == "default":
            top = origin
        if whole:
            break
    return dict(sorted(merged.items())), top


_Layers = tuple[tuple[Origin, Mapping[str, Any]], ...]


def _without_the_other_engine(layers: _Layers) -> _Layers:
    """Drop what lower layers say about another store engine: its directory and its binary are not this one's."""
    chosen: str | None = None
    database: str | None = None
    kept: list[tuple[Origin, Mapping[str, Any]]] = []
    for origin, layer in layers:
        if chosen is not None and layer.get("store.engine", chosen) != chosen:
            layer = {key: v for key, v in layer.items() if key not in (*_BINARY, "store.data", *outside.STORE_KEYS)}
        chosen = chosen or layer.get("store.engine")
        if database is not None and layer.get("database.engine", database) != database:
            layer = {key: v for key, v in layer.items() if key not in outside.DATABASE_KEYS}
        database = database or layer.get("database.engine")
        kept.append((origin, layer))
    return tuple(kept)


def _one_binary(layers: _Layers) -> _Layers:
    """The highest layer that names a binary or a URL decides, with its own checksum, against those below."""
    decided = False
    kept: list[tuple[Origin, Mapping[str, Any]]] = []
    for origin, layer in layers:
        if decided:
            layer = {key: value for key, value in layer.items() if key not in _BINARY}
        decided = decided or "store.binary" in layer or "store.url" in layer
        kept.append((origin, layer))
    return tuple(kept)


def _agree(settings: Settings) -> None:
    store = settings.store
    outside.agree_store(settings)
    outside.agree_database(settings)
    if store.expose and settings.access.door_port == reserved.EXPOSED:
        raise UsageError(
            f"access.port is {reserved.EXPOSED}, and so is the port of store.expose",
            why="MLflow and the store cannot both answer there",
            next="choose another access.port, or: --set store.expose=false",
        )
    if settings.mlflow.serve != "all":
        from provisioner import halves

        halves.agree(settings.mlflow, settings.artifacts, settings.access, settings.database)
    if store.engine != "minio" and any((store.binary, store.url, store.sha256)):
        named = next(key for key in _BINARY if settings.get(key))
        raise UsageError(
            f'{named} belongs to store.engine = "minio", this stack has "{store.engine}"',
            why="SeaweedFS comes from the Python package index"
            if store.engine == "seaweedfs"
            else "nothing is installed",
            next=f"leave {named} out",
        )
    if store.binary and store.url:
        raise UsageError(
            "store.binary and store.url are both given",
            why="the binary comes either from this machine or from a URL",
            next="leave one of them out",
        )
    if store.url not in (None, "default") and store.sha256 is None:
        raise UsageError(
            "store.url needs store.sha256",
            why="nothing is run that was not checked",
            next="add: --set store.sha256=$(sha256sum FILE | cut -d' ' -f1)",
        )
    if store.sha256 and not (store.binary or (store.url and store.url != "default")):
        raise UsageError("store.sha256 stands alone", why="it belongs to store.url or store.binary")
