"""Each way to fail to connect, in the words of a user: what, why, and the command that helps."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from provisioner.errors import ProvisionError, Unreachable
from provisioner.transport.hostkeys import Entry, fingerprint
from provisioner.transport.sshconfig import Endpoint
from provisioner.transport.sudo import NOT_ROOT


def at(endpoint: Endpoint) -> str:
    """`10.0.0.5 port 22`, with what the user wrote when that is something else."""
    place = f"{endpoint.hostname} port {endpoint.port}"
    return place if endpoint.hostname in endpoint.text else f"{endpoint.text} ({place})"


def name_unknown(endpoint: Endpoint, error: OSError) -> Unreachable:
    return Unreachable(
        f"{endpoint.text}: no address for the name {endpoint.hostname}",
        why=error.strerror or "the resolver knows no such name",
        next=f"check the spelling, or: getent hosts {endpoint.hostname}",
    )


def not_connected(endpoint: Endpoint, error: OSError, timeout: float) -> Unreachable:
    ssh = f"ssh -p {endpoint.port} {endpoint.user}@{endpoint.hostname} true"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return Unreachable(
            f"{at(endpoint)} does not answer",
            why=f"no reply in {timeout:.0f} s: the host is off, the address is wrong, or a firewall drops it",
            next=ssh,
        )
    if error.errno == errno.ECONNREFUSED:
        return Unreachable(
            f"{at(endpoint)} refuses connections",
            why="the host is up and nothing listens there",
            next="start sshd on the host, or name its port: --host USER@HOST:PORT",
        )
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EACCES, errno.EPERM):
        return Unreachable(
            f"no route to {at(endpoint)}",
            why=(error.strerror or str(error)).lower(),
            next="check the address, the VPN, or reach it through a gateway: ProxyJump in ~/.ssh/config",
        )
    return Unreachable(f"{at(endpoint)} cannot be reached", why=(error.strerror or str(error)), next=ssh)


def dropped(endpoint: Endpoint, error: Exception) -> Unreachable:
    """The server (or something in its place) spoke no SSH, or hung up before it did."""
    text = str(error)
    if "banner" in text.lower() or isinstance(error, EOFError | ConnectionError):
        return Unreachable(
            f"{at(endpoint)} closed the connection before saying who it is",
            why="sshd turns away too many or recently failed logins (MaxStartups, PerSourcePenalties), "
            "or this port is not SSH",
            next="wait a minute and try again; on the host: journalctl -u ssh -n 20",
            detail=text,
        )
    if "incompatible" in text.lower() or "no acceptable" in text.lower():
        return Unreachable(
            f"{at(endpoint)} and this tool have no cryptographic method in common",
            why=text,
            next=f"compare with: ssh -vv -p {endpoint.port} {endpoint.hostname}",
        )
    return Unreachable(
        f"{at(endpoint)}: the SSH connection broke while it was made",
        why=text or type(error).__name__,
        next=f"compare with: ssh -v -p {endpoint.port} {endpoint.user}@{endpoint.hostname} true",
    )


def gateway_refuses(gateway: Endpoint, endpoint: Endpoint, error: Exception) -> Unreachable:
    reason = getattr(error, "code", None)
    if reason == 1:
        why = f"sshd on {gateway.text} forbids forwarding"
        help_ = f"set AllowTcpForwarding yes on {gateway.text}, or use another gateway"
    else:
        why = f"{gateway.text} gets no connection to {endpoint.hostname} port {endpoint.port}"
        help_ = f"on {gateway.text}: nc -vz {endpoint.hostname} {endpoint.port}"
    return Unreachable(f"{endpoint.text} cannot be reached through {gateway.text}", why=why, next=help_)


def no_proxy_command(endpoint: Endpoint, command: str, error: Exception) -> Unreachable:
    return Unreachable(
        f"the ProxyCommand for {endpoint.text} cannot be started",
        why=getattr(error, "strerror", None) or str(error),
        next=f"correct it in ~/.ssh/config: {command[:200]}",
    )


def _with_port(endpoint: Endpoint) -> str:
    """The host as it was written, with the port under which its key is kept when an option gave that."""
    text, port = endpoint.text, endpoint.port
    if port == 22 or text.count(":") == 1 or "]:" in text:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def key_changed(endpoint: Endpoint, name: str, blob: bytes, known: Sequence[Entry], own: str) -> Unreachable:
    foreign = [entry for entry in known if not entry.source.startswith(own) and not entry.revoked]
    forget = f"provision forget-key {_with_port(endpoint)}"
    if foreign:
        forget += f"\nand in {foreign[0].source}: ssh-keygen -R '{name}'"
    recorded = ", ".join(dict.fromkeys(f"{fingerprint(entry.blob)} ({entry.source})" for entry in known))
    return Unreachable(
        f"the host key of {at(endpoint)} has changed",
        why="the server was rebuilt, or somebody is in between. Ask whoever runs it before going on",
        next=f"if it was rebuilt: {forget}",
        detail=f"shown    {fingerprint(blob)}\nrecorded {recorded}",
    )


def key_revoked(endpoint: Endpoint, blob: bytes, known: Sequence[Entry]) -> Unreachable:
    line = next(entry.source for entry in known if entry.revoked and entry.blob == blob)
    return Unreachable(
        f"the host key of {at(endpoint)} is revoked",
        why=f"{fingerprint(blob)} is marked @revoked in {line}",
        next="give the host a new key (ssh-keygen -A after removing /etc/ssh/ssh_host_*)",
    )


def pin_differs(endpoint: Endpoint, shown: str, pin: str) -> Unreachable:
    return Unreachable(
        f"{at(endpoint)} does not have the pinned host key",
        why="the server was rebuilt, the pin is another host's, or somebody is in between",
        next=f'if it is the right host, pin what it shows: host_key = "{shown}" '
        f"(and provision forget-key {_with_port(endpoint)})",
        detail=f"shown    {shown}\npinned   {pin}",
    )


def shell_silent(host: str, timeout: float) -> Unreachable:
    return Unreachable(
        f"the login shell on {host} does not answer",
        why=f"nothing came for {timeout:.0f} s: a start-up file that waits, a hanging disk or sudo plug-in",
        next="log in by hand and look at ~/.bashrc and /etc/profile",
    )


def went_silent(host: str, timeout: float) -> ProvisionError:
    return ProvisionError(
        f"no output from {host} for {timeout:.0f} s",
        why="what runs there hangs, or works silently for longer than expected",
        next="look at the host (ps, journalctl), then run the same command again",
    )


def link_lost(host: str, error: Exception | None = None) -> Unreachable:
    return Unreachable(
        f"the connection to {host} was lost",
        why=(str(error) if error and str(error) else "the host or the network went away"),
        next="run the same command again: it goes on from what is there",
    )


def no_channel(host: str, open_channels: int) -> Unreachable:
    return Unreachable(
        f"sshd on {host} opens no further channel (this connection has {open_channels})",
        why="MaxSessions in its sshd_config is very low" if open_channels else "sessions are forbidden for this user",
        next="set MaxSessions 10 (the default) on the host",
    )


def not_a_shell(host: str, said: bytes) -> Unreachable:
    """The login worked and no shell ran: nologin, a forced command, a broken shell."""
    return Unreachable(
        f"the login on {host} gives no shell",
        why="its account has a forced command, no login shell, or one that ends at once",
        next="use an account with a plain shell (--ssh-user)",
        detail=said.decode("utf-8", "replace").strip()[-2000:],
    )


_SUDO: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        ("must have a tty", "tty_tickets", "a terminal is required to run"),
        "sudo on {host} wants a terminal",
        "requiretty is set for {user}",
        "in sudoers: Defaults:{user} !requiretty   (or log in as root)",
    ),
    (
        ("not in the sudoers", "may not run sudo", "not allowed to", "afraid i can't do that", "not permitted"),
        "{user} may not become root on {host}",
        "sudoers gives {user} no right to run a root shell",
        "log in as another user (--ssh-user), or as root on the host: adduser {user} sudo",
    ),
    (
        ("sudo: not found", "sudo: command not found", "no such file or directory", "sudo’: no such"),
        "{user} is not root on {host}, and sudo is not installed",
        "changing a server needs root",
        "log in as root (--ssh-user root), or: apt install sudo",
    ),
    (
        ("effective uid is not 0", "no new privileges", "setuid", "owned by uid 0"),
        "sudo does not work on {host}",
        "it does not get root's rights there (nosuid mount, container)",
        "log in as root (--ssh-user root)",
    ),
    (
        ("expired", "account validation", "account is locked"),
        "sudo on {host} refuses the account {user}",
        "the password is expired or the account is locked",
        "log in by hand and set a new password",
    ),
)


def not_root(host: str, user: str, said: bytes, *, password: bool) -> Unreachable:
    """sudo (or its absence) kept the script from running; told apart by its words in the C locale."""
    text = said.decode("utf-8", "replace").strip()
    low = text.lower()
    if NOT_ROOT in low:
        return Unreachable(
            f"{user} is not root on {host}",
            why='sudo = "none" is set for this host',
            next='set sudo = "auto", or log in as root (--ssh-user root)',
        )
    for words, what, why, next_ in _SUDO:
        if any(word in low for word in words):
            told = {"host": host, "user": user}
            return Unreachable(
                what.format(**told), why=why.format(**told), next=next_.format(**told), detail=text[-2000:]
            )
    if password and any(word in low for word in ("try again", "incorrect", "authentication", "no password was")):
        return Unreachable(
            f"sudo on {host} does not accept the password of {user}",
            why="it was tried once and not again, so that the account is not locked",
            next="run the same command again with -K and type it anew",
        )
    if "password" in low or "authentication" in low:
        return Unreachable(
            f"sudo on {host} needs a password for {user}",
            why="none was given",
            next="add -K (asks for it), or set PROVISION_SUDO_PASSWORD",
        )
    return not_a_shell(host, said)
