"""`store.expose`: the bucket by S3 on a port of its own, for clients of another machine, and nothing else there."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from . import attacks, ear, smuggling
from .attacks import Attack
from .clients import Client
from .conftest import ENGINES, LANE, Ran, Stack, _engine, make_stack
from .siege import Front

PORT = 9002
MINE = {"seaweedfs": f"10.151.0.{int(LANE) + 10}", "minio": f"10.151.0.{int(LANE) + 11}"}
EXPOSED = ("--set", "store.expose=true")
CHOSEN = {
    "seaweedfs": ("--set", "artifacts.mode=direct", "--set", "access.tls=internal", *EXPOSED),
    "minio": (),  # exposed once it lives, and its clients go through MLflow
}
LARGE = 150 * 2**20
"""Bytes of one request: more than MLflow's own paths take."""

NOTEBOOK = """
import hashlib, json, os
import boto3, botocore, botocore.exceptions

where = dict(endpoint_url=os.environ["STORE"], region_name="us-east-1")
s3 = boto3.client("s3", **where)
wrong = boto3.client("s3", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40, **where)
nobody = boto3.client("s3", config=botocore.config.Config(signature_version=botocore.UNSIGNED), **where)
mine = dict(Bucket="mlflow", Key="notebook/größe und +%2f")
tried = {}

def attempt(name, call, **arguments):
    try:
        call(**arguments)
        tried[name] = 200
    except botocore.exceptions.ClientError as error:
        tried[name] = error.response["Error"]["Code"]

attempt("put", s3.put_object, Body=b"x", Metadata={"a": "b"}, **mine)
attempt("get", s3.get_object, **mine)
attempt("list", s3.list_objects_v2, Bucket="mlflow", Prefix="notebook/")
attempt("where", s3.get_bucket_location, Bucket="mlflow")
body = os.urandom(2**20) * (LARGE // 2**20)
s3.put_object(Bucket="mlflow", Key="notebook/large", Body=body)
back = s3.get_object(Bucket="mlflow", Key="notebook/large")["Body"].read()
tried["large"] = hashlib.sha256(back).digest() == hashlib.sha256(body).digest()
attempt("wrong get", wrong.get_object, **mine)
attempt("nobody get", nobody.get_object, **mine)
attempt("nobody put", nobody.put_object, Body=b"x", **mine)
attempt("nobody list", nobody.list_objects_v2, Bucket="mlflow")
attempt("buckets", s3.list_buckets)
attempt("other", s3.list_objects_v2, Bucket="other-bucket")
attempt("new", s3.create_bucket, Bucket="new-bucket")
attempt("end", s3.delete_bucket, Bucket="mlflow")
attempt("open", s3.put_bucket_acl, Bucket="mlflow", ACL="public-read")
for key in (mine["Key"], "notebook/large"):
    s3.delete_object(Bucket="mlflow", Key=key)
print(json.dumps(tried))
"""

OPENS = """
import json, os
import boto3, botocore.exceptions
s3 = boto3.client("s3", endpoint_url=os.environ["STORE"], region_name="us-east-1")
try:
    s3.list_objects_v2(Bucket="mlflow", MaxKeys=1)
    print(json.dumps("opens"))
except botocore.exceptions.ClientError as error:
    print(json.dumps(error.response["Error"]["Code"]))
"""


@dataclass(frozen=True)
class StorePort(Front):
    """The store's own port as the way in."""

    @property
    def port(self) -> int:
        return PORT

    @property
    def authority(self) -> str:
        return f"{self.stack.address}:{PORT}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True)
class Made:
    """A stack whose store has its own port, and the run that opened it."""

    port: StorePort
    planned: Ran
    opened: Ran

    @property
    def stack(self) -> Stack:
        return self.port.stack

    @property
    def direct(self) -> bool:
        """MLflow's clients go to the store themselves."""
        return self.stack.engine == "seaweedfs"

    def settings(self, client: Client) -> str:
        """What `env` says, for the client's machine."""
        ca = self.stack.operator.state / "ca.pem"
        ran = self.stack.run("env", *(("--ca", str(ca)) if self.port.tls else ()))
        assert ran.code == 0, ran.why
        return client.trusting(ran.out, ca) if self.port.tls else ran.out

    def key(self, client: Client, url: str) -> str:
        """The clients' key in a shell, for the store at `url`."""
        shown = [self.stack.run("secrets", "show", f"store.client.{half}").out.strip() for half in ("key", "secret")]
        trust = "".join(re.findall(r"^export AWS_CA_BUNDLE=.*\n", self.settings(client), re.M))
        return f"{trust}export STORE={url} AWS_ACCESS_KEY_ID={shown[0]} AWS_SECRET_ACCESS_KEY={shown[1]}\n"


