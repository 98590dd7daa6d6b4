"""This machine instead of a host behind SSH: the same protocol, root or sudo without a password."""

from __future__ import annotations

import os

from provisioner.transport.process import ProcessSession
from provisioner.transport.sudo import Way


class LocalSession(ProcessSession):
    """A `Session` on this machine; privileged scripts run as root, through sudo -n when we are not."""

    def __init__(self, host: str = "localhost") -> None:
        super().__init__(host, Way.ROOT if os.geteuid() == 0 else Way.SUDO)
