"""The commands `sidewinder apikey …`: options, and what each calls in `apikey`. Registered by `main`."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sidewinder_operator.cli.console import Voice

CONTEXT = click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
NAMESPACE = click.option("-n", "--namespace", default="default", show_default=True, help="The Secret's.")
FILES = click.option(
    "-f",
    "--filename",
    "paths",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Edit the Secret in these manifests, for `sidewinder up`, instead of in a cluster.",
)


@click.group()
def apikey() -> None:
    """API keys of a Secret that a policy of type APIKey names."""


@apikey.command()
@click.argument("secret")
@NAMESPACE
@FILES
@CONTEXT
@click.option("--plan", default="", help="What limits know the caller's contract by.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="What is known of the caller; several times.")
@click.option("--expires", default="", metavar="90d", help="When it ends: 90d, 12h, or 2030-01-31T00:00:00Z.")
@click.option("--note", default="", help="For people; goes nowhere.")
def create(secret: str, plan: str, metadata: tuple[str, ...], expires: str, note: str, **where: Any) -> None:
    """Make a key and print it, this once. Only its hash is kept; a Secret that is not there is made."""
    from sidewinder_operator.cli import apikey as keys

    now = dt.datetime.now(dt.UTC)
    with _told():
        end = keys.moment(expires, now) if expires else None
        made = keys.create(_store(secret, where), now, plan=plan, metadata=_pairs(metadata), note=note, expires=end)
    _show(made.id, made.key)


@apikey.command()
@click.argument("secret")
@click.argument("key")
@NAMESPACE
@FILES
@CONTEXT
@click.option("--grace", default="24h", show_default=True, help="How long the old key still holds; 0s: not at all.")
def rotate(secret: str, key: str, grace: str, **where: Any) -> None:
    """Make another key in the place of KEY (its id, or the beginning of it), with the same plan and metadata."""
    from sidewinder_operator.cli import apikey as keys

    with _told():
        made, old = keys.rotate(_store(secret, where), dt.datetime.now(dt.UTC), key, keys.span(grace))
    _show(made.id, made.key)
    Voice().warn(f"{keys.PREFIX}{old} holds for {grace} still")


@apikey.command()
@click.argument("secret")
@click.argument("key")
@NAMESPACE
@FILES
@CONTEXT
def revoke(secret: str, key: str, **where: Any) -> None:
    """Take KEY (its id, or the beginning of it) out: proxies refuse it within a second."""
    from sidewinder_operator.cli import apikey as keys

    with _told():
        gone = keys.revoke(_store(secret, where), key)
    Voice().say(f"{keys.PREFIX}{gone} is revoked")


@apikey.command("list")
@click.argument("secret")
@NAMESPACE
@FILES
@CONTEXT
@click.option("--prefix", default="", help="Only keys that begin like this, such as swk_ab3.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
def list_keys(secret: str, prefix: str, output: str, **where: Any) -> None:
    """List keys by what they begin with, with plan, metadata and times. No key can be shown again."""
    from sidewinder_operator.cli import apikey as keys

    with _told():
        found = keys.listed(_store(secret, where), prefix)
    voice = Voice()
    if output == "json":
        voice.raw(json.dumps([_as_json(each) for each in found], indent=2))
        return
    now = dt.datetime.now(dt.UTC)
    rows = [("KEY", "PLAN", "CREATED", "EXPIRES", "METADATA", "NOTE"), *(_row(each, now) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        voice.raw("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@apikey.command()
@click.argument("user")
def password(user: str) -> None:
    """Ask for USER's password and print the line for the entry `users` of a Secret that type Basic names.

    Where nobody sits at a terminal, the password is the first line of the standard input.
    """
    from sidewinder_operator.cli import apikey as keys

    if sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\n")
    with _told():
        line = keys.password_line(user, given)
    Voice().raw(line)


@contextmanager
def _told() -> Iterator[None]:
    """Mistakes in one line."""
    from sidewinder_operator.cli.apikey import Wrong
    from sidewinder_operator.cli.kubectl import Refused, Unreachable
    from sidewinder_operator.local.secret_edit import Uneditable

    try:
        yield
    except (Wrong, Uneditable, Refused, Unreachable) as why:
        raise click.ClickException(str(why)) from None


def _store(secret: str, where: dict[str, Any]) -> Any:
    from sidewinder_operator.cli.key_store import InCluster, InFiles
    from sidewinder_operator.cli.kubectl import Kubectl

    if where["paths"]:
        return InFiles(where["paths"], where["namespace"], secret)
    return InCluster(Kubectl(where["context"]), where["namespace"], secret)


def _pairs(written: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--metadata {each!r}: NAME=VALUE is wanted")
        found[name] = value
    return found


def _show(name: str, key: str) -> None:
    """The key alone on standard output, so that a script can take it."""
    Voice().warn(f"swk_{name} is made; it is shown this once:")
    click.echo(key)


def _row(key: Any, now: dt.datetime) -> tuple[str, ...]:
    stored = key.stored
    if stored is None:
        return (f"swk_{key.id}" if not key.broken.startswith("is not named") else key.id, "", "", "", "", key.broken)
    ended = " (over)" if stored.expires is not None and stored.expires <= now else ""
    return (
        f"swk_{key.id}",
        stored.plan or "-",
        _time(stored.created),
        _time(stored.expires) + ended,
        ",".join(f"{name}={value}" for name, value in sorted(stored.metadata.items())) or "-",
        stored.note,
    )


def _time(moment: dt.datetime | None) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else "-"


def _as_json(key: Any) -> dict[str, Any]:
    stored = key.stored
    if stored is None:
        return {"id": key.id, "broken": key.broken}
    return {
        "id": key.id,
        "plan": stored.plan,
        "metadata": stored.metadata,
        "created": _time(stored.created) if stored.created else None,
        "expires": _time(stored.expires) if stored.expires else None,
        "note": stored.note,
    }
