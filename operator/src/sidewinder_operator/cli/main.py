"""The command `sidewinder`: options, and what each command calls. Every mistake is told with what would be right."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from sidewinder_operator.cli.console import Voice, summary
from sidewinder_operator.cli.keys import apikey

FILES = click.option(
    "-f",
    "--filename",
    "paths",
    metavar="PATH",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A manifest or a folder of manifests; may be given several times.",
)
STATE = click.option(
    "--state",
    metavar="DIR",
    default=Path(".sidewinder"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where what was good last is kept, and where the running `up` is found.",
)
OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Sidewinder: a service mesh for Kubernetes, and for one machine without it."""


@main.command()
@FILES
@STATE
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The way in; 0 takes one.")
@click.option(
    "--otlp",
    metavar="URL",
    default=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    help="OTLP/HTTP receiver of the spans, such as http://127.0.0.1:4318. Default: $OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option(
    "--trace-percent",
    default=100.0,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Share of the requests from outside that get a trace.",
)
@click.option("--access-log", is_flag=True, help="Show the sidecars' access logs.")
@click.option(
    "--certificate-seconds",
    default=86_400,
    show_default=True,
    type=click.IntRange(10, 86_400),  # sidecars look once a second for what was renewed
    help="How long a sidecar's certificate holds; it is renewed at about half of that.",
)
def up(paths: tuple[Path, ...], **options: Any) -> None:
    """Run the mesh that these manifests describe on this machine, until Ctrl-C."""
    from sidewinder_operator.cli.up import Asked, run  # not needed by the other commands, which start faster without

    sys.exit(run(Asked(paths=paths, **options), Voice()))


@main.command()
@FILES
@OUTPUT
def validate(paths: tuple[Path, ...], output: str) -> None:
    """Print what is wrong with these manifests; exit 1 if anything is."""
    from sidewinder_operator.cli.validate import as_json
    from sidewinder_operator.cli.validate import validate as find

    problems = find(paths)
    voice = Voice()
    if output == "json":
        voice.raw(as_json(problems))
    else:
        voice.problems(problems)
        (voice.warn if problems else voice.say)(summary(problems))
    sys.exit(1 if any(problem.severity == "Error" for problem in problems) else 0)


@main.command()
@STATE
@OUTPUT
def status(state: Path, output: str) -> None:
    """Ask the running `up`: what runs, and which sidecars have acknowledged which object."""
    from sidewinder_operator.cli.status import NotRunning, ask, show

    voice = Voice()
    try:
        answer = ask(state)
    except NotRunning as why:
        raise click.ClickException(str(why)) from None
    if output == "json":
        voice.raw(answer.decode())
    else:
        show(answer, voice)


@main.command()
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@click.option("--namespace", default="sidewinder-system", show_default=True, help="Where Sidewinder is, or will be.")
@OUTPUT
def check(context: str, namespace: str, output: str) -> None:
    """Say whether this cluster is fit for Sidewinder, or Sidewinder well in it; exit 1 if something must be done."""
    from sidewinder_operator.cli import check as checking
    from sidewinder_operator.cli.findings import Place
    from sidewinder_operator.cli.kubectl import Kubectl, Unreachable

    voice = Voice()
    place = Place(namespace=namespace, now=checking.now(), version=importlib.metadata.version("sidewinder-operator"))
    try:
        told = checking.check(Kubectl(context), place)
    except Unreachable as why:
        raise click.ClickException(str(why)) from None
    if output == "json":
        voice.raw(checking.as_json(told))
    else:
        checking.show(told, voice)
    sys.exit(1 if any(finding.level == "error" for finding in told) else 0)


