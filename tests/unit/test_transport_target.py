"""What a host may look like, and where ~/.ssh/config leads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import UsageError
from provisioner.secrets import Secret
from provisioner.transport.sshconfig import ConnectOptions, Endpoint, config_text, decides, resolve
from provisioner.transport.target import Target, bracketed, parse_target


@pytest.mark.parametrize(
    ("text", "name", "user", "port"),
    [
        ("10.151.0.1", "10.151.0.1", None, None),
        ("root@10.151.0.1:2222", "10.151.0.1", "root", 2222),
        ("web-1.example.org", "web-1.example.org", None, None),
        ("my_alias", "my_alias", None, None),
        ("::1", "::1", None, None),
        ("ops@fe80::1%eth0", "fe80::1%eth0", "ops", None),
        ("ops@[2001:db8::1]:2222", "2001:db8::1", "ops", 2222),
        ("[2001:db8::1]", "2001:db8::1", None, None),
        ("first.last@corp.example@10.0.0.1", "10.0.0.1", "first.last@corp.example", None),
        ("CORP\\ops@h", "h", "CORP\\ops", None),
    ],
)
def test_every_usual_way_to_write_a_host_is_read(text: str, name: str, user: str | None, port: int | None) -> None:
    assert parse_target(text) == Target(text, name, user, port)


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a\tb", "a\nb", "a\x00b", "a\x7f", "\u00a0h", "h\u2028", "h" * 600, "-", "-oProxyCommand=id"]  # noqa: RUF005
    + ["root@-x", "-x@host", "h:0", "h:65536", "h:", "h:2²", "h:22a", "@h", "h@", "[::1", "[::1]x", "[h]:22", "::g"]
    + ["1:2:3", "h;id", "$(id)", "`id`", "h|x", "h'", 'h"', "h/..", "a..b", "u$(id)@h", "ünï", "h%eth0", "~h", "h*"]
    + [".h", "h-"],
)
def test_hostile_or_senseless_hosts_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError) as failure:
        parse_target(text)
    assert failure.value.why


@given(st.text(max_size=40))
def test_what_is_accepted_has_no_sign_a_shell_or_ssh_would_act_on(text: str) -> None:
    try:
        target = parse_target(text)
    except UsageError:
        return
    assert not target.text.startswith("-")
    assert not set(target.name) & set(" '\"`;|&<>(){}*?!#~/\\$\n\t@,")


def test_names_off_port_22_are_bracketed_as_in_known_hosts() -> None:
    assert (bracketed("h", 22), bracketed("::1", 2222)) == ("h", "[::1]:2222")


def home(tmp_path: Path, text: str, **more: str) -> Path:
    folder = tmp_path / ".ssh"
    folder.mkdir(exist_ok=True)
    (folder / "config").write_text(text)
    for name, content in more.items():
        (folder / name).write_text(content)
    return tmp_path


def found(tmp_path: Path, text: str, target: str, options: ConnectOptions | None = None, **more: str) -> Endpoint:
    from paramiko.config import SSHConfig

    config = config_text(home(tmp_path, text, **more), tmp_path / "none")
    return resolve(parse_target(target), options or ConnectOptions(), SSHConfig.from_text(config))


def test_the_text_wins_over_flags_and_flags_over_the_configuration(tmp_path: Path) -> None:
    text = "Host web\n HostName 10.0.0.7\n User conf\n Port 2200\n IdentityFile ~/k\n"
    plain = found(tmp_path, text, "web")
    assert (plain.hostname, plain.user, plain.port, plain.key_name) == ("10.0.0.7", "conf", 2200, "10.0.0.7")
    assert plain.identities == (Path("~/k").expanduser(),)
    flags = found(tmp_path, text, "web", ConnectOptions(user="flag", port=23, identity=Path("/k2")))
    assert (flags.user, flags.port, flags.identities, flags.identities_only) == ("flag", 23, (Path("/k2"),), True)
    assert found(tmp_path, text, "me@web:24", ConnectOptions(user="flag", port=23)).user == "me"
    assert found(tmp_path, text, "web:24", ConnectOptions(port=23)).port == 24


def test_jumps_are_followed_nearest_first_and_circles_end(tmp_path: Path) -> None:
    text = (
        "Host inner\n ProxyJump b\nHost b\n HostName 10.0.0.2\n ProxyJump u@a:2201\nHost a\n HostName 10.0.0.1\n"
        "Host self\n ProxyJump self\n"
    )
    hops = found(tmp_path, text, "inner").jumps
    assert [(hop.hostname, hop.port) for hop in hops] == [("10.0.0.1", 2201), ("10.0.0.2", 22)]
    assert hops[0].user == "u"
    assert found(tmp_path, text, "self").jumps == ()
    assert found(tmp_path, text, "inner", ConnectOptions(jump="none")).jumps == ()
    over = found(tmp_path, text, "inner", ConnectOptions(jump="x,y"))
    assert [hop.hostname for hop in over.jumps] == ["x", "y"]
    with pytest.raises(UsageError):
        found(tmp_path, text, "inner", ConnectOptions(jump="-oProxyCommand=id"))


def test_the_final_hosts_user_and_port_are_not_the_gateways(tmp_path: Path) -> None:
    gate = found(tmp_path, "Host gate\n User g\n", "h", ConnectOptions(user="u", port=99, jump="gate")).jumps[0]
    assert (gate.user, gate.port) == ("g", 22)


def test_included_files_count_and_do_not_end_the_block_they_are_in(tmp_path: Path) -> None:
    end = found(
        tmp_path,
        "Include extra\nHost web\n Include part\n User after\n",
        "web",
        extra="Host web\n Port 2\n",
        part="Host x\n",
    )
    assert (end.port, end.user) == (2, "after")


def test_a_stock_configuration_is_known_not_to_matter(tmp_path: Path) -> None:
    system = tmp_path / "ssh_config"
    system.write_text("Include conf.d/*.conf\nHost *\n#   Port 22\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n")
    assert not decides(config_text(tmp_path, system))
    for line in ("Port 2", "Host x", "  ProxyJump=b", "Match all", "User u", "UserKnownHostsFile /dev/null"):
        assert decides(config_text(home(tmp_path, line + "\n"), system)), line


def test_options_that_make_no_sense_are_usage_errors() -> None:
    for more in ({"sudo": "always"}, {"pin": "MD5:aa"}, {"password": Secret("two\nlines")}):
        with pytest.raises(UsageError):
            ConnectOptions(**more)  # type: ignore[arg-type]
