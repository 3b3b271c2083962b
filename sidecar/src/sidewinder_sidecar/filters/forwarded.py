"""X-Forwarded-For, -Proto, -Host and Forwarded: who asked for what. Always on; run before the rule's filters.

The trust rule, per listener: `trusted_hops` proxies in front of us are believed.
  0  nobody is: what the caller says is replaced by what we see; Forwarded is taken away.
  n  the last n addresses that the caller's X-Forwarded-For names stay and the connection's own is added, so a forged
     entry further left falls off; its X-Forwarded-Proto and -Host stay when they can be read. A caller that sends
     Forwarded (RFC 7239) instead is understood the same way, and Forwarded is continued.

`client` is the leftmost of the addresses that go on: who a policy means by the client.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Final

from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.messages import Call, Peer
from sidewinder_sidecar.snapshot.listeners import ListenerSpec

FOR: Final = b"x-forwarded-for"
PROTO: Final = b"x-forwarded-proto"
HOST: Final = b"x-forwarded-host"
FORWARDED: Final = b"forwarded"
CERTIFICATE: Final = b"x-forwarded-client-cert"  # Envoy's word for who called; applications behind a mesh believe it

_ADDRESS: Final = re.compile(
    rb"[0-9A-Za-z.:_\-\[\]]{1,255}"
).fullmatch  # IP literal with or without port, or a token of RFC 7239
_AUTHORITY: Final = re.compile(rb"[0-9A-Za-z.:_\-\[\]%]{1,255}").fullmatch
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_SCHEMES: Final = (b"http", b"https", b"ws", b"wss")
# one parameter of an element, or what ends it; a quoted value may hold both separators
_PARAMETER: Final = re.compile(rb'\s*(?:([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*)))?\s*([;,]|$)')


def build(spec: ListenerSpec) -> Callable[[Call], None]:
    """What a listener's calls are told to the upstream."""
    if spec.trusted_hops <= 0:
        return replace
    hops = spec.trusted_hops
    return lambda call: follow(call, hops)


def replace(call: Call) -> None:
    """Nobody in front of us is believed."""
    request, peer = call.request, call.peer
    fields = request.fields
    for told in (FORWARDED, CERTIFICATE):
        if told in fields:
            fields.remove(told)
    fields.set(FOR, FOR, peer.encoded or b"unknown")
    fields.set(PROTO, PROTO, _scheme(peer))
    if request.authority:
        fields.set(HOST, HOST, request.authority)
    else:
        fields.remove(HOST)


def follow(call: Call, hops: int) -> None:
    """Continue what the last `hops` proxies told."""
    request, peer = call.request, call.peer
    fields = request.fields
    elements = parse(b", ".join(fields.all(FORWARDED))) if FORWARDED in fields else []
    trusted = elements[-hops:]
    addresses = (_addresses(fields) or [element.get(b"for", b"unknown") for element in elements])[-hops:]
    if addresses:
        if call.attributes is None:
            call.attributes = {}
        call.attributes["client"] = _literal(addresses[0])
    first = trusted[0] if trusted else {}
    own = peer.encoded or b"unknown"
    proto = fields.get(PROTO) or first.get(b"proto", b"")
    host = fields.get(HOST) or first.get(b"host", b"")
    proto = proto.lower() if proto.lower() in _SCHEMES else _scheme(peer)
    host = host if _AUTHORITY(host) else request.authority
    fields.set(FOR, FOR, b", ".join([*addresses, own]))
    fields.set(PROTO, PROTO, proto)
    if host:
        fields.set(HOST, HOST, host)
    else:
        fields.remove(HOST)
    if FORWARDED in fields:
        rows = [_element(element) for element in trusted]
        rows.append(_element({b"for": own, b"proto": _scheme(peer), b"host": request.authority}))
        fields.set(FORWARDED, b"Forwarded", b", ".join(rows))


def _scheme(peer: Peer) -> bytes:
    """What the caller itself speaks: the mesh's own TLS, which carries an identity, is put around it by a proxy."""
    return b"https" if peer.secure and not peer.identity else b"http"


def client(call: Call) -> str:
    """The address of who called, as far as those in front of us are believed; "" if nobody knows."""
    attributes = call.attributes
    if attributes is None:
        return call.peer.client
    found: str = attributes.get("client", call.peer.client)
    return found


def _literal(entry: bytes) -> str:
    """The address of an entry with or without a port; "" for `unknown`, a name, or what is no address."""
    text = entry.decode("ascii")
    if text.startswith("["):
        text, _, rest = text[1:].partition("]")
        if rest and not (rest[:1] == ":" and rest[1:].isdecimal()):
            return ""
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdecimal():
            return ""
    try:
        if ":" not in text:
            socket.inet_pton(socket.AF_INET, text)
            return text
        raw = socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return ""
    # one address, one spelling: IPv4 in IPv6 is IPv4
    return socket.inet_ntop(socket.AF_INET, raw[12:]) if raw[:12] == _MAPPED else socket.inet_ntop(socket.AF_INET6, raw)


def _addresses(fields: Fields) -> list[bytes]:
    """The entries of X-Forwarded-For; one that cannot be read counts, as `unknown`: it was a hop."""
    if FOR not in fields:
        return []
    entries = (entry.strip() for entry in b",".join(fields.all(FOR)).split(b","))
    return [entry if _ADDRESS(entry) else b"unknown" for entry in entries if entry]


def parse(value: bytes) -> list[dict[bytes, bytes]]:
    """The elements of Forwarded, leftmost first; [] when it cannot be read whole."""
    elements: list[dict[bytes, bytes]] = [{}]
    position = 0
    while position < len(value):
        found = _PARAMETER.match(value, position)
        if found is None:
            return []
        if found[1]:
            text = found[3] if found[3] is not None else re.sub(rb"\\(.)", rb"\1", found[2])
            name = found[1].lower()
            text = text.strip(b"[]") if name == b"for" and text.endswith(b"]") else text
            elements[-1][name] = text if _ADDRESS(text) else b"unknown"
        if found[4] == b",":
            elements.append({})
        position = found.end()
    return [element for element in elements if element]


def _element(parameters: dict[bytes, bytes]) -> bytes:
    """One element as RFC 7239 section 4 wants it: an IPv6 address in brackets, what is no token in quotes."""
    parts = []
    for name in (b"for", b"by", b"proto", b"host"):
        if text := parameters.get(name):
            if name == b"for" and text.count(b":") > 1 and not text.startswith(b"["):
                text = b"[" + text + b"]"
            parts.append(b'%b="%b"' % (name, text) if b":" in text or b"[" in text else b"%b=%b" % (name, text))
    return b";".join(parts)
