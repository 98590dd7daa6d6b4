"""The door: the one origin that clients use (output calls it the URL)."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from provisioner.errors import Refused
from provisioner.values import dataclass


@dataclass(frozen=True)
class Door:
    """The origin that clients use, and every name they may type for it."""

    scheme: str
    name: str
    """Canonical host name or address; presigned addresses carry it."""
    port: int
    names: tuple[str, ...]
    """Every name or address clients may type, the canonical one first."""

    @property
    def authority(self) -> str:
        """`host` or `host:port` as it stands in a URL and in the Host header."""
        return self._authority(self.name)

    def _authority(self, name: str) -> str:
        host = f"[{name}]" if ":" in name else name
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"

    def at(self, port: int) -> Door:
        """The same names at another port."""
        return replace(self, port=port)

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(f"{self.scheme}://{self._authority(name)}" for name in self.names)


UNKNOWN = "address-not-known"
"""Stands in for the name that clients use where a plan is shown without one."""


def decide(
    *, scheme: str, port: int, names: tuple[str, ...], target: str, address: str, addresses: tuple[str, ...]
) -> Door:
    """The door of a stack: `names[0]`, else the address that ssh resolved when the host carries it. That address
    is a name besides, but no public one where all names are private.

    `addresses` are the host's own; empty when not known yet. Raises Refused (exit 4) naming the
    setting when no canonical name can be told.
    """
    if names:
        if _public(address) and all(_private(name) for name in names):
            # The operator comes by another way than the clients, for whom only private addresses were named.
            return Door(scheme, names[0], port, names)
        return Door(scheme, names[0], port, tuple(dict.fromkeys((*names, address) if address else names)))
    loopback = _loopback(address)
    if address and not loopback and (not addresses or address in addresses):
        # Not `target`: it may be an ssh alias, and two operators' aliases would restart MLflow in turn.
        return Door(scheme, address, port, (address,))
    why = (
        f"{target} is reached at {address}, a loopback address: other machines cannot use it"
        if loopback
        else f"{target} is reached at {address or 'an unknown address'}, which the host itself does not carry"
    )
    raise Refused(
        "the address that clients will use is not known",
        why=why,
        next="name it:  --set access.names='[\"ADDRESS-OR-NAME\"]'",
    )


def _public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _private(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return False


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address in {"", "localhost"}
