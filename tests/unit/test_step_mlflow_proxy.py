"""What the steps `mlflow` and `proxy` want of a host."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest
from systemd_env import read_env_file

from provisioner import settings as layers
from provisioner.door import Door
from provisioner.engine import plan
from provisioner.engine.probe import Seen
from provisioner.resources.facts import Facts, Listener
from provisioner.resources.file import File, NoFile
from provisioner.resources.nginx import NginxBuild, NginxBuildProbe
from provisioner.resources.package import PackageProbe, PackageState
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.python_env import PythonEnvState
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.runtime import mlflow as runtime
from provisioner.secrets import Secret
from provisioner.steps import Context, mlflow, mlflow_environment, nginx, proxy
from provisioner.steps.mlflow_spool import ROOM, RoomProbe, room
from provisioner.steps.proxy_login import accounts

HOSTILE = "p@ss:w/rd#1%25?é\"'$`\\ x"
SECRETS = {
    "database.password": Secret(HOSTILE),
    "login": Secret("Pässword '\"%s"),
    "mlflow.flask-key": Secret("k" * 48),
    "mlflow.kek": Secret(HOSTILE + "kek"),
    "store.user.key": Secret("accesskey"),
    "store.user.secret": Secret("secretsecret"),
}


def context(names: tuple[str, ...] = ("10.151.0.1",), facts: Facts | None = None, **flags: object) -> Context:
    settings = layers.effective({key.replace("__", "."): value for key, value in flags.items()}, {})
    return Context(
        settings, facts or Facts(), SECRETS, Door(settings.access.scheme, names[0], settings.access.door_port, names)
    )


def variables(context: Context) -> dict[str, str]:
    return read_env_file(mlflow_environment.text(context))


def content(step: mlflow.Mlflow | proxy.Proxy, context: Context, path: str) -> str:
    (file,) = (r for r in step.resources(context) if isinstance(r, File) and r.path == path)
    return file.content.decode()


def test_a_password_of_any_characters_is_percent_encoded_in_the_address_of_the_database() -> None:
    uri = variables(context())["MLFLOW_BACKEND_STORE_URI"]
    assert uri.startswith("postgresql+psycopg2://mlflow:p%40ss%3Aw%2Frd%231%2525%3F%C3%A9")
    assert uri.endswith("@127.0.0.1:5432/mlflow")


def test_secrets_of_any_characters_survive_the_environment_file() -> None:
    assert variables(context())["MLFLOW_CRYPTO_KEK_PASSPHRASE"] == HOSTILE + "kek"


def test_every_name_of_the_address_is_an_allowed_host_and_origin() -> None:
    found = variables(context(("mlflow.example.com", "10.0.0.5", "fd00::1")))
    assert found["MLFLOW_S3_ENDPOINT_URL"] == "http://mlflow.example.com:5000"
    hosts = found["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    wanted = "mlflow.example.com mlflow.example.com:* 10.0.0.5 10.0.0.5:* [fd00::1] [[]fd00::1]:* localhost localhost:*"
    assert set(wanted.split()) < set(hosts)
    assert found["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == (
        "http://mlflow.example.com:5000,http://10.0.0.5:5000,http://[fd00::1]:5000"
    )


def test_directly_experiments_get_an_address_of_the_store_and_mlflow_passes_nothing_on() -> None:
    found = variables(context(artifacts__mode="direct", artifacts__prefix="team/ml", store__bucket="models"))
    assert found["MLFLOW_DEFAULT_ARTIFACT_ROOT"] == "s3://models/team/ml"
    assert found["MLFLOW_SERVE_ARTIFACTS"] == "false"
    assert "MLFLOW_ARTIFACTS_DESTINATION" not in found
    passed = variables(context(artifacts__prefix="team/ml"))
    assert passed["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://mlflow/team/ml"
    assert passed["MLFLOW_SERVE_ARTIFACTS"] == "true"
    assert "MLFLOW_DEFAULT_ARTIFACT_ROOT" not in passed


def test_variables_of_the_operator_are_added_and_may_tune_but_never_replace_ours() -> None:
    chosen = context()
    env = {"EXTRA": "1", "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "9", "MLFLOW_PORT": "1", "HOME": "/tmp"}
    tuned = replace(chosen.settings, mlflow=replace(chosen.settings.mlflow, env=env))
    found = variables(replace(chosen, settings=tuned))
    assert (found["EXTRA"], found["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"]) == ("1", "9")
    assert (found["MLFLOW_PORT"], found["HOME"]) == ("5500", "/var/lib/mlflow")


def test_no_secret_is_shown_in_a_plan() -> None:
    for step in (mlflow.STEP, proxy.STEP):
        for resource in step.resources(context()):
            if isinstance(resource, File):
                change = resource.diff(Seen({resource.probe: PathState("absent")}))
                assert change is not None
                shown = "\n".join(change.diff)
                assert not any(secret.reveal() in shown for secret in SECRETS.values())
                assert "p%40ss" not in shown


def test_the_server_takes_less_of_a_small_host_than_it_may_and_has_no_limit_where_the_memory_is_not_known() -> None:
    assert "MemoryMax=3G\n" in mlflow.unit_file(context(facts=Facts(memory=16 * 2**30)))
    assert "MemoryMax=912M\n" in mlflow.unit_file(context(facts=Facts(memory=2 * 2**30)))
    assert "Memory" not in mlflow.unit_file(context()).replace("MemoryDeny", "")


def test_only_a_server_that_shall_stay_in_its_stack_has_a_list_of_addresses() -> None:
    assert "IPAddress" not in mlflow.unit_file(context())
    closed = mlflow.unit_file(context(mlflow__egress="stack"))
    assert "IPAddressDeny=any\nIPAddressAllow=localhost 10.151.0.1\n" in closed


def test_the_unit_never_requires_the_database_and_has_no_argument_to_read() -> None:
    unit = content(mlflow.STEP, context(), mlflow.UNIT_FILE)
    assert "Requires=" not in unit
    assert "ExecStart=/opt/mlflow/current/bin/mlflow server\n" in unit
    assert "EnvironmentFile=/etc/mlflow/mlflow.env\n" in unit
    assert "minio.service" in unit


@pytest.mark.parametrize(
    ("names", "addresses", "wanted"),
    [
        (("10.0.0.5",), ("127.0.0.1", "10.0.0.5", "::1"), ("5000",)),
        (("mlflow.example.com",), ("10.0.0.5", "::1"), ("5000", "[::]:5000")),
        (("mlflow.example.com",), ("10.0.0.5",), ("5000",)),
        (("fd00::1",), ("fd00::1", "::1"), ("5000", "[::]:5000")),
    ],
)
def test_ipv6_is_listened_on_where_the_host_has_it_and_clients_could_use_it(
    names: tuple[str, ...], addresses: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    assert proxy.listen(context(names, Facts(addresses=addresses)), 5000) == wanted


@pytest.mark.parametrize(
    ("names", "addresses", "wanted"),
    [
        (("10.0.0.5",), ("10.0.0.5", "8.8.8.8"), ("10.0.0.5", "127.0.0.1")),
        (("10.0.0.5",), ("10.0.0.5", "192.168.1.1"), ()),
        (("mlflow.example.com", "10.0.0.5"), ("10.0.0.5", "8.8.8.8"), ()),
        (("8.8.8.8",), ("8.8.8.8",), ()),
        (("10.0.0.6",), ("10.0.0.5", "8.8.8.8"), ()),
    ],
)
def test_a_public_address_that_no_client_uses_gets_no_answer(
    names: tuple[str, ...], addresses: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    chosen = context(names, Facts(addresses=addresses))
    assert proxy.only(chosen) == wanted
    assert ("return 444" in content(proxy.STEP, chosen, proxy.SITE)) == bool(wanted)


def test_the_site_tells_its_own_version_which_changes_with_it() -> None:
    first, second = context(), context(store__bucket="other")
    assert f"site {proxy.version(first)}" in content(proxy.STEP, first, proxy.SITE)
    assert proxy.version(first) == proxy.version(context()) != proxy.version(second)


def test_the_bucket_is_matched_with_and_without_a_slash_and_its_dots_are_dots() -> None:
    site = content(proxy.STEP, context(store__bucket="my.bucket-1"), proxy.SITE)
    (pattern,) = re.findall(r"location ~ (\^/my\S+) \{", site)
    assert re.search(pattern, "/my.bucket-1")
    assert re.search(pattern, "/my.bucket-1/x")
    assert not re.search(pattern, "/myxbucket-1/x")
    assert not re.search(pattern, "/my.bucket-10")


def test_the_login_is_asked_everywhere_but_at_the_bucket_and_nowhere_without_accounts() -> None:
    site = content(proxy.STEP, context(), proxy.SITE)
    bucket = site[site.index("location ~ ^/mlflow") : site.index("location ~*")]
    assert "auth_basic" not in bucket
    assert "proxy_set_header Authorization $provision_signature;" in bucket
    assert site.count("auth_basic_user_file") == site.count('proxy_set_header Authorization "";') == 3
    assert "auth_basic" not in content(proxy.STEP, context(access__auth="none"), proxy.SITE)
    shown = [r for r in proxy.STEP.resources(context(access__auth="none")) if "tls" not in r.id]
    *_, service, _, accounts = shown
    assert service.id == "unit:nginx.service"
    assert isinstance(accounts, NoFile), "the accounts of an earlier choice go, once nginx does not read them"
    written = content(proxy.STEP, context(), proxy.ACCOUNTS).encode()
    (change,) = plan.make([accounts], Seen({accounts.probe: PathState("file", content=written)})).changes
    assert change.change.action == "remove"


def test_the_same_secrets_give_the_same_account_and_its_hash_is_the_password_s() -> None:
    line = accounts(SECRETS).splitlines()[1]
    assert accounts(SECRETS).splitlines()[1] == line
    name, _, digest = line.partition(":")
    assert name == "mlflow"
    assert digest.startswith("$2b$05$")
    assert bcrypt.checkpw(SECRETS["login"].reveal().encode(), digest.encode())
    other = accounts({**SECRETS, "mlflow.flask-key": Secret("other" * 8)}).splitlines()[1]
    assert other.split("$")[3][:22] != digest.split("$")[3][:22]


def guest() -> Context:
    main = PathState("file", content=b"user web;")
    seen = Seen({PackageProbe("nginx"): PackageState(True, "1.22")})
    return replace(context(), seen=seen.put(PathProbe("/etc/nginx/nginx.conf"), main))


def test_an_nginx_that_was_there_keeps_all_of_its_own() -> None:
    resources = {r.id: r for r in proxy.STEP.resources(guest())}
    assert "example:nginx" not in resources
    drop_in = resources["file:nginx-drop-in"]
    accounts_file = resources["file:nginx-accounts"]
    assert isinstance(drop_in, File)
    assert isinstance(accounts_file, File)
    assert "Protect" not in drop_in.content.decode()
    assert "Restart=" not in drop_in.content.decode()
    assert accounts_file.group == "web"
    (check,) = (c for c in proxy.STEP.preflight(guest()) if c.id == "nginx-guest")
    assert check.status == "fail"
    assert "conf.d" in check.detail


def test_a_port_that_somebody_else_has_is_named_with_a_free_one() -> None:
    taken = Facts(listeners=(Listener("0.0.0.0", 5000, "docker-proxy, pid 1123"), Listener("::", 5001, "")))
    (check,) = (c for c in proxy.STEP.preflight(context(facts=taken)) if c.id == "port")
    assert check.status == "fail"
    assert "docker-proxy, pid 1123" in check.detail
    assert check.fix is not None
    assert check.fix.endswith("--set access.port=5002")


def test_our_own_nginx_on_its_port_is_fine() -> None:
    taken = Facts(listeners=(Listener("0.0.0.0", 5000, "nginx, pid 7"),))
    ours = replace(context(facts=taken), seen=Seen({PathProbe(proxy.SITE): PathState("file")}))
    assert [c.status for c in proxy.STEP.preflight(ours) if c.id == "port"] == ["ok"]
    assert [c.status for c in proxy.STEP.preflight(context(facts=taken)) if c.id == "port"] == ["fail"]


@pytest.mark.parametrize(
    ("facts", "failed"),
    [
        (Facts(python=(3, 9), memory=4 * 10**9), {"python"}),
        (Facts(python=(3, 11), memory=10**8), {"memory"}),
        (Facts(python=(3, 11), memory=4 * 10**9, free={"/opt": 10**9}), {"disk"}),
        (Facts(python=(3, 11), memory=4 * 10**9, listeners=(Listener("127.0.0.1", 5500, "x, pid 1"),)), {"port-5500"}),
        (Facts(python=(3, 14), memory=4 * 10**9, free={"/opt": 3 * 10**9}), set()),
    ],
)
def test_what_the_host_lacks_is_said_before_anything_changes(facts: Facts, failed: set[str]) -> None:
    chosen = context(facts=facts)
    venv = mlflow.environment(chosen)
    seen = Seen({venv.probe: PythonEnvState(runtime.VenvSeen("absent")), UnitProbe(mlflow.UNIT): UnitState()})
    found = list(mlflow.STEP.preflight(replace(chosen, seen=seen)))
    assert {c.id for c in found if c.status == "fail"} == failed
    assert all(c.fix for c in found if c.status == "fail")


@pytest.mark.parametrize(("free", "status"), [(0, None), (900_000_000, "warn"), (1_100_000_000, "ok")])
def test_room_for_uploads_in_passing_is_counted_by_workers(free: int, status: str | None) -> None:
    found = list(room(replace(context(), seen=Seen({ROOM: free}))))
    assert [check.status for check in found] == ([status] if status else [])
    if status == "warn":
        assert found[0].detail == (
            "0.9 GB free for uploads in passing, 2 workers x 0.5 GB may be needed at /var/lib/mlflow/tmp"
        )
        assert found[0].fix == "free 0.1 GB, or mount a larger disk at /var/lib/mlflow"


def test_free_room_is_read_where_the_folder_is_or_will_be(tmp_path: Path) -> None:
    asked = [RoomProbe(str(tmp_path / "not" / "there")), RoomProbe(str(tmp_path))]
    said = subprocess.run(["sh", "-eu"], input=RoomProbe.fragment(asked).encode(), capture_output=True, check=True)
    first, second = RoomProbe.parse(asked, said.stdout)
    assert first > 0
    assert abs(first - second) < 2**30
    assert RoomProbe.parse(asked, b"x\n-1\n99999999999999999999\n") == [0, 0, 0]


def test_the_distribution_s_python_is_used_unless_it_is_too_old_for_mlflow() -> None:
    own = PathProbe("/usr/bin/python3")
    chosen = context(facts=Facts(python=(3, 13), python_path="/usr/local/bin/python3.13"))
    modern = replace(chosen, seen=Seen({own: PathState("link", target="python3.11")}))
    old = replace(chosen, seen=Seen({own: PathState("link", target="python3.9")}))
    assert mlflow.environment(chosen).python == "/usr/bin/python3"
    assert mlflow.environment(modern).python == "/usr/bin/python3"
    assert mlflow.environment(old).python == "/usr/local/bin/python3.13"


def test_neither_step_fails_on_the_guess() -> None:
    settings = layers.effective({}, {})
    empty = Context(settings, Facts(), {}, Door("http", "unknown", 5000, ("unknown",)))
    for step in (mlflow.STEP, proxy.STEP):
        assert plan.probes_of(step.resources(empty))
        assert step.looks(empty)
        assert list(step.preflight(empty))
        assert step.headline(empty)


@pytest.mark.parametrize(
    ("there", "process", "status"),
    [
        ((), "nginx, pid 7", "fail"),
        ((proxy.SITE,), "nginx, pid 7", "ok"),
        ((nginx.DROP_IN,), "nginx, pid 7", "ok"),
        ((proxy.SITE, nginx.DROP_IN), "docker-proxy, pid 7", "fail"),
    ],
)
def test_this_stacks_nginx_is_no_stranger_even_when_its_site_was_removed(
    there: tuple[str, ...], process: str, status: str
) -> None:
    seen = Seen()
    for path in there:
        seen = seen.put(PathProbe(path), PathState("file", content=b"# Written by provision.\n"))
    chosen = context(facts=Facts(listeners=(Listener("0.0.0.0", 5000, process),)))
    (check,) = (c for c in proxy.STEP.preflight(replace(chosen, seen=seen)) if c.id == "port")
    assert check.status == status


def test_health_is_asked_for_by_anybody_and_a_build_without_the_module_keeps_the_login() -> None:
    text = content(proxy.STEP, context(), proxy.SITE)
    assert "proxy_cache_path /var/lib/nginx/provision-health" in text
    place = text.split("location = /health {")[1].split("\n    }")[0]
    assert "auth_request /.provision-health/database;" in place
    assert "auth_basic" not in place
    small = replace(guest(), seen=guest().seen.put(NginxBuildProbe(), NginxBuild(False)))
    assert "/health" not in content(proxy.STEP, small, proxy.SITE)
    (said,) = (check for check in proxy.STEP.preflight(small) if check.id == "nginx-health")
    assert (said.status, "auth_request" in said.detail) == ("warn", True)
