"""The tutorials' "PostgreSQL + MinIO direct": clients read and write the bucket themselves, with a key of their own."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .clients import Client
from .conftest import ENGINES, LANE, Stack, _engine, make_stack
from .test_client import BACK, BIG, SCRIPT, environment

DOCS = Path(__file__).parents[2] / "docs"
PREFIX = "artifacts"
MINE = {"seaweedfs": f"10.151.0.{int(LANE) + 10}", "minio": f"10.151.0.{int(LANE) + 11}"}
"""Not those of the stacks that other modules share."""
DIRECT = ("--set", "artifacts.mode=direct", "--set", f"artifacts.prefix={PREFIX}")
LEARNED = "/etc/provision/had/bucket-mlflow"

ATTEMPTS = """
import json, os, urllib.error, urllib.request
import boto3, botocore.exceptions

s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
mine = dict(Bucket="mlflow", Key="artifacts/mine/a b+c")
tried = {}

def attempt(name, call, **arguments):
    try:
        call(**arguments)
        tried[name] = 200
    except botocore.exceptions.ClientError as error:
        tried[name] = error.response["ResponseMetadata"]["HTTPStatusCode"]

attempt("put", s3.put_object, Body=b"x", **mine)
attempt("get", s3.get_object, **mine)
attempt("head", s3.head_object, **mine)
attempt("list", s3.list_objects_v2, Bucket="mlflow", Prefix="artifacts/mine/")
made = s3.create_multipart_upload(Bucket="mlflow", Key="artifacts/mine/large")
part = s3.upload_part(Bucket="mlflow", Key="artifacts/mine/large", PartNumber=1, UploadId=made["UploadId"], Body=b"y")
attempt("multipart", s3.complete_multipart_upload, Bucket="mlflow", Key="artifacts/mine/large",
        UploadId=made["UploadId"], MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
given = s3.create_multipart_upload(Bucket="mlflow", Key="artifacts/mine/given up")
attempt("abort", s3.abort_multipart_upload, Bucket="mlflow", Key="artifacts/mine/given up", UploadId=given["UploadId"])

attempt("list outside", s3.list_objects_v2, Bucket="mlflow")
attempt("put outside", s3.put_object, Bucket="mlflow", Key="outside", Body=b"x")
attempt("put beside", s3.put_object, Bucket="mlflow", Key="artifacts-of-others/x", Body=b"x")
attempt("get outside", s3.get_object, Bucket="mlflow", Key="theirs")
attempt("copy in", s3.copy_object, Bucket="mlflow", Key="artifacts/mine/copied", CopySource="mlflow/theirs")
attempt("other bucket", s3.list_objects_v2, Bucket="other-bucket")
attempt("new bucket", s3.create_bucket, Bucket="new-bucket")
rule = {"ID": "a", "Status": "Enabled", "Expiration": {"Days": 1}, "Filter": {"Prefix": ""}}
attempt("life cycle", s3.put_bucket_lifecycle_configuration, Bucket="mlflow",
        LifecycleConfiguration={"Rules": [rule]})
everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::mlflow/*"}
attempt("policy", s3.put_bucket_policy, Bucket="mlflow",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [everyone]}))
attempt("open", s3.put_bucket_acl, Bucket="mlflow", ACL="public-read-write")
attempt("end", s3.delete_bucket, Bucket="mlflow")
answer = s3.delete_objects(Bucket="mlflow", Delete={"Objects": [{"Key": "theirs"}, {"Key": mine["Key"]}]})
tried["delete many"] = [sorted(each["Key"] for each in answer.get(kind, [])) for kind in ("Deleted", "Errors")]
print(json.dumps(tried))
"""


@pytest.fixture(scope="module", params=ENGINES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of each engine whose clients go to the store themselves."""
    engine = _engine(request.param)
    folder = tmp_path_factory.mktemp(f"direct-{engine}")
    yield from make_stack(engine, f"t-direct-{engine}-{LANE}", MINE[engine], folder, *DIRECT)


@pytest.fixture(scope="module")
def stack(made: Stack) -> Stack:
    return made


@pytest.fixture(scope="module")
def trained(stack: Stack, client: Client) -> dict[str, Any]:
    return client.work(told(stack), SCRIPT.replace("BIG", str(BIG)))


def told(stack: Stack) -> str:
    """What `provision env` prints, and nothing else."""
    found = environment(stack)
    names = set(re.findall(r"^export (\w+)=", found, re.M))
    assert {"MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"} < names
    return found


def test_the_run_ends_verified_as_such_a_client_and_a_second_run_changes_nothing(stack: Stack) -> None:
    assert stack.first.checks["client-policy"] == "ok"
    details = {check["id"]: check["detail"] for check in stack.first.host["checks"]}
    assert details["artifact-upload"].endswith("straight into the bucket, with the clients' key")
    assert details["artifact-download"].endswith("straight from the bucket")
    again = stack.run("--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    assert not again.host["checks"], "the short check was enough"


def test_a_client_with_what_env_prints_trains_and_loads_back(
    stack: Stack, client: Client, trained: dict[str, Any]
) -> None:
    loaded = client.work(told(stack), BACK, trained["run"])
    assert loaded["answers"] == trained["answers"]
    assert loaded["native"] == trained["answers"]
    assert loaded["sha256"] == trained["sha256"]
    assert loaded["uri"].startswith(f"s3://mlflow/{PREFIX}/")
    assert {"sub/größe/blob.bin", "estimator.html"} <= set(loaded["files"])


def test_mlflow_passes_nothing_on_and_its_pages_still_show_artifacts(stack: Stack, trained: dict[str, Any]) -> None:
    login = f"mlflow:{stack.secret('login')}"
    artifacts = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/0/x/artifacts/a.txt"
    ask = f"curl -s -K - -o /dev/null -w '%{{http_code}}' -X PUT --data x {artifacts}"
    assert stack.on(ask, stdin=f'user = "{login}"\n') == "503"
    page = f"{stack.url}/get-artifact?run_uuid={trained['run']}&path=estimator.html"
    shown = stack.on(f"curl -fs -K - '{page}'", stdin=f'user = "{login}"\n')
    assert "RandomForestClassifier" in shown


def test_health_says_when_the_store_is_away(stack: Stack) -> None:
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' {stack.url}/health"
    assert stack.on(ask) == "200"
    stack.on(f"systemctl stop {stack.store_unit}")
    try:
        # An answer is kept for two seconds at most.
        stack.on(f"for i in $(seq 60); do [ $({ask}) = 200 ] || exit 0; sleep 0.2; done; exit 1")
        assert stack.on(ask) == "503"
    finally:
        stack.on(f"systemctl start {stack.store_unit}")
    stack.on(f"for i in $(seq 600); do [ $({ask}) != 200 ] || exit 0; sleep 0.2; done; exit 1", seconds=200)


def test_the_clients_key_opens_its_folder_and_nothing_else(
    stack: Stack, client: Client, trained: dict[str, Any]
) -> None:
    theirs = (
        "import boto3\n"
        "s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:9000', region_name='us-east-1',\n"
        f"    aws_access_key_id={stack.secret('store.root.user')!r},\n"
        f"    aws_secret_access_key={stack.secret('store.root.password')!r})\n"
        "s3.put_object(Bucket='mlflow', Key='theirs', Body=b'secret')\n"
    )
    stack.on("/opt/mlflow/current/bin/python -", stdin=theirs)
    tried = client.work(told(stack), ATTEMPTS)
    removed, kept = tried.pop("delete many")
    assert removed == ["artifacts/mine/a b+c"]
    assert kept == ["theirs"]
    mine = {"put", "get", "head", "list", "multipart", "abort"}
    assert {name for name, status in tried.items() if status == 200} == mine, tried
    assert {status for name, status in tried.items() if name not in mine} <= {401, 403, 404}, tried


def test_a_rotated_key_of_the_clients_opens_nothing_more(stack: Stack, client: Client) -> None:
    earlier = told(stack)
    rotated = stack.run("secrets", "rotate", "store.client")
    assert rotated.code == 0, rotated.why
    assert "provision env" in rotated.out + rotated.err
    script = (
        "import json, os, boto3, botocore.exceptions\n"
        "s3 = boto3.client('s3', endpoint_url=os.environ['MLFLOW_S3_ENDPOINT_URL'])\n"
        "try:\n    s3.put_object(Bucket='mlflow', Key='artifacts/rotated', Body=b'x'); print(json.dumps('opened'))\n"
        "except botocore.exceptions.ClientError as error: print(json.dumps(error.response['Error']['Code']))\n"
    )
    assert client.work(earlier, script) == "InvalidAccessKeyId"
    assert client.work(told(stack), script) == "opened"
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("artifacts.mode=proxied", ("mlflow-artifacts:/", "drop the key")),
        ("artifacts.prefix=elsewhere", ("s3://mlflow/elsewhere/", "every object would have to move")),
    ],
)
def test_a_switch_is_refused_with_what_would_have_to_move(stack: Stack, setting: str, words: tuple[str, ...]) -> None:
    run = stack.run("--set", setting, "--json")
    assert run.code == 4, run.why
    assert [word for word in words if word not in run.host["error"]["why"]] == []
    assert "docs/switching.md" in run.host["error"]["next"]
    assert run.changed() == []
    record = tomllib.loads(stack.on("cat /etc/provision/stack.toml"))
    assert (record["artifacts"]["mode"], record["artifacts"]["prefix"]) == ("direct", PREFIX)
    plan = stack.run("plan", "--json", "--exit-code")
    assert plan.code == 0, plan.out


def test_by_hand_a_stack_goes_to_proxied_and_keeps_every_run(
    stack: Stack, client: Client, trained: dict[str, Any]
) -> None:
    guide = (DOCS / "switching.md").read_text(encoding="utf-8")
    (way,) = re.findall(r"^```sh\n# on the server\n(.*?)^```$", guide, re.M | re.S)
    assert LEARNED in way
    assert way.count("was=mlflow-artifacts:/ -v now=s3://mlflow/") == 1
    stack.on(
        way.replace(
            "was=mlflow-artifacts:/ -v now=s3://mlflow/", f"was=s3://mlflow/{PREFIX}/ -v now=mlflow-artifacts:/"
        )
    )
    run = stack.run("--set", "artifacts.mode=proxied", "--json", timeout=400)
    assert run.code == 0, run.why
    assert run.checks["artifact-download"] == "ok"
    settings = environment(stack)
    assert "AWS_" not in settings
    loaded = client.work(settings, BACK, trained["run"])
    assert loaded["uri"].startswith("mlflow-artifacts:/")
    assert loaded["sha256"] == trained["sha256"]
    assert loaded["answers"] == trained["answers"]
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out
    refused = stack.run("--set", "artifacts.mode=direct", "--json")
    assert refused.code == 4
    assert json.loads(refused.out)["hosts"][0]["error"]["why"].count("clients need boto3")
