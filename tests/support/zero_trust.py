"""The example `zero-trust` in a real `up`, with an issuer that the test owns; and what attackers have in their hands.

`shop` starts it; `talk` says any bytes to any port, as itself or as whoever's certificate was stolen.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.local_mesh import EXAMPLES, Up, running
from tests.support.moody_issuer import Issuer

ALPN = "sidewinder/h1"
EXAMPLES_ISSUER = "8400"  # the port of the example's own


class Said(NamedTuple):
    """An answer, taken apart."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def why(self) -> str:
        return self.fields.get("proxy-status", "")


def parse(raw: bytes) -> Said:
    """Status 0: the connection ended without an answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return Said(0, {}, raw)
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        known = fields.get(name.lower())
        fields[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    return Said(int(first.split()[1]), fields, body)


def talk(port: int, raw: bytes, context: ssl.SSLContext | None = None) -> Said:
    """These bytes to this port of loopback, and all that comes back."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        line = context.wrap_socket(plain, server_hostname="mesh") if context is not None else plain
        line.sendall(raw)
        answer = b""
        try:
            while chunk := line.recv(65536):
                answer += chunk
        except (ConnectionResetError, ssl.SSLError):
            pass
        return parse(answer)


def get(target: str, host: str = "reviews:9080", method: str = "GET", **fields: str) -> bytes:
    """A request's bytes; `x_user_id` is the header X-User-Id."""
    headers = {"Host": host, "Connection": "close", **{name.replace("_", "-"): fields[name] for name in fields}}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def certified(folder: Path, alpn: str | None = ALPN) -> ssl.SSLContext:
    """Whoever has these files is who they say. Nobody asks whom this context talks to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


class Shop:
    """The running example."""

    def __init__(self, up: Up, idp: Issuer) -> None:
        self.up, self.idp = up, idp

    def port(self, name: str, what: str = "inbound") -> int:
        found: int = self.up.proxy(name)["ports"][what]
        return found

    def environment(self, name: str) -> dict[str, str]:
        """Of a proxy's process."""
        pid = self.up.proxy(name)["processes"]["sidecar"]
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode()
        return dict(entry.partition("=")[::2] for entry in raw.split("\0") if entry)

    def identity(self, name: str) -> Path:
        """Where a proxy's certificate and key are: what somebody on its machine could steal."""
        return Path(self.environment(name)["SIDEWINDER_IDENTITY"])

    def counted(self, name: str, series: str, **labels: str) -> float:
        """The sum of a proxy's series with these labels."""
        text = self.up.get("metrics", "/metrics", port=self.port(name, "probe")).body.decode()
        found = re.findall(rf"^{series}\{{(.*)\}} ([0-9.e+]+)$", text, re.MULTILINE)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for have, value in found if all(each in have for each in wanted))

    def as_page(self, target: str, method: str = "GET", **fields: str) -> Said:
        """A call of productpage's application, through its own proxy."""
        return talk(
            self.port("productpage", "outbound"), get(f"http://reviews:9080{target}", "reviews:9080", method, **fields)
        )

    def from_outside(self, target: str = "/reviews/1", host: str = "reviews.bookinfo.localhost", **fields: str) -> Said:
        """A call through the way in."""
        return talk(self.up.port, get(target, host, **fields))


def rewired(folder: Path, idp: Issuer) -> None:
    """The example asks this issuer instead of its own."""
    for manifest in folder.glob("*.yaml"):
        documents = manifest.read_text().split("\n---\n")
        kept = [each for each in documents if "idp.py" not in each]
        manifest.write_text("\n---\n".join(kept).replace(f"127.0.0.1:{EXAMPLES_ISSUER}", f"127.0.0.1:{idp.port}"))


@contextmanager
def shop(tmp_path: Path, idp: Issuer, *options: str, more: str = "", **keywords: dict[str, str]) -> Iterator[Shop]:
    """`up` with access logs; `more` are further manifests."""
    folder = tmp_path / "zero-trust"
    shutil.copytree(EXAMPLES / "zero-trust", folder)
    rewired(folder, idp)
    if more:
        (folder / "more.yaml").write_text(more)
    with running(folder, tmp_path, "--access-log", *options, **keywords) as up:
        up.ready()
        yield Shop(up, idp)
