"""The host as somebody sees it who does not know this tool: pytest-testinfra over OpenSSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import testinfra

from .conftest import PRIVATE_KEY, Stack

ACCOUNTS = {"minio": "minio-user", "seaweedfs": "seaweedfs"}
SECRETS = {
    "/etc/provision/secrets.json": ("root", "root", 0o600),
    "/etc/mlflow/mlflow.env": ("root", "root", 0o600),
    "/etc/nginx/provision-mlflow.htpasswd": ("root", "www-data", 0o640),
}
STORE_SECRETS = {
    "minio": ("/etc/default/minio",),
    "seaweedfs": ("/etc/seaweedfs/s3.json", "/etc/seaweedfs/seaweedfs.env"),
}
OPEN = {22, 5000}


@pytest.fixture(scope="module")
def eye(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Any:
    known: Path = tmp_path_factory.mktemp("eye") / "known_hosts"
    known.write_text("".join(f"{stack.address} {key}\n" for key in stack.host.host_keys()))
    config = known.with_name("ssh_config")
    config.write_text(
        f"Host *\n UserKnownHostsFile {known}\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n"
        f" ControlMaster auto\n ControlPath {known.parent}/c\n ControlPersist 60\n"
    )
    return testinfra.get_host(f"ssh://root@{stack.address}", ssh_config=str(config), ssh_identity_file=str(PRIVATE_KEY))


def test_services_run_and_start_at_boot(stack: Stack, eye: Any) -> None:
    for unit in (stack.store_unit, "postgresql.service", "mlflow-server.service", "nginx.service"):
        service = eye.service(unit)
        assert service.is_running, unit
        assert service.is_enabled, unit
        assert not service.is_masked, unit
    assert eye.check_output("systemctl --failed --no-legend") == ""


def test_only_ssh_and_the_door_listen_beyond_loopback(stack: Stack, eye: Any) -> None:
    listening = set()
    for line in eye.check_output("ss -Htuln").splitlines():
        protocol, address = line.split()[0], line.split()[4]
        host, _, port = address.rpartition(":")
        host = host.split("%")[0].strip("[]")
        if not (host.startswith(("127.", "::ffff:127.")) or host == "::1"):
            listening.add((protocol, int(port)))
    assert listening == {("tcp", port) for port in OPEN}
    for port in (5432, 5500, 9000):
        assert eye.socket(f"tcp://127.0.0.1:{port}").is_listening, port


def test_secrets_are_for_root_and_who_needs_them(stack: Stack, eye: Any) -> None:
    wanted = SECRETS | dict.fromkeys(STORE_SECRETS[stack.engine], ("root", "root", 0o600))
    for path, (user, group, mode) in wanted.items():
        file = eye.file(path)
        assert (file.user, file.group, file.mode) == (user, group, mode), path
    run = eye.file("/run/provision")
    assert (run.user, run.mode) == ("root", 0o700)


def test_no_secret_is_readable_by_others_or_in_a_command_line(stack: Stack, eye: Any) -> None:
    names = ("database.password", "login", "store.root.password", "store.user.secret", "mlflow.kek")
    values = {name: stack.secret(name) for name in names}
    argv = eye.check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true")
    readable = eye.check_output(
        "find /etc /opt /var/backups /var/log /usr/local -xdev -type f -perm -004 -size -64k "
        "! -path '/opt/*/data/*' ! -path '/opt/mlflow/3*' -newer /etc/os-release "
        "-exec cat {} + 2>/dev/null | tr -cd '\\11\\12\\40-\\176' || true"
    )
    assert len(readable) > 1000
    for name, value in values.items():
        assert value not in argv, name
        assert value not in readable, name
    journal = eye.check_output("journalctl -q --no-pager -o cat | tr -cd '\\11\\12\\40-\\176'")
    assert [name for name, value in values.items() if value in journal] == []


def test_service_users_cannot_log_in(stack: Stack, eye: Any) -> None:
    for name in ("mlflow", ACCOUNTS[stack.engine]):
        user = eye.user(name)
        assert user.exists
        assert 0 < user.uid < 1000
        assert user.shell.endswith(("nologin", "false"))
        assert user.password in ("!", "*", "!*", "!!")
    processes = eye.check_output("systemctl show -p MainPID --value mlflow-server").strip()
    assert eye.process.get(pid=int(processes)).user == "mlflow"


def test_data_belongs_to_the_store(stack: Stack, eye: Any) -> None:
    data = eye.file(f"/opt/{stack.engine}/data")
    assert data.is_directory
    assert (data.user, data.mode) == (ACCOUNTS[stack.engine], 0o750)


def test_the_programs_are_roots_and_linked_by_version(stack: Stack, eye: Any) -> None:
    program = "/usr/local/bin/minio" if stack.engine == "minio" else "/usr/local/bin/weed"
    link = eye.file(program)
    assert link.is_symlink
    binary = eye.file(link.linked_to)
    assert (binary.user, binary.group, binary.mode) == ("root", "root", 0o755)
    assert eye.file("/opt/mlflow/current").linked_to == "/opt/mlflow/3.17.2"
    assert eye.file("/opt/mlflow/3.17.2").user == "root"


def test_the_database_is_its_own_and_the_role_has_no_more(stack: Stack, eye: Any) -> None:
    ask = "runuser -u postgres -- psql -qXAtF, -c"
    database = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'mlflow'"
    assert eye.check_output(f'{ask} "{database}"') == "mlflow,UTF8"
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolcanlogin"
    assert eye.check_output(f"{ask} \"SELECT {rights} FROM pg_roles WHERE rolname = 'mlflow'\"") == "f,f,f,f,t"
    assert eye.check_output(f'{ask} "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL"') == "0"


def test_every_file_of_ours_says_who_wrote_it(stack: Stack, eye: Any) -> None:
    for path in (
        f"/etc/systemd/system/{stack.store_unit}",
        "/etc/systemd/system/mlflow-server.service",
        "/etc/mlflow/mlflow.env",
        "/etc/nginx/conf.d/provision-mlflow.conf",
        "/etc/systemd/system/nginx.service.d/50-provision.conf",
    ):
        assert "provision" in eye.file(path).content_string.splitlines()[0].lower(), path
