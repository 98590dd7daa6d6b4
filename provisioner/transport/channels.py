"""Opening channels on one connection: counted, and waiting for a slot when sshd has none left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionError
from provisioner.transport import failures

if TYPE_CHECKING:
    from paramiko.channel import Channel

# sshd's MaxSessions is 10 by default and the eleventh is refused at once; a slot is only free again
# when the remote command has ended, which the client cannot see. Hence: ask again, for a while.
_PATIENCE = 30.0
_PAUSE = 0.05


class Channels:
    """The session channels of one connection. `opened` counts them, retries not included."""

    def __init__(self, connection: Any, host: str) -> None:
        self._connection = connection
        self.host = host
        self._free = threading.Condition()
        self._open = 0
        self.opened = 0

    def start(self, command: str) -> Channel:
        """A channel on which `command` runs; `finish` must follow."""
        from paramiko.ssh_exception import SSHException

        channel = self._session()
        try:
            channel.exec_command(command)
        except (SSHException, EOFError, OSError) as error:
            self.finish(channel)
            if not self.alive:
                raise failures.link_lost(self.host, error) from error
            raise failures.not_a_shell(self.host, b"the server refuses to run commands") from error
        return channel

    @contextmanager
    def running(self, command: str) -> Iterator[Channel]:
        channel = self.start(command)
        try:
            yield channel
        finally:
            self.finish(channel)

    def finish(self, channel: Channel) -> None:
        try:
            channel.close()
        finally:
            with self._free:
                self._open -= 1
                self._free.notify()

    @property
    def alive(self) -> bool:
        transport = self._connection.transport
        return transport is not None and bool(transport.is_active())

    def _session(self) -> Channel:
        from paramiko.ssh_exception import ChannelException, SSHException

        refused = (1, 2, 4)  # prohibited, connect failed (what MaxSessions gives), resource shortage
        until = time.monotonic() + _PATIENCE
        pause = _PAUSE
        while True:
            try:
                # Fabric's own way to a session channel; it would also reopen a lost connection, which
                # must not happen here: one connection is the contract.
                if not self.alive:
                    raise failures.link_lost(self.host)
                channel: Channel = self._connection.create_session()
            except ProvisionError:
                raise
            except (SSHException, EOFError, OSError) as error:
                # Two refusals at once: one thread takes the other's exception, which then has none.
                if not self.alive or (isinstance(error, ChannelException) and error.code not in refused):
                    raise failures.link_lost(self.host, error) from error
                with self._free:
                    others = self._open
                    if (not others and pause > 8 * _PAUSE) or time.monotonic() > until:
                        raise failures.no_channel(self.host, others) from error
                    self._free.wait(pause)
                pause = min(pause * 2, 1.0)
            else:
                with self._free:
                    self._open += 1
                    self.opened += 1
                return channel
