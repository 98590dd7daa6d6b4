"""What lands on the hosts of a stack of several, as it was read by somebody and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from kept import HERE, same
from model import FACTS, vault
from stacks import EXAMPLES

from provisioner.door import Door
from provisioner.resources.file import File
from provisioner.settings import effective
from provisioner.steps import Context, ordered
from provisioner.topology import Member, Topology

ROLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "one-each": {"store": ("store",), "database": ("database",), "mlflow": ("mlflow",), "proxy": ("proxy",)},
    "four-stores": {"all": ("store", "database", "mlflow", "proxy")}
    | dict.fromkeys(("second", "third", "fourth"), ("store",)),
    "two-mlflow": {"back": ("store", "database"), "front": ("mlflow", "proxy"), "second": ("mlflow",)},
    "mysql-apart": {"back": ("database",), "front": ("store", "mlflow", "proxy")},
    "accounts-apart": {"back": ("store", "database", "proxy"), "front": ("mlflow",), "second": ("mlflow",)},
    "external-database": {"back": ("store", "proxy"), "front": ("mlflow",), "second": ("mlflow",)},
}


SETTINGS: Mapping[str, Mapping[str, object]] = {
    "four-stores": {
        "store.drives": ("/mnt/d1", "/mnt/d2"),
        "store.url": "https://mirror.example.com/minio",
        "store.sha256": "0" * 64,
    },
    "mysql-apart": {"store.engine": "seaweedfs", "database.engine": "mysql"},
    "accounts-apart": {"store.engine": "seaweedfs", "access.auth": "mlflow"},
    "external-database": {
        "store.engine": "seaweedfs",
        "database.engine": "external",
        "database.url": "postgresql://192.0.2.7,[2001:db8::7]:6432/runs",
    },
}
"""Beside those of all."""


def usual(path: str, content: bytes) -> bool:
    """Whether a server that does everything has the same file, which is kept with it."""
    places = (HERE / alone / f"files{path}" for alone in ("seaweedfs", "tls"))
    return any(place.is_file() and place.read_bytes() == content for place in places)


def files(topology: Topology, member: Member, chosen: Mapping[str, object]) -> dict[str, str]:
    """What is written to a host of Debian 12 that is as its image."""
    settings = effective({**({} if chosen else {"store.engine": "seaweedfs"}), "mlflow.egress": "stack", **chosen}, {})
    context = Context(
        settings=replace(settings, topology=topology),
        facts=replace(FACTS, addresses=("127.0.0.1", member.address)),
        secrets=vault(**EXAMPLES["tls"].secrets).secrets(),
        door=Door("http", "mlflow.example.com", 5000, ("mlflow.example.com",)),
        name=member.name,
    )
    resources = [
        r for step in ordered(context.settings) if context.here.holds(*step.roles) for r in step.resources(context)
    ]
    ids = [resource.id for resource in resources]
    assert sorted(ids) == sorted(set(ids)), "no two steps of a host have the same resource"
    written = {
        r.path: r.content.decode()
        for r in resources
        if isinstance(r, File) and r.content and not usual(r.path, r.content)
    }
    return {"resources.txt": "".join(f"{r.step:<12} {r.id}\n" for r in resources)} | {
        f"files{path}": text for path, text in sorted(written.items())
    }


@pytest.mark.parametrize("name", ROLES)
def test_the_files_of_a_topology_are_those_that_were_kept(name: str) -> None:
    members = [Member(host, f"10.151.0.{n}", roles) for n, (host, roles) in enumerate(ROLES[name].items(), 1)]
    topology = Topology(tuple(members))
    same(
        f"topologies/{name}",
        {
            f"{member.name}/{path}": text
            for member in members
            for path, text in files(topology, member, SETTINGS.get(name, {})).items()
        },
    )
