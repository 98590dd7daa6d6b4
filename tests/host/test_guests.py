"""What was on a host before: ports and units of strangers are told, a guest keeps all of its own.

One host, step by step: strangers on the ports; then a PostgreSQL and an nginx of somebody's, in use.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import FIRST_RUN, Operator, Ran

ADDRESS = "10.151.0.81"
SQL = "runuser -u postgres -- psql -qXAt -v ON_ERROR_STOP=1"
MAIN = "/etc/postgresql/15/main"


@dataclass
class Crowded:
    host: LabHost
    operator: Operator

    def run(self, *arguments: str, engine: str = "seaweedfs", **options: Any) -> Ran:
        reach = ("--host", f"root@{ADDRESS}", "-i", str(PRIVATE_KEY))
        return self.operator.run(*arguments, "--set", f"store.engine={engine}", *reach, **options)

    def mark(self) -> None:
        self.host.check("sleep 0.02; touch /root/mark; sleep 0.02")

    def changed(self) -> list[str]:
        """Files of the system that were written since `mark`."""
        left_out = ("/var/log", "/var/cache/apt", "/var/lib/systemd", "/var/lib/postgresql", "/root")
        places = " -o ".join(f"-path {path}" for path in left_out)
        return self.host.check(f"find / -xdev \\( {places} \\) -prune -o -newer /root/mark -type f -print").split()

    def accounts(self) -> str:
        return self.host.check("cat /etc/passwd /etc/group; dpkg -l | sha256sum; ls /etc /opt /usr/local/bin")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    with hosts.running("t-guest", ADDRESS, cache=True) as host:
        yield Crowded(host, Operator(tmp_path_factory.mktemp("guest") / "state"))


STRANGERS = {5000: "port", 5432: "postgres-port", 5500: "port-5500", 9000: "port-9000"}
"""Port -> the check that tells of it."""

LISTEN = "import socket,time;s=socket.create_server(('0.0.0.0',{port}));time.sleep(100000)"


def test_all_that_is_in_the_way_is_told_at_once_and_nothing_is_changed(crowded: Crowded) -> None:
    host = crowded.host
    for port in STRANGERS:
        host.check(f"systemd-run -q --unit=stranger-{port} python3 -c {LISTEN.format(port=port)!r}")
    host.check(
        "printf '[Service]\\nExecStart=/usr/bin/seaweed\\n' >/lib/systemd/system/seaweedfs.service;"
        "systemctl daemon-reload"
    )
    pids = {port: host.check(f"systemctl show -P MainPID stranger-{port}").strip() for port in STRANGERS}
    before = crowded.accounts()
    crowded.mark()

    ran = crowded.run("--json")

    assert ran.code == 4, ran.why
    failed = {check["id"]: check for check in ran.host["checks"] if check["status"] == "fail"}
    assert sorted(failed) == sorted([*STRANGERS.values(), "foreign-seaweedfs.service"])
    for port, check in STRANGERS.items():
        assert f"python3, pid {pids[port]}" in failed[check]["detail"], failed[check]
        assert failed[check]["fix"]
    assert "--set access.port=5001" in failed["port"]["fix"]
    assert "/lib/systemd/system/seaweedfs.service" in failed["foreign-seaweedfs.service"]["detail"]
    assert ran.changed() == []
    assert crowded.changed() == []
    assert crowded.accounts() == before

    told = crowded.run()
    assert told.code == 4
    for port in STRANGERS:
        assert f"pid {pids[port]}" in told.out + told.err
    for words in ("FAIL", "Nothing was changed", f"provision --host root@{ADDRESS}"):
        assert words in told.out + told.err, told.why
    host.check("systemctl stop 'stranger-*'; rm /lib/systemd/system/seaweedfs.service; systemctl daemon-reload")


def test_an_address_that_clients_cannot_use_is_told_with_everything_else(crowded: Crowded) -> None:
    """As behind a gateway that translates addresses: the one that ssh was given is not the server's own."""
    crowded.host.check(f"systemd-run -q --unit=stranger-5000 python3 -c {LISTEN.format(port=5000)!r}")
    relay = f"bash -c 'exec 3<>/dev/tcp/{ADDRESS}/22; cat <&3 & exec cat >&3'"
    folder = crowded.operator.state.parent / (crowded.operator.state.name + ".home") / ".ssh"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(f"Host translated\n  ProxyCommand {relay}\n")
    reach = ("--set", "store.engine=seaweedfs", "--host", "root@translated", "-i", str(PRIVATE_KEY), "--json")
    crowded.mark()

    for command in ((), ("plan",)):
        ran = crowded.operator.run(*command, *reach)
        assert ran.code == 4, ran.why
        failed = {check["id"]: check for check in ran.host["checks"] if check["status"] == "fail"}
        assert sorted(failed) == ["address", "port"]
        assert "access.names" in failed["address"]["fix"]
        assert bool(ran.changed()) == bool(command), "a plan shows what it can, a run has changed nothing"
    named = crowded.operator.run("plan", *reach, "--set", f'access.names=["{ADDRESS}"]')
    assert named.checks["address"] == "ok"
    assert crowded.changed() == []

    (folder / "config").unlink()
    crowded.host.check("systemctl stop stranger-5000")


