from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import record, schema
from provisioner.errors import Exit, Refused, UsageError
from provisioner.settings import Binary, Installed, Recorded, binary, effective, kept, with_installed
from provisioner.switches import switches

SHA = "a" * 64
OTHER = "b" * 64

networks = st.integers(0, 255).map(lambda n: f"10.{n}.0.0/16")
choices = st.fixed_dictionaries(
    {},
    optional={
        "store.engine": st.sampled_from(["minio", "seaweedfs"]),
        "store.bucket": st.sampled_from(["mlflow", "other-bucket"]),
        "store.expose": st.booleans(),
        "store.data": st.sampled_from(["/srv/one", "/srv/two"]),
        "database.name": st.sampled_from(["mlflow", "tracking"]),
        "database.allow": st.lists(networks, max_size=3, unique=True).map(tuple),
        "database.settings.work_mem": st.sampled_from(["4MB", "8MB"]),
        "mlflow.workers": st.integers(1, 64),
        "mlflow.env.MLFLOW_A": st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20),
        "mlflow.env.MLFLOW_B": st.sampled_from(["1", "2"]),
        "access.port": st.sampled_from([5000, 8080]),
        "access.names": st.sampled_from([("a.example",), ("10.0.0.1", "b.example")]),
        "access.auth": st.sampled_from(["password", "none"]),
        "access.public_http": st.booleans(),
    },
)


def _again(settings: Any) -> record.Recorded:
    return record.parse_recorded(record.dump_recorded(settings, "h"), "h")


@given(choices, choices)
def test_a_plain_re_run_keeps_every_choice(flags: dict[str, Any], inventory: dict[str, Any]) -> None:
    first = effective(flags, inventory)
    again = effective({}, {}, _again(first))
    assert again == first
    assert record.dump_recorded(again, "h") == record.dump_recorded(first, "h")
    assert switches(_again(first), again) == ()


@given(choices, choices, choices)
def test_flags_win_over_the_inventory_and_that_over_the_record(
    flags: dict[str, Any], inventory: dict[str, Any], before: dict[str, Any]
) -> None:
    settings = effective(flags, inventory, _again(effective(before, {})))
    for dotted in schema.known():
        if schema.known()[dotted].kind == "table" or dotted == "store.data":
            continue
        if dotted in flags:
            assert (settings.get(dotted), settings.origins[dotted]) == (flags[dotted], "flag")
        elif dotted in inventory:
            assert (settings.get(dotted), settings.origins[dotted]) == (inventory[dotted], "inventory")
    for name in ("MLFLOW_A", "MLFLOW_B"):
        for layer in (flags, inventory, before):
            if f"mlflow.env.{name}" in layer:
                assert settings.mlflow.env[name] == layer[f"mlflow.env.{name}"]
                break
        else:
            assert name not in settings.mlflow.env


def test_defaults_serve_one_server() -> None:
    settings = effective({}, {})
    assert settings.store.engine == "minio"
    assert settings.store.data == "/opt/minio/data"
    assert (settings.mlflow.version, settings.mlflow.workers) == ("3.17.2", 2)
    assert (settings.access.door_port, settings.access.auth) == (5000, "password")
    assert set(settings.origins.values()) == {"default"}


def test_a_recorded_setting_that_the_inventory_does_not_name_is_kept_and_reported() -> None:
    before = _again(effective({"mlflow.workers": 8, "mlflow.env.MLFLOW_A": "1", "store.bucket": "b-b"}, {}))
    settings = effective({}, {"store.bucket": "b-b"}, before)
    assert kept(settings, {"store.bucket": "b-b"}) == (("mlflow.workers", 8), ("mlflow.env.MLFLOW_A", "1"))
    assert kept(settings, None) == ()


def test_a_whole_table_on_the_command_line_replaces_what_was_recorded() -> None:
    before = _again(effective({"mlflow.env.MLFLOW_A": "1", "mlflow.env.MLFLOW_B": "2"}, {}))
    assert effective({"mlflow.env": {}}, {}, before).mlflow.env == {}
    assert effective({"mlflow.env": {"C": "3"}}, {"mlflow.env.D": "4"}, before).mlflow.env == {"C": "3"}
    assert effective({"mlflow.env.MLFLOW_A": "9"}, {}, before).mlflow.env == {"MLFLOW_A": "9", "MLFLOW_B": "2"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store.engine", "seaweedfs"),
        ("store.data", "/srv/other"),
        ("store.bucket", "other"),
        ("database.name", "other"),
        ("database.user", "other"),
        ("artifacts.mode", "direct"),
        ("artifacts.prefix", "artifacts"),
    ],
)
def test_a_switch_of_what_holds_data_is_named_with_its_reason(key: str, value: str) -> None:
    before = _again(effective({}, {}))
    found = switches(before, effective({key: value}, {}, before))
    assert [each.key for each in found] == [key]
    assert found[0].wanted == value
    assert found[0].why
    assert found[0].next
    assert switches(None, effective({key: value}, {})) == ()


