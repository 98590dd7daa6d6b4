"""Large files pass the server: neither nginx nor MLflow keeps them, in memory or on disk."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from . import gauge
from .conftest import Stack

MB = 2**20
GB = float(os.environ.get("PROVISION_TEST_LARGE_GB", "0.5"))
"""Size of the file that goes up and down."""
PARTS = 10
PART = int(GB * 1024 / PARTS) * MB
NOTHING = 8 * MB
"""What logs and the like may add meanwhile."""
UNITS = ("nginx.service", "mlflow-server.service")


def block(part: int) -> bytes:
    """A part's repeated MB: nothing that a store or a disk could make smaller across parts."""
    return hashlib.shake_256(f"part {part}".encode()).digest(MB)


def stream(part: int, size: int = PART) -> Iterator[bytes]:
    piece = block(part)
    for _ in range(size // MB):
        yield piece


def login(stack: Stack) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"mlflow:{stack.secret('login')}".encode()).decode()}


def ask(stack: Stack, method: str, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection(stack.address, 5000, timeout=120)
    body = None if fields is None else json.dumps(fields)
    connection.request(method, path, body, {**login(stack), "Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    document: dict[str, Any] = json.loads(content or b"{}")
    return document


def put(stack: Stack, url: str, part: int, size: int = PART, **headers: str) -> str:
    """Upload a part; its ETag. Never whole in this process's memory either."""
    where = urllib.parse.urlsplit(url)
    assert where.netloc in {"", f"{stack.address}:5000"}
    connection = http.client.HTTPConnection(stack.address, 5000, timeout=300)
    told = {"Content-Length": str(size), **headers}
    connection.request("PUT", f"{where.path}?{where.query}" if where.query else where.path, stream(part, size), told)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    return answer.headers["ETag"] or ""


@pytest.fixture(scope="module")
def experiment(stack: Stack) -> str:
    return str(ask(stack, "POST", "/api/2.0/mlflow/experiments/create", {"name": "large"})["experiment_id"])


def test_a_large_file_goes_up_and_down_and_stands_nowhere_in_between(stack: Stack, experiment: str) -> None:
    folder = f"{experiment}/large/artifacts"
    units = (*UNITS, stack.store_unit)
    gauge.start(stack.host, *units)
    begun = time.monotonic()
    made = ask(
        stack, "POST", f"/api/2.0/mlflow-artifacts/mpu/create/{folder}", {"path": "large.bin", "num_parts": PARTS}
    )
    tags = [put(stack, told["url"], number) for number, told in enumerate(made["credentials"])]
    ask(
        stack,
        "POST",
        f"/api/2.0/mlflow-artifacts/mpu/complete/{folder}",
        {
            "path": "large.bin",
            "upload_id": made["upload_id"],
            "parts": [{"part_number": number + 1, "etag": tag, "url": ""} for number, tag in enumerate(tags)],
        },
    )
    up, up_took = gauge.stop(stack.host, *units), time.monotonic() - begun

    gauge.start(stack.host, *units)
    begun = time.monotonic()
    told = urllib.parse.urlsplit(ask(stack, "GET", f"/api/2.0/mlflow-artifacts/presigned/{folder}/large.bin")["url"])
    connection = http.client.HTTPConnection(stack.address, 5000, timeout=300)
    connection.request("GET", f"{told.path}?{told.query}")
    answer = connection.getresponse()
    got, size = hashlib.sha256(), 0
    while piece := answer.read(MB):
        got.update(piece)
        size += len(piece)
    connection.close()
    down, down_took = gauge.stop(stack.host, *units), time.monotonic() - begun

    sent = hashlib.sha256()
    for number in range(PARTS):
        for piece in stream(number):
            sent.update(piece)
    assert (size, got.digest()) == (PARTS * PART, sent.digest())
    for costs, took in ((up, up_took), (down, down_took)):
        used = {unit: round(grown / MB, 1) for unit, grown in costs.memory.items()}
        print(f"{stack.engine}: {size / 2**30:.2f} GB in {took:.1f} s; MB more: {used}, files {costs.files / MB:.1f}")
        assert costs.samples > 3
        assert costs.files < NOTHING, costs
        assert costs.unlinked < NOTHING, costs
        assert costs.memory["nginx.service"] < NOTHING, costs
        assert costs.memory["mlflow-server.service"] < 8 * NOTHING, costs


def test_what_passes_through_mlflow_stands_in_its_own_folder_and_goes_away(stack: Stack, experiment: str) -> None:
    """The other road, and the proof that the watch above would have seen something."""
    gauge.start(stack.host, *UNITS)
    put(stack, f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/small/artifacts/x.bin", 1, 96 * MB, **login(stack))
    costs = gauge.stop(stack.host, *UNITS)
    assert 60 * MB < costs.files < 200 * MB, costs
    assert costs.memory["nginx.service"] < NOTHING, costs
    assert stack.on("find /var/lib/mlflow/tmp -type f -size +1M") == ""


def test_what_a_killed_server_left_is_swept_and_nobody_elses_files(stack: Stack) -> None:
    stack.on(
        "cd /var/lib/mlflow/tmp; mkdir old aside; echo left >old/upload; echo kept >foreign; echo kept >aside/x; "
        "ln -s /etc/mlflow link; chown -h -R mlflow:mlflow old link"
    )
    life = "systemctl show -P InvocationID mlflow-server.service"
    before = stack.on(life)
    stack.on("systemctl kill -s KILL mlflow-server.service")
    end = time.monotonic() + 60
    while stack.on(life) == before:
        assert time.monotonic() < end, "it was not started again"
        time.sleep(0.2)
    stack.wait()
    assert stack.on("cd /var/lib/mlflow/tmp; ls -d old link foreign aside/x 2>/dev/null || :").split() == [
        "aside/x",
        "foreign",
    ]
    stack.on("test -s /etc/mlflow/mlflow.env")
    stack.on("rm -r /var/lib/mlflow/tmp/foreign /var/lib/mlflow/tmp/aside")
