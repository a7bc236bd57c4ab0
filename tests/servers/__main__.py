"""A machine to play with: ``python -m tests.servers up trixie``; see README.md beside this file."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from . import golden, host, layers
from .lab import Lab


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers",
        description="Brand-new Debian servers on this machine (needs root).",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("deps", help="install what the lab needs of this machine's distribution")
    commands.add_parser("check", help="say what stands in the way, if anything")
    up = commands.add_parser("up", help="boot a new server and say how to log in")
    up.add_argument("suite", nargs="?", default="trixie", choices=sorted(golden.SUITES))
    up.add_argument("--name", default="")
    up.add_argument(
        "--with",
        dest="layer",
        default="bare",
        choices=layers.NAMES,
        help="what it has beside the base system",
    )
    up.add_argument(
        "--docker",
        action="store_true",
        help="let Docker run inside (implied by layers that need it)",
    )
    up.add_argument("--timezone", default="Etc/UTC")
    commands.add_parser("list", help="the servers that there are")
    for verb, text in {
        "reboot": "reboot it",
        "crash": "power loss",
        "boot": "switch it on again",
        "down": "remove it (no name: everything)",
    }.items():
        commands.add_parser(verb, help=text).add_argument(
            "name", nargs="?" if verb == "down" else None
        )
    arguments = parser.parse_args()
    if arguments.command == "deps":
        host.install_programs()
        return 0
    if found := host.obstacles():
        print("\n".join(found), file=sys.stderr)
        return 1
    try:
        return _act(arguments)
    except host.LabError as error:
        print(error, file=sys.stderr)
        return 1


def _act(arguments: argparse.Namespace) -> int:
    wanted = getattr(arguments, "name", "")
    lab = Lab(os.environ.get("LAB_BRIDGE", "pgbplay"), os.environ.get("LAB_NETWORK", "10.78.0"))
    servers = {server.name: server for server in lab.servers()}
    if arguments.command == "up":
        lab.start()
        name = wanted or next(
            f"{arguments.suite}{n}" for n in range(1, 200) if f"{arguments.suite}{n}" not in servers
        )
        image = layers.image(lab, arguments.suite, arguments.layer)
        server = lab.up(
            name,
            arguments.suite,
            image=image,
            docker=arguments.docker or layers.needs_docker(arguments.layer),
            timezone=arguments.timezone,
        )
        print(
            f"{name} is up: {golden.SUITES[arguments.suite]} at {server.address}. Log in:\n"
            f"  {shlex.join(server.ssh_command())}"
        )
        print(f"Remove it:\n  {shlex.join([sys.executable, '-m', 'tests.servers', 'down', name])}")
    elif arguments.command == "list":
        for server in servers.values():
            state = "running" if server.running else "off"
            login = shlex.join(server.ssh_command())
            print(f"{server.name}\t{server.suite}\t{server.address}\t{state}\t{login}")
    elif arguments.command == "down" and not wanted:
        lab.stop()
    elif wanted not in servers:
        print(
            f"There is no server {wanted}; there are: {', '.join(servers) or 'none'}",
            file=sys.stderr,
        )
        return 2
    else:
        getattr(servers[wanted], arguments.command)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
