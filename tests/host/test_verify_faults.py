"""Each way for a stack to look well and be broken is found by `verify`, in words, and mended by a run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from .conftest import Ran, Stack
from .test_repairs import remove_bucket

ENV = "/etc/mlflow/mlflow.env"
LIMIT = 60.0
"""Seconds a verification may take, whatever is broken."""


def environment(expression: str) -> str:
    """The server's environment file edited by hand, and the server running with it."""
    return f"sed -i -E {shlex.quote(expression)} {ENV} && systemctl restart mlflow-server.service"


@dataclass(frozen=True)
class Fault:
    name: str
    command: str | Callable[[Stack], None]
    """sh on the host; {store}, {pg} and {address} are filled in."""
    check: str
    """The check that fails."""
    what: tuple[str, ...]
    """Words of what users lose."""
    why: tuple[str, ...]
    next: str
    """The next command, before `--host`; {engine} is the store's step."""
    repaired: tuple[str, ...]
    """Some of what the next run changes."""
    answers: bool = True
    """MLflow answers after the break: wait for it."""
    loss: str = ""


FAULTS = [
    Fault(
        "downloads are sent to the server's own loopback",
        environment("s|^(MLFLOW_S3_ENDPOINT_URL)=.*|\\1=http://127.0.0.1:9000|"),
        "artifact-download",
        ("download",),
        ("127.0.0.1",),
        "provision mlflow",
        ("file:mlflow.env", "unit:mlflow-server.service"),
    ),
    Fault(
        "the database is stopped",
        "systemctl stop {pg}",
        "tracking-api",
        ("no run is logged",),
        ("database",),
        "provision postgres",
        ("unit:{pg}",),
    ),
    Fault(
        "the browser's origin is not allowed",
        environment("s|^(MLFLOW_SERVER_CORS_ALLOWED_ORIGINS)=.*|\\1=http://elsewhere.example:5000|"),
        "browser",
        ("browser", "lists stay empty"),
        ("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "http://{address}:5000"),
        "provision mlflow",
        ("file:mlflow.env", "unit:mlflow-server.service"),
    ),
    Fault(
        "the server has a wrong secret for the store",
        environment("s|^(AWS_SECRET_ACCESS_KEY)=.*|\\1=a-secret-that-the-store-does-not-know|"),
        "artifact-upload",
        ("neither stored nor loaded",),
        ("another address, bucket or key", "environment"),
        "provision mlflow",
        ("file:mlflow.env", "unit:mlflow-server.service"),
    ),
    Fault(
        "the store is stopped",
        "systemctl stop {store}",
        "artifact-upload",
        ("neither stored nor loaded",),
        ("The object store does not answer",),
        "provision {engine}",
        ("unit:{store}",),
    ),
    Fault(
        "the bucket is gone",
        remove_bucket,
        "artifact-upload",
        ("The bucket mlflow is gone",),
        ("no bucket mlflow",),
        "provision bucket",
        ("bucket:mlflow",),
        loss="artifacts of earlier runs are lost",
    ),
    Fault(
        "MLflow fell back to an SQLite file of its own",
        environment("/^MLFLOW_BACKEND_STORE_URI=/d"),
        "database-row",
        ("another database",),
        ("SQLite",),
        "provision mlflow",
        ("file:mlflow.env", "unit:mlflow-server.service"),
    ),
    Fault(
        "the login is another one",
        "printf 'mlflow:%s\\n' \"$(openssl passwd -6 another-password)\" >/tmp/login && "
        "cat /tmp/login >{login} && systemctl reload nginx",
        "login",
        ("locked out",),
        ("not what the server knows",),
        "provision",
        ("file:nginx-accounts",),
    ),
    Fault(
        "the login is switched off",
        "sed -i -E 's/^( *auth_basic) .*/\\1 off;/' {site} && systemctl reload nginx",
        "login",
        ("Everyone who reaches this address",),
        ("without a login was answered",),
        "provision",
        ("file:nginx-site",),
    ),
]


def broken(stack: Stack, fault: Fault) -> dict[str, str]:
    """Break it; gives the words that the table leaves open."""
    words = {
        "store": stack.store_unit,
        "pg": stack.units[1],
        "address": stack.address,
        "engine": stack.engine,
        "login": "/etc/nginx/provision-mlflow.htpasswd",
        "site": stack.on("ls /etc/nginx/*/provision-mlflow*").split()[0],
    }
    if callable(fault.command):
        fault.command(stack)
    else:
        stack.on(fault.command.format(**words), seconds=120)
    if fault.answers and "mlflow-server" in str(fault.command):
        stack.wait()
    return words


def error(ran: Ran) -> dict[str, str]:
    found: dict[str, str] = ran.host["error"]
    return found


@pytest.mark.parametrize("fault", [pytest.param(each, id=each.name) for each in FAULTS])
def test_verify_finds_the_fault_and_a_run_mends_it(stack: Stack, fault: Fault) -> None:
    words = broken(stack, fault)

    verified = stack.run("verify", "--json")
    assert verified.code == 5, verified.why
    assert verified.json["seconds"] < LIMIT
    failed = [check for check, status in verified.checks.items() if status == "fail"]
    assert failed[0] == fault.check, verified.checks
    said = error(verified)
    for word in fault.what:
        assert word in said["what"], said
    for word in fault.why:
        assert word.format(**words) in said["why"], said
    assert said["next"].startswith(f"{fault.next.format(**words)} --host root@{stack.address}"), said
    assert verified.host["run"] is None
    assert verified.changed() == []

    mended = stack.run("--json")
    assert mended.code == 0, mended.why
    for resource in fault.repaired:
        assert resource.format(**words) in mended.changed(), mended.changed()
    losses = [change["loss"] for change in mended.host["changes"] if change["loss"]]
    assert bool(losses) == bool(fault.loss), losses
    assert all(fault.loss in loss for loss in losses), losses
    assert set(mended.checks.values()) <= {"ok", "warn"}, mended.checks
    assert mended.host["run"].startswith(f"{stack.url}/#/experiments/")


def test_a_failed_verification_reads_as_a_page(stack: Stack) -> None:
    stack.on(environment("s|^(MLFLOW_S3_ENDPOINT_URL)=.*|\\1=http://127.0.0.1:9000|"))
    stack.wait()
    verified = stack.run("verify")
    assert verified.code == 5
    told = verified.out + verified.err
    for word in ("FAIL", "what ", "why ", "next ", "127.0.0.1", f"--host root@{stack.address}"):
        assert word in told, told
    assert "X-Amz-Signature" not in told
    assert stack.run().code == 0


def foreign(stack: Stack, **env: Any) -> Ran:
    """`verify` as somebody who knows nothing of this tool's hosts."""
    return stack.operator.run("verify", "--tracking-uri", stack.url, "--json", **env)


def test_any_server_is_verified_with_mlflows_own_variables(stack: Stack) -> None:
    password = stack.secret("login")
    right = foreign(stack, MLFLOW_TRACKING_USERNAME="mlflow", MLFLOW_TRACKING_PASSWORD=password, XDG_STATE_HOME="/no")
    assert right.code == 0, right.why
    assert right.host["connections"] == 0
    assert right.checks["artifact-download"] == "ok"
    assert "database-row" not in right.checks

    none = foreign(stack)
    assert none.code == 5
    assert none.checks["login"] == "fail"
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in error(none)["next"]
    assert "provision" not in error(none)["next"]

    wrong = foreign(stack, MLFLOW_TRACKING_USERNAME="mlflow", MLFLOW_TRACKING_PASSWORD="not the password")
    assert wrong.code == 5
    assert "locked out" in error(wrong)["what"]
    assert "provision" not in error(wrong)["next"]
    for ran in (right, none, wrong):
        assert stack.secret("login") not in ran.out + ran.err


def test_a_page_of_somebody_else_is_not_taken_for_mlflow(stack: Stack) -> None:
    ran = stack.operator.run("verify", "--tracking-uri", f"{stack.url}/no/such/prefix", "--json")
    assert ran.code == 5
    nobody = stack.operator.run("verify", "--tracking-uri", "http://10.151.0.89:5000", "--json")
    assert nobody.code == 5
    assert nobody.json["seconds"] < LIMIT
    unusable = stack.operator.run("verify", "--tracking-uri", "ftp://10.151.0.89", "--json")
    assert unusable.code == 64
