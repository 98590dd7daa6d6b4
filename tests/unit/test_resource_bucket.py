from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.probe import Seen
from provisioner.errors import ProvisionError
from provisioner.resources import bucketcount, s3
from provisioner.resources.bucket import Bucket, BucketState
from provisioner.resources.bucketcount import Count, count
from provisioner.resources.s3 import Answer, Key, Store, signed
from provisioner.resources.s3user import Policy, PolicyState, User, UserState, bucket_policy, rules
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.secrets import Secret

ROOT = Key(Secret("AKIDEXAMPLE"), Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
STORE = Store(ROOT, 9000, "store.service")
BUCKET = Bucket(id="bucket:b", bucket="b", store=STORE, unit="store.service", had=True)
POLICY = Policy(id="policy:p", name="p", document=bucket_policy("b"), store=STORE, unit="store.service")
USER = User(
    id="store-user:b", role="the bucket b", account=ROOT, policy="p", bucket="b", store=STORE, unit="store.service"
)


@given(st.builds(BucketState, st.booleans(), st.sampled_from(["", "{}"]), st.sampled_from(["", "refused"])))
def test_nothing_is_left_to_do_after_a_bucket_was_applied(state: BucketState) -> None:
    assert BUCKET.diff(BUCKET.after(Seen({BUCKET.key: state}))) is None


@given(st.builds(PolicyState, st.none() | st.frozensets(st.text(max_size=9), max_size=3), st.sampled_from(["", "x"])))
def test_nothing_is_left_to_do_after_a_policy_was_applied(state: PolicyState) -> None:
    assert POLICY.diff(POLICY.after(Seen({POLICY.key: state}))) is None


NAMES = st.frozensets(st.sampled_from(["p", "readwrite", "odd\x1bname"]), max_size=3)


@given(st.builds(UserState, st.booleans(), st.booleans(), NAMES, NAMES, st.booleans(), st.sampled_from(["", "x"])))
def test_nothing_is_left_to_do_after_a_user_was_applied(state: UserState) -> None:
    assert USER.diff(USER.after(Seen({USER.key: state}))) is None
    change = USER.diff(Seen({USER.key: state}))
    assert change is None or change.reason.isprintable()


def test_a_bucket_that_the_stack_had_is_a_loss_when_it_is_gone() -> None:
    change = BUCKET.diff(Seen({BUCKET.key: BucketState(False)}))
    assert change is not None
    assert change.loss is not None
    assert "created empty" in change.loss


def test_what_was_not_seen_is_looked_at_again_at_its_turn() -> None:
    for resource in (BUCKET, POLICY, USER):
        change = resource.diff(Seen())
        assert change is not None
        assert change.action == "check"
        with pytest.raises(ProvisionError, match="cannot be looked at"):
            resource.perform(None, change)  # type: ignore[arg-type]


def test_a_client_resource_is_ready_only_while_its_unit_runs() -> None:
    unit = UnitProbe("store.service")
    assert BUCKET.ready(Seen({unit: UnitState("loaded", "active")}))
    assert not BUCKET.ready(Seen({unit: UnitState("loaded", "failed")}))
    assert not BUCKET.ready(Seen())


def test_the_policy_names_the_missing_action() -> None:
    had = rules(bucket_policy("b")) - {"Allow s3:AbortMultipartUpload arn:aws:s3:::b/*"}
    change = POLICY.diff(Seen({POLICY.key: PolicyState(had)}))
    assert change is not None
    assert change.reason == "policy lacks s3:AbortMultipartUpload"
    assert change.diff == ("+Allow s3:AbortMultipartUpload arn:aws:s3:::b/*",)


def test_order_and_grouping_of_a_policy_do_not_matter_but_conditions_do() -> None:
    document = bucket_policy("b")
    shuffled: dict[str, Any] = {"Statement": []}
    for statement in reversed(document["Statement"]):
        for action in reversed(statement["Action"]):
            shuffled["Statement"].append({"Effect": "Allow", "Action": action, "Resource": statement["Resource"]})
    assert rules(shuffled) == rules(document)
    shuffled["Statement"][0]["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
    assert rules(shuffled) != rules(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=9), c, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_some_policy(document: object) -> None:
    assert isinstance(rules(document), frozenset)
    assert isinstance(rules({"Statement": document}), frozenset)


def test_the_signature_is_that_of_the_published_algorithm() -> None:
    minio = pytest.importorskip("minio.signer")
    credentials = pytest.importorskip("minio.credentials").Credentials
    when = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    target, ours = signed(ROOT, "GET", "127.0.0.1:9000", "/b/a b+c", {"policy": "", "x": "ä/&"}, when.timestamp())
    theirs = minio.sign_v4_s3(
        method="GET",
        url=urlsplit("http://127.0.0.1:9000" + target),
        region=s3.REGION,
        headers={k: ours[k] for k in ("host", "x-amz-content-sha256", "x-amz-date")},
        credentials=credentials(ROOT.access.reveal(), ROOT.secret.reveal()),
        content_sha256=ours["x-amz-content-sha256"],
        date=when,
    )
    assert theirs["Authorization"] == ours["Authorization"]


def test_error_codes_are_read_from_xml_and_json() -> None:
    assert Answer(404, b"<Error><Code>NoSuchBucket</Code>").code == "NoSuchBucket"
    assert Answer(404, b'{"Code": "XMinioAdminNoSuchUser"}').code == "XMinioAdminNoSuchUser"
    assert Answer(500, b"\xff").code == ""


class Forwarded:
    """A session whose forward leads to a server in this process."""

    def __init__(self, path: Path):
        self.path = path
        self.forwards = 0

    @contextmanager
    def forward(self, port: int, host: str = "127.0.0.1") -> Iterator[Path]:
        self.forwards += 1
        yield self.path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Forwarded, list[bytes]]]:
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    replies: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near:
                while near.recv(65536):
                    if not replies or not (reply := replies.pop(0)):
                        break
                    near.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (reply[:3] + b" x", len(reply) - 3))
                    near.sendall(reply[3:])

    threading.Thread(target=serve, daemon=True).start()
    yield Forwarded(path), replies
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_looks_share_one_forward_and_a_closed_connection_is_opened_again(
    server: tuple[Forwarded, list[bytes]],
) -> None:
    session, replies = server
    store = Store(ROOT, 9000, "store.service")
    bucket = Bucket(id="bucket:b", bucket="b", store=store, unit="store.service")
    replies += [b"404<Code>NoSuchBucketPolicy</Code>", b"", b"404<Code>NoSuchBucket</Code>"]
    assert bucket.look(session)[bucket.key] == BucketState(True)  # type: ignore[arg-type]
    assert bucket.look(session)[bucket.key] == BucketState(False)  # type: ignore[arg-type]
    assert session.forwards == 1


