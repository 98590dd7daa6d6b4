"""Where a host itself looks for Python packages: indexes, proxy, certificates, as pip and uv would.

Runs on the host (Python 3.8 or newer, standard library only), in front of `fetch_wheel` or `run_uv`
as one program on stdin. Nothing here ever prints an address with its user or password.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass, field
from pathlib import Path

# What pip and uv use on a host where nothing is configured: filled in by programs.py with the
# operator's own pip's default, so that no address stands in this project.
PUBLIC_INDEX = ""

PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
_UV_FILES = ("/etc/uv/uv.toml", "~/.config/uv/uv.toml")
_LIMIT = 1 << 20  # bytes read of one configuration file


@dataclass(frozen=True)
class HostIndex:
    """One host's settings. `indexes`: Simple API addresses in the order of asking, with credentials."""

    indexes: tuple[str, ...]
    source: str  # the file or variable that named the first index; "default" when nothing did
    links: tuple[str, ...] = ()  # local folders that hold wheels
    proxies: dict[str, str] = field(default_factory=dict)  # lower-case variable name -> value
    ca_file: str = ""
    trusted: tuple[str, ...] = ()  # hosts whose certificate the host's owner chose not to check


def read_text(path: str) -> str:
    """The head of a file; empty when it is not there or not readable."""
    try:
        with Path(path).expanduser().open(encoding="utf-8", errors="replace") as file:
            return file.read(_LIMIT)
    except (OSError, RuntimeError):  # RuntimeError: ~ of a user without a home
        return ""


def without_credentials(url: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", url)


def environment_file(text: str) -> dict[str, str]:
    """/etc/environment as pam_env reads it: KEY=value lines, an optional `export`, optional quotes."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line)
        if match:
            value = match.group(2).strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[match.group(1)] = value
    return found


def pip_settings(text: str) -> dict[str, str]:
    """pip.conf's [global] overlaid with [install]; a file that pip could not read counts as empty."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update((key.replace("_", "-"), value or "") for key, value in parser.items(section))
    return found


def uv_indexes(text: str) -> tuple[list[str], str]:
    """(further indexes, default index) of a uv.toml.

    Read line by line: tomllib came with Python 3.11, and these files hold flat keys and [[index]] tables.
    """
    further: list[str] = []
    default = ""
    table, url, is_default = "", "", False

    def close() -> None:
        nonlocal default
        if table == "index" and url:
            if is_default:
                default = url
            else:
                further.append(url)

    for line in [*text.splitlines(), "[end]"]:
        header = re.match(r"\s*\[+\s*([\w.-]+)\s*\]+", line)
        if header:
            close()
            table, url, is_default = header.group(1), "", False
            continue
        pair = re.match(r"""\s*([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\[.*\]|\w+))""", line)
        if not pair:
            continue
        key, value = pair.group(1), pair.group(2) or pair.group(3) or pair.group(4) or ""
        if table == "index" and key == "url":
            url = value
        elif table == "index" and key == "default":
            is_default = value == "true"
        elif table in ("", "pip") and key == "index-url":
            default = value
        elif table in ("", "pip") and key == "extra-index-url":
            further += [one or two for one, two in re.findall(r"\"([^\"]*)\"|'([^']*)'", value)]
    return further, default


def _environment(environ: dict[str, str], root: str) -> dict[str, str]:
    # sudo drops most variables and /etc/environment is where an operator puts a proxy for everyone.
    common = environment_file(read_text(root + "/etc/environment"))
    return {**common, **{name: value for name, value in environ.items() if value}}


def _read(root: str, path: str) -> str:
    return read_text(root + path if path.startswith("/etc") else path) if path else ""


def _pip(env: dict[str, str], root: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (*_PIP_FILES, env.get("PIP_CONFIG_FILE", "")):
        found.update(pip_settings(_read(root, path)))
    for key in ("index-url", "extra-index-url", "find-links", "proxy", "cert", "trusted-host", "no-index"):
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            found[key] = value
    return found


def discover(environ: dict[str, str], root: str = "") -> HostIndex:
    """The settings in force: uv's own before pip's, variables before files, the public index last of all."""
    env = _environment(environ, root)
    pip = _pip(env, root)
    asked: list[tuple[str, str]] = []  # (address, where it stands)
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        # A named index is written NAME=URL.
        asked += [(re.sub(r"^[\w.-]+=(?=\w+:)", "", word), name) for word in env.get(name, "").split()]
    default = ""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if not default and env.get(name):
            default = re.sub(r"^[\w.-]+=(?=\w+:)", "", env[name])
            asked.append((default, name))
    files = (env["UV_CONFIG_FILE"],) if env.get("UV_CONFIG_FILE") else _UV_FILES[::-1]
    for path in files:
        further, named = uv_indexes(_read(root, path))
        asked += [(url, path) for url in further]
        if named and not default:
            default = named
            asked.append((named, path))
    if not default and pip.get("index-url"):
        default = pip["index-url"]
        asked.append((default, "pip's index-url"))
    asked += [(url, "pip's extra-index-url") for url in pip.get("extra-index-url", "").split()]
    if not default and PUBLIC_INDEX:
        asked.append((PUBLIC_INDEX, "default"))
    none = pip.get("no-index", "").lower() in ("1", "true", "yes", "on") or bool(env.get("UV_NO_INDEX"))
    if none:
        asked = []
    unique = list(dict.fromkeys(url.rstrip("/") for url, _ in asked if re.match(r"https?://", url)))
    proxies = {n: env.get(n) or env.get(n.upper(), "") for n in PROXY_NAMES}
    if pip.get("proxy"):
        proxies = {**proxies, "http_proxy": pip["proxy"], "https_proxy": pip["proxy"]}
    links = [*env.get("UV_FIND_LINKS", "").replace(",", " ").split(), *pip.get("find-links", "").split()]
    cert = env.get("SSL_CERT_FILE") or pip.get("cert") or env.get("REQUESTS_CA_BUNDLE") or ""
    trusted = [*env.get("UV_INSECURE_HOST", "").split(), *pip.get("trusted-host", "").split()]
    return HostIndex(
        indexes=tuple(unique),
        source=asked[0][1] if asked else "no-index" if none else "default",
        links=tuple(link[7:] if link.startswith("file:///") else link for link in links),
        proxies={name: value for name, value in proxies.items() if value},
        ca_file=cert,
        trusted=tuple(trusted),
    )


def uv_environment(environ: dict[str, str], found: HostIndex) -> dict[str, str]:
    """What to add to uv's environment, so that it sees what pip.conf and /etc/environment say.

    uv reads its own files and variables itself and never pip's; it gets an index from here only when
    it has none of its own.
    """
    extra = dict(found.proxies)
    if found.source.startswith("pip") and found.indexes:
        extra["UV_DEFAULT_INDEX"] = found.indexes[0]
        if len(found.indexes) > 1:
            extra["UV_INDEX"] = " ".join(found.indexes[1:])
            # Every hash is pinned, so an index cannot slip in a package of the same name.
            extra["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        value = _environment(environ, "").get(name)
        if value:
            extra[name] = value
    if found.links:
        extra["UV_FIND_LINKS"] = ",".join(found.links)
    if found.source == "no-index":
        extra["UV_NO_INDEX"] = "1"
    if found.ca_file:
        extra["SSL_CERT_FILE"] = found.ca_file
    if found.trusted:
        extra["UV_INSECURE_HOST"] = " ".join(found.trusted)
    return extra
