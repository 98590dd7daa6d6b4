from __future__ import annotations

import pytest

from provisioner.errors import Refused
from provisioner.lab import identity, images, surroundings
from provisioner.lab.surroundings import Surroundings

DEB822 = """\
Types: deb
URIs: https://mirror.example/debian/
Suites: trixie trixie-updates
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: trixie

Types: deb
Enabled: no
URIs: http://off.example/debian-security
Suites: trixie-security

Types: deb
URIs: https://mirror.example/debian-security
Suites: trixie-security
"""


def test_a_debian_machines_own_mirrors_are_used() -> None:
    found = surroundings.mirrors({"debian.sources": DEB822})
    assert found == ("https://mirror.example/debian", "https://mirror.example/debian-security")


def test_one_line_sources_are_understood_and_others_passed_over() -> None:
    text = (
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k] http://near.example/debian bookworm main\n"
        "deb http://near.example/debian-security bookworm-security main\n"
        "deb cdrom:[x]/ bookworm main\n"
    )
    assert surroundings.mirrors({"sources.list": text}) == (
        "http://near.example/debian",
        "http://near.example/debian-security",
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deb http://mirror.example/ubuntu noble main\n",
        "deb http://security.example/ubuntu noble-security main\n",
    ],
)
def test_a_machine_that_is_no_debian_leaves_the_choice_to_mmdebstrap(text: str) -> None:
    assert surroundings.mirrors({"a.list": text}) == ("", "")


def test_apts_proxy_goes_with_the_image_and_nothing_else_of_apt_does() -> None:
    dump = 'Acquire::http::Proxy "http://p:3128";\nAcquire::https::Proxy "";\nDPkg::Pre-Invoke:: "rm -rf /";\n'
    assert surroundings.apt_settings(dump, {}) == ('Acquire::http::Proxy "http://p:3128";',)


def test_the_environments_proxy_counts_where_apt_has_none() -> None:
    dump = 'Acquire::http::Proxy "http://apt:1";\n'
    found = surroundings.apt_settings(dump, {"http_proxy": "http://env:1", "https_proxy": "http://env:2"})
    assert found == ('Acquire::http::Proxy "http://apt:1";', 'Acquire::https::Proxy "http://env:2";')


def test_a_variable_that_would_break_out_of_its_line_is_left_out() -> None:
    environ = {"PIP_INDEX_URL": "https://i.example/simple", "http_proxy": 'x"\nLD_PRELOAD=/x', "HOME": "/root"}
    assert surroundings.environment(environ) == 'PIP_INDEX_URL="https://i.example/simple"\n'


def test_an_image_is_another_when_anything_it_depends_on_changes() -> None:
    base = images.recipe("trixie", "plain", (), Surroundings())
    others = [
        images.recipe("bookworm", "plain", (), Surroundings()),
        images.recipe("trixie", "sudo-rs", (), Surroundings()),
        images.recipe("trixie", "plain", ("nginx",), Surroundings()),
        images.recipe("trixie", "plain", (), Surroundings(mirror="http://m.example/debian")),
        images.recipe("trixie", "plain", (), Surroundings(files={"/etc/pip.conf": b"x"})),
    ]
    assert len({base.directory, *(other.directory for other in others)}) == 6
    assert images.recipe("trixie", "plain", (), Surroundings()).directory == base.directory


@pytest.mark.parametrize(("suite", "variant"), [("noble", "plain"), ("bookworm", "sudo-rs"), ("trixie", "../x")])
def test_an_image_that_cannot_be_built_is_refused(suite: str, variant: str) -> None:
    with pytest.raises(Refused):
        images.recipe(suite, variant, (), Surroundings())


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("nameserver 192.0.2.53\n", True),
        ("nameserver 127.0.0.53\noptions edns0\n", False),
        ("nameserver ::1\n", False),
        ("nameserver fe80::1%eth0\n", True),
        ("nameserver\n# none\n", False),
    ],
)
def test_a_resolver_on_the_machines_own_loopback_is_of_no_use_to_a_host(text: str, usable: bool) -> None:
    assert identity.usable_resolver(text) is usable


def test_a_hosts_hardware_address_follows_its_ip_address() -> None:
    assert "MACAddress=02:00:0a:97:00:0c\n" in identity.networkd("10.151.0.12")
    assert "Address=10.151.0.12/24\n" in identity.networkd("10.151.0.12")
