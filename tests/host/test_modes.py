"""Every way in that a stack can have, one after the other on one stack: from another machine, with the real client.

What `provision env` says is all that the client gets. Each large file goes to the store and comes from it by
presigned addresses, through the one origin and nothing else.
"""

from __future__ import annotations

import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certs import Authority, written

from .clients import LARGE, Client, requests
from .conftest import Stack


@dataclass(frozen=True)
class Mode:
    """Who asks for a login, and whose certificate is shown."""

    auth: str
    tls: str

    def __str__(self) -> str:
        return f"{self.auth}-{self.tls}"


MODES = (
    Mode("password", "off"),
    Mode("password", "internal"),
    Mode("password", "own"),
    Mode("mlflow", "internal"),
    Mode("mlflow", "off"),
    Mode("none", "off"),
)


@pytest.fixture(scope="module")
def earlier(made: Stack) -> dict[str, Any]:
    """Run -> what a client logged in it, in the modes before."""
    return {}


def setting(tls: str, stack: Stack, folder: Path) -> str:
    if tls != "own":
        return f"access.tls={tls}"
    authority = Authority.new()
    (folder / "own").mkdir()
    (folder / "own" / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(authority.der))
    return written(folder / "own", *authority.leaf([stack.address]))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_client_elsewhere_works_with_what_env_says_and_with_nothing_less(
    stack: Stack, client: Client, mode: Mode, earlier: dict[str, Any], tmp_path: Path
) -> None:
    chosen = ("--set", f"access.auth={mode.auth}", "--set", setting(mode.tls, stack, tmp_path))
    switched = stack.run("--json", "--verify", *chosen, timeout=400)
    assert switched.code == 0, switched.why
    assert set(switched.checks.values()) == {"ok"}, switched.checks
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out

    settings = told(stack, client, mode, tmp_path / "ca.pem")
    url = f"http://{stack.address}:5000" if mode.tls == "off" else f"https://{stack.address}"
    assert settings.startswith(f"export MLFLOW_TRACKING_URI={url}\n")
    done = client.round_trip(settings, *earlier)
    assert done["got"] == done["given"]
    assert done["earlier"] == earlier, "what was logged in another mode is there in this one"
    earlier[done["run"]] = done["given"]
    assert_road(stack, client, done["run"])
    assert_refused(client, settings, mode)


def told(stack: Stack, client: Client, mode: Mode, path: Path) -> str:
    """What a user pastes, on the client's machine."""
    wanted = ("--ca", str(path)) if mode.tls != "off" else ()
    env = stack.run("env", *wanted)
    assert env.code == 0, env.err
    assert ("PASSWORD" in env.out) == (mode.auth != "none")
    assert ("CA_BUNDLE" in env.out) == (mode.tls != "off")
    return client.trusting(env.out, path) if wanted else env.out


def assert_road(stack: Stack, client: Client, run: str) -> None:
    """The large file in parts and ranges of the bucket; small ones up through MLflow; nothing failed."""
    log = stack.on("cat /var/log/nginx/provision-mlflow.access.log")
    mine = [line for line in requests(log, client.host.address) if run in line.path]
    assert [line for line in mine if line.status >= 400] == []
    files = [line for line in mine if line.path.endswith("/artifacts/large.bin")]
    bucket = [line for line in files if line.path.startswith("/mlflow/")]
    assert Counter((line.method, line.status) for line in bucket) == {("PUT", 200): 3, ("GET", 206): 3}, files
    assert sum(line.size for line in bucket if line.method == "GET") == LARGE
    others = {line.path.partition("/artifacts/")[0] for line in files if line not in bucket}
    assert all(path.startswith("/api/2.0/mlflow-artifacts/presigned/") for path in others), others
    small = [line for line in mine if line.path.endswith("/artifacts/model/data/weights.bin")]
    assert [line.method for line in small if line.path.startswith("/api/")].count("PUT") == 1, small
    assert "X-Amz-Signature" not in log


def assert_refused(client: Client, settings: str, mode: Mode) -> None:
    """Each thing that `env` said is needed."""
    wrong = {"MLFLOW_TRACKING_USERNAME": "mlflow", "MLFLOW_TRACKING_PASSWORD": "not the password"}
    nobody = dict.fromkeys(wrong)
    untrusting = dict.fromkeys(("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"))
    distrusted, refused, unknown, fine = client.attempts(settings, untrusting, wrong, nobody, {})
    assert fine == "", "it is these changes that it failed for"
    if mode.tls != "off":
        assert "CERTIFICATE_VERIFY_FAILED" in distrusted
    for said in (refused, unknown):
        if mode.auth == "none":
            assert said == "", "a login that is not asked for does no harm"
        else:
            assert "401" in said
