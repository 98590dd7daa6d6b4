"""What somebody broke by hand is repaired, nothing else is touched, and the reason is said.

One host for each engine, the breaks of the tables one after the other. A row is the break, what the
run may report as changed, words of the reasons, and which files the run may write.
"""

from __future__ import annotations

import fnmatch
import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from minio import Minio
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from .conftest import Ran, Stack

VENV = "/opt/mlflow/3.17.2"
SERVER = "mlflow-server.service"
SQL = "runuser -u postgres -- psql -qXAt -v ON_ERROR_STOP=1 -c"
RUNTIME = "systemctl daemon-reload && systemctl restart"


@dataclass(frozen=True)
class Break:
    name: str
    command: str | Callable[[Stack], None]
    """sh on the host; the names of `words` are filled in."""
    changed: tuple[str, ...]
    """Ids of what the run changes, in any order."""
    words: tuple[str, ...] = ()
    """Each is in the reason of some change."""
    writes: tuple[str, ...] = ()
    """Patterns of the files below /etc, /usr/local and /opt that the run may write."""
    loss: str = ""
    engine: str = ""
    """Only with this store."""


@contextmanager
def store_port(stack: Stack) -> Iterator[int]:
    """The store's port on this machine, as an administrator gets at it: ssh -L."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    argv = stack.host.ssh("root", "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:9000")
    process = subprocess.Popen(argv)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end, "no forward"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def minio_admin(stack: Stack) -> Iterator[MinioAdmin]:
    root = StaticProvider(stack.secret("store.root.user"), stack.secret("store.root.password"))
    with store_port(stack) as port:
        yield MinioAdmin(endpoint=f"127.0.0.1:{port}", credentials=root, secure=False, region="us-east-1")


def widen_policy(stack: Stack) -> None:
    everything = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}],
    }
    with minio_admin(stack) as admin:
        admin.policy_add("provision-mlflow", policy=everything)


def attach_another_policy(stack: Stack) -> None:
    with minio_admin(stack) as admin:
        admin.attach_policy(["consoleAdmin"], user=stack.secret("store.user.key"))


def change_store_secret(stack: Stack) -> None:
    with minio_admin(stack) as admin:
        admin.user_add(stack.secret("store.user.key"), "another-secret-of-somebody")


def remove_store_user(stack: Stack) -> None:
    with minio_admin(stack) as admin:
        admin.user_remove(stack.secret("store.user.key"))


def open_bucket(stack: Stack) -> None:
    public = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},'
        '"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::mlflow/*"]}]}'
    )
    with store_port(stack) as port:
        client(stack, port).set_bucket_policy("mlflow", public)


def remove_bucket(stack: Stack) -> None:
    with store_port(stack) as port:
        store = client(stack, port)
        for each in store.list_objects("mlflow", recursive=True):
            store.remove_object("mlflow", str(each.object_name))
        store.remove_bucket("mlflow")


def client(stack: Stack, port: int) -> Minio:
    user, password = stack.secret("store.root.user"), stack.secret("store.root.password")
    return Minio(endpoint=f"127.0.0.1:{port}", access_key=user, secret_key=password, secure=False, region="us-east-1")


UNIT_FILE = f"/etc/systemd/system/{SERVER}"
MLFLOW_ENV = "/etc/mlflow/mlflow.env"

FILES = [
    Break(
        "the unit was edited, and runs so",
        f"sed -i 's/^MemoryMax=.*/MemoryMax=512M/' {UNIT_FILE} && {RUNTIME} {SERVER}",
        (f"file:{SERVER}", f"unit:{SERVER}"),
        ("MemoryMax=512M, wanted MemoryMax=3", "earlier mlflow-server.service"),
        (UNIT_FILE,),
    ),
    Break(
        "the unit was edited, and systemd has read that",
        f"sed -i 's/^MemoryMax=.*/MemoryMax=20G/' {UNIT_FILE} && systemctl daemon-reload",
        (f"file:{SERVER}",),
        ("MemoryMax=20G, wanted MemoryMax=3",),
        (UNIT_FILE,),
    ),
    Break(
        "a drop-in runs the server as root",
        f"mkdir -p {UNIT_FILE}.d && printf '[Service]\\nUser=root\\n' >{UNIT_FILE}.d/zz.conf && {RUNTIME} {SERVER}",
        ("drop-ins:mlflow", f"unit:{SERVER}"),
        ("it sets User=root",),
    ),
    Break(
        "a drop-in runs another store",
        "mkdir -p /etc/systemd/system/{store}.service.d && "
        "printf '[Service]\\nExecStartPost=/bin/true\\n' >/etc/systemd/system/{store}.service.d/zz.conf && "
        f"{RUNTIME} {{store}}.service",
        ("drop-ins:{store}", "unit:{store}.service"),
        ("it sets ExecStartPost=/bin/true",),
    ),
    Break(
        "everyone may read the server's settings",
        f"chmod 0644 {MLFLOW_ENV}",
        ("file:mlflow.env",),
        ("mode 0644, wanted 0600",),
        (MLFLOW_ENV,),
    ),
    Break(
        "somebody else owns the store's settings",
        "chown nobody $(ls /etc/default/minio /etc/seaweedfs/seaweedfs.env 2>/dev/null)",
        ("file:{store}.env",),
        ("owner nobody:root, wanted root:root",),
        ("/etc/default/minio", "/etc/seaweedfs/seaweedfs.env"),
    ),
    Break(
        "the server uses another endpoint",
        f"sed -i 's,^MLFLOW_S3_ENDPOINT_URL=.*,MLFLOW_S3_ENDPOINT_URL=http://127.0.0.1:9,' {MLFLOW_ENV} && "
        f"systemctl restart {SERVER}",
        ("file:mlflow.env", f"unit:{SERVER}"),
        ("MLFLOW_S3_ENDPOINT_URL=http://127.0.0.1:9, wanted MLFLOW_S3_ENDPOINT_URL=http://{address}:5000",),
        (MLFLOW_ENV,),
    ),
    Break(
        "the account is out of the site",
        "sed -i '/auth_basic/d' {site} && systemctl reload nginx",
        ("file:nginx-site", "unit:nginx.service"),
        ("missing; last changed", "it has not read today's provision-mlflow.conf"),
        ("{site}",),
    ),
    Break(
        "the accounts file is gone",
        "rm /etc/nginx/provision-mlflow.htpasswd",
        ("file:nginx-accounts",),
        ("absent",),
        ("/etc/nginx/provision-mlflow.htpasswd",),
    ),
    Break(
        "a package is gone from the environment",
        f"rm -rf {VENV}/lib/python3*/site-packages/flask",
        ("venv:mlflow", f"unit:{SERVER}"),
        ("flask",),
        (f"{VENV}/*",),
    ),
    Break(
        "current leads elsewhere",
        "ln -sfn /opt /opt/mlflow/current",
        ("link:mlflow",),
        ("led to /opt, wanted 3.17.2",),
    ),
]

SERVICES = [
    Break("MLflow is stopped", f"systemctl stop {SERVER}", (f"unit:{SERVER}",), ("stopped",)),
    Break("MLflow is disabled", f"systemctl disable -q {SERVER}", (f"unit:{SERVER}",), ("disabled",)),
    Break(
        "MLflow is masked for good",
        f"mv {UNIT_FILE} /root/ && systemctl mask -q {SERVER} && systemctl stop {SERVER}",
        (f"file:{SERVER}", f"unit:{SERVER}"),
        ("masked",),
        (UNIT_FILE,),
    ),
    Break("the store is disabled", "systemctl disable -q {store}", ("unit:{store}.service",), ("disabled",)),
    Break(
        "the store is stopped and disabled",
        "systemctl disable -q --now {store}",
        ("unit:{store}.service",),
        # "stopped", or "failed": SeaweedFS now and then has to be killed.
        ("stopped; disabled",),
    ),
    Break("nginx is stopped", "systemctl stop nginx", ("unit:nginx.service",), ("stopped",)),
    Break("nginx is masked", "systemctl mask -q --now nginx", ("unit:nginx.service",), ("masked",)),
    Break(
        "nginx is masked until the next boot",
        "systemctl mask -q --now --runtime nginx",
        ("unit:nginx.service",),
        ("masked",),
    ),
    Break(
        "PostgreSQL is stopped",
        "systemctl stop postgresql@{pg}-main",
        ("unit:postgresql@{pg}-main.service",),
        ("stopped",),
    ),
    Break(
        "PostgreSQL does not start at boot",
        "systemctl disable -q postgresql",
        ("unit:postgresql.service",),
        ("disabled",),
    ),
]

DATABASE = [
    Break(
        "the role has another password",
        f"{SQL} \"ALTER ROLE mlflow PASSWORD 'somebody-s'\"",
        ("role:mlflow",),
        ("password",),
    ),
    Break(
        "the role may do everything",
        f"{SQL} 'ALTER ROLE mlflow SUPERUSER CREATEDB CONNECTION LIMIT 1'",
        ("role:mlflow",),
        ("it may create databases, it is a superuser", "connection limit 1, wanted"),
    ),
    Break(
        "the role cannot log in",
        f"{SQL} 'ALTER ROLE mlflow NOLOGIN'",
        ("role:mlflow",),
        ("it may not log in",),
    ),
    Break(
        "our block of pg_hba.conf was edited",
        "sed -i 's,^\\(host *mlflow *mlflow *127.0.0.1/32 *\\)scram-sha-256,\\1reject,' "
        f"/etc/postgresql/{{pg}}/main/pg_hba.conf && {SQL} 'SELECT pg_reload_conf()'",
        ("access:postgresql", "unit:postgresql@{pg}-main.service"),
        ("its block differs", "reloaded past systemd"),
        ("/etc/postgresql/{pg}/main/pg_hba.conf",),
    ),
    Break(
        "our settings of PostgreSQL were edited",
        "sed -i 's/^max_connections.*/max_connections = 7/' /etc/postgresql/{pg}/main/conf.d/50-mlflow.conf",
        ("file:postgresql-settings",),
        ("max_connections = 7, wanted max_connections",),
        ("/etc/postgresql/{pg}/main/conf.d/50-mlflow.conf",),
    ),
    Break(
        "ALTER SYSTEM overrides one of our settings",
        f"{SQL} \"ALTER SYSTEM SET listen_addresses = '*'\" && systemctl restart postgresql@{{pg}}-main",
        ("overrides:postgresql", "unit:postgresql@{pg}-main.service"),
        ("listen_addresses = * by ALTER SYSTEM",),
    ),
    Break(
        "the database is gone",
        f"{SQL} 'DROP DATABASE mlflow WITH (FORCE)'",
        ("database:mlflow", "file:database.identity", "schema:mlflow", f"unit:{SERVER}"),
        ("it was here and is gone", "it names another database"),
        ("/etc/mlflow/database.identity",),
        loss="comes back only from a backup",
    ),
]

STORE = [
    Break(
        "the program was replaced",
        "cp /bin/true /opt/{store}/bin/x && mv /opt/{store}/bin/x $(readlink -f /usr/local/bin/{program})",
        ("binary:{program}", "unit:{store}.service"),
        ("altered: sha256",),
        ("/opt/{store}/bin/{program}-*",),
    ),
    Break(
        "the program was altered in place, under its old date",
        "systemctl stop minio; f=$(readlink -f /usr/local/bin/minio); touch -r $f /root/date; "
        "printf x | dd of=$f bs=1 seek=4096 conv=notrunc status=none; touch -r /root/date $f",
        ("binary:minio", "unit:minio.service"),
        ("altered: sha256", "stopped"),
        ("/opt/minio/bin/minio-*",),
        engine="minio",
    ),
    Break(
        "the link leads to another program",
        "ln -sfn /bin/true /usr/local/bin/{program}",
        ("link:{program}",),
        ("led to /bin/true",),
    ),
    Break(
        "the store runs another program, to which the link leads",
        "cp $(readlink -f /usr/local/bin/{program}) /opt/{store}/copy && ln -sfn /opt/{store}/copy "
        "/usr/local/bin/{program} && systemctl restart {store}",
        ("link:{program}", "unit:{store}.service"),
        ("led to /opt/{store}/copy", "it runs with an earlier {program}"),
    ),
    Break(
        "the store's users may do everything",
        'sed -i \'s/"Read:mlflow"/"Admin"/\' /etc/seaweedfs/s3.json && systemctl restart seaweedfs',
        ("file:s3.json", "unit:seaweedfs.service"),
        ("content differs; last changed", "earlier s3.json"),
        ("/etc/seaweedfs/s3.json",),
        engine="seaweedfs",
    ),
    Break(
        "the policy opens every bucket",
        widen_policy,
        ("policy:provision-mlflow",),
        ("policy also says s3:*",),
        engine="minio",
    ),
    Break(
        "the store's user has one policy more",
        attach_another_policy,
        ("store-user:mlflow",),
        ("policy consoleAdmin is attached too",),
        engine="minio",
    ),
    Break(
        "the store's user has another secret",
        change_store_secret,
        ("store-user:mlflow",),
        ("its secret is another one",),
        engine="minio",
    ),
    Break("the store's user is gone", remove_store_user, ("store-user:mlflow",), ("absent",), engine="minio"),
    Break(
        "everyone may read the bucket",
        open_bucket,
        ("bucket:mlflow",),
        ("its own policy opens it to others",),
        engine="minio",
    ),
    Break(
        "the bucket is gone",
        remove_bucket,
        ("bucket:mlflow",),
        ("it was gone",),
        loss="artifacts of earlier runs are lost",
    ),
]

BREAKS = [*FILES, *SERVICES, *DATABASE, *STORE]


@pytest.fixture(scope="module")
def words(stack: Stack) -> dict[str, str]:
    return {
        "store": stack.engine,
        "program": {"minio": "minio", "seaweedfs": "weed"}[stack.engine],
        "pg": stack.on("ls /etc/postgresql").strip(),
        "site": "/etc/nginx/conf.d/provision-mlflow.conf",
        "address": stack.address,
    }


def filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return text


def written(stack: Stack) -> list[str]:
    """Regular files below /etc, /usr/local and /opt that were changed since the mark; not the data."""
    data = " -o ".join(f"-path {path}" for path in ("/opt/*/data", "/opt/mlflow/tmp", "/opt/*/filer*"))
    found = f"find /etc /usr/local /opt -xdev \\( {data} \\) -prune -o -type f -cnewer /root/mark -print"
    return stack.on(found).splitlines()


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.name)
def test_a_break_is_repaired_and_nothing_else(stack: Stack, words: dict[str, str], broken: Break) -> None:
    if broken.engine not in ("", stack.engine):
        pytest.skip(f"only with {broken.engine}")
    if callable(broken.command):
        broken.command(stack)
    else:
        stack.on(filled(broken.command, words))
    before = stack.lives()
    stack.on("sleep 0.02; touch /root/mark; sleep 0.02")

    run = stack.run("--json")

    assert run.code == 0, run.why
    assert sorted(run.changed()) == sorted(filled(each, words) for each in broken.changed), reasons(run)
    for each in broken.words:
        assert filled(each, words) in reasons(run)
    interrupting = {"start", "restart"}
    moved = {c["resource"].removeprefix("unit:") for c in run.host["changes"] if c["action"] in interrupting}
    still = {unit: life for unit, life in before.items() if unit not in moved}
    assert {unit: life for unit, life in stack.lives().items() if unit in still} == still
    allowed = ["/etc/provision/had/*", *(filled(each, words) for each in broken.writes)]
    assert [path for path in written(stack) if not any(fnmatch.fnmatch(path, a) for a in allowed)] == []
    losses = [change["loss"] for change in run.host["changes"] if change["loss"]]
    assert [broken.loss in loss for loss in losses] == ([True] if broken.loss else [])
    assert set(run.checks.values()) <= {"ok", "warn", "skip"}, run.checks

    again = stack.run("plan", "--json", "--exit-code")
    assert again.code == 0, again.out


def reasons(run: Ran) -> str:
    return "\n".join(f"{change['resource']}: {change['reason']}" for change in run.host["changes"])


def test_an_edited_module_is_seen_and_put_back_by_a_deep_run_only(stack: Stack) -> None:
    stack.on(f"for f in {VENV}/lib/python3*/site-packages/mlflow/version.py; do echo '# edited' >>$f; done")
    plain = stack.run("plan", "--json", "--exit-code")
    assert (plain.code, plain.changed()) == (0, [])

    run = stack.run("--deep", "--json")

    assert run.code == 0, run.why
    assert sorted(run.changed()) == [f"unit:{SERVER}", "venv:mlflow"]
    assert "removed or altered: mlflow" in reasons(run)
    assert stack.run("plan", "--deep", "--json", "--exit-code").code == 0


def logged(text: str) -> Counter[tuple[str, ...]]:
    """What an audit log says was done; its two copies differ only in times."""
    names = ("stack", "host", "command", "step", "resource", "action", "reason", "result", "operator")
    return Counter(tuple(line[name] for name in names) for line in map(json.loads, text.splitlines()))


def both_logs(stack: Stack) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """The host's own and the operator's; no secret is in either."""
    there = stack.on("cat /var/log/provision/audit.jsonl")
    here = (stack.operator.state / "provision" / stack.address / "audit.jsonl").read_text()
    document = json.loads(stack.on("cat /etc/provision/secrets.json"))
    values = [secret["value"] for secret in document["secrets"].values()]
    assert len(values) >= 8
    assert [value for value in values if value in there + here] == []
    return logged(there), logged(here)


def test_host_and_operator_log_the_same_changes_of_a_repair_and_of_a_run_that_failed(stack: Stack) -> None:
    assert stack.on("stat -c '%a %U' /var/log/provision/audit.jsonl").strip() == "600 root"
    before, ours = both_logs(stack)
    assert before == ours
    assert len(before) > 35

    stack.on(f"sed -i 's/^MLFLOW_WORKERS=.*/MLFLOW_WORKERS=1/' {MLFLOW_ENV}")
    repair = stack.run("--json")
    assert repair.code == 0, repair.why
    there, here = both_logs(stack)
    assert there == here
    assert {line[4] for line in there - before} == {"file:mlflow.env"}

    # The file is written and the site is not: somebody else's file keeps nginx from being checked.
    site = "/etc/nginx/conf.d/provision-mlflow.conf"
    stack.on(
        f"sed -i '/auth_basic/d' {site}; chmod 0644 {MLFLOW_ENV}; echo 'no such thing;' >/etc/nginx/conf.d/zz.conf"
    )
    failed = stack.run("--json")
    assert failed.code == 1, failed.why
    after_there, after_here = both_logs(stack)
    done, told = after_there - there, after_here - here
    assert {line[4] for line in done} == {"file:mlflow.env"}
    assert {(line[4], line[7]) for line in told - done} == {("file:nginx-site", "failed")}
    assert done - told == Counter()

    stack.on("rm /etc/nginx/conf.d/zz.conf")
    assert stack.run("--json").code == 0
    there, here = both_logs(stack)
    assert there - after_there == here - after_here
