"""What an address in the inventory may be: of a host, of a network, of what clients and downloads use. As in
`checks`, each check returns the normalised value or raises ValueError with the end of "expected ...".
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse

from provisioner import checks

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def network(value: object) -> str:
    """An IPv4 or IPv6 network in its canonical form; a bare address becomes /32 or /128."""
    raw = checks.text(value, 'a network, like "10.151.0.0/24"', 49)
    try:
        found = ipaddress.ip_network(raw)
    except ValueError as error:
        raise ValueError(f'a network, like "10.151.0.0/24" ({error})') from error
    if found.prefixlen == 0:
        raise ValueError("a network smaller than the whole internet")
    return str(found)


def internal(value: object) -> str:
    """A literal IP address of another host's view: neither loopback nor one that means every address."""
    raw = checks.text(value, 'an IP address, like "10.151.0.1"', 45)
    try:
        found = ipaddress.ip_address(raw)
    except ValueError as error:
        raise ValueError('an IP address, like "10.151.0.1"') from error
    if found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local:
        raise ValueError("an IP address that the stack's other hosts reach")
    return str(found)


def host_name(raw: str) -> str:
    """A DNS name or IP address in lower case; raises ValueError."""
    try:
        return str(ipaddress.ip_address(raw.strip("[]")))
    except ValueError:
        pass
    name = raw.lower()
    labels = name.split(".")
    good = len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    if not good or labels[-1].isdigit():
        raise ValueError("a DNS name or IP address")
    return name


def door_name(value: object) -> str:
    """A DNS name in lower case or an IP address, IPv6 without brackets; the port is `access.port`."""
    host, port = split_port(checks.text(value, "a DNS name or IP address", 262))
    if port is not None:
        raise ValueError("a name without a port: that is access.port")
    return host_name(host)


def door_names(value: object) -> tuple[str, ...]:
    """The names of the one address; the first is what presigned URLs carry, so never loopback."""
    names: tuple[str, ...] = checks.list_of(door_name, 32)(value)
    if names and is_loopback(names[0]):
        raise ValueError("a first name that other machines reach: artifact URLs carry it")
    return names


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_address(name: str) -> bool:
    """Whether `name` is a literal address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def split_port(raw: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address -> (host without brackets, port)."""
    match = re.fullmatch(r"\[([^\[\]]*)\](?::(\d{1,5}))?", raw)
    if match is None and raw.count(":") <= 1:
        match = re.fullmatch(r"([^:\[\]]*)(?::(\d{1,5}))?", raw)
    if match is None:
        if raw.count(":") > 1 and "[" not in raw:
            return raw, None
        raise ValueError("host, host:port or [IPv6 address]:port")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("a port from 1 to 65535")
    return match[1], port


def host_spec(value: object) -> str:
    """`host`, `user@host`, `user@host:port` or an ssh alias, as it was written."""
    raw = checks.text(value, "a host, like user@10.151.0.1:22", 400)
    split_host(raw)
    return raw


def split_host(raw: str) -> tuple[str | None, str, int | None]:
    """`user@host:port` -> (user, host, port); the host may be an alias of ~/.ssh/config."""
    user, at, rest = raw.rpartition("@")
    host, port = split_port(rest)
    if at:
        user = user_name(user)
    if ":" in host:
        host = str(ipaddress.IPv6Address(host))
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", host):
        raise ValueError("a host: a name, an address or an alias of ~/.ssh/config, as user@host:port")
    return (user if at else None), host, port


def user_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}", value):
        raise ValueError("a user's name: letters, digits, dot, dash, underscore")
    return value


def jump(value: object) -> str:
    """One host or several, separated by commas, as ssh's ProxyJump takes them."""
    raw = checks.text(value, "a jump host, like user@bastion:22", 800)
    hops = [hop.strip() for hop in raw.split(",")]
    for hop in hops:
        split_host(hop)
    return ",".join(hops)


def host_key(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", value):
        raise ValueError('a fingerprint as ssh-keygen -l prints it, like "SHA256:…" with 43 characters')
    return value.rstrip("=")


def download_url(value: object) -> str:
    """`default` (this tool's pinned release) or an http(s) URL without a user name or password in it."""
    if value == "default":
        return "default"
    raw = checks.text(value, "a download's URL", 2048)
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+/[A-Za-z0-9._~:/?#@!$&()*+,;=%-]*", raw):
        raise ValueError('"default", or an https:// or http:// URL without a user name in it')
    parts = urllib.parse.urlsplit(raw)
    host_name(parts.hostname or "")
    _ = parts.port
    return raw


def endpoint(value: object) -> str:
    """The URL of an S3 server: scheme, host and port, nothing else."""
    raw = checks.text(value, "a store's URL", 300).rstrip("/")
    wrong = 'a URL of scheme, host and port, like "https://s3.example.com:9000"'
    match = re.fullmatch(r"(https?)://([^/?#@]+)", raw)
    if match is None:
        raise ValueError(wrong)
    host, port = split_port(match[2])
    name = host_name(host)
    shown = f"[{name}]" if ":" in name else name
    default = 443 if match[1] == "https" else 80
    return f"{match[1]}://{shown}" + (f":{port}" if port not in (None, default) else "")
