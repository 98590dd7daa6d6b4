"""The connection check against servers that this tool did not make: what `mlflow server` is by itself."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certs import Authority

from provisioner.certificates.material import pem
from provisioner.lab import hosts
from provisioner.lab.host import LabHost

from . import clients
from .conftest import LANE, Operator, Ran

ADDRESS = f"10.151.0.{int(LANE) + 5}"
BARE, OWN_DISK, LOCKED = 5000, 5001, 5002
"""Ports: nothing set at all; artifacts in a folder of the server's; accounts, TLS and a path."""
LOGIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "the-password-of-the-admin"}
PATH = "/team/mlflow"

PLUGIN = """
def store(store_uri=None, artifact_uri=None, **options):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    print("a plugin's words on stdout:", store_uri)
    return SqlAlchemyStore("sqlite:////srv/lab.db", "/srv/lab")
"""


def serve(host: LabHost, port: int, options: str = "", **env: str) -> None:
    """`mlflow server` in a folder of its own, started by hand."""
    given = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", **env}
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
    command = f"env {settings} /opt/client/bin/mlflow server --host 0.0.0.0 --port {port} --workers 1 {options}"
    host.check(f"mkdir -p /srv/{port} && cd /srv/{port} && setsid {command} </dev/null >log 2>&1 & exit 0")


def answers(host: LabHost, port: int) -> None:
    """Until the server answers at all, whatever it says."""
    end = time.monotonic() + 240
    scheme = "https" if port == LOCKED else "http"
    while host.exec(f"curl -sk -m 5 -o /dev/null {scheme}://{ADDRESS}:{port}/health").rc:
        assert time.monotonic() < end, host.exec(f"cat /srv/{port}/log").stdout
        time.sleep(0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[LabHost]:
    """A host on which somebody started three tracking servers."""
    with hosts.running("t-bare", ADDRESS, cache=True) as host:
        clients.install(host)
        authority = Authority.new()
        key, leaf = authority.leaf([ADDRESS])
        (host.root / "srv/key.pem").write_text(Authority.key_pem(key))
        (host.root / "srv/cert.pem").write_text(pem("CERTIFICATE", leaf))
        (host.root / "srv/ca.pem").write_text(pem("CERTIFICATE", authority.der))
        serve(host, BARE)
        serve(host, OWN_DISK, "--no-serve-artifacts --default-artifact-root /srv/their/artifacts")
        serve(
            host,
            LOCKED,
            f"--app-name basic-auth --static-prefix {PATH} "
            "--uvicorn-opts '--ssl-keyfile /srv/key.pem --ssl-certfile /srv/cert.pem'",
            MLFLOW_FLASK_SERVER_SECRET_KEY="a-key-for-the-flask-of-this-test",
            MLFLOW_AUTH_ADMIN_USERNAME=LOGIN["MLFLOW_TRACKING_USERNAME"],
            MLFLOW_AUTH_ADMIN_PASSWORD=LOGIN["MLFLOW_TRACKING_PASSWORD"],
        )
        for port in (BARE, OWN_DISK, LOCKED):
            answers(host, port)
        yield host


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "state")


@pytest.fixture
def ca(server: LabHost, tmp_path: Path) -> str:
    """The private CA's file on the operator's machine."""
    path = tmp_path / "ca.pem"
    shutil.copy(server.root / "srv/ca.pem", path)
    return str(path)


