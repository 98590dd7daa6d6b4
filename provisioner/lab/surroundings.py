"""What this machine knows about the network it sits in, so that its hosts can download as it does: Debian
mirrors, proxies, certificates, Python package indexes. Reading is here, deciding is pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path

from provisioner.lab.machine import run
from provisioner.values import dataclass

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_COPIED = (Path("/etc/pip.conf"), Path("/etc/uv/uv.toml"))
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX")
# apt's own settings that decide whether a download works here.
_APT = re.compile(r'Acquire::(?:https?::[Pp]roxy(?:::\S+)?|Check-Valid-Until|Check-Date) "[^"]*";')


@dataclass(frozen=True)
class Surroundings:
    """`files`: path in a host -> content; `apt`: apt.conf lines."""

    mirror: str = ""
    """Empty: mmdebstrap's own choice for the suite."""
    security: str = ""
    apt: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def read() -> Surroundings:
    """The surroundings of this machine."""
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = {path.name: path.read_text(errors="replace") for path in lists if path.is_file()}
    mirror, security = mirrors(texts)
    dump = run(("apt-config", "dump"), what="read apt's settings", check=False).stdout
    copied = (*sorted(_CERTIFICATES.glob("*.crt")), *_COPIED)
    files = {str(path): path.read_bytes() for path in copied if path.is_file()}
    variables = environment(os.environ)
    if variables:
        files["/etc/environment"] = variables.encode()
    return Surroundings(mirror, security, apt_settings(dump, os.environ), files)


def mirrors(sources: Mapping[str, str]) -> tuple[str, str]:
    """(archive, security) as this machine's apt sources name them, where it is a Debian; else empty.

    `sources`: file name -> content, one-line style or deb822 (`.sources`).
    """
    entries = [entry for name, text in sources.items() for entry in _entries(name, text)]
    archive = next((uri for uri, suite in entries if re.search(r"/debian/?$", uri) and "/" not in suite), "")
    security = next((uri for uri, suite in entries if "debian" in uri and suite.endswith("-security")), "")
    return archive.rstrip("/"), security.rstrip("/") if archive else ""


def _entries(name: str, text: str) -> Iterable[tuple[str, str]]:
    """(URI, suite) of every binary source with a URI that mmdebstrap can fetch."""
    if name.endswith(".sources"):
        for stanza in re.split(r"\n\s*\n", text):
            found = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if found.get("Enabled", "yes").lower() == "no" or "deb" not in found.get("Types", "").split():
                continue
            for uri in found.get("URIs", "").split():
                yield from ((uri, suite) for suite in found.get("Suites", "").split() if uri.startswith("http"))
    elif name.endswith(".list"):
        for line in text.splitlines():
            match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(https?://\S+)\s+(\S+)", line.strip())
            if match:
                yield match[1], match[2]


def sources(suite: str, mirror: str = "", security: str = "") -> tuple[str, ...]:
    """One-line apt sources of a Debian suite: release, updates and security. Without a mirror none:
    mmdebstrap then takes its own for the suite, security updates included."""
    if not mirror:
        return ()
    lines = [f"deb [signed-by={KEYRING}] {mirror} {name} main" for name in (suite, f"{suite}-updates")]
    return (*lines, f"deb [signed-by={KEYRING}] {security} {suite}-security main") if security else tuple(lines)


def apt_settings(dump: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of `apt-config dump` that matter for downloads; proxies of the environment where apt has none."""
    lines = [line for line in dump.splitlines() if _APT.fullmatch(line) and not line.endswith('"";')]
    for scheme in ("http", "https"):
        proxy = environ.get(f"{scheme}_proxy", "")
        if proxy and '"' not in proxy and not any(f"{scheme}::proxy" in line.lower() for line in lines):
            lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return tuple(lines)


def environment(environ: Mapping[str, str]) -> str:
    """/etc/environment of a host: this process's proxies and Python package indexes."""
    named = ((name, environ.get(name, "")) for name in (*_PROXIES, *_INDEXES))
    return "".join(f'{name}="{value}"\n' for name, value in named if value and not set(value) & set('"\\\n'))