@main.command()
@FILES
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of objects that name none.")
@click.option("--timeout", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds.")
def wait(paths: tuple[Path, ...], context: str, namespace: str, timeout: float) -> None:
    """Wait until these routes and policies are live in every proxy; exit 1 if they are not in time."""
    from sidewinder_operator.cli import wait as waiting
    from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable

    voice = Voice()
    references, problems = waiting.wanted(paths, namespace)
    voice.problems(problem for problem in problems if problem.severity == "Error")
    try:
        behind = waiting.wait(
            Kubectl(context), references, timeout, lambda seen: voice.say(f"{seen.reference}: {seen.told}")
        )
    except (Unreachable, Refused) as why:
        raise click.ClickException(str(why)) from None
    waiting.show(behind, voice)
    sys.exit(1 if behind or any(problem.severity == "Error" for problem in problems) else 0)


@main.command("rotate-root")
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@click.option("--namespace", default="sidewinder-system", show_default=True, help="Where Sidewinder is.")
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Of the `sidewinder up` that runs with its state there, instead of a cluster's.",
)
@click.option("--status", "only", is_flag=True, help="Say how it stands, and change nothing.")
@click.option(
    "--timeout", default=1800.0, show_default=True, type=click.FloatRange(0), help="Seconds; it goes on without us."
)
def rotate_root(context: str, namespace: str, state: Path | None, only: bool, timeout: float) -> None:
    """Give the mesh another root, without a failed request; exit 1 if that is not done in time. Call it again to see.

    The operator does it, stage by stage: everybody trusts the next root, the next root signs, the old one is forgotten.
    """
    from sidewinder_operator.cli import check as checking
    from sidewinder_operator.cli import rotate
    from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable

    voice, cluster = Voice(), Kubectl(context)
    if state is not None:
        sys.exit(0 if _rotated(state, only, timeout, voice) else 1)
    try:
        if only:
            rotate.show(rotate.look(cluster, namespace), voice)
            return
        rotate.ask(cluster, namespace, checking.now())
        done = rotate.follow(cluster, namespace, timeout, lambda progress: rotate.show_progress(progress, voice))
    except (Unreachable, Refused, rotate.Absent) as why:
        raise click.ClickException(str(why)) from None
    if not done:
        voice.warn("it is not done in time, and goes on: sidewinder rotate-root --status")
    sys.exit(0 if done else 1)


def _rotated(state: Path, only: bool, timeout: float, voice: Voice) -> bool:
    """The same for a running `up`."""
    from sidewinder_operator.cli import local_rotation, status

    try:
        if not only:
            local_rotation.ask(state)
            if not local_rotation.follow(state, timeout, voice.say):
                voice.warn("it is not done in time, and goes on: sidewinder rotate-root --status")
                return False
        voice.say(local_rotation.sentence(local_rotation.look(state)))
    except status.NotRunning as why:
        raise click.ClickException(str(why)) from None
    return True


@main.command()
@click.argument("pod")
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@click.option("-n", "--namespace", default="default", show_default=True, help="The pod's.")
@OUTPUT
def identity(pod: str, context: str, namespace: str, output: str) -> None:
    """Show the certificate that the proxy of POD holds, and whom it trusts; exit 1 if something is wrong with it.

    POD is a name, or what else kubectl finds a pod by, such as deployment/reviews.
    """
    from sidewinder_operator.cli import check as checking
    from sidewinder_operator.cli import identity as identities
    from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable

    voice, now = Voice(), checking.now()
    try:
        found = identities.look(Kubectl(context), namespace, pod)
    except (Unreachable, Refused, identities.Unreadable) as why:
        raise click.ClickException(str(why)) from None
    if output == "json":
        voice.raw(identities.as_json(found))
    else:
        identities.show(found, now, voice)
    sys.exit(1 if identities.faults(found, now) else 0)


@main.command()
@click.argument("service")
@click.option("-n", "--namespace", default="default", show_default=True, help="The Service's.")
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@STATE
@OUTPUT
def tls(service: str, namespace: str, context: str, state: Path, output: str) -> None:
    """Show who calls SERVICE with mTLS and who without; exit 1 if `mtls: {mode: Strict}` refuses somebody.

    Asks the `sidewinder up` that runs with its state in DIR; where none does, or a context is given, the cluster.
    """
    from sidewinder_operator.cli import check as checking
    from sidewinder_operator.cli import tls as calling
    from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable
    from sidewinder_operator.cli.status import NotRunning, elsewhere, runs

    voice = Voice()
    try:
        if not context and runs(state):
            seen = calling.in_up(state, namespace, service)
        else:
            seen = calling.in_cluster(Kubectl(context), namespace, service)
    except (Unreachable, Refused, NotRunning, calling.Absent) as why:
        raise click.ClickException(f"{why}{elsewhere(context, state)}") from None
    if output == "json":
        voice.raw(calling.as_json(seen))
    else:
        calling.show(seen, checking.now(), voice)
    sys.exit(0 if calling.is_safe(seen) else 1)


