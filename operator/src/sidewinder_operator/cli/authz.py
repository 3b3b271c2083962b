"""`sidewinder authz check`: may this caller do that, and which rule says so? Called by `main`.

Nothing is decided here: the snapshot of each proxy in front of the Service (`pictures`) goes with the request to
`sidewinder-sidecar ask`, a process of its own, which judges as the proxy does.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sidewinder_operator.cli import pictures as sources
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.kubectl import Kubectl, Refused, Unreachable
from sidewinder_operator.cli.pictures import Absent, Picture, Target
from sidewinder_operator.cli.status import NotRunning, elsewhere, runs
from sidewinder_operator.local.sidecars import COMMAND

SECONDS = 60.0  # for a process that reads 100 000 addresses on a machine that is very busy
SCHEME = "spiffe://"
_OURS = frozenset({"defaultAction", "mtls", "authentication"})  # what decides without being a rule


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: a service account ("<namespace>/<name>") or a whole SPIFFE ID, an address, claims; "" is nobody's."""

    account: str = ""
    address: str = ""
    claims: Mapping[str, Any] | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What for. `tcp`: a connection that is no HTTP."""

    method: str = "GET"
    path: str = "/"
    host: str = ""
    headers: Mapping[str, str] = {}
    tcp: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What `sidewinder-sidecar ask` says, and for which proxy."""

    proxy: str
    action: str
    status: int = 0
    policy: str = ""
    rule: str = ""
    why: str = ""
    path: str = ""
    audited: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


class Unanswered(Exception):
    """There is no decision; says why."""


class Misread(Exception):
    """An option cannot be understood; says what would be right."""


def target(text: str, namespace: str) -> Target:
    """`reviews`, `reviews:9080`, `bookinfo/reviews:http`. Raises Misread."""
    where, slash, rest = text.rpartition("/")
    service, _, port = rest.partition(":")
    if not service or (slash and not where) or "/" in where:
        raise Misread(f"--to {text}: write SERVICE, SERVICE:PORT or NAMESPACE/SERVICE:PORT")
    return Target(where or namespace, service, port)


