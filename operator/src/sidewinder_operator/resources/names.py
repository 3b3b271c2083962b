"""Names, addresses and other words as scalar types: each with its bound, its pattern and what would be right.

The patterns mean the same in RE2, ECMAScript and Python, for they stand in the CRD schema too. They end in a capital Z,
which `crd` writes as `$`: Python's `$` would let a last newline pass. Sources: RFC 1123 and RFC 9110, and the Gateway
API's types of the same names.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
# RFC 9110 section 5.6.2, a token: what a field name or a method may be made of.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

Namespace: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=rf"^{_LABEL}\Z", extra={"right": "a DNS label such as `bookinfo`"})
]
ServiceName: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=rf"^{_LABEL}\Z", extra={"right": "a DNS label such as `reviews-v2`"})
]
ObjectName: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}\Z", extra={"right": "a DNS name such as `reviews-v2`"}),
]
SectionName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=rf"^{_SUBDOMAIN}\Z",
        extra={"right": "a name in lower case such as `beta-testers`"},
    ),
]
PortName: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=rf"^{_LABEL}\Z", extra={"right": "a port name such as `http`"})
]
Hostname: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=rf"^(\*\.)?{_SUBDOMAIN}\Z",
        extra={"right": "a host name in lower case such as `shop.example` or `*.shop.example`"},
    ),
]
PreciseHostname: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=rf"^{_SUBDOMAIN}\Z",
        extra={"right": "a host name in lower case without a wildcard, such as `shop.example`"},
    ),
]
HeaderName: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=256, pattern=rf"^{_WORD}\Z", extra={"right": "a header name such as `x-request-id`"}),
]
# What goes on the wire as a field value: visible ASCII, blanks only inside, so that no value can end its line.
HeaderValue: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        pattern=r"^[!-~]+([ \t]+[!-~]+)*\Z",
        extra={"right": "visible ASCII characters, with blanks only between them"},
    ),
]
CookieName: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=rf"^{_WORD}\Z", extra={"right": "a cookie name such as `release`"})
]
# RFC 3986 path characters. A literal path can be sent as it stands.
_PATH = r"([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})"
FullPath: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=1024, pattern=rf"^/{_PATH}*\Z", extra={"right": "a path such as `/reviews`"}),
]
PrefixPath: TypeAlias = Annotated[
    str,
    Meta(max_length=1024, pattern=rf"^(/{_PATH}*)?\Z", extra={"right": "a path such as `/reviews`, or nothing at all"}),
]
# A template: `{name}` is replaced by that capture of the path's regular expression. No other braces.
_CAPTURE = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
PathTemplate: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        pattern=rf"^/({_PATH}|{_CAPTURE})*\Z",
        extra={"right": "a path with captures such as `/ratings/{id}`"},
    ),
]
HeaderTemplate: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        pattern=rf"^([!-z|~]|{_CAPTURE})+([ \t]+([!-z|~]|{_CAPTURE})+)*\Z",
        extra={"right": "visible ASCII characters and captures such as `{version}`"},
    ),
]
_QUALIFIED = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
LabelName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=317,
        pattern=rf"^({_SUBDOMAIN}/)?{_QUALIFIED}\Z",
        extra={"right": "a label's name such as `app` or `example.com/team`"},
    ),
]
LabelValue: TypeAlias = Annotated[
    str,
    Meta(max_length=63, pattern=rf"^({_QUALIFIED})?\Z", extra={"right": "a label's value such as `v2`, in quotes"}),
]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535, extra={"right": "a port number from 1 to 65535"})]
Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


def is_address(text: str) -> bool:
    """Whether it is an IP address, as CEL's isIP has it: no zone, no IPv4 inside IPv6."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (isinstance(parsed, ipaddress.IPv6Address) and (parsed.scope_id or parsed.ipv4_mapped))
