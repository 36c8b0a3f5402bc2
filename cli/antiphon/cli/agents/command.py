"""`antiphon agents`: which agents are present; a folder of agents' files checked; credentials for agent plug-ins.

Credentials are those of the stack that runs here, or of a directory of credentials.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Final

import nats.errors

from antiphon.cli.agents import check as agents_check
from antiphon.cli.agents import present as agents_present
from antiphon.cli.errors import CallError, UsageError
from antiphon.cli.up import running_stack
from antiphon.cli.up.running_stack import RunningStack
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Users, UsersError

PLUG_INS: Final = ("agent", "text_agent", "shadow")
RELOADED_WITHIN: Final = 3.0
"""Seconds that the server of a running stack has for reading its users again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon agents`."""
    parser.add_argument("--json", action="store_true", help="the agents that are present as JSON, not as a table")
    parser.add_argument(
        "--nats",
        default=None,
        metavar="URL",
        help=f"the bus (default: ANTIPHON_NATS_URL or {connection.DEFAULT_NATS_URL})",
    )
    does = parser.add_subparsers(dest="what", metavar="[check|add|list|remove]")
    check = does.add_parser("check", help="check a folder of agents' files; exit status 1 if there are mistakes")
    agents_check.add_arguments(check)
    add = does.add_parser("add", help="make a credential for an agent and print its file")
    add.add_argument("name", help="the agent's name")
    add.add_argument(
        "--kind",
        choices=["audio", "text"],
        default="audio",
        help="text: a `TextAgent`, without sessions of its own",
    )
    add.add_argument("--shadow-of", metavar="AGENT", default="", help="it only listens to the sessions of this agent")
    remove = does.add_parser("remove", help="take a credential away; its connections end")
    remove.add_argument("name", help="the agent's name")
    for each in (add, remove, does.add_parser("list", help="whose credentials the server knows")):
        each.add_argument(
            "--credentials",
            type=Path,
            metavar="DIRECTORY",
            help="what `antiphon credentials` has written (default: the stack of `antiphon up` that runs here)",
        )
        each.add_argument(
            "--nats", default=argparse.SUPPRESS, metavar="URL", help="which running stack, by its NATS address"
        )


def run(args: argparse.Namespace) -> int:
    """Show who is present, check, add, list or remove; the exit status."""
    if args.what == "check":
        return agents_check.run(args)
    if args.what is None:
        url = args.nats or os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL
        return agents_present.run(url, as_json=args.json)
    stack = None if args.credentials else _stack(args.nats)
    users = stack.users if stack is not None else Users(args.credentials)
    try:
        if args.what == "list":
            for known in users.all():
                of = f", a shadow of {known.user.of}" if known.user.of else ""
                print(f"{known.user.title:<24} {known.key}{of}")
        elif args.what == "add":
            _add(users, _user(args.name, args.kind, args.shadow_of), stack)
        else:
            _remove(users, args.name, stack)
    except UsersError as error:
        raise UsageError(str(error)) from None
    return 0


def _stack(url: str | None) -> RunningStack:
    if url is not None:
        if (found := running_stack.find(url)) is None:
            raise UsageError(f"--nats {url}: no `antiphon up` of this user has this server; or name --credentials")
        return found
    running = running_stack.all_running()
    if not running:
        raise UsageError("no `antiphon up` of this user runs: start one, or name --credentials DIRECTORY")
    if len(running) > 1:
        raise UsageError(f"several stacks run, say which with --nats: {', '.join(each.nats_url for each in running)}")
    return running[0]


def _user(name: str, kind: str, shadow_of: str) -> User:
    if kind == "text":
        if shadow_of:
            raise UsageError("--shadow-of: a text agent has no sessions to listen to; leave --kind text away")
        return User("text_agent", name)
    return User("shadow", name, of=shadow_of) if shadow_of else User("agent", name)


def _add(users: Users, user: User, stack: RunningStack | None) -> None:
    others = {User(role, user.name).title for role in PLUG_INS if role != user.role}
    if (there := next((each.user.title for each in users.all() if each.user.title in others), None)) is not None:
        raise UsersError(f"{there} exists, and would share its inbox: remove it first")
    new = users.add([user])
    file = users.seed_file(user).resolve()
    if stack is not None:
        stack.reload()
        _wait_until_known(stack, Access(user.role, user.name, file))
    print(f"{file}{'' if new else ' (was there)'}")
    _next(stack, f"ANTIPHON_NATS_CREDENTIALS={file} python your_agent.py")


def _remove(users: Users, name: str, stack: RunningStack | None) -> None:
    titles = {each.user.title for each in users.all() if each.user.role in PLUG_INS}
    title = next((found for role in PLUG_INS if (found := f"{role}-{name}") in titles), f"agent-{name}")
    users.remove(title)
    if stack is not None:
        stack.reload()
    print(f"{title} is removed")
    _next(stack, "")


def _next(stack: RunningStack | None, example: str) -> None:
    if stack is not None:
        if example:
            print(f"ANTIPHON_NATS_URL={stack.nats_url} {example}")
    else:
        print("Now have the server read its users again: nats-server --signal reload, or SIGHUP to it.")


def _wait_until_known(stack: RunningStack, access: Access) -> None:
    deadline = time.monotonic() + RELOADED_WITHIN
    while True:
        try:
            asyncio.run(_knock(stack.nats_url, access))
            return
        except (nats.errors.Error, OSError) as error:
            if time.monotonic() > deadline:
                raise CallError(f"NATS at {stack.nats_url} does not take the new credential: {error}") from None
        time.sleep(0.05)


async def _knock(url: str, access: Access) -> None:
    client = await connection.connect_once(url, "antiphon-agents", access)
    await client.close()
