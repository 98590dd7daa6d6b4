"""Logging in by key: which keys, in which order, each tried once; never a second round."""

from __future__ import annotations

import base64
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import Unreachable
from provisioner.secrets import Secret
from provisioner.transport.failures import at
from provisioner.transport.sshconfig import Endpoint
from provisioner.values import dataclass

if TYPE_CHECKING:
    from paramiko.pkey import PKey
    from paramiko.transport import Transport

_DEFAULTS = ("id_ed25519", "id_rsa", "id_ecdsa")
_MAGIC = b"openssh-key-v1\0"
_AGENT_TIMEOUT = 60.0  # a key may ask for a touch


@dataclass
class KeyLogin:
    """What paramiko calls for authentication (an auth strategy with `authenticate`).

    Order as ssh's: the named identity alone; else configured identities, the agent's keys, and
    without configured ones the default files. OpenSSH 10 penalises failures, so nothing is retried.
    """

    endpoint: Endpoint
    on_prompt: Callable[[str], Secret | None] | None = None
    named: bool = False
    """The identity was named by the user: any trouble with it is an error, not a reason to go on."""

    def authenticate(self, transport: Transport) -> None:
        from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType, SSHException

        tried: list[str] = []
        notes: list[str] = []
        offered: set[bytes] = set()
        for label, key in self._keys(notes):
            if key.asbytes() in offered:
                continue
            offered.add(key.asbytes())
            tried.append(label)
            try:
                partial = transport.auth_publickey(self.endpoint.user, key)
            except BadAuthenticationType as error:
                raise self._methods(list(error.allowed_types)) from error
            except AuthenticationException as error:
                if transport.is_active():
                    continue
                raise self._too_many(tried) from error
            except (SSHException, EOFError, OSError) as error:
                raise self._too_many(tried) from error
            if partial:
                raise self._methods(partial, second=True)
            return
        if not tried:
            self._without_a_key(transport, notes)
            return
        raise self._refused(tried, notes)

    def _keys(self, notes: list[str]) -> Iterator[tuple[str, PKey]]:
        agent = list(_agent_keys(self.endpoint.agent))
        wanted = self.endpoint.identities
        for path in wanted:
            blob = public_blob(path)
            held = next((key for _, key in agent if blob is not None and key.asbytes() == blob), None)
            if held is not None:
                yield f"{path} (agent)", held
            elif (key := self._load(path, notes, required=self.named)) is not None:
                yield str(path), key
        if not self.endpoint.identities_only:
            yield from agent
        if not wanted:
            for name in _DEFAULTS:
                path = Path.home() / ".ssh" / name
                if path.is_file() and (key := self._load(path, notes, required=False)) is not None:
                    yield str(path), key

    def _load(self, path: Path, notes: list[str], *, required: bool) -> PKey | None:
        """The private key in `path`; None with a note when it is of no use and not `required`."""
        from paramiko.pkey import PKey
        from paramiko.ssh_exception import PasswordRequiredException

        try:
            _check_file(path)
            try:
                return PKey.from_path(path)
            except (TypeError, PasswordRequiredException):
                return self._unlocked(path)
        except Unreachable as error:
            problem = error
        except FileNotFoundError:
            problem = Unreachable(
                f"the key file {path} does not exist", next=f"name one that does: -i FILE (ls {path.parent})"
            )
        except OSError as error:
            problem = Unreachable(f"the key file {path} cannot be read", why=error.strerror or str(error))
        except Exception as error:
            # cryptography raises what it likes for a file that is no key, or one it does not know.
            problem = Unreachable(
                f"{path} is not a private key this tool can use",
                why=str(error)[:200] or type(error).__name__,
                next=f"ssh-keygen -y -f {path}  shows whether it is one; public keys (.pub) are not",
            )
        if required:
            raise problem
        notes.append(problem.what)
        return None

    def _unlocked(self, path: Path) -> PKey:
        phrase = self.on_prompt(f"Passphrase for {path}: ") if self.on_prompt is not None else None
        if phrase is None:
            raise Unreachable(
                f"the key {path} needs its passphrase",
                why="there is no terminal to ask at, and the agent does not hold this key",
                next=f"ssh-add {path}",
            )
        try:
            # cryptography takes bytes; paramiko passes on what it is given (5.x) or encodes it.
            return _from_path(path, phrase)
        except Exception as error:
            raise Unreachable(
                f"the passphrase does not open {path}", why="wrong passphrase", next=f"ssh-add {path}"
            ) from error

    def _without_a_key(self, transport: Transport, notes: list[str]) -> None:
        """Some servers let in whom they know otherwise (no authentication); all others say what they take."""
        from paramiko.ssh_exception import BadAuthenticationType, SSHException

        methods: list[str] = []
        try:
            transport.auth_none(self.endpoint.user)
            return
        except BadAuthenticationType as error:
            methods = list(error.allowed_types)
        except (SSHException, EOFError, OSError):
            pass
        raise Unreachable(
            f"no key to log in with as {self.endpoint.user} on {at(self.endpoint)}",
            why="; ".join(notes) or "no agent, no identity in ~/.ssh/config, no ~/.ssh/id_* file",
            next="name a key: -i FILE, or make one: ssh-keygen -t ed25519 && "
            f"ssh-copy-id {self.endpoint.user}@{self.endpoint.hostname}",
            detail=f"the server takes: {', '.join(methods)}" if methods else "",
        )

    def _refused(self, tried: list[str], notes: list[str]) -> Unreachable:
        return Unreachable(
            f"{at(self.endpoint)} does not let {self.endpoint.user} in with "
            + ("this key" if len(tried) == 1 else f"any of {len(tried)} keys"),
            why="tried " + ", ".join(tried) + ("; " + "; ".join(notes) if notes else ""),
            next=f"ssh-copy-id -i KEY.pub {self.endpoint.user}@{self.endpoint.hostname}, "
            "or another user or key: --ssh-user, -i FILE",
        )

    def _methods(self, methods: list[str], *, second: bool = False) -> Unreachable:
        return Unreachable(
            f"{at(self.endpoint)} wants {' or '.join(methods)} for {self.endpoint.user}",
            why="a second factor is asked for" if second else "it does not take keys, and this tool logs in by key",
            next="allow PubkeyAuthentication for this user in the host's sshd_config",
        )

    def _too_many(self, tried: list[str]) -> Unreachable:
        return Unreachable(
            f"{at(self.endpoint)} hung up after {len(tried)} {'key' if len(tried) == 1 else 'keys'}",
            why="it allows only so many attempts (MaxAuthTries), and none of the keys before that was the right one: "
            + ", ".join(tried),
            next="name the right one: -i FILE (or IdentitiesOnly yes in ~/.ssh/config)",
        )