RECIPE = """
cat >/etc/systemd/system/{unit} <<'X'
[Unit]
Description=as the recipes have it
[Service]
User=root
ExecStart=/usr/bin/python3 -c "import socket,time;s=socket.create_server(('',{port}));time.sleep(100000)"
[Install]
WantedBy=multi-user.target
X
systemctl daemon-reload && systemctl enable -q --now {unit}
"""


@pytest.mark.parametrize(
    ("unit", "port", "engine", "settings"),
    [
        ("minio.service", 9000, "minio", ("--set", "store.binary=/bin/true")),
        ("mlflow-server.service", 5500, "seaweedfs", ()),
    ],
)
def test_a_service_that_somebody_set_up_by_hand_is_not_taken_over(
    crowded: Crowded, unit: str, port: int, engine: str, settings: tuple[str, ...]
) -> None:
    host = crowded.host
    host.check(RECIPE.format(unit=unit, port=port))
    life = host.check(f"systemctl show -p InvocationID,MainPID {unit}")
    crowded.mark()
    ran = crowded.run(*settings, "--json", "--yes", engine=engine)
    assert ran.code == 4, ran.why
    (check,) = [check for check in ran.host["checks"] if check["id"] == f"foreign-{unit}"]
    assert check["status"] == "fail"
    assert f"/etc/systemd/system/{unit}" in check["detail"]
    assert f"systemctl disable --now {unit}" in check["fix"]
    assert crowded.changed() == []
    assert host.check(f"systemctl show -p InvocationID,MainPID {unit}") == life
    host.check(f"systemctl disable -q --now {unit}; rm /etc/systemd/system/{unit}; systemctl daemon-reload")


FURNISH = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql nginx >/dev/null
cat >{MAIN}/conf.d/10-theirs.conf <<'X'
# ours since 2019, do not touch
max_connections = 30
work_mem = '7MB'
X
# A foreign line of each kind, odd spacing, no newline at the end.
printf '%s\\n' 'host   reports   reporter   10.151.0.0/24   scram-sha-256   # the report server' \\
  'local  all  "odd user"  peer' >>{MAIN}/pg_hba.conf
printf 'host reports reporter ::1/128 reject' >>{MAIN}/pg_hba.conf
systemctl restart postgresql@15-main
{SQL} <<'X'
ALTER SYSTEM SET log_min_duration_statement = '750ms';
CREATE ROLE reporter LOGIN PASSWORD 'rep' CONNECTION LIMIT 3;
CREATE DATABASE reports OWNER reporter ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
\\c reports
CREATE TABLE figures AS SELECT generate_series(1, 1000) AS n;
X
mkdir -p /srv/theirs && echo 'their page' >/srv/theirs/index.html
cat >/etc/nginx/sites-available/theirs <<'X'
server {{ listen 80 default_server; server_name _; root /srv/theirs; }}
X
rm /etc/nginx/sites-enabled/default
ln -s ../sites-available/theirs /etc/nginx/sites-enabled/theirs
systemctl restart nginx
"""

THEIRS = (
    f"{MAIN}/postgresql.conf {MAIN}/conf.d/10-theirs.conf {MAIN}/pg_ident.conf {MAIN}/start.conf "
    "/var/lib/postgresql/15/main/postgresql.auto.conf /etc/nginx/nginx.conf /etc/nginx/sites-available/* "
    "/etc/nginx/sites-enabled/* /srv/theirs/index.html /lib/systemd/system/postgresql@.service"
)


def theirs(host: LabHost) -> str:
    """Everything that is the guests' own, byte for byte."""
    catalogue = (
        "SELECT rolname, rolsuper, rolconnlimit, rolpassword FROM pg_authid WHERE rolname <> 'mlflow' ORDER BY 1; "
        "SELECT datname, datdba::regrole, encoding, datacl FROM pg_database WHERE datname <> 'mlflow' ORDER BY 1; "
        "SELECT name, setting FROM pg_settings WHERE sourcefile LIKE '%theirs%' OR sourcefile LIKE '%auto%' ORDER BY 1"
    )
    return host.check(
        f"sha256sum {THEIRS}; stat -L -c '%n %a %U %G' {THEIRS}; {SQL} -c \"{catalogue}\"; "
        f"{SQL} -d reports -c 'SELECT count(*), sum(n) FROM figures'; ls -l /etc/nginx/sites-enabled"
    )