@pytest.mark.parametrize(
    ("recorded", "wanted", "words"),
    [
        ({}, {"artifacts.mode": "direct"}, ("no object would have to move", "to s3://mlflow/", "clients need boto3")),
        (
            {"artifacts.mode": "direct", "artifacts.prefix": "a"},
            {"artifacts.mode": "proxied"},
            ("at s3://mlflow/a/", "to mlflow-artifacts:/", "clients drop the key"),
        ),
        ({}, {"artifacts.prefix": "a/b"}, ("every object would have to move", "s3://mlflow/a/b/", "change nothing")),
        (
            {"artifacts.mode": "direct", "artifacts.prefix": "a"},
            {"artifacts.prefix": "b"},
            ("below s3://mlflow/a/", "key would open s3://mlflow/b/ only", "each of these addresses"),
        ),
        ({}, {"store.engine": "seaweedfs"}, ("every object would have to move", "clients change nothing")),
        ({}, {"store.bucket": "other"}, ("every object would have to move",)),
    ],
)
def test_a_switch_of_the_artifacts_says_what_moves_what_clients_change_and_how_it_is_done_by_hand(
    recorded: dict[str, str], wanted: dict[str, str], words: tuple[str, ...]
) -> None:
    before = _again(effective(recorded, {}))
    (found,) = switches(before, effective(wanted, {}, before))
    assert [part for part in words if part not in found.why] == []
    assert "docs/switching.md" in found.next
    assert "rm /etc/provision/had/bucket-mlflow" in found.next
    key = next(iter(wanted))
    was = recorded.get(key, before.values.get(key))
    assert found.next.startswith(f"keep it: --set {key}={was}," if was else f"keep it: leave {key} out")


def test_settings_that_move_no_data_are_no_switch() -> None:
    before = _again(effective({}, {}))
    wanted = effective({"mlflow.workers": 9, "access.port": 8080, "access.auth": "none"}, {}, before)
    assert switches(before, wanted) == ()


def test_another_mlflow_version_than_the_recorded_one_is_the_upgrades_work() -> None:
    text = record.dump_recorded(effective({}, {}), "h").replace("3.17.2", "3.16.0")
    before = record.parse_recorded(text, "h")
    with pytest.raises(Refused, match=r"3\.16\.0"):
        effective({}, {}, before)
    found = switches(before, effective({"mlflow.version": "3.17.2"}, {}, before))
    assert [each.key for each in found] == ["mlflow.version"]
    assert "keep the recorded version" in found[0].next


# --- where MinIO's binary comes from


def test_without_a_choice_the_pinned_release_is_the_source() -> None:
    assert binary(effective({}, {})) == Binary("default")


def test_a_re_run_keeps_the_installed_binary_and_needs_no_file() -> None:
    first = effective({"store.binary": "/home/me/minio"}, {})
    assert binary(first) == Binary("file", path="/home/me/minio")
    again = effective({}, {}, _again(with_installed(first, Installed("file", SHA, "my build"))))
    assert again.store.binary is None
    assert binary(again) == Binary("file", wanted=SHA, version="my build")
    assert binary(again, hint="/home/me/minio").path == "/home/me/minio"
    assert "/home/me" not in record.dump_recorded(again, "h")


def test_a_later_release_of_this_tool_does_not_replace_the_recorded_default() -> None:
    installed = Installed("default", SHA, "silo 2026-09-16", "https://example.com/silo.tar.gz", OTHER)
    again = effective({}, {}, _again(with_installed(effective({}, {}), installed)))
    assert binary(again) == Binary(
        "default", wanted=SHA, url="https://example.com/silo.tar.gz", sha256=OTHER, version="silo 2026-09-16"
    )


def test_a_mirror_sticks_until_another_source_is_named() -> None:
    chosen = {"store.url": "https://m.example/minio", "store.sha256": OTHER}
    first = with_installed(effective(chosen, {}), Installed("url", SHA, "", "https://m.example/minio", OTHER))
    before = _again(first)
    same = Binary("url", wanted=SHA, url="https://m.example/minio", sha256=OTHER)
    assert binary(effective({}, {}, before)) == same
    assert binary(effective({}, chosen, before)) == same
    assert binary(effective({"store.sha256": SHA}, {}, before)).wanted is None
    assert binary(effective({"store.binary": "/x"}, chosen, before)) == Binary("file", path="/x")
    assert binary(effective({"store.url": "default"}, {}, before)) == Binary("default")


def test_sources_that_contradict_each_other_are_usage_errors() -> None:
    for flags, inventory in (
        ({"store.binary": "/x", "store.url": "https://m.example/x", "store.sha256": SHA}, {}),
        ({"store.url": "https://m.example/x"}, {}),
        ({"store.sha256": SHA}, {}),
        ({"store.engine": "seaweedfs", "store.binary": "/x"}, {}),
        ({"store.engine": "seaweedfs"}, {"store.binary": "/x"}),
    ):
        with pytest.raises(UsageError) as caught:
            effective(flags, inventory)
        assert caught.value.exit == Exit.USAGE