def _check_file(path: Path) -> None:
    """ssh refuses a private key that others can read; so does this, before it is used."""
    mode = path.stat()
    if stat.S_IMODE(mode.st_mode) & 0o077 and mode.st_uid in (os.getuid(), 0):
        raise Unreachable(
            f"the key file {path} is open to others (mode {stat.S_IMODE(mode.st_mode):04o})",
            why="ssh does not use such a key either",
            next=f"chmod 600 {path}",
        )


def _from_path(path: Path, phrase: Secret) -> PKey:
    from paramiko import ECDSAKey, Ed25519Key, RSAKey
    from paramiko.ssh_exception import SSHException

    last: Exception = SSHException("not a known kind of key")
    kinds: tuple[type[Any], ...] = (Ed25519Key, RSAKey, ECDSAKey)
    for kind in kinds:
        try:
            key: PKey = kind.from_private_key_file(str(path), phrase.reveal())
        except Exception as error:
            last = error
            continue
        certificate = Path(f"{path}-cert.pub")
        if certificate.exists():
            key.load_certificate(str(certificate))
        return key
    raise last


def public_blob(path: Path) -> bytes | None:
    """The public half of a key file without its passphrase: FILE.pub, or OpenSSH's own header."""
    try:
        fields = Path(f"{path}.pub").read_text("ascii", "replace").split()
        return base64.b64decode(fields[1], validate=True)
    except (OSError, IndexError, ValueError):
        pass
    try:
        lines = path.read_text("ascii", "replace").splitlines()
        data = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    except (OSError, ValueError):
        return None
    if not data.startswith(_MAGIC):
        return None
    # cipher, kdf, kdf options (strings), number of keys (u32), public key (string)
    rest = data[len(_MAGIC) :]
    for _ in range(3):
        rest = rest[4 + int.from_bytes(rest[:4], "big") :]
    rest = rest[4:]
    return rest[4 : 4 + int.from_bytes(rest[:4], "big")] or None


def _agent_keys(path: str | None) -> Iterator[tuple[str, PKey]]:
    if not path:
        return
    from paramiko.agent import AgentSSH
    from paramiko.ssh_exception import SSHException

    class Agent(AgentSSH):
        """paramiko's own only knows SSH_AUTH_SOCK; IdentityAgent names a socket, too."""

        def __init__(self) -> None:
            super().__init__()
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(_AGENT_TIMEOUT)
            connection.connect(str(path))
            self._connect(connection)  # type: ignore[attr-defined]  # as paramiko's own Agent does

    try:
        for key in Agent().get_keys():
            yield f"agent key {getattr(key, 'comment', '') or key.get_name()}", key
    except (SSHException, OSError, EOFError):
        return
