"""/health tells the truth, to whoever asks, and costs the server one look in two seconds."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from .conftest import Stack
from .test_repairs import remove_bucket

MOMENT = 2
"""Seconds in which an answer is kept."""
CHECKS = (
    "journalctl -u mlflow-server.service --since @{since} --no-pager -o cat"
    " | grep -c '/api/2.0/mlflow.*[?=].*provision-health' || :"
)


def ask(stack: Stack, method: str = "GET", path: str = "/health", data: bytes | None = None) -> tuple[int, str, str]:
    """Status, body and headers, without a login."""
    request = urllib.request.Request(stack.url + path, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), _lower(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), _lower(error.headers)


def _lower(headers: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items()).lower()


def until(stack: Stack, wanted: int, seconds: float) -> str:
    """Wait for that status; the body. The last one that was different must have been asked for in time."""
    end = time.monotonic() + seconds
    while True:
        status, body, headers = ask(stack)
        assert status in {200, 503}, (status, body)
        assert body == "OK" if status == 200 else body.endswith("does not answer\n"), body
        assert "www-authenticate" not in headers
        if status == wanted:
            return body
        assert time.monotonic() < end, f"{status} after {seconds} s: {body}"
        time.sleep(0.3)


def test_nobody_needs_a_login_and_nothing_but_the_answer_is_told(stack: Stack) -> None:
    status, body, headers = ask(stack)
    assert (status, body) == (200, "OK")
    assert "cache-control: no-store" in headers
    assert "experiment" not in headers
    assert ask(stack, "HEAD")[:2] == (200, "")
    assert ask(stack, "POST", data=b"x")[0] == 405
    for path in ("/health/", "/.provision-health/database", "/.provision-health/store", "/healthz", "//health"):
        assert ask(stack, path=path)[0] in {200, 401, 404}, path
        assert "experiment" not in ask(stack, path=path)[1]


def test_many_who_ask_at_once_cost_one_look_in_two_seconds(stack: Stack) -> None:
    since = stack.on("date +%s").strip()
    begun = time.monotonic()
    answers = []
    for _ in range(2):
        with ThreadPoolExecutor(50) as pool:
            answers += list(pool.map(lambda _: ask(stack)[:2], range(100)))
        time.sleep(MOMENT + 0.5)
    took = time.monotonic() - begun
    assert set(answers) == {(200, "OK")}
    checks = int(stack.on(CHECKS.format(since=since)))
    # Two requests a look, and a look may have been under way when it began.
    assert 2 <= checks <= 2 * (took / MOMENT + 2), (checks, took)


def test_a_stopped_database_is_told_within_seconds_and_so_is_its_return(stack: Stack) -> None:
    unit = next(unit for unit in stack.units if unit.startswith("postgresql@"))
    stack.on(f"systemctl stop {unit}")
    assert "database" in until(stack, 503, 10)
    stack.on(f"systemctl start {unit}")
    until(stack, 200, 20)


def test_a_hung_database_keeps_nobody_waiting(stack: Stack) -> None:
    stack.on("pkill -STOP -u postgres -x postgres")
    try:
        until(stack, 503, 15)
        begun = time.monotonic()
        assert ask(stack)[0] == 503
        assert time.monotonic() - begun < 10, "3 s of waiting, and what a busy machine adds"
        since = stack.on("date +%s").strip()
        with ThreadPoolExecutor(40) as pool:
            assert {status for status, *_ in pool.map(lambda _: ask(stack), range(80))} == {503}
        assert int(stack.on(CHECKS.format(since=since))) <= 12
    finally:
        stack.on("pkill -CONT -u postgres -x postgres")
    until(stack, 200, 60)


def test_a_stopped_store_is_told(stack: Stack) -> None:
    units = "seaweedfs-s3.socket seaweedfs-s3.service seaweedfs" if stack.engine == "seaweedfs" else "minio"
    stack.on(f"systemctl stop {units}")
    assert "store" in until(stack, 503, 15)
    stack.on(f"systemctl start {units.replace('seaweedfs-s3.service ', '')}")
    until(stack, 200, 40)


def test_wrong_keys_of_the_store_are_told(stack: Stack) -> None:
    stack.on(
        "sed -i.kept -E 's/^(AWS_SECRET_ACCESS_KEY)=.*/\\1=wrongwrongwrongwrong/' /etc/mlflow/mlflow.env;"
        "systemctl restart mlflow-server"
    )
    stack.wait()
    assert "store" in until(stack, 503, 30)
    stack.on("mv /etc/mlflow/mlflow.env.kept /etc/mlflow/mlflow.env; systemctl restart mlflow-server")
    stack.wait()
    until(stack, 200, 30)


def test_a_server_that_is_away_is_told(stack: Stack) -> None:
    stack.on("systemctl stop mlflow-server")
    until(stack, 503, 10)
    stack.on("systemctl start mlflow-server")
    stack.wait()
    until(stack, 200, 30)


def test_a_bucket_that_is_gone_is_told(stack: Stack) -> None:
    """Last: what was in it is gone."""
    remove_bucket(stack)
    assert "store" in until(stack, 503, 20)
    assert stack.run("--yes", "--json").code == 0
    until(stack, 200, 20)
