"""Ratios between `provision` and the same work by hand, by pyinfra and by Ansible, in one run.

    python benchmarks/compare.py PEERS MINIO [--only help,rerun,first] [--pyinfra FILE] [--ansible FILE]

PEERS holds by-hand.sh, deploy.py and site.yml; MINIO is a server binary. Every contender gets an identical
fresh disposable host without a package cache and the binary from this machine. Short things are measured
several times and the best counts. Prints a table and, with --json FILE, the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

GATEWAY = "10.151.0.254"
ADDRESS = "10.151.0.90"
PROVISION = [sys.executable, "-m", "provisioner"]


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The best of `times`."""
    best = float("inf")
    for _ in range(times):
        begun = time.monotonic()
        work()
        best = min(best, time.monotonic() - begun)
    return best


def call(argv: list[str], quiet: bool = True, **options: object) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=quiet, text=True, timeout=900, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{argv} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")


@contextlib.contextmanager
def fresh(name: str) -> Iterator[LabHost]:
    with hosts.running(name, ADDRESS) as host:
        yield host


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder over HTTP on the hosts' bridge."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer((GATEWAY, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{GATEWAY}:{server.server_address[1]}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def ssh(host: LabHost, command: str) -> list[str]:
    return [*host.ssh("root"), command]


def by_hand(peers: Path, url: str) -> float:
    with fresh("bench-hand") as host:
        script = (peers / "by-hand.sh").read_text()
        (host.root / "root" / "by-hand.sh").write_text(script)
        return seconds(lambda: call(ssh(host, f"bash /root/by-hand.sh {url}/minio pip")))


def pyinfra(program: str, peers: Path, url: str, digest: str) -> tuple[float, float]:
    with fresh("bench-pyinfra"):
        argv = [
            program, ADDRESS, "--ssh-user", "root", "--ssh-key", str(PRIVATE_KEY), "-y",
            "--data", f"minio_url={url}/minio", "--data", f"minio_sum={digest}",
            "--data", "ssh_strict_host_key_checking=off", str(peers / "deploy.py"),
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            run = functools.partial(call, argv, cwd=folder, env={**os.environ, "HOME": folder})
            return seconds(run), seconds(run, 3)


def ansible(program: str, peers: Path, url: str, digest: str) -> tuple[float, float]:
    with fresh("bench-ansible") as host, tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_HOST_KEY_CHECKING": "0",
            "ANSIBLE_LOCAL_TEMP": folder,
            "HOME": folder,
        }
        argv = [
            program, "-i", f"{host.address},", "-u", "root", "--private-key", str(PRIVATE_KEY),
            "-e", f"minio_url={url}/minio minio_sum=sha256:{digest}", str(peers / "site.yml"),
        ]  # fmt: skip
        run = functools.partial(call, argv, env=env)
        return seconds(run), seconds(run, 2)


def provision(minio: Path) -> tuple[float, float, float, dict[str, object]]:
    """First run, re-run with nothing to change, `ssh HOST true`, and the re-run's document."""
    with fresh("bench-provision") as host, tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "XDG_STATE_HOME": folder, "HOME": folder}
        reach = ["--host", f"root@{host.address}", "-i", str(PRIVATE_KEY)]
        first = functools.partial(call, [*PROVISION, *reach, "--set", f"store.binary={minio}"], env=env)
        again = functools.partial(call, [*PROVISION, *reach], env=env)
        took = seconds(first)
        rerun, true = float("inf"), float("inf")
        for _ in range(7):  # in turns: both see the same machine
            rerun = min(rerun, seconds(again))
            true = min(true, seconds(lambda: call(ssh(host, "true"))))
        document = subprocess.run([*PROVISION, *reach, "--json"], env=env, capture_output=True, text=True, check=True)
        return took, rerun, true, json.loads(document.stdout)["hosts"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=Path)
    parser.add_argument("minio", type=Path)
    parser.add_argument("--pyinfra", default="")
    parser.add_argument("--ansible", default="")
    parser.add_argument("--no-hand", action="store_true", help="leave the by-hand script out (it takes a minute)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    peers, minio = given.peers.resolve(), given.minio.resolve()
    rows: list[tuple[str, float, str, float | None]] = []

    bare = seconds(lambda: call([sys.executable, "-c", "pass"]), 15)
    program = Path(sys.executable).with_name("provision")
    help_ = seconds(lambda: call([str(program), "--help"]), 15)
    rows.append(("provision --help / python -c pass", help_ / bare, "at most 8", 8))

    first, rerun, true, host = provision(minio)
    rows.append(("re-run with nothing to change / ssh HOST true", rerun / true, "at most 4", 4))
    digest = hashlib.sha256(minio.read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "minio").symlink_to(minio)
        with served(Path(folder)) as url:
            if not given.no_hand:
                hand = by_hand(peers, url)
                rows.append(
                    (f"first run / by hand with pip ({first:.1f} s / {hand:.1f} s)", first / hand, "at most 0.45", 0.45)
                )
            if given.pyinfra:
                there, back = pyinfra(given.pyinfra, peers, url, digest)
                rows.append((f"first run / pyinfra ({there:.1f} s)", first / there, "at most 0.4", 0.4))
                rows.append((f"re-run / pyinfra ({rerun:.2f} s / {back:.2f} s)", rerun / back, "at most 0.125", 0.125))
            if given.ansible:
                there, back = ansible(given.ansible, peers, url, digest)
                rows.append((f"first run / Ansible ({there:.1f} s)", first / there, "at most 0.4", 0.4))
                rows.append(
                    (f"re-run / Ansible ({rerun:.2f} s / {back:.2f} s)", rerun / back, "at most 0.0625", 0.0625)
                )
    print(f"re-run: {host['connections']} connection, {host['channels']} exec channels")
    for name, ratio, budget, bound in rows:
        verdict = "" if bound is None else ("ok" if ratio <= bound else "OVER")
        print(f"{name:<62} {ratio:8.3f}   {budget:<15} {verdict}")
    if given.json:
        given.json.write_text(json.dumps([{"what": r[0], "ratio": r[1], "budget": r[3]} for r in rows], indent=1))


if __name__ == "__main__":
    main()
