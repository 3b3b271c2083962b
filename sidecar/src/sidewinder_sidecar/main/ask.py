"""`sidewinder-sidecar ask`: what would this proxy's policies say to that request? JSON in, JSON out, nothing is sent.

Run by `sidewinder authz check`, and by whoever has a snapshot (`/config`). The plan is the real one (`plan.build`), and
so are the parser, the filters and the engine that judge; only what stands in front of the application is built. What
can be proved online alone is taken as said: the identity, the address, and the claims instead of a token.

In: `{"snapshot": {name: body}, "port": 9080, "request": {…}}`, as `Question` and `Asked` say. `port` is the pod's, as
it is dialled. Out: `Told`. Exit status 0 with a decision, whichever; 2 when there is none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from sidewinder_sidecar.errors import DownstreamError, refusal
from sidewinder_sidecar.exchange import Exchange, Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.http1.lines import Seen
from sidewinder_sidecar.http1.request_head import parse
from sidewinder_sidecar.messages import NOBODY, WAIT, Peer, Reply, Request
from sidewinder_sidecar.plan import Listener, Plan, build
from sidewinder_sidecar.plan.guards import SILENT, Guard
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import Resource, decode
from sidewinder_sidecar.snapshot.authentication import AuthenticationSpec
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import PolicySpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.wheel import Wheel

_BUILT: Final = ("proxy/", "listener/", "service/", "policy/", "addresses/")  # kinds that judge, or lead to who does
_HERE: Final = "192.0.2.1"  # the pod's own address, which decides nothing
LARGEST: Final = 64 << 20  # bytes of a question: a snapshot with several lists of 100 000 addresses
NO_POLICY: Final = "no policy holds on this port"
CLAIMS: Final = "authentication was not tried: the claims are taken as proved"
NO_CLAIMS: Final = "authentication was not tried: the caller shows no credentials"
ADDRESS: Final = "no address was given: what asks for one is held against the caller"


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks, and for what. `client` is who calls after the trusted hops, `peer` the socket's other end."""

    method: str = "GET"
    path: str = "/"
    host: str = "localhost"
    headers: dict[str, str] = {}
    protocol: Literal["HTTP", "TCP"] = "HTTP"
    identity: str = ""
    client: str = ""
    peer: str = ""
    claims: dict[str, Any] | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    snapshot: dict[str, msgspec.Raw]
    port: int
    request: Asked = Asked()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `policy` is <namespace>/<name>, `rule` its rule or what else of it decided ("defaultAction", "mtls").

    `path` is the path as it was judged and as it would go on. `audited` is who would have refused if it were enforced.
    """

    action: Literal["Allow", "Deny"] = "Allow"
    status: int = 0
    policy: str = ""
    rule: str = ""
    why: str = ""
    path: str = ""
    audited: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


class Mistake(Exception):
    """The question cannot be answered; says what is wrong with it."""


def main(words: Sequence[str]) -> int:
    """The exit status."""
    if words:
        sys.stderr.write("sidewinder-sidecar ask: takes no arguments; the question comes as JSON on standard input\n")
        return 2
    raw = sys.stdin.buffer.read(LARGEST + 1)
    try:
        if len(raw) > LARGEST:
            raise Mistake(f"the question is larger than {LARGEST} bytes")
        told = answer(msgspec.json.decode(raw, type=Question))
    except (Mistake, msgspec.MsgspecError) as fault:
        sys.stderr.write(f"sidewinder-sidecar ask: {fault}\n")
        return 2
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    return 0


def answer(question: Question) -> Told:
    """What the policies say. Raises Mistake."""
    resources, demanding = _resources(question.snapshot)
    proxy = _proxy(resources)
    listener, guard = _guard(proxy.plan, question.port)
    asked = question.request
    if guard is None:
        reply = None if asked.protocol == "TCP" else _parsed(asked, proxy)[1]
        return Told(action="Deny", status=reply.status, why=reply.detail) if reply else Told(why=NO_POLICY)
    sections = demanding.get(guard.spec.name, ())
    shown = () if not sections else (NO_CLAIMS,) if asked.claims is None else (CLAIMS,)
    assumed = (*shown, *(() if asked.client or asked.peer else (ADDRESS,)))
    if asked.protocol == "TCP":
        peer = _peer(asked, listener, question.port)
        reply = guard.admit(peer, question.port)
        if reply is None and any(section.credentials == "Required" for section in sections):
            reply = Reply(403, "denied", SILENT, decision=f"{sections[0].policy}/authentication")
        path, decision = "", peer.decision  # what let it pass; a refusal says its own
    else:
        reply, path, decision = _judged(proxy, listener, guard, question, sections)
    if reply is not None and reply.decision:
        decision = reply.decision
    refused = reply is not None and bool(reply.error)
    policy, rule = _named(decision)
    if reply is not None and reply.error == "bad_path":
        rule = "pathNormalization"
    return Told(
        action="Deny" if refused else "Allow",
        status=reply.status if reply is not None else 0,
        policy=policy,
        rule=rule,
        why=reply.detail if reply is not None else "",
        path=path,
        audited=tuple(
            f"{policy} ({kind})" for kind, action, policy in proxy.fleet.means.decisions if action == "Audit"
        ),
        assumed=assumed,
    )


def _resources(
    raw: Mapping[str, msgspec.Raw],
) -> tuple[dict[str, Resource], dict[str, tuple[AuthenticationSpec, ...]]]:
    """What stands in front of the application; and which policies want to know who calls.

    Keys and credentials are left out: they are of no use here, and a snapshot that was shown has none.
    """
    kept: dict[str, Resource] = {}
    demanding: dict[str, tuple[AuthenticationSpec, ...]] = {}
    for name, body in raw.items():
        if not name.startswith(_BUILT):
            continue
        try:
            found = decode(name, body)
        except (msgspec.MsgspecError, KeyError) as fault:
            raise Mistake(f"{name}: {fault}") from None
        match found:
            case ListenerSpec(direction="Inbound") | ProxySpec():
                kept[name] = found
            case ServiceSpec():
                kept[name] = msgspec.structs.replace(found, routes=(), backend="")
            case PolicySpec():
                demanding[found.name] = found.authentication
                kept[name] = msgspec.structs.replace(found, authentication=())
            case ListenerSpec():
                continue
            case _:
                kept[name] = found
    if not any(isinstance(body, ListenerSpec) for body in kept.values()):
        raise Mistake("the snapshot has no inbound listener: nothing is protected by this proxy")
    return kept, demanding


def _proxy(resources: dict[str, Resource]) -> Proxy:
    """A proxy that listens nowhere."""

    def later(seconds: float, call: object) -> None:
        """Nothing here takes time."""

    def make(spec: object, connect_timeout: float) -> Any:
        raise AssertionError("no endpoint is in the snapshot")

    wheel = Wheel(time.monotonic, later)
    fleet = Fleet(wheel, make)
    proxy = Proxy(fleet, wheel, lambda call: None, Limits())
    steps = build(resources, fleet)
    try:
        while True:
            next(steps)
    except StopIteration as done:
        plan: Plan = done.value
    except Refused as fault:
        raise Mistake(f"the proxy would refuse this snapshot: {fault}") from None
    proxy.adopt(plan)
    return proxy


def _guard(plan: Plan, port: int) -> tuple[Listener, Guard | None]:
    """Whom a connection to this port of the pod meets."""
    for listener in plan.listeners.values():
        if listener.spec.transparent:
            service = listener.reach((_HERE, port))
            return listener, service.guard if service is not None else listener.guard
        if listener.spec.port == port:
            default = plan.services.get(listener.spec.default_service)
            return listener, default.guard if default is not None else listener.guard
    ports = ", ".join(str(listener.spec.port) for listener in plan.listeners.values())
    raise Mistake(f"nothing listens on port {port}; there is {ports}")


def _peer(asked: Asked, listener: Listener, port: int) -> Peer:
    peer = Peer(asked.peer or asked.client, 0, bool(asked.identity), asked.identity)
    peer.stands_for(asked.client or asked.peer)
    peer.destination = (_HERE, port) if listener.spec.transparent else None
    return peer


def _judged(
    proxy: Proxy, listener: Listener, guard: Guard, question: Question, sections: Sequence[AuthenticationSpec]
) -> tuple[Reply | None, str, str]:
    """The verdict, the path as judged, and who decided."""
    asked = question.request
    call = Exchange(NOBODY, proxy, listener.spec.name, _peer(asked, listener, question.port))
    call.started = proxy.clock()
    request, unheard = _parsed(asked, proxy)
    if request is None:
        return unheard, "", ""
    call.request = request
    for note in listener.filters:
        note(call)
    reply = None
    last = len(guard.filters) - (1 if guard.spec.authorization else 0)  # authorization comes behind authentication
    for number, apply in enumerate(guard.filters):
        if number == last and (reply := _authenticated(call, asked, sections)) is not None:
            break
        verdict = apply(call)
        if verdict is WAIT:
            raise Mistake("a policy would have to ask somebody else")
        if isinstance(verdict, Reply):
            reply = verdict
            break
    else:
        if last == len(guard.filters):
            reply = _authenticated(call, asked, sections)
    return reply, call.request.path.decode("latin-1"), call.decision


def _authenticated(call: Exchange, asked: Asked, sections: Sequence[AuthenticationSpec]) -> Reply | None:
    """In the place of authentication: claims that are said are proved, and who must have some has none otherwise."""
    if asked.claims is not None:
        if call.attributes is None:
            call.attributes = {}
        call.attributes["claims"] = asked.claims
        call.attributes["subject"] = str(asked.claims.get("sub", ""))
        return None
    for section in sections:
        if section.credentials == "Required":
            decision = f"{section.policy}/authentication"
            return Reply(401, "denied", "credentials are required, and no claim was given", decision=decision)
    return None


def _parsed(asked: Asked, proxy: Proxy) -> tuple[Request | None, Reply | None]:
    """The request, or how it is answered if it is none."""
    try:
        return parse(_head(asked), proxy.limits, Seen())[0], None
    except DownstreamError as fault:
        return None, refusal(fault.error, fault.detail)


def _head(asked: Asked) -> bytes:
    """The request as a caller would write it. Raises Mistake for what would not be one head."""
    lines = [f"{asked.method} {asked.path} HTTP/1.1", f"Host: {asked.host}"]
    lines += [f"{name}: {value}" for name, value in asked.headers.items()]
    for line in lines:
        if "\r" in line or "\n" in line or "\0" in line:
            raise Mistake(f"{line[:64]!r} is more than one line")
    try:
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    except UnicodeEncodeError:
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _named(decision: str) -> tuple[str, str]:
    """`<namespace>/<policy>/<rule>` in two; a rule's name may be anything. Who only audits decides nothing."""
    if decision.startswith("audit:"):
        return "", ""
    if decision.startswith("closed:"):  # and then each section that is broken
        first = decision.removeprefix("closed:").split(", ")[0]
        return "/".join(first.split("/")[:2]), "closed"
    parts = decision.split("/", 2)
    return "/".join(parts[:2]), parts[2] if len(parts) > 2 else ""
