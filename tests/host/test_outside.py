"""What another machine sees of a server: its open ports, and an SSH server like the one that was there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost

from .conftest import Stack

SCANNER = "10.151.0.77"
# Every port, 500 at a time; one that nobody answers at is closed at once on this network.
SCAN = """
import asyncio, sys
async def main(address):
    gate = asyncio.Semaphore(500)
    async def one(port):
        async with gate:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
            except (OSError, asyncio.TimeoutError):
                return None
            writer.close()
            return port
    print(*(port for port in await asyncio.gather(*map(one, range(1, 65536))) if port))
asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[LabHost]:
    """A server of the same image that nothing was done to."""
    with hosts.running("t-outside", SCANNER) as host:
        yield host


def ports(scanner: LabHost, address: str) -> set[int]:
    return {int(port) for port in scanner.check(f"python3 - {address}", stdin=SCAN, seconds=180).split()}


def algorithms(address: str) -> dict[str, Any]:
    """What ssh-audit finds, without the keys themselves: they differ from host to host."""
    program = [sys.executable, "-m", "ssh_audit.ssh_audit", "--json", "--skip-rate-test", address]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return {
        "banner": found["banner"]["raw"],
        **{kind: [each["algorithm"] for each in found[kind]] for kind in ("kex", "enc", "mac", "key")},
        "compression": found["compression"],
        "fingerprints": sorted({each["hostkey"] for each in found["fingerprints"]}),
    }


def test_another_machine_finds_ssh_and_the_one_port_and_nothing_else(stack: Stack, bare: LabHost) -> None:
    assert ports(bare, stack.address) == {22, 5000}
    stack.on("systemd-run -q --unit=t-forgotten python3 -m http.server 34567")
    try:
        end = time.monotonic() + 60
        while stack.host.exec("ss -Hltn sport = :34567 | grep -q .").rc != 0:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert ports(bare, stack.address) == {22, 5000, 34567}, "what somebody forgot would be found"
    finally:
        stack.on("systemctl stop t-forgotten")


def test_the_ssh_server_offers_what_it_offered_before(stack: Stack, bare: LabHost) -> None:
    assert algorithms(stack.address) == algorithms(bare.address)
