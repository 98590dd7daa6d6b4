"""When the servers of a store are one whole again: what each of them must do, and what it says otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from provisioner.runtime import store_whole
from provisioner.runtime.s3_request import Bucket

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
Answered = tuple[int, dict[str, str], bytes]


class Store:
    """Four servers with one drive each. `refuses`: those that do not write, `blind`: server -> the drives that it
    does not see."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.seen: dict[str, set[str]] = {}
        self.refuses: set[str] = set()
        self.forgets: set[str] = set()
        self.blind: Mapping[str, set[str]] = {}
        self.bucket = True

    def request(
        self, server: Bucket, method: str, key: str = "", query: dict[str, str] | None = None, body: bytes = b""
    ) -> Answered:
        self.seen.setdefault(server.host, set()).add(method)
        if key.startswith("minio/admin/v3/heal/mlflow/"):
            assert server.asked["bucket"] == ""
            return 200, {}, self.healing(server.host, key.partition("mlflow/")[2], query or {})
        if not self.bucket:
            return self.error(404, "NoSuchBucket")
        if method == "PUT":
            if server.host in self.refuses:
                return self.error(503, "SlowDownWrite")
            self.objects[key] = body
        elif method == "GET":
            if key not in self.objects or server.host in self.forgets:
                return self.error(404, "NoSuchKey")
            return 200, {}, self.objects[key]
        else:
            self.objects.pop(key)
        return 200, {}, b""

    def healing(self, host: str, key: str, query: dict[str, str]) -> bytes:
        if "forceStart" in query:
            return b'{"clientToken": "t"}'
        assert query == {"clientToken": "t"}
        assert key in self.objects
        drives = [
            {
                "endpoint": f"https://{each}:9000/mnt/d1",
                "state": "offline" if each in self.blind.get(host, ()) else "ok",
            }
            for each in HOSTS
        ]
        item = {"type": "object", "dataBlocks": 2, "parityBlocks": 2, "before": {"drives": drives}}
        return json.dumps({"Summary": "running", "Items": [{"type": "bucket"}, item]}).encode()

    @staticmethod
    def error(status: int, code: str) -> Answered:
        return status, {}, f"<Error><Code>{code}</Code></Error>".encode()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    found = Store()
    root = tmp_path / "root.crt"
    root.write_text("a root")
    asked = {
        "servers": ["127.0.0.1", *HOSTS[1:]],
        "name": "a",
        "port": 9000,
        "region": "us-east-1",
        "bucket": "mlflow",
        "access": "key",
        "secret": "secret",
        "root": str(root),
        "rounds": 3,
        "spare": True,
    }
    monkeypatch.setenv("PROVISION_STORE", json.dumps(asked))
    monkeypatch.setattr(Bucket, "request", lambda *arguments: found.request(*arguments))
    monkeypatch.setattr(store_whole, "PATIENCE", 0.0)
    return found


def test_every_server_is_asked_for_everything_and_nothing_is_left(store: Store) -> None:
    assert store_whole.main() == 0
    assert store.objects == {}
    assert all(store.seen[host] == {"PUT", "GET", "DELETE", "POST"} for host in ("127.0.0.1", *HOSTS[1:]))


def test_a_server_that_refuses_writes_is_named(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.refuses = {"10.0.0.3"}
    assert store_whole.main() == 1
    assert capsys.readouterr().out == "10.0.0.3: PUT: answer HTTP 503 SlowDownWrite\n"


def test_a_server_that_does_not_find_what_was_just_written_is_named(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.forgets = {"10.0.0.2"}
    assert store_whole.main() == 1
    assert "10.0.0.2: GET: " in capsys.readouterr().out


def test_a_server_that_has_not_found_a_drive_could_not_miss_another_one(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.blind = {"10.0.0.4": {"10.0.0.2"}}
    assert store_whole.main() == 1
    said = capsys.readouterr().out
    assert "10.0.0.4: could not do without" in said
    assert "https://10.0.0.2:9000/mnt/d1 offline" in said


def test_a_store_without_a_bucket_has_nothing_to_lose(store: Store) -> None:
    store.bucket = False
    assert store_whole.main() == 0