def lives(host: LabHost) -> str:
    return host.check("systemctl show -p InvocationID,MainPID,NRestarts postgresql@15-main.service nginx.service")


def their_page() -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{ADDRESS}/", timeout=20) as answer:
        return str(answer.read().decode())


@dataclass
class Before:
    theirs: str
    lives: str
    hba: str


@pytest.fixture(scope="module")
def furnished(crowded: Crowded) -> Before:
    host = crowded.host
    host.check(FURNISH, seconds=900)
    assert their_page() == "their page\n"
    return Before(theirs(host), lives(host), host.check(f"cat {MAIN}/pg_hba.conf"))


def test_a_guest_is_not_restarted_without_being_told(crowded: Crowded, furnished: Before) -> None:
    ran = crowded.run("--json")
    assert ran.code == 4, ran.why
    told = str(ran.host["error"])
    assert "restart" in told
    assert "PostgreSQL was here before" in told
    assert "--yes" in ran.host["error"]["next"]
    assert theirs(crowded.host) == furnished.theirs
    assert lives(crowded.host) == furnished.lives
    assert crowded.host.check(f"cat {MAIN}/pg_hba.conf") == furnished.hba
    assert crowded.host.exec("ls /etc/provision /opt/mlflow").rc != 0


@pytest.fixture(scope="module")
def widened(crowded: Crowded, furnished: Before) -> Before:
    """Their administrator gives the server room for more connections, and restarts it when it suits."""
    host = crowded.host
    host.check(f"sed -i 's/max_connections = 30/max_connections = 150/' {MAIN}/conf.d/10-theirs.conf")
    host.check("systemctl restart postgresql@15-main", seconds=120)
    return Before(theirs(host), lives(host), furnished.hba)


@pytest.fixture(scope="module")
def joined(crowded: Crowded, widened: Before) -> Ran:
    return crowded.run("--json", timeout=FIRST_RUN)


def test_guests_get_ours_beside_their_own(crowded: Crowded, widened: Before, joined: Ran) -> None:
    assert joined.code == 0, joined.why
    assert set(joined.checks.values()) <= {"ok", "warn"}, joined.checks
    host = crowded.host
    assert theirs(host) == widened.theirs
    assert lives(host) == widened.lives, "a guest was restarted"
    hba = host.check(f"cat {MAIN}/pg_hba.conf")
    begin, end = hba.index("# provision: begin"), hba.index("# provision: end")
    without = hba[:begin] + hba[end:].partition("\n")[2]
    assert without.rstrip("\n") == widened.hba.rstrip("\n")
    assert host.check(f"{SQL} -c 'SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL'").strip() == "0"
    assert host.check(f"{SQL} -c 'SHOW max_connections'").strip() == "150"
    assert host.check(f"{SQL} -c 'SHOW work_mem'").strip() == "7MB"


def test_their_clients_notice_nothing(crowded: Crowded, joined: Ran) -> None:
    assert joined.code == 0
    assert their_page() == "their page\n"
    reporter = "PGPASSWORD=rep psql -qXAt -h 10.151.0.81 -U reporter reports -c 'SELECT max(n) FROM figures'"
    # It listened on loopback only before, and does so now.
    assert crowded.host.exec(reporter).rc != 0
    refused = crowded.host.exec(reporter.replace("10.151.0.81", "::1"))
    assert refused.rc != 0
    again = crowded.run("--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    assert (again.host["connections"], again.host["channels"]) <= (1, 2)


def test_a_guest_that_changes_its_own_settings_keeps_them(crowded: Crowded, joined: Ran) -> None:
    host = crowded.host
    host.check(f"echo \"work_mem = '9MB'\" >>{MAIN}/conf.d/10-theirs.conf; systemctl reload postgresql@15-main")
    host.check("sed -i 's/root /expires 1h; root /' /etc/nginx/sites-available/theirs; systemctl reload nginx")
    before = theirs(host)
    ran = crowded.run("--json")
    assert ran.code == 0, ran.why
    assert ran.changed() == []
    assert theirs(host) == before
