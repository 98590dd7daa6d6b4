"""Disposable systemd hosts on one Linux machine, for `provision demo` and the host tests.

Each host is systemd-nspawn over a copy-on-write overlay on a minimal Debian: systemd, sshd, cgroups,
journald and reboots are real, booting takes about a second, throwing one away is instant. The first host of
a suite builds its image (20 to 40 s, 330 MB under /var/lib/provision-lab). Root on a Debian or Ubuntu
machine is needed; missing packages are installed. Hosts live in 10.151.0.0/24 (1 to 253).

From a shell, as root:

    python -m provisioner.lab up web1 10.151.0.1 [--suite trixie] [--variant sudo-rs] [--cache]
    ssh -i "$(python -m provisioner.lab key)" root@10.151.0.1
    python -m provisioner.lab list
    python -m provisioner.lab reboot web1       same disk, same keys
    python -m provisioner.lab reset web1        rebuilt: empty disk, new SSH host keys, same address
    python -m provisioner.lab snapshot web1 L   freeze it; `up web2 10.151.0.2 --layer L` starts from there
    python -m provisioner.lab rewind web1       forget what happened since it was started or frozen
    python -m provisioner.lab down web1         or --all: everybody's hosts, and the network
    python -m provisioner.lab prune             images and layers that nothing uses

A host belongs to nobody: it outlives the command, the terminal and the test that started it, until `down`.

From a test:

    from provisioner.lab import hosts

    with hosts.running("web1", "10.151.0.1", cache=True) as host:      # replaces what a killed run left
        subprocess.run([*host.ssh(), "uptime"])                         # OpenSSH, exactly this host's keys
        host.check("systemctl kill -s KILL nginx")                      # by hand, even without sshd
        (host.root / "etc/nginx/nginx.conf").write_text("nonsense")     # the live filesystem
        layer = hosts.snapshot("web1")                                  # shut down cleanly, frozen, booted
        other = hosts.start("web2", "10.151.0.2", layer=layer)          # already provisioned, own keys

To look at a host after a test, run it with PROVISION_LAB_KEEP=1 (`running` then leaves it), or use
`hosts.start` and `hosts.stop` yourself. A LabHost describes one boot: after `reboot`, `reset`, `rewind` or
`snapshot`, take the returned one, or `hosts.get(name)`.

Worth knowing. `systemctl reboot` inside switches the host off: `hosts.reboot` is the power button, and
`hosts.boot` starts one that is off. With `cache=True` .deb files are linked into a host before it boots and
kept when it stops, and /root/.cache/uv and /root/.cache/pip are shared directories: uv then copies instead of
linking. Package names given as `packages` go into an image of their own. The console's output is in
/var/lib/provision-lab/hosts/NAME/console.log, and in the error when a host does not come up.
"""
