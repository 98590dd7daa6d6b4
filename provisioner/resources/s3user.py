"""A policy and a user in MinIO's own account store: the user may use one bucket, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from provisioner.engine.probe import Look, Seen
from provisioner.engine.quoting import printable
from provisioner.engine.resource import Change
from provisioner.resources.bucket import StoreResource, check, unseen
from provisioner.resources.s3 import Key, Unanswered
from provisioner.secrets import Secret
from provisioner.transport.base import Session
from provisioner.values import dataclass

_ADMIN = "/minio/admin/v3/"


def bucket_policy(bucket: str, prefix: str = "") -> dict[str, Any]:
    """What MLflow's server, or a client, needs of its bucket or of one folder in it, and no more. The bare bucket's
    name is required for the bucket's own actions by newer builds (SN-2026-004)."""
    within: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
    }
    if prefix:
        # MinIO knows no such condition for lists of unfinished uploads (2025-10-15), which nobody needs.
        within["Action"] = ["s3:ListBucket"]
        within["Condition"] = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [f"arn:aws:s3:::{bucket}"]},
            within,
            {
                "Effect": "Allow",
                "Action": [
                    "s3:AbortMultipartUpload",
                    "s3:DeleteObject",
                    "s3:GetObject",
                    "s3:ListMultipartUploadParts",
                    "s3:PutObject",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def rules(document: object) -> frozenset[str]:
    """A policy as a set of lines, `Allow s3:GetObject arn:aws:s3:::mlflow/*`: order and grouping do not matter."""
    if not isinstance(document, Mapping):
        return frozenset({"not a policy"})
    statements = document.get("Statement") or []
    found: set[str] = set()
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, Mapping):
            found.add(json.dumps(statement, sort_keys=True)[:300])
            continue
        rest = {k: _sorted(v) for k, v in statement.items() if k not in {"Effect", "Action", "Resource", "Sid"} and v}
        suffix = " " + json.dumps(rest, sort_keys=True)[:300] if rest else ""
        for action in _listed(statement.get("Action")) or ["-"]:
            for resource in _listed(statement.get("Resource")) or ["-"]:
                found.add(f"{statement.get('Effect')} {action} {resource}{suffix}")
    return frozenset(found)


def _sorted(value: object, depth: int = 8) -> object:
    """`value` with its lists of texts in one order: MinIO keeps a condition's values as a set and gives them in any."""
    if isinstance(value, Mapping) and depth:
        return {str(key): _sorted(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return sorted(value)
    return value


def _listed(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(each) for each in value] if isinstance(value, list) else []


@dataclass(frozen=True)
class PolicyState:
    """A policy as the store has it."""

    rules: frozenset[str] | None = None
    """None: there is no such policy."""
    unseen: str = ""


@dataclass(frozen=True)
class PolicyLook(Look[PolicyState]):
    """Names one policy among what was seen."""

    policy: str


@dataclass(frozen=True, kw_only=True)
class Policy(StoreResource):
    """A policy that allows exactly what its document says."""

    name: str
    document: dict[str, Any] = field(compare=False)

    @property
    def key(self) -> PolicyLook:
        return PolicyLook(self.name)

    def diff(self, seen: Seen) -> Change | None:
        state = seen.get(self.key)
        title = f"policy {self.name}"
        if state is None or state.unseen:
            return check(state, title)
        wanted = rules(self.document)
        if state.rules == wanted:
            return None
        had = state.rules or frozenset()
        missing, extra = sorted(wanted - had), sorted(had - wanted)
        diff = (*(f"-{printable(line)}" for line in extra[:100]), *(f"+{line}" for line in missing))
        if state.rules is None:
            return Change("create", "absent", title=title, diff=diff)
        reasons = []
        if missing:
            reasons.append(f"policy lacks {_actions(missing)}")
        if extra:
            reasons.append(f"policy also says {_actions(extra)}")
        return Change("change", ", ".join(reasons), title=title, diff=diff)

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.key, PolicyState(rules(self.document)))

    def look(self, session: Session) -> Seen:
        try:
            state = self.settled(lambda: self._state(session), lambda s: s.rules is None and not s.unseen)
        except Unanswered as error:
            state = PolicyState(unseen=f"{error.what}: {error.why}")
        return Seen({self.key: state})

    def _state(self, session: Session) -> PolicyState:
        answer = self.store.request(session, "GET", _ADMIN + "info-canned-policy", {"name": self.name})
        if answer.status == 200:
            return PolicyState(rules(_json(answer.body)))
        if answer.code == "XMinioAdminNoSuchPolicy":
            return PolicyState(None)
        return PolicyState(unseen=unseen(answer) or f"HTTP {answer.status} {answer.code}".strip())

    def bring_about(self, session: Session, change: Change) -> None:
        self.store.admin(session).policy_add(self.name, policy=self.document)


def _actions(lines: Iterable[str]) -> str:
    names = [printable(line.split(" ")[1] if line.startswith("Allow ") else line) for line in lines]
    names = list(dict.fromkeys(names))
    return ", ".join(name[:80] for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@dataclass(frozen=True)
class UserState:
    """A store's user as it was seen."""

    exists: bool = False
    enabled: bool = False
    policies: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    secret: bool = False
    """The wanted secret opens it. A disabled user's cannot be tried: True then."""
    unseen: str = ""


@dataclass(frozen=True)
class UserLook(Look[UserState]):
    """Names one user among what was seen."""

    role: str


@dataclass(frozen=True, kw_only=True)
class User(StoreResource):
    """The user of `account`, enabled, with its secret, and with `policy` as all that it may do."""

    role: str
    """What it is for, in words; its name is a secret's half."""
    account: Key = field(compare=False, repr=False)
    policy: str
    bucket: str

    @property
    def key(self) -> UserLook:
        return UserLook(self.role)

    def diff(self, seen: Seen) -> Change | None:
        state = seen.get(self.key)
        title = f"key of {self.role}"
        if state is None or state.unseen:
            return check(state, title)
        if not state.exists:
            return Change("create", "absent", title=title)
        reasons = []
        if not state.enabled:
            reasons.append("disabled")
        if not state.secret:
            reasons.append("its secret is another one")
        if self.policy not in state.policies:
            reasons.append(f"policy {self.policy} is not attached")
        if state.policies - {self.policy}:
            names = ", ".join(printable(name)[:40] for name in sorted(state.policies - {self.policy})[:3])
            reasons.append(f"policy {names} is attached too")
        if state.groups:
            reasons.append(f"member of {', '.join(printable(name)[:40] for name in sorted(state.groups)[:3])}")
        return Change("change", ", ".join(reasons), title=title, payload=state) if reasons else None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.key, UserState(True, True, frozenset({self.policy}), frozenset(), True))

    def look(self, session: Session) -> Seen:
        try:
            state = self.settled(lambda: self._state(session), lambda s: not s.unseen and self.policy not in s.policies)
        except Unanswered as error:
            state = UserState(unseen=f"{error.what}: {error.why}")
        return Seen({self.key: state})

    def _state(self, session: Session) -> UserState:
        name = {"accessKey": self.account.access.reveal()}
        answer = self.store.request(session, "GET", _ADMIN + "user-info", name)
        if answer.code == "XMinioAdminNoSuchUser":
            return UserState(False)
        found = _json(answer.body)
        if answer.status != 200 or not isinstance(found, Mapping):
            return UserState(unseen=unseen(answer) or f"HTTP {answer.status} {answer.code}".strip())
        enabled = found.get("status") == "enabled"
        secret = True
        if enabled:
            # Any answer but a refused signature proves the secret, whatever the policy allows.
            tried = self.store.request(session, "GET", f"/{self.bucket}", {"location": ""}, self.account)
            secret = tried.code not in {"SignatureDoesNotMatch", "InvalidAccessKeyId"}
        policies = frozenset(name for name in str(found.get("policyName") or "").split(",") if name)
        return UserState(True, enabled, policies, frozenset(_listed(found.get("memberOf"))), secret)

    def bring_about(self, session: Session, change: Change) -> None:
        state = change.payload if isinstance(change.payload, UserState) else UserState()
        admin, name = self.store.admin(session), self.account.access.reveal()
        if not state.exists or not state.secret or not state.enabled:
            # Sets the secret and enables. Of a disabled user nobody can tell whether the secret was right.
            admin.user_add(name, self.account.secret.reveal())
        for group in sorted(state.groups):
            admin.group_remove(group, [name])
        extra = sorted(state.policies - {self.policy})
        if extra:
            admin.detach_policy(extra, user=name)
        if self.policy not in state.policies:
            admin.attach_policy([self.policy], user=name)


@dataclass(frozen=True)
class FormerLook(Look[UserState]):
    """Names one user that shall be gone."""

    access: Secret


@dataclass(frozen=True, kw_only=True)
class Former(StoreResource):
    """A user whose key was replaced: gone, with its key."""

    access: Secret
    role: str
    reason: str = "it was replaced"
    stays: bool = False
    """Somebody may use it who is not asked now."""

    @property
    def key(self) -> FormerLook:
        return FormerLook(self.access)

    def diff(self, seen: Seen) -> Change | None:
        state = seen.get(self.key)
        title = f"earlier key of {self.role}"
        if self.stays:
            return None
        if state is None or state.unseen:
            return check(state, title)
        return Change("remove", self.reason, title=title) if state.exists else None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.key, UserState(False))

    def look(self, session: Session) -> Seen:
        name = {"accessKey": self.access.reveal()}
        try:
            answer = self.store.request(session, "GET", _ADMIN + "user-info", name)
        except Unanswered as error:
            return Seen({self.key: UserState(unseen=f"{error.what}: {error.why}")})
        if answer.code == "XMinioAdminNoSuchUser":
            return Seen({self.key: UserState(False)})
        if answer.status != 200:
            return Seen({self.key: UserState(unseen=unseen(answer) or f"HTTP {answer.status}")})
        return Seen({self.key: UserState(True)})

    def bring_about(self, session: Session, change: Change) -> None:
        self.store.admin(session).user_remove(self.access.reveal())


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found
