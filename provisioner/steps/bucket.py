"""The bucket, and a key that opens this bucket only. Everything goes through the SSH connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.resource import Resource
from provisioner.resources.bucket import Bucket
from provisioner.resources.file import File
from provisioner.resources.paths import PathProbe
from provisioner.resources.s3 import Key, Store
from provisioner.resources.s3user import Former, Policy, User, bucket_policy
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context
from provisioner.values import dataclass

PORT = 9000
MARKS = "/etc/provision/had"
"""One file for everything of this stack that cannot be made again: what is marked and gone is a loss."""


@dataclass(frozen=True)
class BucketStep:
    """The bucket and a key that opens only it."""

    name: str = "bucket"
    summary: str = "the bucket, and a key that opens it only"
    needs: tuple[str, ...] = ("store",)
    provides: str = "bucket"
    roles: tuple[str, ...] = ("store",)

    def applies(self, settings: Settings) -> bool:
        return settings.store.engine in {"minio", "seaweedfs"}

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return (PathProbe(_mark(context), read=False),)

    def resources(self, context: Context) -> Sequence[Resource]:
        name = context.settings.store.bucket
        engine = context.settings.store.engine
        unit, needs = f"{engine}.service", (f"step:{engine}",)
        store = Store(administrator(context), PORT, unit)
        standing = context.seen.get(PathProbe(_mark(context), read=False))
        had = standing is not None and standing.kind == "file"
        resources: list[Resource] = [
            Bucket(
                id=f"bucket:{name}",
                bucket=name,
                had=had,
                store=store,
                unit=unit,
                needs=needs,
            )
        ]
        if engine == "minio":
            policy = f"provision-{name}"
            resources += [
                Policy(
                    id=f"policy:{policy}",
                    name=policy,
                    document=bucket_policy(name),
                    had=had,
                    store=store,
                    unit=unit,
                    needs=needs,
                ),
                User(
                    id=f"store-user:{name}",
                    role=f"the bucket {name}",
                    account=bucket_key(context),
                    policy=policy,
                    bucket=name,
                    had=had,
                    store=store,
                    unit=unit,
                    needs=needs,
                ),
            ]
        resources.append(
            File(
                id=f"mark:bucket-{name}",
                path=_mark(context),
                content=(
                    f"# Written by provision when it made the bucket {name}. While this file is here, a missing\n"
                    "# bucket is reported as a loss; remove it if you removed the bucket on purpose.\n"
                ).encode(),
                needs=(f"bucket:{name}",),
            )
        )
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        return f"{context.settings.store.bucket}, and a key that opens this bucket only"


def former(context: Context) -> Sequence[Resource]:
    """The user whose key was replaced, to be removed once nothing uses it any more."""
    before = context.secrets.get("store.user.before")
    if context.settings.store.engine != "minio" or before is None or before == bucket_key(context).access:
        return ()
    name, unit = context.settings.store.bucket, f"{context.settings.store.engine}.service"
    store = Store(administrator(context), PORT, unit)
    role = f"the bucket {name}"
    return (Former(id=f"store-user-before:{name}", access=before, role=role, had=True, store=store, unit=unit),)


def mark(context: Context) -> str:
    """The name of the mark that this stack had its bucket."""
    return f"bucket-{context.settings.store.bucket}"


def _mark(context: Context) -> str:
    return f"{MARKS}/{mark(context)}"


def administrator(context: Context) -> Key:
    """The store's root key."""
    return _key(context, "store.root.user", "store.root.password")


def bucket_key(context: Context) -> Key:
    """The key that the MLflow server uses."""
    return _key(context, "store.user.key", "store.user.secret")


def _key(context: Context, access: str, secret: str) -> Key:
    unknown = Secret("")
    return Key(context.secrets.get(access, unknown), context.secrets.get(secret, unknown))


STEP = BucketStep()