def caller(account: str, address: str, claims: Sequence[str]) -> Caller:
    """From the options. Raises Misread."""
    if account and not account.startswith(SCHEME):
        namespace, slash, name = account.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise Misread(f"--from {account}: write NAMESPACE/SERVICEACCOUNT, or a whole SPIFFE ID")
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise Misread(f"--from-ip {address}: this is no IP address") from None
    return Caller(account=account, address=address, claims=_claims(claims))


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """`name=value`, each name once. Raises Misread."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals or name.lower() in (known.lower() for known in found):
            raise Misread(f"{option} {word}: write each once, as NAME=VALUE")
        found[name] = value
    return found


def _claims(words: Sequence[str]) -> dict[str, Any] | None:
    """A claim that comes again is a list; a dot leads into an object."""
    if not words:
        return None
    claims: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        *outer, last = name.split(".") if not name.startswith("http") else [name]
        if not last or not equals:
            raise Misread(f"--claim {word}: write NAME=VALUE")
        inside = claims
        for part in outer:
            found = inside.setdefault(part, {})
            if not isinstance(found, dict):
                raise Misread(f"--claim {word}: {part} has a value already")
            inside = found
        before = inside.get(last)
        if isinstance(before, dict):
            raise Misread(f"--claim {word}: {last} has members already")
        inside[last] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return claims


FAULTS = (Misread, Unanswered, Absent, Refused, Unreachable, NotRunning)


def check(called: str, namespace: str, options: Mapping[str, Any], voice: Voice) -> list[Decision]:
    """The command, from its options to what each proxy says. Raises FAULTS."""
    where = target(called, namespace)
    who = caller(options["account"], options["address"], options["claims"])
    wanted = Wanted(
        method=options["method"],
        path=options["path"],
        host=options["host"] or f"{where.service}.{where.namespace}",
        headers=pairs(options["headers"], "--header"),
        tcp=options["tcp"],
    )
    return decide(_pictures(where, options, voice), who, wanted)


def _pictures(where: Target, options: Mapping[str, Any], voice: Voice) -> list[Picture]:
    if options["paths"]:
        pictures, problems = sources.from_files(options["paths"], where)
        voice.problems(problem for problem in problems if problem.severity == "Error")
        return pictures
    if not options["context"] and runs(options["state"]):
        return sources.from_up(options["state"], where)
    try:
        return sources.from_cluster(Kubectl(options["context"]), where)
    except (Absent, Refused, Unreachable) as why:
        raise Absent(f"{why}{elsewhere(options['context'], options['state'])}") from None


def decide(pictures: Iterable[Picture], who: Caller, what: Wanted) -> list[Decision]:
    """What each of these proxies says. Raises Unanswered."""
    return [_decided(picture, who, what) for picture in pictures]


def _decided(picture: Picture, who: Caller, what: Wanted) -> Decision:
    request: dict[str, Any] = {
        "method": what.method,
        "path": what.path,
        "headers": what.headers,
        "protocol": "TCP" if what.tcp else "HTTP",
        "identity": _identity(picture, who.account),
        "client": who.address,
    }
    if what.host:
        request["host"] = what.host
    if who.claims is not None:
        request["claims"] = who.claims
    question = msgspec.json.encode({"snapshot": picture.resources, "port": picture.port, "request": request})
    try:
        done = subprocess.run([*COMMAND, "ask"], input=question, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unanswered(f"sidewinder-sidecar cannot be asked: {fault}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("sidewinder-sidecar ask: ")
        raise Unanswered(f"{picture.who}: {said or f'sidewinder-sidecar ended with status {done.returncode}'}")
    return msgspec.convert({**msgspec.json.decode(done.stdout), "proxy": picture.who}, Decision)


def _identity(picture: Picture, account: str) -> str:
    """The SPIFFE ID of a service account in the trust domain of the proxy that is asked."""
    if not account or account.startswith(SCHEME):
        return account
    proxy = picture.resources.get("proxy/self", {})
    told = msgspec.json.decode(proxy) if isinstance(proxy, msgspec.Raw) else proxy
    namespace, _, name = account.partition("/")
    return f"{SCHEME}{told.get('trust_domain') or 'cluster.local'}/ns/{namespace}/sa/{name}"


def is_allowed(decisions: Sequence[Decision]) -> bool:
    """By every one of them: which proxy a request comes to, its caller does not choose."""
    return all(decision.action == "Allow" for decision in decisions)


def as_json(decisions: Sequence[Decision]) -> str:
    """For machines."""
    told = {"action": "Allow" if is_allowed(decisions) else "Deny", "decisions": msgspec.to_builtins(decisions)}
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def show(decisions: Sequence[Decision], voice: Voice) -> None:
    """For people: each different decision once."""
    proxies: dict[Decision, list[str]] = {}
    for decision in decisions:
        proxies.setdefault(msgspec.structs.replace(decision, proxy=""), []).append(decision.proxy)
    for decision, names in proxies.items():
        voice.say(f"{sentence(decision)} [{', '.join(names)}]")
        for policy in decision.audited:
            voice.say(f"  {policy} would refuse it, and is in Audit mode")
        for note in decision.assumed:
            voice.say(f"  {note}")


def sentence(decision: Decision) -> str:
    """A decision in one line."""
    answer = f" with {decision.status}" if decision.status else ""
    by = ""
    if decision.policy:
        rule = f"the {decision.rule}" if decision.rule in _OURS else f"the rule {decision.rule}"
        closed = f", because ApiPolicy {decision.policy} is broken and never was good"
        by = closed if decision.rule == "closed" else f" by {rule} of ApiPolicy {decision.policy}"
    elif decision.rule:
        by = f" by {decision.rule}"
    why = f": {decision.why}" if decision.why else ""
    return f"{'allowed' if decision.action == 'Allow' else 'denied'}{answer}{by}{why}"
