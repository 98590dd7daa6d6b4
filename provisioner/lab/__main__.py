"""`python -m provisioner.lab`: disposable hosts from a shell. See the package's docstring."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from provisioner.errors import Exit, ProvisionError, UsageError
from provisioner.lab import hosts, identity, layers, machine, network, process
from provisioner.lab.hosts import SudoUser
from provisioner.lab.spec import Bind
from provisioner.secrets import Secret


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        machine.require_root()
        return int(arguments.run(arguments) or 0)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except ProvisionError as failed:
        print(f"error: {failed.what}", file=sys.stderr)
        for label, text in (("why", failed.why), ("next", failed.next)):
            if text:
                print(f"  {label}: {text}", file=sys.stderr)
        if failed.detail:
            print("\n".join(f"  | {line}" for line in failed.detail.splitlines()), file=sys.stderr)
        return int(failed.exit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m provisioner.lab", description="disposable systemd hosts")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start a host")
    up.add_argument("name")
    up.add_argument("address")
    up.add_argument("--suite", default="bookworm")
    up.add_argument("--variant", default="plain")
    up.add_argument("--package", action="append", default=[], help="part of the image; repeatable")
    up.add_argument("--layer", help="label of a snapshot to start from")
    up.add_argument("--bind", action="append", default=[], metavar="SOURCE:TARGET")
    up.add_argument("--sshd", action="append", default=[], metavar="LINE", help="an sshd_config line; repeatable")
    up.add_argument("--ssh-key", action="append", default=[], metavar="PUBLIC_KEY_FILE")
    up.add_argument("--sudo-user", metavar="NAME")
    up.add_argument("--ask-sudo-password", action="store_true", help="read that user's password from stdin")
    up.add_argument("--memory", type=int, metavar="MIB")
    up.add_argument("--cache", action="store_true", help="share downloaded packages with other hosts")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="stop and delete a host")
    down.add_argument("name", nargs="?")
    down.add_argument("--all", action="store_true", help="every host, and what a killed run left behind")
    down.set_defaults(run=_down)

    commands.add_parser("list", help="hosts and their state").set_defaults(run=_list)
    for name, action in (
        ("reboot", hosts.reboot),
        ("reset", hosts.reset),
        ("rewind", hosts.rewind),
        ("boot", hosts.boot),
        ("halt", hosts.halt),
    ):
        command = commands.add_parser(name, help=(action.__doc__ or "").splitlines()[0])
        command.add_argument("name")
        command.set_defaults(run=lambda arguments, action=action: action(arguments.name) and None)
    snapshot = commands.add_parser("snapshot", help="freeze a host as a layer")
    snapshot.add_argument("name")
    snapshot.add_argument("label")
    snapshot.set_defaults(run=lambda arguments: print(hosts.snapshot(arguments.name, arguments.label).id))
    commands.add_parser("prune", help="delete images and layers that nothing stands on").set_defaults(run=_prune)
    commands.add_parser("key", help="path of the private key that opens every host").set_defaults(run=_key)
    return parser


def _up(arguments: argparse.Namespace) -> None:
    layer = None
    if arguments.layer:
        layer = layers.find(arguments.layer)
        if layer is None:
            raise UsageError(f"there is no layer {arguments.layer}")
    user = None
    if arguments.sudo_user:
        password = Secret(sys.stdin.readline().rstrip("\n")) if arguments.ask_sudo_password else None
        user = SudoUser(arguments.sudo_user, password, nopasswd=password is None)
    host = hosts.start(
        arguments.name,
        arguments.address,
        suite=arguments.suite,
        variant=arguments.variant,
        packages=arguments.package,
        layer=layer,
        ssh_public_key=[_text(path) for path in arguments.ssh_key],
        bind=[Bind(*one.split(":", 1)) if ":" in one else Bind(one, one) for one in arguments.bind],
        sudo_user=user,
        sshd=arguments.sshd,
        memory=arguments.memory * 1024 * 1024 if arguments.memory else None,
        cache=arguments.cache,
    )
    print(f"{host.name} {host.address} ssh -i {identity.PRIVATE_KEY} root@{host.address}")


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _down(arguments: argparse.Namespace) -> None:
    if arguments.all:
        for name in hosts.stop_all():
            print(name)
        network.remove()
    elif arguments.name:
        hosts.stop(arguments.name)
    else:
        raise UsageError("name a host, or say --all")


def _list(_: argparse.Namespace) -> None:
    for record in hosts.records():
        running = record.process is not None and process.alive(record.process)
        spec = record.spec
        print(f"{spec.name:16} {spec.address:14} {spec.suite:9} {spec.variant:8} {'running' if running else 'stopped'}")


def _prune(_: argparse.Namespace) -> None:
    for path in hosts.prune():
        print(path)


def _key(_: argparse.Namespace) -> None:
    identity.public_key()
    print(identity.PRIVATE_KEY)


if __name__ == "__main__":
    raise SystemExit(main())
