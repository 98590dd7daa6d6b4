"""Disposable systemd hosts on one Linux machine, for `provision demo` and the host tests.

Each host is systemd-nspawn over a copy-on-write overlay on a minimal Debian: systemd, sshd, cgroups and
reboots are real, booting takes about a second, throwing one away is instant.

From a shell (as root):

    python -m provisioner.lab up web1 10.151.0.1 [--suite trixie] [--cache]
    ssh -i "$(python -m provisioner.lab key)" root@10.151.0.1
    python -m provisioner.lab list | reboot web1 | reset web1 | snapshot web1 LABEL | down web1
"""
