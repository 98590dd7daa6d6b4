"""MLflow's own accounts: switched to and back on a stack that is in use, never open in between."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .clients import Client
from .conftest import Stack
from .test_accounts import names, password_of, status


def works(client: Client, stack: Stack, name: str, password: str) -> bool:
    """MLflow's own client with this login, from another machine."""
    settings = {"URI": stack.url, "USERNAME": name, "PASSWORD": password}
    told = "".join(f"export MLFLOW_TRACKING_{key}={shlex.quote(value)}\n" for key, value in settings.items())
    done = client.round_trip(told)
    return bool(done["got"] == done["given"])


def ended(stack: Stack, name: str, password: str) -> None:
    """The login opens nothing any more: each process of MLflow's lets in for 5 s whom it has checked."""
    end, refused = time.monotonic() + 60, 0
    while refused < 8:
        assert time.monotonic() < end
        refused = refused + 1 if status(stack, name, password) == 401 else 0
        time.sleep(0.2)


@contextmanager
def watched(stack: Stack) -> Iterator[set[int]]:
    """What a stranger is answered all the while."""
    seen: set[int] = set()
    end = threading.Event()

    def ask() -> None:
        while not end.wait(0.05):
            try:
                with urllib.request.urlopen(f"{stack.url}/api/2.0/mlflow/experiments/search?max_results=1", timeout=10):
                    seen.add(200)
            except urllib.error.HTTPError as error:
                seen.add(error.code)
            except OSError:
                seen.add(0)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


@pytest.fixture(scope="module")
def own(stack: Stack) -> Stack:
    """The stack with accounts of MLflow's, and anna from before."""
    assert stack.run("user", "add", "anna").code == 0
    with watched(stack) as seen:
        ran = stack.run("--json", "--set", "access.auth=mlflow", timeout=400)
    assert ran.code == 0, ran.why
    assert 200 not in seen, "never open on the way"
    assert "accounts:mlflow" in ran.changed()
    assert set(ran.checks.values()) <= {"ok", "warn"}, ran.checks
    return stack


def test_who_had_an_account_has_it_still_and_a_run_finds_nothing_to_do(own: Stack, client: Client) -> None:
    anna = own.secret("account.anna")
    assert status(own, "anna", anna) == 200
    assert status(own, "anna", anna + "x") == 401
    assert works(client, own, "anna", anna)
    assert own.run("--json").changed() == []
    assert own.run("verify").code == 0
    with urllib.request.urlopen(own.url + "/health", timeout=20) as answer:
        assert answer.read() == b"OK"


def test_no_secret_is_where_others_could_read_it(own: Stack) -> None:
    login, database = own.secret("login"), own.secret("database.password")
    told = own.on(
        "stat -c '%a %U %n' /etc/mlflow/basic_auth.ini /etc/mlflow/admin.env /etc/nginx/provision-mlflow.health;"
        "tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value mlflow-server)/cmdline"
    )
    assert told.count("600 root ") == 3, told
    assert "--app-name basic-auth" in told
    readable = own.on("cat /etc/mlflow/basic_auth.ini /etc/nginx/conf.d/*; cat /proc/[0-9]*/cmdline", seconds=60)
    assert login not in readable
    assert database not in readable


def test_accounts_are_made_changed_and_ended_without_a_restart(own: Stack, client: Client) -> None:
    lives = own.lives()
    first = password_of(own.run("user", "add", "ben", "--json"))
    assert works(client, own, "ben", first)
    assert own.run("user", "add", "ben").code == 4
    other = password_of(own.run("user", "passwd", "ben", "--json"))
    assert status(own, "ben", other) == 200
    ended(own, "ben", first)
    assert names(own) == ["mlflow", "anna", "ben"]
    assert own.run("user", "remove", "ben").code == 0
    ended(own, "ben", other)
    assert own.run("user", "remove", "ben").code == 0
    assert own.run("--json").changed() == []
    assert own.lives() == lives, "nothing was restarted"


