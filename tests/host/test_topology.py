"""The set-ups over several hosts: the database on its own server; one server for each part, two for MLflow.

Five disposable hosts, one first run by an inventory, and then on the same hosts what an operator, a client, a
stranger and bad luck do to them, in an order in which each fault is what the next test begins with.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from . import clients
from .conftest import FIRST_RUN, LANE, VERBOSE, Operator, Ran

ROLES = {"s": "store", "d": "database", "m1": "mlflow", "m2": "mlflow", "u": "proxy"}
"""Host -> what it does."""
ADDRESSES = {name: f"10.151.0.{int(LANE) + 2 + n}" for n, name in enumerate(ROLES)}
STRANGER = f"10.151.0.{int(LANE) + 8}"
PATIENCE = 240.0
"""Seconds for what takes a few on an idle machine."""

LOGGING = """
import json, pathlib, time
import mlflow
from mlflow.tracking import MlflowClient

mlflow.set_experiment("rolling")
client, done, failed = MlflowClient(), [], []
while not pathlib.Path("/root/enough").exists():
    number = len(done) + len(failed)
    try:
        with mlflow.start_run(run_name=f"run-{number}") as run:
            mlflow.log_param("number", number)
            mlflow.log_metrics({"a": number, "b": 1})
            mlflow.log_text("x" * 5000, "note.txt")
        assert client.get_run(run.info.run_id).data.params == {"number": str(number)}
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt") == "x" * 5000
        done.append(run.info.run_id)
    except Exception as error:
        failed.append(f"{number}: {error!r}")
    pathlib.Path("/root/count").write_text(str(number + 1))
experiment = client.get_experiment_by_name("rolling").experiment_id
found = [run.info.run_id for run in client.search_runs([experiment], max_results=5000)]
told = {"done": done, "failed": failed, "found": found}
pathlib.Path("/root/told").write_text(json.dumps(told))
"""

ASK = """
import json, socket, ssl, struct, sys
asked, found = json.loads(sys.argv[1]), {}
loose = ssl.create_default_context()
loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
def read(s):
    data = b""
    try:
        while more := s.recv(4096):
            data += more
    except OSError:
        pass
    return data.decode("latin-1")
def login(tls):
    s = socket.create_connection((host, port), 5)
    if tls:
        s.sendall(struct.pack("!ii", 8, 80877103))
        assert s.recv(1) == b"S"
        s = loose.wrap_socket(s)
    words = b"user\\0mlflow\\0database\\0mlflow\\0\\0"
    s.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
    s.settimeout(5)
    return read(s)
for host, ports in asked.items():
    for port in ports:
        try:
            s = socket.create_connection((host, port), 5)
        except OSError:
            continue
        s.settimeout(5)
        answer = "open"
        if port in (9443, 5543):
            with loose.wrap_socket(s) as secure:
                secure.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
                answer = read(secure).split("\\r\\n")[0]
        elif port == 5432:
            answer = login(False) + login(True)
        found[f"{host}:{port}"] = answer
