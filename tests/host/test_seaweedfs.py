"""SeaweedFS on a server that others use too: nobody but its S3 port is reached, and a stop loses nothing."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from typing import Any

import pytest

from provisioner.steps.seaweedfs import PROXY_UNIT, SOCKET, SOCKET_UNIT

from .conftest import Stack

pytestmark = pytest.mark.parametrize("made", ["seaweedfs"], indirect=True, scope="session")

INTERNAL = (8080, 8888, 9333, 18080, 18888, 19000, 19333)
"""The volumes, the filer, the master and everybody's gRPC: SeaweedFS's defaults."""
STRANGER = "runuser -u nobody --"
OBJECT = "from-a-run/secret.bin"


def client(stack: Stack) -> Any:
    """The bucket through the door, with the key that MLflow has."""
    import urllib3
    from minio import Minio

    return Minio(
        f"{stack.address}:5000",
        access_key=stack.secret("store.user.key"),
        secret_key=stack.secret("store.user.secret"),
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )


def put(store: Any, name: str, data: bytes) -> bool:
    """Whether the store said that it has it."""
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    try:
        store.put_object("mlflow", name, io.BytesIO(data), len(data))
    except (MinioException, HTTPError):
        return False
    return True


def get(store: Any, name: str) -> bytes:
    answer = store.get_object("mlflow", name)
    try:
        return bytes(answer.read())
    finally:
        answer.close()


def until_it_answers(stack: Stack, store: Any) -> None:
    end = time.monotonic() + 120
    while not put(store, "probe", b"x"):
        assert time.monotonic() < end, stack.on("journalctl -u 'seaweedfs*' -n 40 --no-pager")
        time.sleep(0.2)


def connects(stack: Stack, port: int) -> bool:
    program = f'import socket; socket.create_connection(("127.0.0.1", {port}), 5)'
    return stack.host.exec(f"{STRANGER} python3 -c '{program}'").rc == 0


def test_another_user_of_the_server_reaches_the_s3_port_and_no_other(stack: Stack) -> None:
    assert connects(stack, 9000)
    assert [port for port in INTERNAL if connects(stack, port)] == []
    inside = f"nsenter --net -t $(systemctl show -P MainPID {stack.store_unit}) ss -Htln"
    assert all(f":{port} " in stack.on(inside) for port in INTERNAL), "the list of ports is out of date"
    assert stack.host.exec(f"{STRANGER} stat {SOCKET}").rc != 0


def test_another_user_of_the_server_neither_lists_nor_reads_nor_deletes_an_object(stack: Stack) -> None:
    store = client(stack)
    assert put(store, OBJECT, b"not yours")
    shell = "echo fs.ls /buckets/mlflow | timeout 20 weed shell -master=127.0.0.1:9333 -filer=127.0.0.1:8888"
    assert "from-a-run" not in stack.host.exec(f"{STRANGER} sh -c '{shell}'").stdout
    filer = f"http://127.0.0.1:8888/buckets/mlflow/{OBJECT}"
    for method in ("GET", "DELETE"):
        assert stack.host.exec(f"{STRANGER} curl -sS -m 5 -X {method} {filer}").rc == 7  # nothing listens
    for method in ("GET", "DELETE"):
        url = f"http://127.0.0.1:9000/mlflow/{OBJECT}"
        status = stack.host.exec(f"{STRANGER} curl -s -o /dev/null -w '%{{http_code}}' -X {method} {url}").stdout
        assert status == "403"
    # The same questions do find it from where the store itself is.
    nsenter = f"nsenter --net -t $(systemctl show -P MainPID {stack.store_unit})"
    assert stack.on(f"{nsenter} curl -sS -m 5 {filer}") == "not yours"
    assert get(store, OBJECT) == b"not yours"


def test_a_port_that_was_closed_is_opened_by_the_next_run(stack: Stack) -> None:
    stack.on(f"systemctl mask -q {SOCKET_UNIT}; systemctl stop {SOCKET_UNIT}")
    assert not connects(stack, 9000)
    ran = stack.run("--json")
    assert ran.code == 0, ran.why
    assert f"unit:{stack.store_unit}" in ran.changed()
    assert connects(stack, 9000)
    stack.on(f"systemctl kill -s KILL {PROXY_UNIT}")
    until_it_answers(stack, client(stack))


def test_what_was_answered_before_a_stop_is_there_after_it(stack: Stack) -> None:
    kept: dict[str, str] = {}
    for turn in range(4):
        stopped = threading.Event()

        def write(writer: int, turn: int = turn, stopped: threading.Event = stopped) -> None:
            store = client(stack)
            number = 0
            while not stopped.is_set():
                data = os.urandom((10, 70_000, 6_000_000)[number % 3])
                name = f"turn-{turn}/{writer}-{number}"
                if put(store, name, data):
                    kept[name] = hashlib.sha256(data).hexdigest()
                number += 1

        before = len(kept)
        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
        for thread in writers:
            thread.start()
        end = time.monotonic() + 60
        while len(kept) < before + 6:
            assert time.monotonic() < end, "nothing is written"
            time.sleep(0.01)
        stack.on(f"systemctl stop {stack.store_unit}")
        stopped.set()
        for thread in writers:
            thread.join()
        assert stack.on(f"systemctl show -P Result -P ActiveState {stack.store_unit}").split() == [
            "success",
            "inactive",
        ]
        stack.on(f"systemctl start {stack.store_unit}")
        until_it_answers(stack, client(stack))
    store = client(stack)
    assert {name for name, digest in kept.items() if hashlib.sha256(get(store, name)).hexdigest() != digest} == set()
    journal = stack.on(f"journalctl -u {stack.store_unit} --no-pager")
    assert "timed out" not in "\n".join(line for line in journal.splitlines() if " systemd[1]: " in line)
