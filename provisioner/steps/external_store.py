"""A store that is not this tool's: any S3. Nothing is installed; what MLflow needs of it is proven from its own host.

Clients fetch artifacts by addresses of that store which MLflow signs (its clients ask for them whatever the server
says, 3.17), so they must reach it under the same name; nginx cannot stand in, the signature covers the name.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from provisioner.certificates.material import certificates
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.resource import Resource
from provisioner.resources.external_bucket import PYTHON, ExternalBucket, Place, PlaceProbe
from provisioner.resources.file import File
from provisioner.resources.mark import HAD
from provisioner.resources.paths import PathProbe
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.steps import Context
from provisioner.values import dataclass

PROVEN = "/etc/provision/store-proven"
NAME = "external-store"


@dataclass(frozen=True)
class ExternalStore:
    """The store and its bucket, when they are somebody else's."""

    name: str = NAME
    summary: str = "a bucket of an S3 store that you have"
    needs: tuple[str, ...] = ()
    provides: str = "bucket"
    roles: tuple[str, ...] = ("mlflow",)

    def applies(self, settings: Settings) -> bool:
        return settings.store.engine == "external"

    def looks(self, context: Context) -> Sequence[Probe[Any]]:
        asked = _asked(context)
        return (PathProbe(PROVEN), *([asked] if asked is not None else []))

    def resources(self, context: Context) -> Sequence[Resource]:
        where = place(context)
        bucket = context.settings.store.bucket
        resources: tuple[Resource, ...] = (
            ExternalBucket(id=f"bucket:{bucket}", place=where, probe=_asked(context)),
            File(
                id=f"mark:bucket-{bucket}",
                path=f"{HAD}/bucket-{bucket}",
                content=(
                    f"# Written by provision: this stack has artifacts in the bucket {bucket} of a store that is not\n"
                    "# its own. While this file is here, another store or bucket is refused.\n"
                ).encode(),
                needs=(f"bucket:{bucket}",),
            ),
            File(
                id="file:store-proven",
                path=PROVEN,
                content=_proof(context),
                mode=0o600,
                hide=("*",),
                needs=(f"bucket:{bucket}",),
            ),
        )
        return [resource.of(self.name) for resource in resources]

    def preflight(self, context: Context) -> Iterable[Check]:
        asked = _asked(context)
        told = context.seen.get(asked) if asked is not None else None
        if told is None:
            return
        yield told_check(context, "look", told)

    def trials(self, context: Context) -> Sequence[PlaceProbe]:
        """What a run tries before it changes anything: an object is written, read and removed."""
        asked = _asked(context)
        if asked is None or context.seen.get(asked) != "ok":
            return ()
        return (PlaceProbe(place(context), asked.python, "prove"),)

    def tried(self, context: Context, trials: Sequence[PlaceProbe], seen: Seen) -> Iterable[Check]:
        """What came of `trials`."""
        return (told_check(context, "prove", seen[trial]) for trial in trials)

    def headline(self, context: Context) -> str:
        return f"the bucket {context.settings.store.bucket} at {endpoint(context.settings)}"


def endpoint(settings: Settings) -> str:
    """Where the store is, for the server and for clients; Amazon's own without one."""
    store = settings.store
    return store.endpoint or f"https://s3.{region(settings)}.amazonaws.com"


def region(settings: Settings) -> str:
    return settings.store.region or "us-east-1"


def virtual(settings: Settings) -> bool:
    """Whether the bucket is in the host's name; Amazon's own is asked that way, every other one by its path, as
    boto3 does with an endpoint of its own."""
    style = settings.store.addressing or "auto"
    return style == "virtual" or (style == "auto" and settings.store.endpoint is None)


def roots(context: Context) -> str:
    """PEM of the roots that the store's certificate leads to; empty: the public ones."""
    return pem(context.secrets.get("store.ca")) if context.settings.store.ca else ""