def test_another_engine_takes_neither_the_directory_nor_the_binary_of_the_old_one() -> None:
    before = _again(
        with_installed(effective({"store.data": "/srv/m"}, {}), Installed("url", SHA, "", "https://m/x", OTHER))
    )
    settings = effective({"store.engine": "seaweedfs"}, {}, before)
    assert settings.store.data == "/opt/seaweedfs/data"
    assert settings.installed is None
    assert effective({"store.engine": "seaweedfs"}, {"store.data": "/srv/s"}, before).store.data == "/srv/s"


# --- the record


def test_the_record_is_toml_that_says_who_wrote_it_and_holds_no_path_of_the_operator() -> None:
    text = record.dump_recorded(effective({"store.binary": "/home/me/minio", "store.sha256": SHA}, {}), "h")
    assert text.startswith("# Written by provision")
    assert "schema = 1" in text
    assert "/home/me" not in text
    assert SHA not in text


def test_a_recorded_stack_keeps_its_name_whatever_its_host_is_called_today() -> None:
    text = record.dump_recorded(effective({}, {}), "10.0.0.1")
    again = effective({}, {}, record.parse_recorded(text, "web"))
    assert record.dump_recorded(again, "web") == text


def test_a_build_of_any_name_can_be_recorded_and_read_again() -> None:
    for name in ("silo 2026-09-16, known holes", "\x1b[31m\n", "é" * 500, ""):
        settings = with_installed(effective({}, {}), Installed("file", SHA, name))
        assert record.parse_recorded(record.dump_recorded(settings, "h"), "h").installed is not None


def test_keys_of_a_newer_version_are_kept_and_returned_for_the_report() -> None:
    text = record.dump_recorded(effective({}, {}), "h")
    text = text.replace("[store]\n", '[store]\ntier = "cold"\n') + '\n[backup]\nto = "s3://x"\n'
    parsed = record.parse_recorded(text, "h")
    assert parsed.foreign == {"store.tier": "cold", "backup": {"to": "s3://x"}}
    again = record.dump_recorded(effective({}, {}, parsed), "h")
    assert record.parse_recorded(again, "h").foreign == parsed.foreign


GOOD = record.dump_recorded(effective({"access.port": 5000}, {}), "h")
HOSTILE = [
    "",
    "schema = 2\n",
    "schema = true\n",
    'schema = "1"\n',
    "schema = 1\nstack = 5\n",
    'schema = 1\nstack = "a\\u0000b"\n',
    "schema = 1\nstore = 1\n",
    "not toml",
    "a = " + "[" * 5000,
    "schema = " + "9" * 5000,
    "#" * (record.LIMIT + 1),
    GOOD.replace('"minio"', '"oracle"'),
    GOOD.replace("5000", "99999"),
    GOOD.replace("/opt/minio/data", "/etc/../etc"),
    GOOD.replace('bucket = "mlflow"', 'bucket = "$(reboot)"'),
    GOOD.replace("[store]\n", '[store]\nbinary = "/etc/passwd"\n'),
    GOOD + '\n[store.installed]\nsource = "file"\n',
    GOOD + f'\n[store.installed]\nsource = "ftp"\nsha256 = "{SHA}"\n',
    GOOD + f'\n[store.installed]\nsource = "file"\nsha256 = "{SHA}"\nversion = "\\u001b[2J"\n',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_record_that_cannot_be_trusted_is_refused_with_the_file_and_a_way_on(text: str) -> None:
    with pytest.raises(Refused) as caught:
        record.parse_recorded(text, "web-1")
    error = caught.value
    assert "/etc/provision/stack.toml on web-1" in error.what
    assert error.next
    assert all(c.isprintable() for c in error.what + error.why)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_record_parser_fail_otherwise(raw: bytes) -> None:
    with pytest.raises(Refused):
        record.parse_recorded(raw, "h")


@pytest.mark.parametrize(
    ("chosen", "recorded", "scheme", "port"),
    [
        ({}, {}, "http", 5000),
        ({"access.tls": "internal"}, {}, "https", 443),
        ({"access.tls": "internal"}, {"access.port": 5000}, "https", 5000),
        ({"access.tls": "internal", "access.port": 8443}, {}, "https", 8443),
    ],
)
def test_the_port_follows_from_the_scheme_unless_it_was_chosen(
    chosen: dict[str, object], recorded: dict[str, object], scheme: str, port: int
) -> None:
    access = effective(chosen, {}, Recorded("s", recorded)).access
    assert (access.scheme, access.door_port) == (scheme, port)


def test_a_port_that_nobody_chose_is_not_recorded() -> None:
    assert "port" not in record.dump_recorded(effective({}, {}), "h").split("[access]")[1]
