"""The lab proves itself: its hosts behave like servers, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from provisioner.errors import Refused
from provisioner.lab import hosts, layers, mounts, process
from provisioner.lab.host import LabHost
from provisioner.lab.places import HOSTS
from provisioner.secrets import Secret

pytestmark = [pytest.mark.host, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NAME, ADDRESS = "lab-test", "10.151.0.10"
OTHER, OTHER_ADDRESS = "lab-other", "10.151.0.11"


@pytest.fixture
def host() -> Iterator[LabHost]:
    with hosts.running(NAME, ADDRESS) as running:
        yield running


def test_a_host_reaches_running_and_the_outside(host: LabHost) -> None:
    assert host.check("systemctl is-system-running --wait") == "running\n"
    assert host.check("apt-get update -q >&2; apt-get -q --print-uris download hello").count("http") >= 1


def test_the_labs_key_opens_it_and_only_its_own_host_key_is_trusted(host: LabHost) -> None:
    done = subprocess.run([*host.ssh(), "hostname"], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == f"{NAME}\n"


def test_a_reboot_keeps_disk_and_keys(host: LabHost) -> None:
    host.check("echo 1 >/root/mark; echo 1 >/run/mark")
    again = hosts.reboot(NAME)
    assert again.host_keys() == host.host_keys()
    assert again.exec("cat /root/mark; test ! -e /run/mark").rc == 0


def test_a_reset_host_is_a_new_server_at_the_old_address(host: LabHost) -> None:
    before = host.host_keys()
    host.check("echo 1 >/root/mark")
    again = hosts.reset(NAME)
    assert again.address == host.address
    assert again.host_keys() != before
    assert again.exec("test -e /root/mark").rc == 1


def test_others_start_from_a_snapshot_with_keys_of_their_own(host: LabHost) -> None:
    host.check("mkdir -p /opt/app/v1 && echo 1 >/opt/app/v1/mark")
    layer = hosts.snapshot(NAME)
    try:
        with hosts.running(OTHER, OTHER_ADDRESS, layer=layer) as other:
            # Renaming a directory of a lower layer must work as on any server.
            assert other.check("mv /opt/app/v1 /opt/app/v2 && cat /opt/app/v2/mark; hostname") == f"1\n{OTHER}\n"
            assert other.host_keys() != host.host_keys()
            keys = other.host_keys()
            again = hosts.rewind(OTHER)
            assert again.check("cat /opt/app/v1/mark") == "1\n"
            assert again.host_keys() == keys
        with pytest.raises(Refused):
            layers.remove(layer)
    finally:
        hosts.stop(NAME)
        layers.remove(layer)


def test_stopping_a_unit_of_one_host_leaves_the_same_unit_of_another(host: LabHost) -> None:
    with hosts.running(OTHER, OTHER_ADDRESS) as other:
        host.check("systemctl stop ssh")
        assert other.check("systemctl is-active ssh") == "active\n"


def test_a_command_past_its_time_is_ended_with_its_children(host: LabHost) -> None:
    started = time.monotonic()
    assert host.exec("sleep 4242 & sleep 4242", seconds=0.5).rc == 124
    assert time.monotonic() - started < 5
    time.sleep(0.2)
    assert host.exec("pgrep -f 'sleep 424[2]'").rc == 1


def test_a_second_host_of_that_name_or_address_is_refused(host: LabHost) -> None:
    with pytest.raises(Refused, match="already"):
        hosts.start(NAME, OTHER_ADDRESS)
    with pytest.raises(Refused, match="taken"):
        hosts.start(OTHER, ADDRESS)


def test_a_sudo_user_needs_the_password_it_was_given() -> None:
    user = hosts.SudoUser("ops", Secret("p w'$x"), nopasswd=False)
    with hosts.running(NAME, ADDRESS, sudo_user=user, sshd=["AllowTcpForwarding no"]) as host:
        command = [*host.ssh("ops"), "sudo -n true || sudo -S -p '' id -u"]
        done = subprocess.run(command, input="p w'$x\n", capture_output=True, text=True, timeout=30, check=False)
        assert done.stdout == "0\n"
        assert "allowtcpforwarding no" in host.check("sshd -T")


@pytest.mark.parametrize("delay", [0.2, 0.5])
def test_what_a_killed_start_left_is_cleaned_up(delay: float) -> None:
    hosts.stop(NAME)
    child = subprocess.Popen([sys.executable, "-m", "provisioner.lab", "up", NAME, ADDRESS])
    time.sleep(delay)
    child.kill()
    child.wait()
    hosts.stop(NAME)
    assert not (HOSTS / NAME).exists()
    assert mounts.at_or_below(HOSTS / NAME) == []
    assert NAME not in process.leftovers()


def test_a_host_whose_nspawn_was_killed_is_off_and_boots_again(host: LabHost) -> None:
    os.kill(host.pid, signal.SIGKILL)
    time.sleep(0.3)
    with pytest.raises(Refused, match="not running"):
        hosts.get(NAME)
    assert hosts.boot(NAME).check("systemctl is-system-running --wait") == "running\n"
