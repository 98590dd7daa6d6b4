"""What kind of machine a host is, read from what its shell and its tools say."""

from __future__ import annotations

import os
import platform

import pytest
import shells

from provisioner.resources.facts import Facts, FactsProbe, Listener


def parsed(output: bytes) -> Facts:
    (facts,) = FactsProbe.parse([FactsProbe()], output)
    return facts


@pytest.mark.parametrize("shell", shells.SHELLS, ids=lambda s: s[0])
def test_under_every_shell_it_is_this_machine(shell: list[str]) -> None:
    done = shells.run(shell, FactsProbe.fragment([FactsProbe()]).encode())
    facts = parsed(done.stdout)
    assert done.returncode == 0
    assert (facts.kernel_machine, facts.hostname) == (platform.machine(), platform.node()[:64])
    assert set(facts.free) == {"/", "/opt", "/var/lib", "/var/cache", "/tmp", "/etc"}
    assert facts.root == (os.geteuid() == 0)
    assert facts.memory > 2**20
    assert facts.now > 0


def test_the_fragment_passes_shellcheck() -> None:
    assert shells.lint(FactsProbe.fragment([FactsProbe()])) == ""


def test_tables_are_read_and_a_name_in_them_is_no_fact() -> None:
    facts = parsed(
        b"names=h x86_64\nuid=0\nbelow=/opt|/\nbelow=/tmp|/tmp\n   Avail File\nfree=10|/\nfree=-|/tmp\n"
        b"2: uid=7    inet 10.0.0.1/24 brd 10.0.0.255 scope global\\\n2: e    inet6 fe80::1/64 scope link\n"
        b'LISTEN 0      511      0.0.0.0:5000  0.0.0.0:* users:(("uid=7",pid=812,fd=7))\n'
        b"LISTEN 0      128    [::1%lo]:22    [::]:*\n"
    )
    assert facts.root
    assert facts.free == {"/opt": 10240}
    assert facts.addresses == ("10.0.0.1", "fe80::1")
    assert facts.listeners == (Listener("0.0.0.0", 5000, "uid=7, pid 812"), Listener("::1", 22, ""))
