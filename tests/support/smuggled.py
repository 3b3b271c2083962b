"""Paths that are written to be overlooked: each means /admin/keys, /admin or nothing good to some server.

`PATHS` is the table, `SERVERS` is how servers read what they are sent: as they come out of these, two servers that get
one path may mean two resources. Used by the filter's own test and by the attacks on a running mesh.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

SLASHES = {
    "slash": "/",
    "encoded": "%2f",
    "encoded upper": "%2F",
    "backslash": "\\",
    "encoded backslash": "%5c",
    "encoded backslash upper": "%5C",
    "twice": "%252f",
    "twice backslash": "%255C",
    "three times": "%25252F",
    "digits encoded": "%%32%66",
    "percent encoded": "%25%32%66",
    "overlong 2": "%c0%af",
    "overlong 3": "%e0%80%af",
    "overlong 4": "%f0%80%80%af",
    "overlong backslash": "%c1%9c",
    "iis unicode": "%u2215",
    "iis": "%u002f",
    "double": "//",
    "triple": "///",
    "slash and encoded": "/%2f",
    "slash and backslash": "/\\",
    "with parameter": ";a=b/",
    "with empty parameter": ";/",
    "with encoded parameter": "%3b/",
    "with tab": "%09/",
    "with NUL": "%00/",
    "with line feed": "%0a/",
    "with carriage return": "/%0d",
    "with delete": "/%7f",
    "cut utf-8": "%e2%88/",
}
DOTS = {
    "dots": "..",
    "encoded": "%2e%2e",
    "encoded upper": "%2E%2E",
    "half encoded": ".%2e",
    "other half encoded": "%2e.",
    "twice": "%252e%252e",
    "three times": "%25252e%25252e",
    "percent encoded": "%25%32%65%25%32%65",
    "overlong": "%c0%ae%c0%ae",
    "overlong 3": "%e0%80%ae%e0%80%ae",
    "iis": "%u002e%u002e",
    "parameter": "..;",
    "parameter with value": "..;a=b",
    "encoded parameter": "..%3b",
    "NUL": "..%00",
    "space": "..%20/..",
    "one": ".",
    "one encoded": "%2e",
    "one of each": "./..",
}
WRITINGS = {
    "plain": "admin",
    "letter encoded": "%61dmin",
    "all encoded": "%61%64%6d%69%6e",
    "upper digits": "%61%64%6D%69%6E",
    "letter twice": "%2561dmin",
    "parameter": "admin;x",
    "parameter first": ";x/admin",
    "session": "admin;jsessionid=1",
    "encoded parameter": "admin%3Bx",
    "NUL": "admin%00",
    "NUL and suffix": "admin%00.css",
    "overlong letter": "%c1%a1dmin",
    "backspace": "admi%08min",
    "trailing dot segment": "admin/.",
    "there and back": "x/../admin",
    "deep and back": "x/y/../../admin",
    "above the root": "../../admin",
    "surrogates": "%ed%a0%80admin",
    "latin-1": "%e4dmin",
    "beyond Unicode": "%f5%80%80%80admin",
    "cut": "admin%",
    "cut code": "admin%2",
    "no code": "admin%zz",
    "code and sign": "admin%+1",
    "code and space": "admin% 1",
    "fragment": "admin#x",
    "encoded fragment": "admin%23",
    "encoded question": "admin%3F",
    "encoded delimiters": "%21%40admin%3a%2C",
    "braces": "{admin}",
    "brackets": '[admin]|^`"<>',
}


def _table() -> Iterator[tuple[str, str]]:
    for name, slash in SLASHES.items():
        yield f"{name} in between", f"/admin{slash}keys"
        yield f"{name} in front", f"/{slash}admin"
        yield f"{name} at the end", f"/admin{slash}"
        for dot, dots in (("..", ".."), ("encoded dots", "%2e%2e"), ("dots twice", "%252e%252e")):
            yield f"{name} around {dot}", f"/open{slash}{dots}{slash}admin"
    for name, dots in DOTS.items():
        yield f"{name} up", f"/open/{dots}/admin"
        yield f"{name} up at the end", f"/admin/x/{dots}"
        yield f"{name} up at once", f"/{dots}/admin"
        yield f"{name} up with a double slash", f"/open/{dots}//admin"
    for name, writing in WRITINGS.items():
        yield f"{name}, first", f"/{writing}/keys"
        yield f"{name}, last", f"/open/{writing}"


PATHS: dict[str, bytes] = {name: path.encode("latin-1") for name, path in _table()}


def _resolved(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = re.sub(rb"/+", b"/", path).split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    ended = segments[-1] in (b".", b"..")
    return b"/" + b"/".join([*kept, b""] if ended else kept)


def _loose(path: bytes) -> bytes:
    """Overlong forms taken for what they mean, and Microsoft's %u."""
    path = re.sub(rb"%u00([0-9A-Fa-f]{2})", rb"%\1", path).replace(b"%u2215", b"/")
    path = unquote_to_bytes(path)
    for overlong, meant in ((b"\xc0\xaf", b"/"), (b"\xe0\x80\xaf", b"/"), (b"\xc0\xae", b"."), (b"\xc1\x9c", b"\\")):
        path = path.replace(overlong, meant)
    return path.replace(b"\xe0\x80\xae", b".").replace(b"\xc1\xa1", b"a")


def _without_parameters(path: bytes) -> bytes:
    return re.sub(rb";[^/]*", b"", path)


# What a careless server opens; only Strict is made for these.
CARELESS: dict[str, Callable[[bytes], bytes]] = {
    "decodes, then looks for the query": lambda path: _resolved(unquote_to_bytes(path).partition(b"?")[0]),
    "decodes, then looks for a fragment": lambda path: _resolved(unquote_to_bytes(path).partition(b"#")[0]),
}

# What a server opens when this path comes in a request's line.
SERVERS: dict[str, Callable[[bytes], bytes]] = {
    "decodes": unquote_to_bytes,
    "decodes, then resolves": lambda path: _resolved(unquote_to_bytes(path)),
    "resolves, then decodes": lambda path: unquote_to_bytes(_resolved(path)),
    "decodes twice": lambda path: _resolved(unquote_to_bytes(unquote_to_bytes(path))),
    "takes a backslash for a slash": lambda path: _resolved(unquote_to_bytes(path).replace(b"\\", b"/")),
    "drops parameters, then decodes": lambda path: _resolved(unquote_to_bytes(_without_parameters(path))),
    "decodes, then drops parameters": lambda path: _resolved(_without_parameters(unquote_to_bytes(path))),
    "ends at NUL": lambda path: _resolved(unquote_to_bytes(path).partition(b"\0")[0]),
    "ends at a control byte": lambda path: re.split(rb"[\0-\x1f\x7f]", _resolved(unquote_to_bytes(path)))[0],
    "reads loosely": lambda path: _resolved(_loose(path)),
    "ends at a fragment": lambda path: _resolved(unquote_to_bytes(path.partition(b"#")[0])),
}
