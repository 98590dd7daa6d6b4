"""`provision demo`: the newcomer's first command, end to end at its own address."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.commands.demo import ADDRESS, NAME
from provisioner.lab import hosts

from .conftest import FIRST_RUN, Operator, Ran

WITHOUT_GITHUB = """
import socket
_real = socket.getaddrinfo
def getaddrinfo(host, *rest, **options):
    if str(host).endswith("github.com"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _real(host, *rest, **options)
socket.getaddrinfo = getaddrinfo
"""
"""A network in which MinIO's download does not answer, for the program alone."""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Somebody on a closed network who has never run it. The address may be in use by a demo of theirs: it is
    waited for, and never taken away."""
    end = time.monotonic() + 900
    while any(record.spec.name == NAME or record.spec.address == ADDRESS for record in hosts.records()):
        assert time.monotonic() < end, f"{ADDRESS} is in use; when nobody needs it: provision demo down"
        time.sleep(1)
    folder = tmp_path_factory.mktemp("demo")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT_GITHUB)
    yield Operator(folder / "state", {"PYTHONPATH": str(folder / "site")})
    hosts.stop(NAME)


@pytest.fixture(scope="module")
def up(user: Operator) -> Ran:
    return user.run("demo", timeout=FIRST_RUN)


def answer(path: str, login: str = "") -> int:
    """The HTTP status of a GET, as this machine's browser would see it."""
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(f"http://{ADDRESS}:5000{path}", headers=headers), timeout=30) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


def password(user: Operator) -> str:
    document = json.loads((user.state / "provision" / ADDRESS / "secrets.json").read_text())
    return str(document["secrets"]["login"]["value"])


def test_it_ends_with_a_verified_run_and_an_address_that_answers(user: Operator, up: Ran) -> None:
    assert up.code == 0, up.why
    assert f"MLflow     http://{ADDRESS}:5000\n" in up.out
    assert f"http://{ADDRESS}:5000/#/experiments/" in up.out
    assert "checks, from this machine" in up.err
    assert answer("/") == 401
    assert answer("/", f"mlflow:{password(user)}") == 200


def test_without_minios_download_it_takes_seaweedfs_and_says_so(up: Ran) -> None:
    assert "store        SeaweedFS: " in up.err
    assert "github.com does not answer" in up.err
    assert "provision demo --set store.binary=" in up.err
    assert hosts.get(NAME).check("systemctl is-active seaweedfs.service") == "active\n"


def test_it_says_how_to_go_on(user: Operator, up: Ran) -> None:
    assert "provision demo down" in up.err
    (line,) = (line for line in up.err.splitlines() if "It is a server like any other:" in line)
    command = line.partition(":")[2].split()
    known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    done = subprocess.run([*command, *known, "hostname"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"{NAME}\n", done.stderr


def test_again_it_finds_nothing_to_change(user: Operator, up: Ran) -> None:
    again = user.run("demo", "up")
    assert again.code == 0, again.why
    assert "nothing to change" in again.out
    assert "is there already" in again.err


def test_a_server_that_is_off_comes_up_again_with_what_it_had(user: Operator, up: Ran) -> None:
    hosts.halt(NAME)
    again = user.run("demo", "up", timeout=FIRST_RUN)
    assert again.code == 0, again.why
    assert "nothing to change" in again.out


def test_status_tells_where_it_is(user: Operator, up: Ran) -> None:
    status = user.run("demo", "status")
    assert status.code == 0
    assert "running" in status.out
    assert f"http://{ADDRESS}:5000" in status.out


def test_an_unknown_word_and_a_host_of_ones_own_are_refused(user: Operator) -> None:
    unknown = user.run("demo", "sideways")
    assert unknown.code == 64
    assert "demo up, down or status" in unknown.err
    named = user.run("demo", "--host", "10.151.0.2")
    assert named.code == 64
    assert "provision --host 10.151.0.2" in named.err


@pytest.mark.parametrize("action", ["up", "down", "status"])
def test_who_is_not_root_is_told_what_to_use_instead(action: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="nobody-"))
    try:
        os.chown(folder, 65534, 65534)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run(
            [*nobody, sys.executable, "-c", "import provisioner.cli"], cwd="/", capture_output=True
        ).returncode:
            # A checkout below /root: to be read, by one who still is not root.
            nobody += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        done = subprocess.run(
            [*nobody, sys.executable, "-m", "provisioner", "demo", action],
            cwd="/",
            env={**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "disposable hosts need root" in done.stderr
    assert "sudo" in done.stderr
    assert "--host" in done.stderr


def test_down_leaves_no_server_and_says_what_stays(user: Operator, up: Ran) -> None:
    down = user.run("demo", "down")
    assert down.code == 0, down.err
    assert "is gone" in down.out
    assert not [record for record in hosts.records() if record.spec.name == NAME]
    assert (user.state / "provision" / ADDRESS / "secrets.json").is_file()
    known = user.state / "provision" / "known_hosts"
    assert not known.exists() or ADDRESS not in known.read_text()
    again = user.run("demo", "down")
    assert again.code == 0
    assert "there is no demo server" in again.out
    assert "there is no demo server" in user.run("demo", "status").out
