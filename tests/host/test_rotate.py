"""`secrets rotate` on real hosts: the old values open nothing, the new ones everything, and what a kill leaves."""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import signal
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def secured(stack: Stack, *more: str) -> None:
    """The stack with a root of its own."""
    if stack.engine != "seaweedfs":
        pytest.skip("one engine: certificates and accounts do not depend on the store")
    ran = stack.run("--set", "access.tls=internal", *more, "--json", timeout=600)
    assert ran.code == 0, ran.why


def root(stack: Stack, path: Path) -> ssl.SSLContext:
    """A client that trusts what `env --ca` writes now, and nothing else."""
    told = stack.run("env", "--ca", str(path))
    assert told.code == 0, told.err
    return ssl.create_default_context(cafile=str(path))


def answer(stack: Stack, trusting: ssl.SSLContext, user: str = "", password: str = "") -> int:
    """Status of a search by TLS; 0 where the client refuses the certificate, -1 where nobody answers."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Basic {token}"} if user else {})}
    url = f"https://{stack.address}/api/2.0/mlflow/experiments/search"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, b'{"max_results": 1}', headers), timeout=30, context=trusting
        ) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError; a reading that breaks off is none
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return 0
        print(f"no answer: {reason!r}")
        return -1


@contextmanager
def asked(stack: Stack) -> Iterator[set[int]]:
    """What one who does not look at the certificate and has no login is answered all the while."""
    seen: set[int] = set()
    end = threading.Event()
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    def ask() -> None:
        while not end.wait(0.1):
            seen.add(answer(stack, trusting))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


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
    assert ran.code == 0, ran.why
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
    assert ran.code == 1, ran.why
    assert values(stack) == before
    stack.on("chmod 0755 /opt/mlflow/current/bin/mlflow")
    stack.on("systemctl restart mlflow-server")
    stack.wait()
    works(stack)
    again = stack.run("--json", timeout=300)
    assert (again.code, again.changed()) == (0, []), again.why


def test_a_key_that_the_operator_chose_is_taken_whole_or_not_at_all(stack: Stack, tmp_path: Path) -> None:
    inventory = tmp_path / "prod.toml"
    inventory.write_text('[secrets]\n"store.user.key" = { env = "KEY" }\n')
    before = values(stack)
    taken = stack.run("--inventory", str(inventory), "--json", timeout=600, KEY="chosen-key")
    assert taken.code == 0, taken.why
    assert stack.secret("store.user.key") == "chosen-key"
    works(stack)
    assert not store_takes(stack, before["store.user.key"], before["store.user.secret"])
    again = stack.run("--inventory", str(inventory), "--json", timeout=300, KEY="chosen-key")
    assert (again.code, again.changed()) == (0, []), again.why

    stack.on("chmod 0644 /opt/mlflow/current/bin/mlflow")  # it runs, and will not start again
    failed = stack.run("--inventory", str(inventory), "--json", timeout=600, KEY="another-key")
    assert failed.code == 1, failed.why
    assert stack.secret("store.user.key") == "chosen-key"
    stack.on("chmod 0755 /opt/mlflow/current/bin/mlflow")
    stack.on("systemctl restart mlflow-server")
    stack.wait()
    works(stack)


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
    assert again.code == 0, again.why
    works(stack)
    assert stack.secret("database.password") != before


def test_another_root_is_what_clients_are_told_and_the_address_answers_all_the_while(
    stack: Stack, tmp_path: Path
) -> None:
    secured(stack)
    login = stack.secret("login")
    before = root(stack, tmp_path / "before.pem")
    assert answer(stack, before, "mlflow", login) == 200
    with asked(stack) as seen:
        ran = stack.run("secrets", "rotate", "tls.root", "--json", timeout=600)
    assert ran.code == 0, ran.why
    assert seen == {401}
    (told,) = (note for note in ran.host["notes"] if "env --ca FILE" in note)
    assert "of late it was used from 10.151.0." in told
    after = root(stack, tmp_path / "after.pem")
    assert answer(stack, after, "mlflow", login) == 200
    assert answer(stack, before, "mlflow", login) == 0, "the earlier root opens nothing"
    again = stack.run("--verify", "--json", timeout=300)
    assert (again.code, again.changed()) == (0, []), again.why


@pytest.mark.parametrize("where", ["here", "there"])
def test_an_operator_who_is_killed_between_two_roots_leaves_one_that_works(
    stack: Stack, tmp_path: Path, where: str
) -> None:
    secured(stack)
    before = root(stack, tmp_path / "before.pem")
    copy = stack.operator.state / "provision" / stack.address / "secrets.json"
    watched = copy if where == "here" else stack.host.root / "etc/provision/tls/trust.crt"
    known = watched.read_bytes()
    process = stack.operator.start("secrets", "rotate", "tls.root", *stack.reach())
    end = time.monotonic() + 120
    while watched.read_bytes() == known:  # noted here, or being written there
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stack.on("flock -w 180 /run/provision/work true", seconds=200)
    stack.wait()
    assert answer(stack, root(stack, tmp_path / "between.pem"), "mlflow", stack.secret("login")) == 200
    ran = stack.run("--verify", "--json", timeout=300)
    assert ran.code == 0, ran.why
    assert answer(stack, root(stack, tmp_path / "after.pem"), "mlflow", stack.secret("login")) == 200
    assert answer(stack, before) == 0
    assert stack.run("--json", timeout=300).changed() == []


def test_all_become_new_where_mlflow_keeps_the_accounts_and_the_root_is_the_stack_s_own(
    stack: Stack, tmp_path: Path
) -> None:
    secured(stack, "--set", "access.auth=mlflow")
    assert stack.run("user", "add", "anna").code == 0
    users = {"mlflow": "login", "anna": "account.anna"}
    before, earlier = root(stack, tmp_path / "before.pem"), {user: stack.secret(name) for user, name in users.items()}
    ran = stack.run("secrets", "rotate", "all", "--json", timeout=900)
    assert ran.code == 0, ran.why
    assert answer(stack, before) == 0
    after = root(stack, tmp_path / "after.pem")
    end = time.monotonic() + 30
    for user, name in users.items():
        assert answer(stack, after, user, stack.secret(name)) == 200
        while answer(stack, after, user, earlier[user]) != 401:  # MLflow remembers for 5 s whom it let in
            assert time.monotonic() < end
            time.sleep(0.5)
    again = stack.run("--verify", "--json", timeout=300)
    assert (again.code, again.changed()) == (0, []), again.why


def test_a_host_that_differs_and_a_name_that_is_none_are_refused(stack: Stack) -> None:
    assert stack.run("secrets", "rotate", "nonsense").code == 64
    stack.on("echo '# edited' >>/etc/mlflow/mlflow.env")
    ran = stack.run("secrets", "rotate", "login")
    assert ran.code == 4
    assert "mlflow.env" in ran.err
