"""Accounts of people: made, changed and ended at once, with real logins; broken off, begun again."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import Operator, Stack
from .terminal import Terminal, available, terminal

OWN = "a password of my own choice"


@pytest.fixture(autouse=True)
def _own_login(stack: Stack) -> None:
    """However a test before ended: the operator's login opens."""
    assert status(stack, "mlflow", stack.secret("login")) == 200


def status(stack: Stack, name: str, password: str, path: str = "/version") -> int:
    """What nginx and MLflow answer to this login."""
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    request = urllib.request.Request(stack.url + path, headers={"Authorization": f"Basic {pair}"})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def password_of(ran: Any) -> str:
    return str(ran.json["env"]["MLFLOW_TRACKING_PASSWORD"])


def names(stack: Stack) -> list[str]:
    return [user["name"] for user in stack.run("user", "list", "--json").json["users"]]


def lived_on(stack: Stack, before: dict[str, str]) -> bool:
    """No service was started anew."""
    return stack.lives() == before


def test_an_account_is_made_changed_and_ended_and_nothing_else_on_the_host(stack: Stack) -> None:
    lives = stack.lives()
    files = "find /etc /opt/mlflow -xdev -type f -newer /tmp/before ! -path '/etc/provision/*' | sort"
    stack.on("touch /tmp/before; sleep 0.1")
    made = stack.run("user", "add", "anna", "--json")
    assert made.code == 0, made.why
    first = password_of(made)
    assert len(first) >= 24
    assert made.json["env"]["MLFLOW_TRACKING_URI"] == stack.url
    assert status(stack, "anna", first) == 200
    assert status(stack, "anna", first + "x") == 401
    assert names(stack) == ["mlflow", "anna"]
    assert stack.run("user", "add", "anna").code == 4, "an account that is there is not made again"

    other = password_of(stack.run("user", "passwd", "anna", "--json"))
    assert (status(stack, "anna", other), status(stack, "anna", first)) == (200, 401)
    assert stack.run("secrets", "show", "account.anna").out.strip() == other

    gone = stack.run("user", "remove", "anna")
    assert gone.code == 0, gone.why
    assert status(stack, "anna", other) == 401
    assert stack.run("user", "remove", "anna").code == 0, "said twice it is no error"
    assert names(stack) == ["mlflow"]
    assert "anna" not in stack.run("secrets", "list").out
    assert lived_on(stack, lives)
    assert stack.on(files).split() == ["/etc/nginx/provision-mlflow.htpasswd"]
    again = stack.run("--json")
    assert again.changed() == [], "a run brings nothing back and has nothing to mend"
    assert status(stack, "anna", other) == 401