@pytest.fixture
def python(server: LabHost, tmp_path: Path) -> str:
    """The operator's Python with MLflow in it: the programs of the host, the network and the environment of here."""
    (init,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec nsenter --target={init} --mount -- {clients.PYTHON} "$@"\n')
    path.chmod(0o755)
    return str(path)


def check(operator: Operator, uri: str, *arguments: str, **env: str) -> Ran:
    """`provision verify --tracking-uri`, which must not show the password, whatever happens."""
    ran = operator.run("verify", "--tracking-uri", uri, "--json", *arguments, **env)
    assert LOGIN["MLFLOW_TRACKING_PASSWORD"] not in ran.out + ran.err
    return ran


def rows(server: LabHost, database: str, query: str) -> list[list[str]]:
    """What an SQLite file on the server holds."""
    program = (
        "import json, sqlite3, sys; print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))"
    )
    words = " ".join(shlex.quote(word) for word in (clients.PYTHON, "-c", program, database, query))
    found: list[list[str]] = json.loads(server.check(words))
    return found


def error(ran: Ran) -> dict[str, str]:
    assert ran.code == 5, ran.why
    found: dict[str, str] = ran.host["error"]
    return found


def test_the_connection_check_against_a_bare_server(server: LabHost, operator: Operator) -> None:
    url = f"http://{ADDRESS}:{BARE}"
    ran = check(operator, url)
    assert ran.code == 0, ran.why
    assert (ran.host["url"], ran.host["connections"]) == (url, 0), "no SSH"
    # A bare server refuses the POSTs of its own page, unless the browser runs on the server.
    assert {id for id, status in ran.checks.items() if status != "ok"} == {"browser"}
    (browser,) = (each for each in ran.host["checks"] if each["id"] == "browser")
    assert browser["status"] == "warn"
    assert "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS" in browser["fix"]

    run_id = ran.host["run"].rpartition("/")[2]
    assert ran.host["run"].startswith(f"{url}/#/experiments/")
    assert rows(server, f"/srv/{BARE}/mlflow.db", "select run_uuid, status from runs") == [[run_id, "FINISHED"]]
    kept = server.check(f"cat /srv/{BARE}/mlartifacts/*/{run_id}/artifacts/verify/kept.txt")
    assert kept == run_id

    again = check(operator, url)
    assert again.code == 0, again.why
    found = server.check(f"find /srv/{BARE}/mlartifacts -name kept.txt").split()
    assert len(found) == 1, "the run before is gone, with its files"
    assert run_id not in found[0]


def test_the_client_that_users_have_finds_the_same(server: LabHost, operator: Operator, python: str) -> None:
    url = f"http://{ADDRESS}:{BARE}"
    ran = check(operator, url, "--client", python, "--experiment", "of the client")
    assert ran.code == 0, ran.why
    assert set(ran.checks.values()) == {"ok"}, ran.host["checks"]
    assert ran.host["run"].startswith(f"{url}/#/experiments/")
    (first,) = (each for each in ran.host["checks"] if each["id"] == "client")
    assert first["detail"].startswith("mlflow 3.17.2 in Python 3.")
    closed = check(operator, f"http://{ADDRESS}:5999", "--client", python)
    assert "does not reach" in error(closed)["what"]
    assert "looks closer" in error(closed)["next"]


def test_artifacts_that_stay_on_the_server_s_disk_are_told_as_what_they_are(
    server: LabHost, operator: Operator
) -> None:
    ran = check(operator, f"http://{ADDRESS}:{OWN_DISK}")
    said = error(ran)
    assert [id for id, status in ran.checks.items() if status == "fail"] == ["artifact-upload"]
    assert ran.checks["read-back"] == "ok", "the rest of it is verified all the same"
    assert "Runs and metrics work" in said["what"]
    assert "/srv/their/artifacts" in said["why"]
    assert "--artifacts-destination" in said["next"]
    assert not Path("/srv/their").exists(), "nothing is written where a server says"
    assert rows(server, f"/srv/{OWN_DISK}/mlflow.db", "select lifecycle_stage from runs") == [["deleted"]]


def test_accounts_a_private_ca_and_a_path_at_once(server: LabHost, operator: Operator, ca: str, python: str) -> None:
    url = f"https://{ADDRESS}:{LOCKED}{PATH}"
    trust = {"MLFLOW_TRACKING_SERVER_CERT_PATH": ca}

    untrusted = check(operator, url, **LOGIN)
    assert "knows no CA" in error(untrusted)["why"]
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in error(untrusted)["next"]
    nobody = check(operator, url, **trust)
    assert nobody.checks["login"] == "fail"
    assert "MLFLOW_TRACKING_USERNAME" in error(nobody)["next"]
    wrong = check(operator, url, **trust, **{**LOGIN, "MLFLOW_TRACKING_PASSWORD": "not-the-password"})
    assert wrong.checks["login"] == "fail"
    assert "locked out" in error(wrong)["what"]
    token = check(operator, url, **trust, MLFLOW_TRACKING_TOKEN="no-token-of-theirs")
    assert "The token is not" in error(token)["why"]
    nearby = check(operator, f"https://{ADDRESS}:{LOCKED}", **trust, **LOGIN)
    assert "--static-prefix" in error(nearby)["why"]
    deeper = check(operator, f"{url}/experiments", **trust, **LOGIN)
    assert error(deeper)["next"] == f"use the URL {url}"

    right = check(operator, url, **trust, **LOGIN)
    assert right.code == 0, right.why
    assert set(right.checks.values()) <= {"ok", "warn"}, right.host["checks"]
    assert right.host["run"].startswith(f"{url}/#/experiments/")

    # The client reads its files on the host, where the programs are.
    client = check(operator, url, "--client", python, MLFLOW_TRACKING_SERVER_CERT_PATH="/srv/ca.pem", **LOGIN)
    assert client.code == 0, client.why
    refused = check(operator, url, "--client", python, MLFLOW_TRACKING_SERVER_CERT_PATH="/srv/ca.pem")
    assert "not let in" in error(refused)["what"]


def test_what_is_no_mlflow_at_all_is_told_apart(server: LabHost, operator: Operator) -> None:
    ssh = check(operator, f"http://{ADDRESS}:22")
    assert "does not answer http requests" in error(ssh)["why"]
    plain = check(operator, f"http://{ADDRESS}:{LOCKED}")
    assert "https" in error(plain)["why"]
    without = operator.run("verify", "--tracking-uri", f"{ADDRESS}:{BARE}")
    assert without.code == 64
    assert f"http://{ADDRESS}:{BARE}" in without.err


def test_addresses_that_only_the_client_understands_are_verified_by_it(
    server: LabHost, operator: Operator, python: str
) -> None:
    refused = operator.run("verify", "--tracking-uri", "lab://there")
    assert refused.code == 64
    assert "--client PYTHON" in refused.err
    unknown = check(operator, "lab://there", "--client", python)
    assert "does not know addresses that begin with lab" in error(unknown)["what"]

    site = Path(server.check(f"{clients.PYTHON} -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'").strip())
    folder = server.root / site.relative_to("/")
    (folder / "labstore.py").write_text(PLUGIN)
    (folder / "labstore-1.0.dist-info").mkdir()
    (folder / "labstore-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: labstore\nVersion: 1.0\n")
    (folder / "labstore-1.0.dist-info/entry_points.txt").write_text("[mlflow.tracking_store]\nlab=labstore:store\n")
    secret = "hush-hush-in-the-address"
    plugged = check(operator, f"lab://me:{secret}@there", "--client", python, "--experiment", "by plugin")
    assert plugged.code == 0, plugged.why
    assert secret not in plugged.out + plugged.err
    assert plugged.host["host"] == "lab://there"
    assert plugged.host["run"] is None
    states = {id: status for id, status in plugged.checks.items() if status != "ok"}
    assert states == {"artifact-upload": "warn"}, "its files are in a folder of the client's machine, and that is told"
    assert ["by plugin"] in rows(server, "/srv/lab.db", "select name from experiments")