@main.command()
@click.argument("service", default="")
@click.option("-n", "--namespace", default="default", show_default=True, help="The Service's.")
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@STATE
@OUTPUT
def breakers(service: str, namespace: str, context: str, state: Path, output: str) -> None:
    """Show which endpoints of SERVICE, or of all, callers leave alone, and why; exit 1 if there is one.

    Asks all proxies of the `sidewinder up` that runs with its state in DIR; where none does, or a context is given, of
    the cluster.
    """
    from sidewinder_operator.cli import breakers as page

    _tell(page, context, state, output, f"{namespace}/{service}" if service else "")


@main.command()
@click.argument("route", default="")
@click.option("-n", "--namespace", default="default", show_default=True, help="The route's.")
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@STATE
@OUTPUT
def mirrors(route: str, namespace: str, context: str, state: Path, output: str) -> None:
    """Show what became of the copies that ROUTE, or every route, mirrors, and where their answers differ; exit 1 if one
    does.

    Asks all proxies of the `sidewinder up` that runs with its state in DIR; where none does, or a context is given, of
    the cluster.
    """
    from sidewinder_operator.cli import mirrors as page

    _tell(page, context, state, output, f"{namespace}/{route}" if route else "")


@main.command()
@click.option("--operator-namespace", "system", default="sidewinder-system", show_default=True, help="The operator's.")
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@STATE
@OUTPUT
def drains(system: str, context: str, state: Path, output: str) -> None:
    """Show how the proxies that have ended last did so: how long it took and what they waited for; exit 1 if one of
    them cut a request off.

    Asks the `sidewinder up` that runs with its state in DIR; where none does, or a context is given, the replicas of
    the operator, which know of those that had their stream with them.
    """
    from sidewinder_operator.cli import drains as page

    _tell(page, context, state, output, system)


def _tell(page: Any, context: str, state: Path, output: str, wanted: str) -> NoReturn:
    """What is heard of the running `up`, or else of a cluster; exit 1 if it is not well."""
    from sidewinder_operator.cli import check as checking
    from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable
    from sidewinder_operator.cli.status import NotRunning, elsewhere, runs

    voice = Voice()
    try:
        local = not context and runs(state)
        found = page.in_up(state, wanted) if local else page.in_cluster(Kubectl(context), wanted)
    except (Unreachable, Refused, NotRunning) as why:
        raise click.ClickException(f"{why}{elsewhere(context, state)}") from None
    if output == "json":
        voice.raw(page.as_json(found))
    else:
        page.show(found, checking.now(), voice)
    sys.exit(0 if page.is_well(found) else 1)


@main.group()
def authz() -> None:
    """Who may call what."""


@authz.command("check")
@click.option("--from", "account", default="", metavar="NS/NAME", help="The caller's service account, or a SPIFFE ID.")
@click.option("--from-ip", "address", default="", metavar="IP", help="The caller's address.")
@click.option("--to", "called", required=True, metavar="SERVICE[:PORT]", help="Whom it calls; the first port if none.")
@click.option("--method", default="GET", show_default=True)
@click.option("--path", default="/", show_default=True)
@click.option("--host", default="", help="Of the request; the Service's name if none.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be given several times.")
@click.option(
    "--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Of a token; one that comes again is a list."
)
@click.option("--tcp", is_flag=True, help="A connection that is no HTTP.")
@click.option("-n", "--namespace", default="default", show_default=True, help="The Service's.")
@click.option("-f", "--filename", "paths", metavar="PATH", multiple=True, type=click.Path(path_type=Path),
              help="Decide by these manifests instead of what runs.")  # fmt: skip
@click.option("--context", default="", help="Of kubectl's configuration; the current one if none is given.")
@STATE
@OUTPUT
def authz_check(called: str, namespace: str, output: str, **options: Any) -> None:
    """Say whether a caller may do something, and by which rule; exit 0 if it may, 1 if not, 2 if nobody can say.

    Asks the proxies in front of SERVICE for what they have in force: those of the `sidewinder up` that runs with its
    state in DIR; where none does, or a context is given, the cluster's. With -f nothing needs to run.
    """
    from sidewinder_operator.cli import authz as checking

    voice = Voice()
    try:
        decisions = checking.check(called, namespace, options, voice)
    except checking.FAULTS as why:
        voice.warn(str(why))
        sys.exit(2)
    if output == "json":
        voice.raw(checking.as_json(decisions))
    else:
        checking.show(decisions, voice)
    sys.exit(0 if checking.is_allowed(decisions) else 1)


main.add_command(apikey)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"sidewinder {importlib.metadata.version('sidewinder-operator')}")


if __name__ == "__main__":
    main()
