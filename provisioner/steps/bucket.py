"""The bucket, and a key that opens this bucket only. Everything goes through the SSH connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from provisioner.certificates.material import trusted
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.resource import Resource
from provisioner.resources.bucket import Bucket
from provisioner.resources.file import File
from provisioner.resources.paths import PathProbe
from provisioner.resources.s3 import Key, Store
from provisioner.resources.s3user import Former, Policy, User, bucket_policy
from provisioner.secret_kinds import has_clients
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
    needs: tuple[str, ...] = ("store", "cluster")
    provides: str = "bucket"
    roles: tuple[str, ...] = ("store",)

    def applies(self, settings: Settings) -> bool:
        return settings.store.engine in {"minio", "seaweedfs"}

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        return (PathProbe(_mark(context), read=False),)

    def resources(self, context: Context) -> Sequence[Resource]:
        name = context.settings.store.bucket
        engine = context.settings.store.engine
        unit, needs = f"{engine}.service", (f"step:{engine}", "step:cluster")
        if not context.here.first("store"):
            first = context.here.topology.of("store")[0]
            return [_marked(context, (f"step:{self.name}@{first.name}",)).of(self.name)]
        store = Store(administrator(context), PORT, unit, root(context.settings, context.secrets))
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
        for account in accounts(context) if engine == "minio" else ():
            policy = f"provision-{account.name}"
            resources += [
                Policy(
                    id=f"policy:{policy}",
                    name=policy,
                    document=bucket_policy(name, account.prefix),
                    had=had,
                    store=store,
                    unit=unit,
                    needs=needs,
                ),
                User(
                    id=f"store-user:{account.name}",
                    role=account.role,
                    account=account.key,
                    policy=policy,
                    bucket=name,
                    had=had,
                    store=store,
                    unit=unit,
                    needs=needs,
                ),
            ]
        resources.append(_marked(context, (f"bucket:{name}",)))
        if not context.here.holds("mlflow"):
            resources += former(context)
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        return ()

    def headline(self, context: Context) -> str:
        keys = "keys that open" if has_clients(context.settings) else "a key that opens"
        return f"{context.settings.store.bucket}, and {keys} this bucket only"


@dataclass(frozen=True)
class Account:
    """Somebody who uses the bucket, and nothing else of the store."""

    name: str
    role: str
    key: Key
    before: Secret | None
    """The access key before the last rotation, where there was one."""
    prefix: str = ""
    """The only folder of the bucket that it opens."""


def accounts(context: Context) -> tuple[Account, ...]:
    """MLflow's server, and its clients where they go to the store themselves."""
    bucket, before = context.settings.store.bucket, context.secrets.get
    server = Account(bucket, f"the bucket {bucket}", bucket_key(context), before("store.user.before"))
    if not has_clients(context.settings):
        return (server,)
    clients = Account(
        f"{bucket}-clients",
        f"the clients of the bucket {bucket}",
        _key(context, "store.client.key", "store.client.secret"),
        before("store.client.before"),
        context.settings.artifacts.prefix or "",
    )
    return server, clients


def former(context: Context) -> Sequence[Resource]:
    """The users whose keys were replaced, to be removed once no MLflow server uses them any more."""
    if context.settings.store.engine != "minio" or not (context.here.holds("store") and context.here.first("store")):
        return ()
    unit = f"{context.settings.store.engine}.service"
    store = Store(administrator(context), PORT, unit, root(context.settings, context.secrets))
    # Of one host the lane says the order.
    own = ("step:mlflow",) if context.here.holds("mlflow") and not context.here.topology.single else ()
    others = (f"step:mlflow@{member.name}" for member in context.here.others("mlflow"))
    found = [
        Former(
            id=f"store-user-before:{each.name}",
            access=each.before,
            role=each.role,
            stays=not context.served,
            had=True,
            store=store,
            unit=unit,
            needs=(*own, *others),
        )
        for each in accounts(context)
        if each.before is not None and each.before != each.key.access
    ]
    for name, access in _ended(context).items():
        found.append(
            Former(
                id=f"store-user-ended:{name}",
                access=access,
                role="clients",
                reason="clients have no key of the store any more",
                had=True,
                store=store,
                unit=unit,
                needs=own,
            )
        )
    return tuple(found)


def _ended(context: Context) -> Mapping[str, Secret]:
    """The clients' keys where clients have none: the bucket is behind the URL too, and a key that nobody is told any
    more must not go on opening it. The one before a rotation may still be there, if that was broken off."""
    if has_clients(context.settings):
        return {}
    keys = {"clients": "store.client.key", "clients-before": "store.client.before"}
    found = {name: access for name, key in keys.items() if (access := context.secrets.get(key)) is not None}
    # Keys that were brought along may be the same: those that are used stay.
    used = {administrator(context).access, bucket_key(context).access}
    return {name: access for name, access in found.items() if access not in used}


def staying(resources: Iterable[Resource], seen: Seen, run: str) -> tuple[str, ...]:
    """What is to be said of earlier keys that a run leaves in the store. `run`: the command that removes them."""
    found = (each for each in resources if isinstance(each, Former) and each.stays)
    return tuple(
        f"the earlier key of {each.role} stays, as not every MLflow server takes part: {run}"
        for each in found
        if (state := seen.get(each.key)) is not None and state.exists
    )


def root(settings: Settings, secrets: Mapping[str, Secret]) -> str | None:
    """PEM of the root that the store's certificate leads to; None where it speaks plain HTTP, on loopback only."""
    return trusted("internal", secrets) if settings.topology.spread("store") else None


def _marked(context: Context, needs: tuple[str, ...]) -> File:
    name = context.settings.store.bucket
    return File(
        id=f"mark:bucket-{name}",
        path=_mark(context),
        content=(
            f"# Written by provision when it made the bucket {name}. While this file is here, a missing\n"
            "# bucket is reported as a loss; remove it if you removed the bucket on purpose.\n"
        ).encode(),
        needs=needs,
    )


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
