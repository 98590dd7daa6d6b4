"""A bucket of a store that this tool did not make, as the host sees it with the key that was given."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import printable, word
from provisioner.engine.resource import Change, HostResource
from provisioner.runtime import programs
from provisioner.secrets import Secret
from provisioner.values import dataclass

PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Place:
    """A bucket, the way to it, and a key."""

    endpoint: str
    region: str
    bucket: str
    virtual: bool
    """The bucket is in the host's name."""
    access: Secret
    secret: Secret
    folder: str = ""
    ca: str = ""
    """PEM of the only roots that are trusted; empty: the host's own."""

    def call(self, work: str, python: str) -> str:
        """sh: `look`, `create` or `prove`. The key is in the environment of a process of root's, not in an argument."""
        asked = {
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "virtual": "1" if self.virtual else "",
            "access": self.access.reveal(),
            "secret": self.secret.reveal(),
            "folder": self.folder,
            "ca": self.ca,
        }
        return f"PROVISION_S3={word(json.dumps(asked))} {programs.call('s3_bucket', work, interpreter=python)}"

    def digest(self, key: Secret) -> str:
        """Tells this place and login from any other. `key`: a secret of this tool's own making, without which nobody
        can try passwords against it."""
        parts = (self.endpoint, self.region, self.bucket, str(self.virtual), self.folder, self.ca)
        login = (self.access.reveal(), self.secret.reveal())
        return hmac.new(key.reveal().encode(), "\0".join((*login, *parts)).encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class PlaceProbe(Probe[str]):
    """`ok`, or one word for what is in the way with the store's own words behind it (runtime/s3_bucket.py). `work`:
    `look` changes nothing, `prove` writes, reads and removes an object."""

    place: Place
    python: str = PYTHON
    work: str = "look"

    kind: ClassVar[str] = "external-store"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        asked = [probe.place.call(probe.work, probe.python) for probe in probes]
        return "\n".join(f"{{ {each}\n}} || echo 'host no Python'" for each in asked)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[str]:
        return [printable(line)[:300] for line in output.decode("utf-8", "replace").splitlines()]


@dataclass(frozen=True, kw_only=True)
class ExternalBucket(HostResource):
    """The bucket is there: made where it was not, if the key may. Everything else that is in the way is refused
    before a run, by the step."""

    place: Place = field(repr=False)
    probe: PlaceProbe | None
    """None: it was proven, and is not asked for again."""

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,) if self.probe is not None else ()

    def diff(self, seen: Seen) -> Change | None:
        if self.probe is None or not (seen.get(self.probe) or "").startswith("missing"):
            return None
        return Change("create", "absent", title=f"bucket {self.place.bucket} at {self.place.endpoint}")

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, "ok") if self.probe is not None else seen

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for bucket, _ in items:
            python = bucket.probe.python if bucket.probe is not None else PYTHON
            parts += [
                f"made=$({bucket.place.call('create', python)})",
                '[ "$made" = ok ] || { echo "it was not there, and could not be made and used: $made" >&2; exit 1; }',
            ]
        return "\n".join(parts)
