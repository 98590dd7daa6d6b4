"""The tutorials' "external S3": a bucket of a store that somebody else runs, here a SeaweedFS on another server."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import FIRST_RUN, LANE, VERBOSE, Operator, Ran, Stack

STORE, SERVER = f"10.151.0.{int(LANE) + 3}", f"10.151.0.{int(LANE) + 4}"
PORT = 9100
ENDPOINT = f"http://{STORE}:{PORT}"
INVENTORY = f"""
[store]
engine = "external"
endpoint = "{ENDPOINT}"
bucket = "theirs"
[artifacts]
prefix = "team"
[secrets]
"store.user.key" = {{ env = "STORE_KEY" }}
"store.user.secret" = {{ env = "STORE_SECRET" }}
"""
S3 = """
import json, sys, boto3
asked = json.load(open("/root/asked.json"))
s3 = boto3.client("s3", endpoint_url=asked["endpoint"], region_name="us-east-1",
    aws_access_key_id=asked["access"], aws_secret_access_key=asked["secret"])
print(json.dumps([each["Key"] for each in s3.list_objects_v2(Bucket=asked["bucket"]).get("Contents", [])]))
"""


def reach(address: str) -> tuple[str, ...]:
    return ("--host", f"root@{address}", "-i", str(PRIVATE_KEY))


def lead_out(host: LabHost) -> None:
    """Their store answers other servers, too: until `systemctl stop`, which leaves nothing of it."""
    proxy = "$(ls /lib/systemd/systemd-socket-proxyd /usr/lib/systemd/systemd-socket-proxyd | head -n 1)"
    host.exec("systemctl reset-failed theirs.socket theirs.service")
    host.check(f"systemd-run -q --unit=theirs --socket-property=ListenStream={PORT} {proxy} 127.0.0.1:9000")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Another team's store, which other servers reach, and a key that makes and fills buckets."""
    owner = Operator(tmp_path_factory.mktemp("theirs") / "state")
    with hosts.running(f"t-theirs-{LANE}", STORE, cache=True) as host:
        made = owner.run("seaweedfs", "--set", "store.engine=seaweedfs", *reach(STORE), timeout=FIRST_RUN)
        assert made.code == 0, made.why
        lead_out(host)
        names = {"access": "store.root.user", "secret": "store.root.password"}
        yield {name: owner.run("secrets", "show", of, *reach(STORE)).out.strip() for name, of in names.items()}


@pytest.fixture(scope="module")
def server() -> Iterator[LabHost]:
    with hosts.running(f"t-external-{LANE}", SERVER, cache=True, sshd=VERBOSE) as host:
        yield host


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, theirs: dict[str, str]) -> Operator:
    folder = tmp_path_factory.mktemp("external")
    path = folder / "inventory.toml"
    path.write_text(INVENTORY, encoding="utf-8")
    return Operator(folder / "state", {"STORE_KEY": theirs["access"], "STORE_SECRET": theirs["secret"]}, folder)


def provision(operator: Operator, *arguments: str, **options: Any) -> Ran:
    return operator.run(*arguments, *reach(SERVER), **options)


@pytest.mark.parametrize(
    ("setting", "environment", "words"),
    [
        (f"store.endpoint=http://{STORE}:9109", {}, "Connection refused"),
        ("store.endpoint=http://nobody.invalid", {}, "does not resolve"),
        (f"store.endpoint=https://{STORE}:{PORT}", {}, "no TLS"),
        (f"store.endpoint=http://{STORE}:22", {}, "no S3"),
        ("store.bucket=theirs", {"STORE_KEY": "nobodyskey"}, "does not know the access key"),
        ("store.bucket=theirs", {"STORE_SECRET": "notthesecret"}, "not the access key's"),
    ],
)
def test_what_is_in_the_way_is_one_error_with_its_fix_before_anything_changes(
    operator: Operator, server: LabHost, setting: str, environment: dict[str, str], words: str
) -> None:
    run = provision(operator, "--set", setting, "--json", **environment)
    assert run.code == 4, run.why
    (failed,) = (check for check in run.host["checks"] if check["status"] == "fail")
    assert words in failed["detail"]
    assert failed["fix"]
    assert run.changed() == []
    assert server.exec("ls /etc/provision").rc != 0
    assert not any(value in run.out + run.err for value in (*operator.env.values(), *environment.values()))