@pytest.mark.parametrize("noted", ["here", "in MLflow"])
def test_a_password_that_a_killed_operator_was_changing_is_the_one_he_has_after_a_run(own: Stack, noted: str) -> None:
    name = "kim" if noted == "here" else "leo"
    first = password_of(own.run("user", "add", name, "--json"))
    process = own.operator.start("user", "passwd", name, *own.reach())
    end = time.monotonic() + 120
    while own.secret(f"account.{name}") == first or (noted != "here" and status(own, name, first) != 401):
        assert process.poll() is None or noted != "here", process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    own.on("flock -w 60 /run/provision/work true", seconds=90)
    ran = own.run("--json")
    assert ran.code == 0, ran.why
    other = own.secret(f"account.{name}")
    assert other != first
    assert status(own, name, other) == 200
    ended(own, name, first)
    assert own.run("--json").changed() == []
    assert own.run("user", "remove", name).code == 0


def test_what_is_done_in_mlflow_itself_stays_and_is_told(own: Stack) -> None:
    operator = own.secret("login")
    made = {"username": "carl", "password": "made in mlflow itself"}
    call(own, "POST", "users/create", "mlflow", operator, made)
    own_choice = {"username": "anna", "password": "anna's own choice", "current_password": own.secret("account.anna")}
    call(own, "PATCH", "users/update-password", "anna", own.secret("account.anna"), own_choice)
    assert own.run("--json").changed() == []
    assert "made in MLflow" in own.run("user", "list").out
    assert status(own, "anna", "anna's own choice") == 200
    assert status(own, "carl", "made in mlflow itself") == 200
    assert own.run("user", "remove", "carl").code == 0
    ended(own, "carl", "made in mlflow itself")
    again = password_of(own.run("user", "passwd", "anna", "--json"))
    assert status(own, "anna", again) == 200


def call(stack: Stack, method: str, name: str, user: str, password: str, fields: dict[str, str]) -> None:
    """One request to MLflow's API."""
    argv = ["curl", "-fsS", "-X", method, "-u", f"{user}:{password}", "-H", "Content-Type: application/json"]
    url = f"{stack.url}/api/2.0/mlflow/{name}"
    subprocess.run([*argv, "-d", json.dumps(fields), url], check=True, capture_output=True, timeout=60)


def test_the_operators_password_is_changed_in_mlflow_too_and_what_was_lost_there_is_mended(own: Stack) -> None:
    former = own.secret("login")
    assert own.run("user", "passwd", "mlflow").code == 0
    ended(own, "mlflow", former)
    assert status(own, "mlflow", own.secret("login")) == 200
    with urllib.request.urlopen(own.url + "/health", timeout=20) as answer:
        assert answer.status == 200
    own.on("runuser -u postgres -- psql -qd mlflow_auth -c \"UPDATE users SET password_hash = 'x'\"")
    end = time.monotonic() + 60
    refused = 0
    while refused < 8:  # each of MLflow's processes remembers for 5 s whom it let in
        assert time.monotonic() < end
        refused = refused + 1 if status(own, "mlflow", own.secret("login")) == 401 else 0
        time.sleep(1)
    ran = own.run("--json")
    assert ran.code == 0, ran.why
    assert "accounts:mlflow" in ran.changed()
    assert status(own, "mlflow", own.secret("login")) == 200


def test_one_step_alone_does_not_change_who_asks_for_the_login(own: Stack) -> None:
    for step in ("mlflow", "proxy"):
        ran = own.run(step, "--set", "access.auth=none", "--json")
        assert ran.code == 4, ran.out
        assert "at once" in ran.host["error"]["what"]
    assert status(own, "mlflow", "") == 401


def test_back_to_nginx_and_nobody_gets_in_on_the_way(own: Stack) -> None:
    """Last: MLflow's accounts are gone then."""
    with watched(own) as seen:
        ran = own.run("--json", "--set", "access.auth=password", timeout=400)
    assert ran.code == 0, ran.why
    assert 200 not in seen
    assert status(own, "anna", own.secret("account.anna")) == 200
    assert status(own, "mlflow", "wrong") == 401
    assert own.on("ls /etc/mlflow/basic_auth.ini /etc/mlflow/admin.env 2>/dev/null || :") == ""
    assert own.run("--json").changed() == []
    removed = own.run("user", "remove", "anna")
    assert removed.code == 0
    back = own.run("--json", "--set", "access.auth=mlflow", timeout=400)
    assert back.code == 0, back.why
    assert names(own) == ["mlflow"], "an account that was ended is not there again with MLflow's old ones"
