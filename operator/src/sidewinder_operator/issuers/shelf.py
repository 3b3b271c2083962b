"""What is held of issuers' keys, as text: in the cluster's ConfigMap and in local mode's state file. Pure.

What cannot be read (another version's, somebody's edit) is left out: it is fetched again. Keys are public; that nobody
has changed them is what who may write there answers for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from sidewinder_sidecar.snapshot.jwks import Unfit, judge

MOST_BYTES = 900_000  # of all: an object of the cluster may have a megabyte; 200 issuers have half of that


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key set. `jwks` is the last good one, `problem` why there is no newer."""

    jwks: str = ""
    address: str = ""
    etag: str = ""
    problem: str = ""


def lines(kept: Mapping[str, Kept]) -> bytes:
    """As a file."""
    return msgspec.json.format(msgspec.json.encode(dump(kept)), indent=1) + b"\n"


def read(raw: bytes) -> dict[str, Kept]:
    """What a file of `lines` holds."""
    try:
        return load(msgspec.json.decode(raw, type=dict[str, str]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def dump(kept: Mapping[str, Kept]) -> dict[str, str]:
    """Name → text. What would be too much in all is left out, the largest first: who keeps it says so."""
    texts = {name: msgspec.json.encode(each).decode() for name, each in sorted(kept.items())}
    for name in left_out(texts):
        del texts[name]
    return texts


def left_out(texts: Mapping[str, str]) -> Iterable[str]:
    """The names that do not fit."""
    total = sum(map(len, texts.values()))
    found = []
    for name in sorted(texts, key=lambda name: -len(texts[name])):
        if total <= MOST_BYTES:
            break
        total -= len(texts[name])
        found.append(name)
    return found


def load(texts: Mapping[str, str]) -> dict[str, Kept]:
    """What of it can be read and holds keys that can be used."""
    found: dict[str, Kept] = {}
    for name, text in sorted(texts.items()):
        try:
            each = msgspec.json.decode(text, type=Kept)
            if each.jwks:
                judge(each.jwks)
        except (msgspec.DecodeError, UnicodeDecodeError, Unfit):
            continue
        found[name] = each
    return found
