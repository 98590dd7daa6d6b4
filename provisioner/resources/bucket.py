"""A bucket in an S3 store: there, and not open to everyone."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import field
from typing import Any, Protocol, TypeVar

from provisioner.engine.probe import Look, Probe, Seen
from provisioner.engine.quoting import printable
from provisioner.engine.resource import Change, ClientResource
from provisioner.errors import ProvisionError
from provisioner.resources.s3 import REGION, Answer, Store, Unanswered
from provisioner.resources.unit import UnitProbe
from provisioner.transport.base import Session
from provisioner.values import dataclass

LOADING = 3.0
"""Seconds."""
T = TypeVar("T")
_KEY_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch"}


def unseen(answer: Answer) -> str:
    """Why the administrator could not look; empty when it could."""
    if answer.status == 403 and answer.code in _KEY_CODES:
        return "the store does not take its administrator's key now"
    if answer.status >= 500:
        return f"the store answers HTTP {answer.status} {answer.code}".strip()
    return ""


class Sight(Protocol):
    """A state that says why it could not be looked at; empty when it was."""

    @property
    def unseen(self) -> str: ...


_BLIND = "unseen"


def check(state: Sight | None, title: str) -> Change:
    """The change that stands for what was not seen: it is looked at when its turn comes."""
    why = state.unseen if state is not None else "seen only when its service answers"
    return Change("check", why, title=title, payload=_BLIND)


@dataclass(frozen=True)
class BucketState:
    """A bucket as its store shows it."""

    exists: bool = False
    policy: str = ""
    """The bucket's own policy, JSON: what it allows to people without a key; empty: none."""
    unseen: str = ""
    """Why it could not be looked at; empty when it was."""


@dataclass(frozen=True)
class BucketLook(Look[BucketState]):
    """Names one bucket among what was seen."""

    bucket: str


@dataclass(frozen=True, kw_only=True)
class StoreResource(ClientResource):
    """What a store's administrator sees and changes; `unit` is the service that must run."""

    store: Store = field(compare=False, repr=False)
    unit: str
    had: bool = False
    """This stack is known to have had it."""

    def settled(self, look: Callable[[], T], missing: Callable[[T], bool]) -> T:
        """What `look` tells; what is missing and was there before is asked for again for a while:
        MinIO says READY before all of its accounts and policies are loaded (2025-10-15, seen)."""
        deadline = time.monotonic() + LOADING
        state = look()
        while self.had and missing(state) and time.monotonic() < deadline:
            time.sleep(0.2)
            state = look()
        return state

    def probes(self) -> tuple[Probe[Any], ...]:
        return (UnitProbe(self.unit),)

    def ready(self, seen: Seen) -> bool:
        state = seen.get(UnitProbe(self.unit))
        return state is not None and state.active == "active"

    def perform(self, session: Session, change: Change) -> None:
        if change.payload == _BLIND:
            raise ProvisionError(
                f"{change.title} cannot be looked at",
                why=change.reason,
                next=f"on the server: journalctl -u {self.unit} -n 50",
            )
        with spoken(change.title, self.unit):
            self.bring_about(session, change)

    @abstractmethod
    def bring_about(self, session: Session, change: Change) -> None:
        """`perform` of what was seen; the caller tells what the library raises."""


@dataclass(frozen=True, kw_only=True)
class Bucket(StoreResource):
    """A private bucket. One that this stack `had` and that is missing is a loss."""

    bucket: str

    @property
    def key(self) -> BucketLook:
        return BucketLook(self.bucket)

    def diff(self, seen: Seen) -> Change | None:
        state = seen.get(self.key)
        title = f"bucket {self.bucket}"
        if state is None or state.unseen:
            return check(state, title)
        if not state.exists:
            loss = None
            if self.had:
                loss = f"the bucket {self.bucket} was gone: it is created empty, artifacts of earlier runs are lost"
            return Change("create", "it was gone" if self.had else "absent", title=title, loss=loss)
        if state.policy:
            reason = "its own policy opens it to others"
            return Change("change", reason, title=title, diff=tuple(_lines(state.policy)), payload="policy")
        return None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.key, BucketState(True))

    def look(self, session: Session) -> Seen:
        try:
            # One request that tells both: NoSuchBucket, NoSuchBucketPolicy, or the policy.
            answer = self.store.request(session, "GET", f"/{self.bucket}", {"policy": ""})
        except Unanswered as error:
            return Seen({self.key: BucketState(unseen=f"{error.what}: {error.why}")})
        if answer.status == 200:
            state = BucketState(True, policy=answer.body.decode("utf-8", "replace"))
        elif answer.code == "NoSuchBucket":
            state = BucketState(False)
        elif answer.code in {"NoSuchBucketPolicy", "NotImplemented"}:
            state = BucketState(True)
        else:
            state = BucketState(unseen=unseen(answer) or f"HTTP {answer.status} {answer.code}".strip())
        return Seen({self.key: state})

    def bring_about(self, session: Session, change: Change) -> None:
        client = self.store.client(session)
        if change.action == "create":
            client.make_bucket(self.bucket, location=REGION)
        else:
            client.delete_bucket_policy(self.bucket)


class spoken:
    """Turns minio-py's and urllib3's exceptions into a ProvisionError without secrets."""

    def __init__(self, title: str, unit: str):
        self._title = title
        self._unit = unit

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from minio.error import MinioAdminException, MinioException
        from urllib3.exceptions import HTTPError

        if isinstance(error, MinioException | MinioAdminException | HTTPError | ValueError):
            code = getattr(error, "code", None) or getattr(error, "_code", None) or type(error).__name__
            body = getattr(error, "_body", None)
            detail = str(body if body is not None else error)
            raise ProvisionError(
                f"{self._title} could not be changed",
                why=f"the store says {str(code)[:60]}: {printable(detail)[:300]}",
                next=f"on the server: journalctl -u {self._unit} -n 50",
            ) from error


def _lines(policy: str) -> list[str]:
    try:
        text = json.dumps(json.loads(policy), indent=1)
    except ValueError:
        text = policy
    return [f"-{printable(line)}" for line in text.splitlines()[:60]]