def listed(sizes: list[int], token: str = "") -> bytes:
    objects = "".join(f"<Contents><Key>a&lt;Size&gt;</Key><Size>{size}</Size></Contents>" for size in sizes)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f"200<ListBucketResult>{more}{objects}</ListBucketResult>".encode()


def test_objects_are_counted_page_by_page_and_no_further_than_a_reader_needs(
    server: tuple[Forwarded, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Any = server[0]
    replies = server[1]
    store = Store(ROOT, 9000, "store.service")
    replies += [listed([5, 7], "a&amp;b"), listed([1])]
    assert count(store, session, "b") == Count(3, 13)
    replies += [listed([])]
    assert count(store, session, "b") == Count(0, 0)
    monkeypatch.setattr(bucketcount, "MOST", 4)
    replies += [listed([1, 1], "t"), listed([1, 1], "t"), listed([1])]
    assert count(store, session, "b") == Count(4, 4, more=True)
    replies[:] = [b"403<Code>AccessDenied</Code>"]
    assert count(store, session, "b") is None


def test_a_refused_key_and_a_silent_port_are_told_apart(
    server: tuple[Forwarded, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "WAIT", 0.0)
    session, replies = server
    store = Store(ROOT, 9000, "store.service")
    bucket = Bucket(id="bucket:b", bucket="b", store=store, unit="store.service")
    replies += [b"403<Code>SignatureDoesNotMatch</Code>"]
    assert "key" in bucket.look(session)[bucket.key].unseen  # type: ignore[arg-type]
    replies.clear()
    assert "does not answer" in bucket.look(session)[bucket.key].unseen  # type: ignore[arg-type]


def test_a_user_is_seen_with_policies_groups_and_whether_its_secret_opens(
    server: tuple[Forwarded, list[bytes]],
) -> None:
    session, replies = server
    user = User(
        id="u", role="r", account=ROOT, policy="p", bucket="b", store=Store(ROOT, 9000, "x"), unit="store.service"
    )
    body = json.dumps({"status": "enabled", "policyName": "p,readwrite", "memberOf": ["admins"]}).encode()
    replies += [b"200" + body, b"403<Code>SignatureDoesNotMatch</Code>"]
    state = user.look(session)[user.key]  # type: ignore[arg-type]
    assert state == UserState(True, True, frozenset({"p", "readwrite"}), frozenset({"admins"}), False)