print(json.dumps(found))
"""


@dataclass
class Stack:
    """Five hosts, the inventory that makes a stack of them, and who made it."""

    hosts: dict[str, LabHost]
    operator: Operator
    inventory: Path
    first: Ran
    stranger: LabHost

    def run(self, *arguments: str, **options: Any) -> Ran:
        return self.operator.run(*arguments, "--inventory", str(self.inventory), "--json", **options)

    def audit(self) -> dict[str, str]:
        """Host -> how much was ever changed on it by the tool."""
        return {name: host.check("wc -l </var/log/provision/audit.jsonl") for name, host in self.hosts.items()}


def each(ran: Ran) -> dict[str, dict[str, Any]]:
    """Host -> its part of the document."""
    return {host["host"]: host for host in ran.json["hosts"]}


def ids(host: dict[str, Any]) -> list[str]:
    return [change["resource"] for change in host["changes"]]


def inventory(path: Path, **roles: str) -> Path:
    """A file that a user would write; `roles` that are others than theirs."""
    wanted = {
        role: [name for name in ROLES if ROLES[name] == role] for role in ("store", "database", "mlflow", "proxy")
    }
    lines = ["[roles]", *(f"{role} = {json.dumps(names)}" for role, names in wanted.items())]
    for role, name in roles.items():
        lines = [f"{role} = {json.dumps([name])}" if line.startswith(f"{role} =") else line for line in lines]
    for name, address in ADDRESSES.items():
        lines += [f"[hosts.{name}]", f'address = "root@{address}"', f'identity = "{PRIVATE_KEY}"']
    path.write_text("\n".join([*lines, "[store]", 'engine = "seaweedfs"', ""]))
    return path


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"never seen: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("topology")
    operator = Operator(folder / "state")
    file = inventory(folder / "inventory.toml")
    with ExitStack() as running, ThreadPoolExecutor(6) as pool:

        def start(name: str, address: str) -> LabHost:
            return running.enter_context(hosts.running(f"t-{name}-{LANE}", address, cache=True, sshd=VERBOSE))

        starting = {name: pool.submit(start, f"topo-{name}", address) for name, address in ADDRESSES.items()}
        other = pool.submit(start, "topo-stranger", STRANGER)
        started = {name: future.result() for name, future in starting.items()}
        installing = pool.submit(clients.install, other.result())
        first = operator.run("--inventory", str(file), "--json", timeout=FIRST_RUN)
        installing.result()
        assert first.code == 0, first.why
        yield Stack(started, operator, file, first, other.result())


def test_one_run_makes_the_stack_over_five_hosts_and_proves_it_once(stack: Stack) -> None:
    found = each(stack.first)
    assert set(found) == set(ROLES)
    assert all(host["error"] is None and host["connections"] == 1 for host in found.values())
    assert [name for name, host in found.items() if host["run"]] == ["u"], "a test run, told with the URL"
    assert found["u"]["url"] == f"http://{ADDRESSES['u']}:5000"
    assert {check["status"] for check in found["u"]["checks"]} <= {"ok", "skip"}
    units = {"s": "seaweedfs", "d": "postgresql", "m1": "mlflow-server", "m2": "mlflow-server"}
    for name, host in stack.hosts.items():
        listed = host.check("systemctl list-units --no-legend --plain --state=active --type=service").split()
        there = {unit for unit in units.values() if f"{unit}.service" in listed}
        assert there == ({units[name]} if name in units else set()), name
    migrated = [name for name, host in found.items() if any("schema" in each for each in ids(host))]
    assert migrated == ["m1"], "one migration for all"


def test_a_second_run_changes_nothing_over_one_connection_and_two_channels_a_host(stack: Stack) -> None:
    again = stack.run()
    assert again.code == 0, again.why
    for name, host in each(again).items():
        assert (name, ids(host), host["connections"]) == (name, [], 1)
        assert host["channels"] <= 2
    assert each(again)["u"]["verification"] == "read-only"


def test_status_and_plan_tell_of_every_host_what_it_does(stack: Stack) -> None:
    status = stack.run("status")
    assert status.code == 0, status.why
    found = each(status)
    assert {name: host["roles"] for name, host in found.items()} == {name: [role] for name, role in ROLES.items()}
    assert found["u"]["answer"]["ok"]
    assert {row["what"] for host in found.values() for row in host["data"]} == {"store", "database"}
    planned = stack.run("plan", "--exit-code", "--set", "mlflow.workers=3")
    assert planned.code == 2, planned.why
    changed = {name: ids(host) for name, host in each(planned).items()}
    assert "unit:mlflow-server.service" in changed["m1"]
    assert "unit:mlflow-server.service" in changed["m2"]
    assert not any(one.startswith("unit:") for name in ("s", "u") for one in changed[name])


def test_one_host_is_selected_by_its_name_or_its_address(stack: Stack) -> None:
    for way in ("m1", f"root@{ADDRESSES['m1']}:22"):
        one = stack.run("plan", "--host", way)
        assert one.code == 0, one.why
        assert list(each(one)) == ["m1"]
    unknown = stack.run("plan", "--host", "10.151.0.1")
    assert unknown.code == 64


def test_each_host_keeps_the_secrets_of_its_roles_alone(stack: Stack) -> None:
    kept = {}
    for name, host in stack.hosts.items():
        assert host.check("stat -c '%U %a' /etc/provision/secrets.json").split() == ["root", "600"]
        document = json.loads((host.root / "etc/provision/secrets.json").read_text())
        kept[name] = {secret: entry["value"] for secret, entry in document["secrets"].items()}
    bucket = {"store.user.key", "store.user.secret"}
    assert bucket <= set(kept["s"])
    assert "database.password" not in kept["s"]
    assert set(kept["d"]) == {"database.password"}
    assert kept["m1"] == kept["m2"]
    assert bucket | {"database.password", "mlflow.flask-key", "mlflow.kek"} <= set(kept["m1"])
    assert not {"login", "tls.root", "store.root.password"} & {*kept["m1"], *kept["d"]}
    assert {"login", "tls.root"} <= set(kept["u"])
    assert not (bucket | {"database.password", "mlflow.kek"}) & set(kept["u"])
    every = {secret: value for one in kept.values() for secret, value in one.items()}
    for name, host in stack.hosts.items():
        foreign = [value for secret, value in every.items() if secret not in kept[name] and len(value) < 200]
        listed = "\n".join(foreign)
        places = "/etc /opt/mlflow/server /run/provision /var/lib/provision /var/log /var/backups"
        found = host.exec(f"grep -rIlF -f - {places} 2>/dev/null", stdin=listed + "\n").stdout
        assert found == "", f"another host's secrets on {name}"


def test_a_stranger_finds_ssh_the_url_and_doors_that_stay_shut(stack: Stack) -> None:
    listening = {
        ADDRESSES[name]: sorted(
            {int(line.split()[3].rpartition(":")[2]) for line in host.check("ss -Hltn").splitlines()}
        )
        for name, host in stack.hosts.items()
    }
    (stack.stranger.root / "root/ask.py").write_text(ASK)
    told = stack.stranger.check(f"{clients.PYTHON} /root/ask.py '{json.dumps(listening)}'", seconds=120)
    answers: dict[str, str] = json.loads(told)
    gates = [f"{ADDRESSES['s']}:9443", f"{ADDRESSES['m1']}:5543", f"{ADDRESSES['m2']}:5543"]
    database = f"{ADDRESSES['d']}:5432"
    ssh = [f"{address}:22" for address in ADDRESSES.values()]
    assert set(answers) == {*ssh, *gates, database, f"{ADDRESSES['u']}:5000"}
    assert {answers[gate] for gate in gates} == {"HTTP/1.1 400 Bad Request"}
    assert answers[database].count("no pg_hba.conf entry") == 2, "neither in the clear nor by TLS"


def start_logging(stack: Stack) -> None:
    settings = stack.operator.run("env", "--inventory", str(stack.inventory))
    assert settings.code == 0, settings.err
    root = stack.stranger.root / "root"
    (root / "rolling.py").write_text(LOGGING)
    (root / "rolling.sh").write_text(f"{settings.out}\nexec {clients.PYTHON} /root/rolling.py\n")
    stack.stranger.check("systemd-run -q --unit=rolling sh /root/rolling.sh")
    more(stack, 2)


def more(stack: Stack, runs: int) -> None:
    """Until the client has logged that many runs more."""
    count = stack.stranger.root / "root/count"

    def now() -> int:
        return int(count.read_text() or 0) if count.exists() else 0

    before = now()
    until(lambda: now() >= before + runs, f"{runs} runs more")


def test_a_client_that_logs_all_the_while_notices_neither_a_killed_server_nor_a_rolling_restart(stack: Stack) -> None:
    start_logging(stack)
    stack.hosts["m2"].check("systemctl kill -s KILL mlflow-server.service")
    more(stack, 6)
    until(
        lambda: stack.hosts["m2"].exec("curl -fsS -m 5 -o /dev/null http://127.0.0.1:5500/health").rc == 0,
        "the killed server back",
    )
    rolling = stack.run("--set", "mlflow.env.ROUND=1")
    assert rolling.code == 0, rolling.why
    assert [name for name, host in each(rolling).items() if "unit:mlflow-server.service" in ids(host)] == ["m1", "m2"]
    more(stack, 2)
    (stack.stranger.root / "root/enough").touch()
    until((stack.stranger.root / "root/told").exists, "the client's account")
    told = json.loads((stack.stranger.root / "root/told").read_text())
    assert told["failed"] == []
    assert sorted(told["found"]) == sorted(told["done"]), "no run is lost, none is there twice"
    assert len(told["done"]) >= 10


def test_a_part_that_moves_to_another_host_is_refused_before_anything_changes(stack: Stack) -> None:
    before = stack.audit()
    for role, name in (("database", "m1"), ("store", "d")):
        file = inventory(stack.inventory.with_name(f"moved-{role}.toml"), **{role: name})
        moved = stack.operator.run("--inventory", str(file), "--json", "--set", "mlflow.workers=3")
        assert moved.code == 4, moved.why
        assert all(f"roles.{role}" in host["error"]["what"] for host in each(moved).values() if host["error"])
        assert any(f"roles.{role}" in host["error"]["what"] for host in each(moved).values())
        assert [ids(host) for host in each(moved).values()] == [[]] * len(moved.json["hosts"])
    assert stack.audit() == before


def test_a_member_alone_without_the_inventory_is_refused_with_the_way(stack: Stack) -> None:
    before = stack.audit()
    stranger = Operator(stack.operator.state.with_name("another-state"))
    for operator in (stack.operator, stranger):
        alone = operator.run("--host", f"root@{ADDRESSES['m1']}", "-i", str(PRIVATE_KEY), "--json")
        assert alone.code == 4, alone.why
        assert "one of 5 hosts" in alone.host["error"]["what"]
        assert "--inventory" in alone.host["error"]["next"]
    assert stack.audit() == before


def test_a_host_that_is_down_fails_alone_and_the_others_go_on(stack: Stack) -> None:
    hosts.halt(stack.hosts["m2"].name)
    ran = stack.run("--set", "mlflow.env.ROUND=2")
    assert ran.code == 3, ran.why
    found = each(ran)
    assert [name for name, host in found.items() if host["error"]] == ["m2"]
    assert "unit:mlflow-server.service" in ids(found["m1"])
    assert any("not verified as a whole: m2" in note for note in found["u"]["notes"])


def test_what_needs_a_host_that_is_down_says_so_and_a_killed_run_goes_on(stack: Stack) -> None:
    """m2 is rebuilt while the database's host is off; the operator's machine dies in the middle."""
    hosts.halt(stack.hosts["d"].name)
    stack.hosts["m2"] = hosts.reset(stack.hosts["m2"].name)
    changed = stack.run("--host", "m2")
    assert changed.code == 3
    assert "forget-key" in changed.host["error"]["next"]
    assert stack.operator.run("forget-key", ADDRESSES["m2"]).code == 0

    killed = stack.operator.start("--inventory", str(stack.inventory))
    until(lambda: stack.hosts["m2"].exec("ls -d /opt/mlflow/3*/lib").rc == 0, "the environment of m2")
    killed.kill()
    killed.communicate()

    ran = stack.run(timeout=FIRST_RUN)
    found = each(ran)
    assert ran.code == 3, ran.why
    assert {name for name, host in found.items() if host["error"]} == {"d", "m1", "m2"}
    assert "database on d" in found["m1"]["error"]["what"]
    assert "database on d" in found["m2"]["error"]["what"]
    assert "unit:mlflow-server.service" not in ids(found["m2"])


def test_the_same_command_heals_the_stack_once_all_hosts_are_there(stack: Stack) -> None:
    before = (stack.operator.state / "provision" / ADDRESSES["u"] / "secrets.json").read_bytes()
    stack.hosts["d"] = hosts.boot(stack.hosts["d"].name)
    ran = stack.run(timeout=FIRST_RUN)
    assert ran.code == 0, ran.why
    assert "unit:mlflow-server.service" in ids(each(ran)["m2"])
    assert each(ran)["u"]["verification"] == "full"
    assert (stack.operator.state / "provision" / ADDRESSES["u"] / "secrets.json").read_bytes() == before
    again = stack.run("plan", "--exit-code")
    assert again.code == 0, again.why


def status(name: str, password: str) -> int:
    """Of a search at the URL."""
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    url = f"http://{ADDRESSES['u']}:5000/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


def secret(stack: Stack, name: str) -> str:
    kept = json.loads((stack.operator.state / "provision" / ADDRESSES["u"] / "secrets.json").read_text())
    return str(kept["secrets"][name]["value"])


def test_mlflow_keeps_the_accounts_of_all_its_servers_in_one_database(stack: Stack) -> None:
    assert stack.run("user", "add", "anna").code == 0
    ran = stack.run("--set", "access.auth=mlflow")
    assert ran.code == 0, ran.why
    found = each(ran)
    for made in ("schema:accounts", "accounts:mlflow"):
        assert [name for name, host in found.items() if made in ids(host)] == ["m1"], "once for all"
    assert "database:mlflow_auth" in ids(found["d"])
    assert found["u"]["verification"] == "full"
    anna = secret(stack, "account.anna")
    assert [status("anna", each) for each in (anna, anna + "x")] == [200, 401]
    kept = {
        name: json.loads((host.root / "etc/provision/secrets.json").read_text()) for name, host in stack.hosts.items()
    }
    assert [name for name, each in kept.items() if "login" in each["secrets"]] == ["m1", "m2", "u"]
    again = stack.run()
    assert [ids(host) for host in each(again).values()] == [[]] * 5


def test_an_account_is_changed_on_every_host_and_what_a_kill_left_a_run_finishes(stack: Stack) -> None:
    lives = {name: stack.hosts[name].check("systemctl show -P InvocationID mlflow-server") for name in ("m1", "m2")}
    given = stack.run("user", "add", "ben")
    assert given.code == 0, given.why
    first = given.json["env"]["MLFLOW_TRACKING_PASSWORD"]
    assert status("ben", first) == 200
    killed = stack.operator.start("user", "passwd", "ben", "--inventory", str(stack.inventory))
    until(lambda: secret(stack, "account.ben") != first, "the new password on this machine")
    killed.kill()
    killed.communicate()
    ran = stack.run()
    assert ran.code == 0, ran.why
    assert status("ben", secret(stack, "account.ben")) == 200
    until(lambda: all(status("ben", first) == 401 for _ in range(8)), "the former password refused by each process")
    rotated = stack.run("secrets", "rotate", "login")
    assert rotated.code == 0, rotated.why
    assert status("mlflow", secret(stack, "login")) == 200
    assert stack.run("user", "remove", "ben").code == 0
    listed = stack.run("user", "list")
    assert [row["name"] for row in listed.json["users"]] == ["mlflow", "anna"]
    assert [ids(host) for host in each(stack.run()).values()] == [[]] * 5
    for name, life in lives.items():
        assert stack.hosts[name].check("systemctl show -P InvocationID mlflow-server") == life


def test_mlflow_does_not_cease_to_ask_before_another_host_begins_to(stack: Stack) -> None:
    before = stack.audit()
    back = stack.run("--set", "access.auth=password")
    assert back.code == 4, back.out + back.err
    assert "before the URL's host" in back.out
    assert stack.audit() == before
