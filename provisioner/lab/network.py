"""The lab's network: one bridge, one address range, one masquerade rule for package downloads."""

from __future__ import annotations

import ipaddress
import json
import shutil
from pathlib import Path

from provisioner.errors import ProvisionError, Refused
from provisioner.lab.machine import run
from provisioner.lab.places import locked

RANGE = ipaddress.IPv4Network("10.151.0.0/24")
GATEWAY = ipaddress.IPv4Address("10.151.0.254")
BRIDGE = "provlab0"
TABLE = "provision_lab"

# About 19 hosts boot with the kernel's default of 128, the next hangs or fails with EMFILE.
INOTIFY_INSTANCES = 1024

RULES = f"""table ip {TABLE} {{}}
delete table ip {TABLE}
table ip {TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {RANGE} ip daddr != {RANGE} masquerade
    }}
}}
"""

_ACCEPT = (("FORWARD", "-i", BRIDGE, "-j", "ACCEPT"), ("FORWARD", "-o", BRIDGE, "-j", "ACCEPT"))


def checked(address: str) -> str:
    """`address` when a lab host may carry it; raises Refused otherwise."""
    try:
        wanted = ipaddress.IPv4Address(address)
    except ValueError:
        raise Refused(f"{address!r} is not an IPv4 address", next=f"use one of {RANGE}") from None
    if wanted not in RANGE or wanted in (GATEWAY, RANGE.network_address, RANGE.broadcast_address):
        raise Refused(f"{address} is not a lab host's address", next="use 10.151.0.1 to 10.151.0.253")
    return str(wanted)


def ensure() -> None:
    """Bring the network up, or leave it as it is; safe to call from several processes at once.

    The unreachable route comes first and stays: without the bridge, nothing for the lab's range may
    leave through the machine's default route.
    """
    with locked("network"):
        _route()
        _bridge()
        run(("nft", "-f", "-"), what="add the lab's nft table", stdin=RULES)
        _forward()
        _sysctl("net/ipv4/ip_forward", 1)
        _sysctl("fs/inotify/max_user_instances", INOTIFY_INSTANCES)


def remove() -> None:
    """Take the bridge and the nft table away; the unreachable route stays."""
    with locked("network"):
        run(("ip", "link", "del", BRIDGE), what="remove the bridge", check=False)
        run(("nft", "delete", "table", "ip", TABLE), what="remove the lab's nft table", check=False)
        if shutil.which("iptables"):
            for rule in _ACCEPT:
                run(("iptables", "-w", "-D", *rule), what="remove the lab's forwarding rule", check=False)


def _route() -> None:
    seen = json.loads(run(("ip", "-j", "route", "show", str(RANGE)), what="read the routes").stdout or "[]")
    for route in seen:
        if route.get("type") == "unreachable" or route.get("dev") == BRIDGE:
            continue
        raise Refused(f"{RANGE} is in use on this machine", why=f"a route to it exists through {route.get('dev')}")
    if not any(route.get("type") == "unreachable" for route in seen):
        run(("ip", "route", "add", "unreachable", str(RANGE), "metric", "4096"), what="fence off the lab's range")


def _bridge() -> None:
    if not Path("/sys/class/net", BRIDGE).exists():
        try:
            run(("ip", "link", "add", BRIDGE, "type", "bridge"), what="add a network bridge")
        except ProvisionError as failed:
            raise Refused(
                "disposable hosts need a network bridge",
                why="this machine does not let us add one (a container without NET_ADMIN, or no bridge module)",
                next="use a virtual machine or a real one",
                detail=failed.detail,
            ) from None
    run(("ip", "address", "replace", f"{GATEWAY}/{RANGE.prefixlen}", "dev", BRIDGE), what="address the bridge")
    run(("ip", "link", "set", BRIDGE, "up"), what="bring the bridge up")


def _forward() -> None:
    """Docker and ufw drop forwarded packets by default, and an accept in a table of ours cannot overrule that."""
    if not shutil.which("iptables"):
        return
    listing = run(("iptables", "-w", "-S", "FORWARD"), what="read the forwarding rules", check=False).stdout
    for rule in missing_accepts(listing):
        run(("iptables", "-w", "-I", *rule), what="let the lab's hosts reach the network")


def missing_accepts(listing: str) -> list[tuple[str, ...]]:
    """Rules that must be put before those of `iptables -S FORWARD` for the lab's packets to pass."""
    lines = listing.splitlines()
    if "-P FORWARD DROP" not in lines:
        return []
    return [rule for rule in _ACCEPT if f"-A {' '.join(rule)}" not in lines]


def _sysctl(key: str, least: int) -> None:
    path = Path("/proc/sys", key)
    if int(path.read_text()) < least:
        path.write_text(f"{least}\n")
