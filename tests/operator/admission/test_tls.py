"""Certificates rotate under real TLS connections, on the loop the operator runs on: none is refused, none is cut."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl

import uvloop

from sidewinder_operator.admission import tls
from sidewinder_operator.admission.server import Admission
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.serving import SETTLE_SECONDS, Publication, Serving, issue
from sidewinder_operator.inject.options import Options

NAME = "sidewinder-operator.sidewinder-system.svc"
NOW = dt.datetime.now(dt.UTC)
REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Node"}, "operation": "CREATE"},
}
HEAD = f"POST /mutate HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n"
BODY = json.dumps(REVIEW)
REQUEST = f"{HEAD}content-length: {len(BODY)}\r\n\r\n{BODY}".encode()


def strict(bundle):
    """As strict as Python 3.13 is by default."""
    made = ssl.create_default_context(cadata=bundle.decode())
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    return made


class Caller:
    """One connection that asks again and again."""

    async def open(self, port, bundle):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=strict(bundle), server_hostname=NAME
        )
        return self

    async def ask(self):
        self.writer.write(REQUEST)
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = (int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        answer = json.loads(await self.reader.readexactly(length))
        assert head.startswith(b"HTTP/1.1 200"), head
        assert answer["response"]["allowed"]

    @property
    def peer(self):
        return self.writer.get_extra_info("ssl_object").getpeercert(True)


async def rotated():
    """A rotation from root to root with a clock of its own; callers come and stay at every step of it."""
    old, new = (roots.create("cluster.local", NOW) for _ in range(2))
    context, serving, publication = tls.context(), Serving((NAME,)), Publication()
    admission = Admission(Options(image="x"), lambda namespace: {}, lambda found: ())
    await admission.open("127.0.0.1", 0, context)
    port = admission.address[1]
    trust, published, stayed, shown = roots.Trust(old), roots.pem(old.certificate), [], set()
    changes = {3: lambda t: roots.announce(t, new), 6: roots.switch, 12: roots.forget}
    try:
        for turn in range(30):
            trust = changes[turn](trust) if turn in changes else trust
            there = roots.x509.load_pem_x509_certificates(published)
            clock = turn * SETTLE_SECONDS
            if serving.step(trust, there, NOW, clock):
                tls.use(context, serving.served)
            published = publication.step(trust, there, there, clock) or published
            stayed.append(await Caller().open(port, published))
            shown.add(stayed[-1].peer)
            await asyncio.gather(*(caller.ask() for caller in stayed))
        assert published == roots.pem(new.certificate)
        return len(shown), admission.outcomes["mutate", "admitted"]
    finally:
        for caller in stayed:
            caller.writer.close()
        await admission.close()


def test_no_connection_is_refused_while_root_and_certificate_rotate():
    shown, asked = uvloop.run(asyncio.wait_for(rotated(), 60))
    assert shown == 2
    assert asked == sum(range(1, 31))


def test_the_same_on_the_loop_of_the_standard_library():
    assert asyncio.run(asyncio.wait_for(rotated(), 60))[0] == 2


def test_no_key_is_left_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    trust = roots.Trust(roots.create("cluster.local", NOW))
    tls.use(tls.context(), issue((NAME,), trust, NOW))
    assert list(tmp_path.iterdir()) == []


def test_old_protocols_are_not_spoken():
    assert tls.context().minimum_version == ssl.TLSVersion.TLSv1_2
