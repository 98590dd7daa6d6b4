"""Which entry of [hosts] somebody means who writes a host."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner import addresses
from provisioner.errors import UsageError
from provisioner.schema_hosts import Host


def identity(spec: str, entries: Mapping[str, Host]) -> str:
    """What makes two ways of writing a host the same one: its address, without user; and without port, but where
    [hosts] has several machines behind one address (a forwarded port each)."""
    _, host, port = addresses.split_host(spec)
    found = entry(host, port, entries)
    if found is None:
        return host.lower()
    address, own = _reached(found, entries)
    several = {_reached(each, entries)[1] for each in entries if _reached(each, entries)[0] == address}
    return f"{address}:{own}" if len(several) > 1 else address


def _reached(name: str, entries: Mapping[str, Host]) -> tuple[str, int]:
    """Address and port of an entry of [hosts], as they are compared."""
    _, address, port = addresses.split_host(entries[name].address or name)
    return address.lower(), entries[name].port or port or 22


def entry(host: str, port: int | None, entries: Mapping[str, Host]) -> str | None:
    """The name in [hosts] that `host` means: by name first, then by address (and port, where two share it)."""
    for name in entries:
        if name.lower() == host.lower():
            return name
    same = [n for n, e in entries.items() if e.address and addresses.split_host(e.address)[1].lower() == host.lower()]
    if len(same) > 1 and port is not None:
        same = [name for name in same if entries[name].port == port] or same
    if len(same) > 1:
        raise UsageError(f"--host {host} may mean {' or '.join(same)}", next="use the name")
    return same[0] if same else None