def test_without_its_key_a_run_says_where_the_key_comes_from(
    tmp_path: Path, server: LabHost, theirs: dict[str, str]
) -> None:
    run = provision(
        Operator(tmp_path / "state"), "--set", "store.engine=external", "--set", f"store.endpoint={ENDPOINT}", "--json"
    )
    assert run.code == 4, run.why
    assert "store.user.key" in run.host["error"]["what"]
    assert "[secrets]" in run.host["error"]["next"]
    assert server.exec("ls /etc/provision").rc != 0


@pytest.fixture(scope="module")
def stack(operator: Operator, server: LabHost) -> Stack:
    planned = provision(operator, "plan", "--json")
    first = provision(operator, "--json", timeout=FIRST_RUN)
    assert first.code == 0, first.why
    return Stack(server, "external", operator, (), planned, first)


def test_mlflow_keeps_artifacts_in_the_bucket_of_the_others_which_is_made(
    stack: Stack, operator: Operator, theirs: dict[str, str]
) -> None:
    assert stack.planned.change("bucket:theirs")["reason"] == "absent"
    details = {check["id"]: check["detail"] for check in stack.first.host["checks"]}
    assert details["artifact-download"].endswith(f"straight from {ENDPOINT}")
    assert details["bucket-object"] == "in the bucket theirs"
    asked = {**theirs, "endpoint": ENDPOINT, "bucket": "theirs"}
    stack.on("umask 077; cat >/root/asked.json", stdin=json.dumps(asked))
    keys = json.loads(stack.on("/opt/mlflow/current/bin/python -", stdin=S3))
    assert keys
    assert {key.split("/")[0] for key in keys} == {"team"}
    assert not [key for key in keys if ".provision-check" in key], "the probe object does not stay"


def test_no_store_runs_on_this_server_and_nothing_leads_to_one(stack: Stack) -> None:
    assert stack.on("systemctl list-units --all --no-legend 'minio*' 'seaweedfs*' | wc -l").strip() == "0"
    assert stack.on("ss -Htln 'sport = :9000'") == ""
    site = stack.on("cat /etc/nginx/conf.d/provision-mlflow.conf")
    assert "provision_store" not in site
    assert "theirs" not in site
    assert stack.on(f"curl -s -o /dev/null -w '%{{http_code}}' {stack.url}/theirs/x") == "401", "MLflow's, with login"
    assert stack.on(f"curl -s {stack.url}/health").strip() == "OK"


def test_a_second_run_changes_nothing_and_does_not_try_the_store_again(stack: Stack, operator: Operator) -> None:
    again = provision(operator, "--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    assert again.host["channels"] <= 2
    # The operator's machine keeps the key: the sources are not needed any more.
    (operator.state.parent / "inventory.toml").rename(operator.state.parent / "away.toml")
    try:
        alone = provision(operator, "--json", STORE_KEY="", STORE_SECRET="")
        assert (alone.code, alone.changed()) == (0, []), alone.why
    finally:
        (operator.state.parent / "away.toml").rename(operator.state.parent / "inventory.toml")


def test_its_key_is_not_rotated_here(stack: Stack, operator: Operator) -> None:
    run = provision(operator, "secrets", "rotate", "store.user", STORE_KEY=operator.env["STORE_KEY"])
    assert run.code == 64, run.why


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("store.engine=seaweedfs", "clients then find artifacts at this stack's URL"),
        ("store.bucket=other", "every object would have to move"),
        (f"store.endpoint=http://{STORE}:9199", "every object would have to move"),
    ],
)
def test_another_store_is_refused_with_what_would_have_to_move(
    stack: Stack, operator: Operator, setting: str, words: str
) -> None:
    (operator.state.parent / "inventory.toml").rename(operator.state.parent / "away.toml")
    try:
        run = provision(operator, "--set", setting, "--json")
    finally:
        (operator.state.parent / "away.toml").rename(operator.state.parent / "inventory.toml")
    assert run.code == 4, run.why
    assert words in run.host["error"]["why"]
    assert "docs/switching.md" in run.host["error"]["next"]
    assert run.changed() == []
    assert tomllib.loads(stack.on("cat /etc/provision/stack.toml"))["store"]["engine"] == "external"


def test_a_store_that_is_away_is_told_with_its_own_name(stack: Stack, operator: Operator) -> None:
    store = hosts.get(f"t-theirs-{LANE}")
    store.check("systemctl stop theirs.socket theirs.service")
    try:
        run = provision(operator, "verify", "--json", timeout=300)
        assert run.code == 5, run.why
        assert ENDPOINT in json.dumps(run.host)
    finally:
        lead_out(store)
    assert provision(operator, "verify", "--json").code == 0
