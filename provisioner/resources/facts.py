"""What kind of machine a host is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.values import dataclass

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket and whose it is."""

    address: str
    port: int
    process: str
    """`nginx, pid 812`; empty when the kernel does not tell."""


@dataclass(frozen=True)
class Facts:
    """A host: system, hardware, addresses, listeners, clock."""

    distribution: str = "debian"
    release: str = "12"
    pretty: str = ""
    architecture: str = "amd64"
    kernel_machine: str = "x86_64"
    cores: int = 1
    memory: int = 0
    """Bytes."""
    free: dict[str, int] = field(default_factory=dict, hash=False)
    """Mount point of /opt, /var, /tmp … -> free bytes, by the path asked for."""
    systemd: int = 0
    python: tuple[int, int] = (0, 0)
    python_path: str = ""
    now: float = 0.0
    """The host's clock, Unix seconds."""
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    root: bool = True
    apt_lock: str = ""
    """Who holds dpkg's lock: `unattended-upgr, pid 812`; empty when nobody does."""
    booted: bool = True
    """systemd is process 1."""
    hostname: str = ""
    boot_id: str = ""


@dataclass(frozen=True)
class FactsProbe(Probe[Facts]):
    """Reads all facts at once."""

    kind: ClassVar[str] = "facts"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return r"""
. /etc/os-release 2>/dev/null || :
echo "os=${ID:-}|${VERSION_ID:-}|${PRETTY_NAME:-}"
echo "machine=$(uname -m)"
echo "hostname=$(uname -n)"
echo "cores=$(getconf _NPROCESSORS_ONLN)"
echo "uid=$(id -u)"
echo "now=$(date +%s.%N)"
sed -n 's/^MemTotal: *\([0-9]*\).*/memory=\1/p' /proc/meminfo
echo "boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
[ -d /run/systemd/system ] && echo "systemd=$(systemctl --version | sed -n '1s/[^0-9]*\([0-9]*\).*/\1/p')"
for p in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
  q=$(command -v $p) || continue
  v=$("$q" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  echo "python=$v|$q"
  break
done
for p in / /opt /var/lib /var/cache /tmp /etc; do
  d=$p; while ! [ -d "$d" ]; do d=$(dirname "$d"); done
  echo "free=$p|$(df -Pk "$d" | sed -n '2s/^.*[^0-9]\([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p')"
done
ip -o addr show 2>/dev/null | sed -n 's/^[0-9]*: [^ ]* *inet6* \([^ /]*\).*/address=\1/p'
ss -Hltnp 2>/dev/null | sed 's/^/listen=/' | head -n 200
if [ -e /var/lib/dpkg/lock-frontend ]; then
  n=$(stat -c %i /var/lib/dpkg/lock-frontend)
  p=$(sed -n "s/.*WRITE *\([0-9]*\) [0-9a-f:]*:$n .*/\1/p" /proc/locks | head -n 1)
  [ -n "$p" ] && echo "apt=$(cat "/proc/$p/comm" 2>/dev/null), pid $p"
fi
:"""

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Facts]:
        values: dict[str, Any] = {}
        free: dict[str, int] = {}
        addresses: list[str] = []
        listeners: list[Listener] = []
        for line in output.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            if name == "free":
                path, _, kilobytes = value.partition("|")
                if kilobytes.isdigit():
                    free[path] = int(kilobytes) * 1024
            elif name == "address":
                addresses.append(value)
            elif name == "listen":
                listener = _listener(value)
                if listener:
                    listeners.append(listener)
            else:
                values[name] = value
        os_id, release, pretty = [*values.get("os", "||").split("|", 2), "", ""][:3]
        version, _, path = values.get("python", "|").partition("|")
        major, _, minor = version.partition(".")
        facts = Facts(
            distribution=os_id,
            release=release,
            pretty=pretty[:80],
            architecture=_ARCHITECTURES.get(values.get("machine", ""), values.get("machine", "")),
            kernel_machine=values.get("machine", ""),
            cores=int(values.get("cores") or 1),
            memory=int(values.get("memory") or 0) * 1024,
            free=free,
            systemd=int(values.get("systemd") or 0),
            python=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0),
            python_path=path,
            now=float(values.get("now") or 0),
            addresses=tuple(addresses),
            listeners=tuple(listeners),
            root=values.get("uid") == "0",
            apt_lock=values.get("apt", "")[:80],
            booted="systemd" in values,
            hostname=values.get("hostname", "")[:64],
            boot_id=values.get("boot", "")[:40],
        )
        return [facts for _ in probes]


def _listener(line: str) -> Listener | None:
    match = re.match(r"LISTEN +\d+ +\d+ +(\S+):(\d+) +\S+ *(?:users:\(\(\"([^\"]{1,40})\",pid=(\d+))?", line)
    if not match:
        return None
    process = f"{match[3]}, pid {match[4]}" if match[3] else ""
    return Listener(match[1].strip("[]").split("%")[0], int(match[2]), process)
