"""`secrets rotate` on real hosts: the old values open nothing, the new ones everything, and what a kill leaves."""

from __future__ import annotations

import base64
import json
import shlex
import signal
import time
import urllib.error
import urllib.request

import pytest

from tests.host.conftest import Stack

KEY = "an-api-key-of-a-gateway"
# MLflow's own decryption, in its own environment and with the passphrase that its service has now.
DECRYPT = """
import os
from sqlalchemy import create_engine, orm
from mlflow.store.tracking.dbmodels.models import SqlGatewaySecret as S
from mlflow.utils.crypto import KEKManager, _decrypt_secret
with orm.Session(create_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])) as session:
    (row,) = session.query(S).all()
    print(row.kek_version, _decrypt_secret(
        row.encrypted_value, row.wrapped_dek, KEKManager(), row.secret_id, row.secret_name))
"""
SECRETS = ("login", "database.password", "store.root.password", "store.user.key", "store.user.secret",
           "mlflow.flask-key", "mlflow.kek")  # fmt: skip


@pytest.fixture(autouse=True)
def as_made(stack: Stack) -> None:
    stack.rewind()


def post(stack: Stack, path: str, fields: object, login: str) -> int:
    token = base64.b64encode(f"mlflow:{login}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    request = urllib.request.Request(stack.url + path, json.dumps(fields).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def opens(stack: Stack, login: str) -> bool:
    return post(stack, "/api/2.0/mlflow/experiments/search", {"max_results": 1}, login) == 200


def role_takes(stack: Stack, password: str) -> bool:
    """Whether the database's role takes a password, asked with PostgreSQL's own client."""
    ask = f"PGPASSWORD={shlex.quote(password)} psql -h 127.0.0.1 -U mlflow -d mlflow -Atc 'select 1'"
    return stack.host.exec(ask).rc == 0


def store_takes(stack: Stack, access: str, secret: str) -> bool:
    """Whether the store takes a key, asked with the S3 library of MLflow's environment."""
    ask = (
        "import boto3, sys\n"
        f"s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:9000', aws_access_key_id={access!r},\n"
        f"    aws_secret_access_key={secret!r}, region_name='us-east-1')\n"
        "s3.list_objects_v2(Bucket='mlflow', MaxKeys=1)\n"
    )
    return stack.host.exec("/opt/mlflow/current/bin/python -", stdin=ask).rc == 0


def stored_key(stack: Stack) -> list[str]:
    run = (
        "systemd-run --quiet --wait --pipe --collect -p User=mlflow -p EnvironmentFile=/etc/mlflow/mlflow.env "
        "-- /opt/mlflow/current/bin/python -"
    )
    return stack.on(run, stdin=DECRYPT, seconds=120).strip().splitlines()[-1].split(" ", 1)


def values(stack: Stack) -> dict[str, str]:
    return {name: stack.secret(name) for name in SECRETS}


def works(stack: Stack) -> None:
    """Every part has what this machine says."""
    assert opens(stack, stack.secret("login"))
    assert role_takes(stack, stack.secret("database.password"))
    assert store_takes(stack, stack.secret("store.user.key"), stack.secret("store.user.secret"))
    on_host = json.loads(stack.on("cat /etc/provision/secrets.json"))["secrets"]
    assert {name: on_host[name]["value"] for name in SECRETS} == values(stack)


def test_all_secrets_become_new_and_the_old_ones_open_nothing(stack: Stack) -> None:
    before = values(stack)
    made = post(
        stack,
        "/api/3.0/mlflow/gateway/secrets/create",
        {"secret_name": "k", "secret_value": {"api_key": KEY}, "provider": "openai"},
        before["login"],
    )
    assert made == 200
    assert stored_key(stack)[0] == "1"
    ran = stack.run("secrets", "rotate", "all", "--json", timeout=600)
    assert ran.code == 0, ran.out + ran.err
    after = values(stack)
    assert not set(before.values()) & set(after.values())
    works(stack)
    assert not opens(stack, before["login"])
    assert not role_takes(stack, before["database.password"])
    assert not store_takes(stack, before["store.user.key"], before["store.user.secret"])
    version, text = stored_key(stack)
    assert version == "2"
    assert KEY in text
    assert not [value for value in (*before.values(), *after.values()) if value in ran.out + ran.err]
    again = stack.run("--json", timeout=300)
    assert (again.code, again.changed()) == (0, [])
    assert (again.host["connections"], again.host["channels"]) == (1, 1)


def test_a_part_that_fails_takes_the_whole_rotation_back(stack: Stack) -> None:
    before = values(stack)
    stack.on("chmod 0644 /opt/mlflow/current/bin/mlflow")  # it runs, and will not start again
    ran = stack.run("secrets", "rotate", "database.password", "--json", timeout=600)
    assert ran.code == 1, ran.out + ran.err
    assert values(stack) == before
    stack.on("chmod 0755 /opt/mlflow/current/bin/mlflow")
    stack.on("systemctl restart mlflow-server")
    stack.wait()
    works(stack)
    again = stack.run("--json", timeout=300)
    assert (again.code, again.changed()) == (0, []), again.out + again.err


def test_an_operator_who_is_killed_leaves_one_working_generation(stack: Stack) -> None:
    before = stack.secret("database.password")
    process = stack.operator.start("secrets", "rotate", "database.password", *stack.reach())
    end = time.monotonic() + 120
    while role_takes(stack, before):  # the role has its new password: the work on the host is in the middle
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stack.on("flock -w 180 /run/provision/work true", seconds=200)
    stack.wait()
    shown = stack.run("env", "--format", "json")
    assert shown.code == 0, shown.err
    assert opens(stack, json.loads(shown.out)["MLFLOW_TRACKING_PASSWORD"])
    again = stack.run("--verify", "--json", timeout=300)
    assert again.code == 0, again.out + again.err
    works(stack)
    assert stack.secret("database.password") != before


def test_a_host_that_differs_and_a_name_that_is_none_are_refused(stack: Stack) -> None:
    assert stack.run("secrets", "rotate", "nonsense").code == 64
    stack.on("echo '# edited' >>/etc/mlflow/mlflow.env")
    ran = stack.run("secrets", "rotate", "login")
    assert ran.code == 4
    assert "mlflow.env" in ran.err
