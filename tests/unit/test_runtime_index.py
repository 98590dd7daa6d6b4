"""Where a host looks for packages: provisioner/runtime/host_index.py and run_uv.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.runtime import host_index, programs
from provisioner.runtime.host_index import (
    HostIndex,
    discover,
    environment_file,
    pip_settings,
    uv_environment,
    uv_indexes,
    without_credentials,
)
from provisioner.runtime.public_index import public_index


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder that stands for a host without any settings."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "etc/uv").mkdir(parents=True)
    return tmp_path


def settings(host: Path, **environ: str) -> HostIndex:
    return discover(environ, str(host))


def test_a_host_without_settings_asks_the_public_index(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_index, "PUBLIC_INDEX", "https://index.test/simple")
    found = settings(host)
    assert found.indexes == ("https://index.test/simple",)
    assert found.source == "default"
    assert uv_environment({}, found) == {}


def test_pip_conf_names_the_index_and_uv_is_told(host: Path) -> None:
    (host / "etc/pip.conf").write_text("[global]\nindex-url = https://u:p@mirror.test/simple/\ncert=/ca.pem\n")
    found = settings(host)
    assert found.indexes == ("https://u:p@mirror.test/simple",)
    extra = uv_environment({}, found)
    assert extra["UV_DEFAULT_INDEX"] == "https://u:p@mirror.test/simple"
    assert extra["SSL_CERT_FILE"] == "/ca.pem"


def test_the_install_section_wins_over_the_global_one() -> None:
    text = "[global]\nindex_url = https://a.test\ntimeout = 5\n[install]\nindex-url = https://b.test\n"
    assert pip_settings(text)["index-url"] == "https://b.test"


def test_a_broken_pip_conf_counts_as_empty() -> None:
    assert pip_settings("index-url = https://a.test\n[global") == {}


def test_variables_win_over_files_and_uv_wins_over_pip(host: Path) -> None:
    (host / "etc/pip.conf").write_text("[global]\nindex-url = https://file.test/simple\n")
    assert settings(host, PIP_INDEX_URL="https://pip.test/s").indexes == ("https://pip.test/s",)
    both = settings(host, PIP_INDEX_URL="https://pip.test/s", UV_DEFAULT_INDEX="corp=https://uv.test/s")
    assert both.indexes == ("https://uv.test/s",)


def test_uv_toml_gives_a_default_and_further_indexes(host: Path) -> None:
    text = """
    # closed network
    [[index]]
    name = "corp"
    url = "https://corp.test/simple"
    default = true
    [[index]]
    url = 'https://extra.test/simple'
    """
    assert uv_indexes(text) == (["https://extra.test/simple"], "https://corp.test/simple")
    (host / "etc/uv/uv.toml").write_text(text)
    found = settings(host)
    assert found.indexes == ("https://extra.test/simple", "https://corp.test/simple")
    assert "UV_DEFAULT_INDEX" not in uv_environment({}, found), "uv reads its own file"


def test_flat_keys_of_uv_toml_are_read() -> None:
    text = 'index-url = "https://a.test/s"\nextra-index-url = ["https://b.test/s", "https://c.test/s"]\n'
    assert uv_indexes(text) == (["https://b.test/s", "https://c.test/s"], "https://a.test/s")


def test_proxies_of_etc_environment_reach_uv(host: Path) -> None:
    (host / "etc/environment").write_text(
        'PATH="/usr/bin"\nexport https_proxy="http://u:p@proxy.test:3128"\nNO_PROXY=.corp\n'
    )
    extra = uv_environment({}, settings(host))
    assert extra == {"https_proxy": "http://u:p@proxy.test:3128", "no_proxy": ".corp"}


def test_the_environment_wins_over_etc_environment(host: Path) -> None:
    (host / "etc/environment").write_text("https_proxy=http://old.test:1\n")
    assert settings(host, https_proxy="http://new.test:2").proxies["https_proxy"] == "http://new.test:2"


def test_no_index_leaves_only_the_folders(host: Path) -> None:
    found = settings(host, PIP_NO_INDEX="1", PIP_FIND_LINKS="/srv/wheels")
    assert found.indexes == ()
    assert found.links == ("/srv/wheels",)
    assert uv_environment({}, found) == {"UV_NO_INDEX": "1", "UV_FIND_LINKS": "/srv/wheels"}


def test_an_address_that_is_not_http_is_never_asked(host: Path) -> None:
    assert settings(host, PIP_INDEX_URL="file:///etc/passwd").indexes == ()


@pytest.mark.parametrize(
    ("line", "value"),
    [("A=b", "b"), ("A='b c'", "b c"), ('export A="b"', "b"), ("A=", ""), ("A=b=c", "b=c")],
)
def test_etc_environment_is_read_as_pam_reads_it(line: str, value: str) -> None:
    assert environment_file(f"# A=no\n{line}\nnot a line\n") == {"A": value}


def test_credentials_are_not_shown() -> None:
    assert without_credentials("to https://u:p@h.test/x failed") == "to https://h.test/x failed"


def test_the_program_for_a_host_carries_the_operators_pips_own_default() -> None:
    known = public_index()
    assert known.startswith("https://")
    assert f"PUBLIC_INDEX = {known!r}" in programs.program("fetch_wheel")