def test_what_a_client_pastes_logs_in(stack: Stack, tmp_path: Path) -> None:
    made = stack.run("user", "add", "cleo")
    assert made.code == 0, made.why
    assert all(line.startswith("export MLFLOW_TRACKING_") for line in made.out.splitlines())
    told = subprocess.run(
        ["sh", "-c", f"{made.out}\ncurl -fsS -u \"$MLFLOW_TRACKING_USERNAME:$MLFLOW_TRACKING_PASSWORD\" "
         '"$MLFLOW_TRACKING_URI/version"'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stdout.startswith("3."), told.stderr
    shown = made.out.split("PASSWORD=")[1].strip()
    assert shown not in made.err
    assert shown not in stack.on("cat /var/log/provision/audit.jsonl; journalctl --no-pager -o cat -n 3000")
    assert stack.run("user", "remove", "cleo").code == 0


@pytest.mark.parametrize("text", ["short", "x" * 73, "tab\tin the middle of it", "ünïcode is not for all"])
def test_a_bad_password_of_ones_own_is_refused_before_anything_is_looked_at(stack: Stack, text: str) -> None:
    before = stack.on("cat /etc/provision/secrets.json")
    ran = said(stack, text, "user", "add", "ben", "--password-stdin")
    assert ran.returncode == 64, ran.stdout + ran.stderr
    assert text not in ran.stdout + ran.stderr
    assert stack.on("cat /etc/provision/secrets.json") == before


def said(stack: Stack, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A call with `text` on stdin."""
    home = stack.operator.state.parent / (stack.operator.state.name + ".home")
    return subprocess.run(
        [sys.executable, "-m", "provisioner", *arguments, *stack.reach()],
        input=text + "\n",
        capture_output=True,
        text=True,
        cwd=home,
        env={**os.environ, "XDG_STATE_HOME": str(stack.operator.state), "HOME": str(home)},
        timeout=120,
        check=False,
    )


def until(window: Terminal, words: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while words not in window.screen():
        assert time.monotonic() < end, window.screen()
        time.sleep(0.05)


@pytest.mark.skipif(not available(), reason="tmux is not installed")
def test_a_password_of_ones_own_comes_from_stdin_or_from_the_terminal_twice(stack: Stack) -> None:
    ran = said(stack, OWN, "user", "add", "ben", "--password-stdin")
    assert ran.returncode == 0, ran.stderr
    assert OWN not in ran.stdout + ran.stderr
    assert "PASSWORD" not in ran.stdout
    assert status(stack, "ben", OWN) == 200

    home = stack.operator.state.parent / (stack.operator.state.name + ".home")
    command = (sys.executable, "-m", "provisioner", "user", "passwd", "ben", "--ask-password", *stack.reach())
    for second, code in (("not the same as before", 64), (OWN + "!", 0)):
        with terminal(100, *command, home=home, XDG_STATE_HOME=str(stack.operator.state)) as window:
            for prompt, typed in (("password:", OWN + "!"), ("once more:", second)):
                until(window, prompt)
                window.press(typed)
                window.press("Enter")
            assert window.ends() == code, window.screen()
            assert OWN not in "\n".join(window.lines()), "nothing is echoed"
    assert (status(stack, "ben", OWN + "!"), status(stack, "ben", OWN)) == (200, 401)
    assert stack.run("user", "remove", "ben").code == 0


def test_the_operators_own_account_gets_another_password_and_is_never_removed(stack: Stack) -> None:
    refused = stack.run("user", "remove", "mlflow")
    assert refused.code == 64
    former = stack.secret("login")
    assert stack.run("user", "passwd", "mlflow").code == 0
    assert status(stack, "mlflow", former) == 401
    ran = stack.run("--json", "--verify")
    assert ran.code == 0, ran.why
    assert ran.changed() == []


def test_accounts_are_declared_and_a_name_that_is_taken_out_is_told_and_stays(stack: Stack) -> None:
    ran = stack.run("--json", "--set", 'access.users=["dora", "emil"]')
    assert ran.code == 0, ran.why
    assert "file:nginx-accounts" in ran.changed()
    assert {"dora", "emil"} <= set(names(stack))
    dora = stack.secret("account.dora")
    assert status(stack, "dora", dora) == 200
    assert stack.run("--json").changed() == [], "the names stick"

    fewer = stack.run("--set", 'access.users=["emil"]')
    assert fewer.code == 0
    assert "user remove dora" in fewer.out + fewer.err
    assert status(stack, "dora", dora) == 200

    assert stack.run("user", "remove", "emil").code == 0
    kept = stack.run()
    assert "user add emil" in kept.out + kept.err, "named and removed: it stays removed and is told"
    assert "emil" not in names(stack)
    assert stack.run("user", "remove", "dora").code == 0


def test_a_change_that_was_broken_off_anywhere_is_finished_by_the_next(stack: Stack) -> None:
    for number, wait in enumerate((0.3, 0.8, 1.1, 1.4, 1.7, 2.1)):
        name = f"kill{number}"
        process = stack.operator.start("user", "add", name, *stack.reach())
        time.sleep(wait)  # anywhere: the moment is not what is tested
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ran = stack.run("user", "add", name, "--json")
        assert ran.code in {0, 4}, ran.why
        if ran.code == 4:
            assert "is there already" in ran.out + ran.err
        assert status(stack, name, stack.secret(f"account.{name}")) == 200

        process = stack.operator.start("user", "remove", name, *stack.reach())
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ended = stack.run("user", "remove", name)
        assert ended.code == 0, ended.why
        assert name not in stack.on("cat /etc/nginx/provision-mlflow.htpasswd")
    assert stack.run("--json").changed() == []


def test_what_a_killed_call_left_here_reaches_the_host_with_the_next_run(stack: Stack) -> None:
    path = stack.operator.state / "provision" / stack.address / "secrets.json"
    document = json.loads(path.read_text())
    document["secrets"]["account.left"] = {"value": "left behind by a kill", "generation": 1}
    path.write_text(json.dumps(document))
    ran = stack.run("--json")
    assert {"file:secrets.json", "file:nginx-accounts"} == set(ran.changed())
    assert status(stack, "left", "left behind by a kill") == 200
    assert stack.run("user", "remove", "left").code == 0


def test_two_operators_see_each_others_accounts(stack: Stack, operator: Operator) -> None:
    made = password_of(stack.run("user", "add", "frida", "--json"))
    other = operator.run("user", "list", "--json", *stack.reach())
    assert [user["name"] for user in other.json["users"]] == ["mlflow", "frida"]
    assert operator.run("user", "remove", "frida", *stack.reach()).code == 0
    assert status(stack, "frida", made) == 401
    # The first operator's copy still has the password: it does not come back by that.
    assert stack.run("--json").changed() == []
    assert names(stack) == ["mlflow"]
    assert status(stack, "frida", made) == 401


def test_two_calls_at_once_are_made_one_after_the_other(stack: Stack, operator: Operator) -> None:
    first = stack.operator.start("user", "add", "gina", *stack.reach())
    second = operator.start("user", "add", "hugo", *stack.reach())
    for process in (first, second):
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, out + err
    assert set(names(stack)) == {"mlflow", "gina", "hugo"}
    assert stack.run("--json").changed() == []
    for name in ("gina", "hugo"):
        assert stack.run("user", "remove", name).code == 0


def test_a_stack_without_logins_has_no_accounts_and_gets_them_back(stack: Stack) -> None:
    kept = password_of(stack.run("user", "add", "ida", "--json"))
    assert stack.run("--no-auth").code == 0
    refused = stack.run("user", "add", "jan")
    assert refused.code == 4
    assert "access.auth=password" in refused.err
    assert stack.run("--set", "access.auth=password").code == 0
    assert status(stack, "ida", kept) == 200
    assert stack.run("user", "remove", "ida").code == 0
