"""What is proven of a server that passes artifacts on and tracks nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_mlflow import FakeMlflow, Reply

from provisioner.secrets import Secret
from provisioner.verify.only import CONTENT, KEPT
from provisioner.verify.quick import quick
from provisioner.verify.run import verify
from provisioner.verify.target import Target

LOGIN = "Basic bWxmbG93OnB3"
Start = Callable[..., tuple[FakeMlflow, Target]]


def half(fake: FakeMlflow, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply | None:
    """As nginx in front of it: no tracking, and lists of the bucket."""
    parts = urlsplit(path)
    if parts.path.startswith("/bucket/") or (fake.login and headers.get("authorization") != fake.login):
        return None
    if parts.path == "/api/2.0/mlflow-artifacts/artifacts":
        folder = parse_qs(parts.query)["path"][0] + "/"
        found = {key: data for key, data in fake.objects.items() if key.startswith(folder)}
        files = [{"path": key.removeprefix(folder), "file_size": len(data)} for key, data in found.items()]
        return 200, {}, json.dumps({"files": files} if files else {}).encode()
    if parts.path.startswith("/api/2.0/mlflow/"):
        return 404, {}, b"This server passes artifacts on\n"
    return None


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[FakeMlflow] = []

    def make(hook: Any = half, **given: Any) -> tuple[FakeMlflow, Target]:
        fake = FakeMlflow(hook, **given)
        running.append(fake)
        password = Secret("pw") if fake.login else None
        return fake, Target(fake.url, "mlflow" if password else "", password, repair="--host h", tracks=False)

    yield make
    for fake in running:
        fake.close()


def test_a_working_one_verifies_green_and_keeps_one_small_object(start: Start) -> None:
    fake, target = start(login=LOGIN)
    outcome = verify(target)
    assert {check.status for check in outcome.checks} == {"ok"}, outcome.checks
    assert outcome.run_url is None
    assert fake.objects == {KEPT: CONTENT}
    assert [path for method, path in fake.requests if method == "POST"] == ["/api/2.0/mlflow/experiments/search"]


def test_the_short_check_reads_what_is_kept_and_writes_nothing(start: Start) -> None:
    fake, target = start(login=LOGIN)
    assert quick(target).detail
    verify(target)
    fake.requests.clear()
    assert quick(target).ok
    assert {method for method, _ in fake.requests} == {"GET"}
    fake.objects[KEPT] = b"something else!!"
    assert "changed" in quick(target).detail


def test_a_server_that_tracks_after_all_is_a_fault(start: Start) -> None:
    """It would keep runs in a file that nobody knows."""

    def tracks(fake: FakeMlflow, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply | None:
        return None if path.endswith("experiments/search") else half(fake, method, path, headers, body)

    fake, target = start(tracks)
    outcome = verify(target)
    assert outcome.fault == "tracks"
    assert KEPT not in fake.objects
    assert not fake.objects, "its own folder is taken away after a failure, too"


@pytest.mark.parametrize(("login", "password"), [(LOGIN, "wrong"), ("", "pw")])
def test_a_wrong_login_and_a_server_that_asks_for_none_are_faults(start: Start, login: str, password: str) -> None:
    _, target = start(login=login)
    outcome = verify(replace(target, username="mlflow", password=Secret(password)))
    assert [check.id for check in outcome.checks if check.status == "fail"] == ["login"]


@pytest.mark.parametrize("lost", ["list", "bytes"])
def test_what_does_not_come_back_as_it_went_is_a_fault(start: Start, lost: str) -> None:
    def damaged(fake: FakeMlflow, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply | None:
        if lost == "list" and "?path=provision-verify" in path:
            return 200, {}, b"{}"
        if lost == "bytes" and path.startswith("/bucket/"):
            return 206, {}, b"other"
        return half(fake, method, path, headers, body)

    _, target = start(damaged)
    outcome = verify(target)
    assert outcome.fault == {"list": "list", "bytes": "corrupted"}[lost]