def pem(packed: Secret | None) -> str:
    """PEM of what the secret `store.ca` holds."""
    if packed is None:
        return ""
    try:
        return certificates(tuple(base64.b64decode(each, validate=True) for each in packed.reveal().split(",")))
    except ValueError:
        return ""


def place(context: Context) -> Place:
    settings, secret = context.settings, Secret("")
    return Place(
        endpoint=endpoint(settings),
        region=region(settings),
        bucket=settings.store.bucket,
        virtual=virtual(settings),
        access=context.secrets.get("store.user.key") or secret,
        secret=context.secrets.get("store.user.secret") or secret,
        folder=settings.artifacts.prefix or "",
        ca=roots(context),
    )


def _proof(context: Context) -> bytes:
    head = "# Written by provision: this key and this bucket were tried from here and work."
    return f"{head}\n{place(context).digest(context.secrets.get('mlflow.flask-key') or Secret(''))}\n".encode()


def _asked(context: Context) -> PlaceProbe | None:
    """The look at the bucket; None while the host was not seen, and once it was proven with this key."""
    proven = context.seen.get(PathProbe(PROVEN))
    if proven is None or (proven.kind == "file" and proven.content == _proof(context)):
        return None
    return PlaceProbe(place(context), context.facts.python_path or PYTHON)


_WORDS = {
    "name": ("its name does not resolve on this server", "add it to DNS or to /etc/hosts, or correct store.endpoint"),
    "port": ("no connection to it from this server", "open the way in the firewall, or correct store.endpoint"),
    "silent": ("no answer to this server", "open the way in the firewall, or correct store.endpoint"),
    "certificate": ("this server does not trust its certificate", "--set store.ca=FILE with the root that issued it"),
    "tls": ("no TLS", "check scheme and port of store.endpoint"),
    "foreign": ("what answers there is no S3", "check scheme and port of store.endpoint"),
    "key": ("it does not know the access key", "correct the secret store.user.key"),
    "secret": ("the secret key is not the access key's", "correct the secret store.user.secret"),
    "clock": ("its clock and this server's differ by too much", "timedatectl set-ntp true   (on the server)"),
    "denied": ("the key may not", "give the key the right to list the bucket, and to get, put and delete its objects"),
    "host": ("this server has no Python to ask with", "apt-get install python3   (on the server)"),
}


def told_check(context: Context, work: str, told: str) -> Check:
    """The check that stands for one line of runtime/s3_bucket.py."""
    where, bucket = endpoint(context.settings), context.settings.store.bucket
    title = "external store"
    if told == "ok":
        done = "lists its objects" if work == "look" else "writes, reads and removes objects"
        return Check(f"store-{work}", title, "ok", detail=f"the key {done} in {bucket} at {where}")
    doing, said = "", told
    if work == "prove" and told.split(" ")[0] in ("put", "get", "delete"):
        verb, _, said = told.partition(" ")
        doing = {"put": "writing", "get": "reading", "delete": "removing"}[verb] + " an object: "
    word, _, words = said.partition(" ")
    if word == "missing":
        detail = f"{where} has no bucket {bucket}: it is made, if the key may"
        return Check(f"store-{work}", title, "warn", detail=detail)
    if word == "region":
        fix = f"--set store.region={words}" if words and words[0].islower() else "--set store.region=REGION"
        detail = f"{where}: the bucket {bucket} is in another region"
        return Check(f"store-{work}", title, "fail", detail=detail, fix=fix)
    what, fix = _WORDS.get(word, (said, "look at the store's own log"))
    if word == "port" and urlsplit(where).scheme == "http" and "reset" in words.lower():
        fix = "check scheme and port of store.endpoint"
    detail = f"{where}: {doing}{what}" + (f" ({words})" if words and word in _WORDS else "")
    return Check(f"store-{work}", title, "fail", detail=detail, fix=fix)


STEP = ExternalStore()