@pytest.fixture(scope="module", params=ENGINES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    engine = _engine(request.param)
    folder = tmp_path_factory.mktemp(f"expose-{engine}")
    for stack in make_stack(engine, f"t-expose-{engine}-{LANE}", MINE[engine], folder, *CHOSEN[engine]):
        planned, opened = stack.planned, stack.first
        if engine == "minio":
            planned = stack.run("plan", *EXPOSED, "--json")
            opened = stack.run(*EXPOSED, "--json")
        assert opened.code == 0, opened.why
        yield Made(StorePort(stack, "password", engine == "seaweedfs"), planned, opened)


def test_the_run_proves_the_port_and_the_next_one_changes_nothing(made: Made) -> None:
    assert made.opened.checks["store-port"] == "ok"
    assert made.opened.host["store_url"] == made.port.url
    if not made.direct:
        (note,) = (note for note in made.planned.host["notes"] if "store.expose" in note)
        assert "store.client.key" in note
        assert "MLflow's clients change nothing" in note
        assert "mlflow-server.service" not in str(made.opened.changed()), "MLflow goes on"
    again = made.stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.why
    status = made.stack.run("status", "--json")
    assert status.code == 0, status.why
    assert status.host["store"] == {"url": made.port.url, "ok": True, "detail": ""}
    assert made.port.url in made.stack.run("status").out


def test_env_tells_the_port_and_the_key_only_to_clients_that_need_them(made: Made, client: Client) -> None:
    told = made.settings(client)
    if not made.direct:
        assert not [name for name in re.findall(r"^export (\w+)=", told, re.M) if "AWS" in name or "S3" in name]
        return
    assert f"MLFLOW_S3_ENDPOINT_URL={made.port.url}\n" in told
    done = client.round_trip(told)
    assert done["got"] == done["given"]


def test_a_notebook_elsewhere_uses_the_bucket_with_the_key_and_nobody_without(made: Made, client: Client) -> None:
    tried = client.work(made.key(client, made.port.url), NOTEBOOK.replace("LARGE", str(LARGE)))
    assert {name: tried.pop(name) for name in ("put", "get", "list", "where")} == dict.fromkeys(
        ("put", "get", "list", "where"), 200
    )
    assert tried.pop("large") is True
    assert tried.pop("wrong get") == "SignatureDoesNotMatch"
    assert tried.pop("buckets") == "AccessDenied"
    assert (tried.pop("other"), tried.pop("new")) == ("NoSuchBucket", "NoSuchBucket")
    assert {*tried.values()} <= {"AccessDenied", "403"}, tried


def test_nothing_else_of_the_store_nor_of_mlflow_is_reached_there(made: Made) -> None:
    port = made.port
    ear.start(made.stack.host)
    try:
        table = [*attacks.store_roads(), *list(smuggling.smuggled())[::5], *smuggling.odd()]
        paths = ("/", "/health", "/api/2.0/mlflow/experiments/search", "/%6dinio/admin/v3/info", *attacks.ASSISTANT)
        table += [Attack(path, attacks.request("GET", path)) for path in paths]
        huge = attacks.request("PUT", "/mlflow/huge", f"Content-Length: {10**15}") + b"x" * 65536
        table.append(Attack("a huge body without a signature", huge))
        answers = port.send_all(table)
        assert [answer.attack.name for answer in answers if answer.server_s] == []
        assert {status for answer in answers for status in answer.statuses if status < 400} <= {100}
        to_mlflow, to_store = port.judged()
        assert to_mlflow == []
        assert to_store, "some of them are names of objects, and the store refused those"
    finally:
        ear.stop(made.stack.host)


def test_a_key_is_changed_for_the_port_too(made: Made, client: Client) -> None:
    earlier = made.key(client, made.port.url)
    rotated = made.stack.run("secrets", "rotate", "store.client")
    assert rotated.code == 0, rotated.why
    assert client.work(earlier, OPENS) == "InvalidAccessKeyId"
    assert client.work(made.key(client, made.port.url), OPENS) == "opens"


def test_switched_off_it_is_closed_and_who_used_it_was_told(made: Made, client: Client) -> None:
    stack, off = made.stack, ("--set", "store.expose=false", "--json")
    key = made.key(client, stack.run("plan", "--json").host["url"])
    planned = stack.run("plan", *off)
    (note,) = (note for note in planned.host["notes"] if "store.expose" in note)
    assert f"port {PORT} closes" in note
    assert ("provision env" in note) is made.direct
    run = stack.run(*off)
    assert run.code == 0, run.why
    assert run.changed() == planned.changed()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((stack.address, PORT), 5)
    told = made.settings(client)
    assert f":{PORT}" not in told
    if made.direct:
        done = client.round_trip(told)
        assert done["got"] == done["given"]
    else:
        assert client.work(key, OPENS) == "InvalidAccessKeyId", "at the URL either"
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.why


def test_a_port_that_somebody_else_has_refuses_before_anything_is_changed(made: Made) -> None:
    stack = made.stack
    stack.on(f"systemd-run -q --unit=other python3 -m http.server {PORT}")
    try:
        listens = f"ss -Hltn 'sport = :{PORT}' | grep -q ."
        stack.on(f"i=0; until {listens}; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done")
        run = stack.run(*EXPOSED, "--json")
        assert (run.code, run.changed()) == (4, []), run.why
        assert f"port {PORT}" in json.dumps(run.host["error"])
    finally:
        stack.on("systemctl stop other.service")
