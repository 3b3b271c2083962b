"""Identity on a real API server: a pod's own token, from TokenRequest, opens enrolment and with it its stream; all else
is refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidewinder_operator.apiserver import Refused
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.keeper import SECRET
from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.authority.sign import Identity, sign
from sidewinder_operator.inject.options import TRUST
from sidewinder_operator.main.authority import ACCOUNT
from sidewinder_operator.main.process import Process
from tests.cluster.support.chart import NAMESPACE, render
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.operator import CRDS, eventually, found, pod, running, settings
from tests.support import enrolment
from tests.support.enrolment import CLOSED, Answer, Stream

pytestmark = pytest.mark.cluster

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def crds(cluster: Any) -> None:
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


class Site:
    """A replica that serves, in a namespace of its own, and pods beside it."""

    def __init__(self, process: Process, home: str) -> None:
        self.process = process
        self.home = home
        self.server = process.authority.names[0]
        assert process.doors.port.address is not None
        self.port = process.doors.port.address[1]

    @property
    def trust(self) -> Trust:
        return self.process.authority.keeper.current()

    @property
    def tls(self) -> ssl.SSLContext:
        """Of a pod that has no certificate yet."""
        return enrolment.trusting(self.trust.pem().decode())

    async def pod(self, name: str, address: str = "198.18.99.1") -> str:
        """Its uid."""
        return await pod(self.process.api, self.home, name, address, {"app": "a"})

    async def token(self, name: str | None, uid: str = "", audience: str = "sidewinder") -> str:
        """A token as the kubelet gets one for a pod; without a pod's name, for nobody in particular."""
        bound = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}} if name else {}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 3600, **bound},
        }
        path = f"/api/v1/namespaces/{self.home}/serviceaccounts/default/token"
        told = json.loads(await self.process.api.send("POST", path, body))
        return str(told["status"]["token"])

    async def enrol(self, token: str | None, asked: str = "", tls: ssl.SSLContext | None = None) -> Answer:
        return await enrolment.enrol(self.port, tls or self.tls, token, asked or enrolment.request(KEY), self.server)

    async def stream(self, chain: str, key: enrolment.Key = KEY) -> Stream | Answer:
        tls = enrolment.trusting(self.trust.pem().decode(), chain, key)
        return await Stream.open(self.port, tls, self.server)

    def leaf(self, identity: Identity, trust: Trust | None = None, **how: Any) -> str:
        """A certificate that nobody asked for."""
        now = how.pop("now", dt.datetime.now(dt.UTC))
        return sign(enrolment.request(KEY).encode(), identity, trust or self.trust, now, **how).decode()


def bench(cluster: Any, namespace: Namespace, folder: Path, work: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running(settings(cluster.kubeconfig, folder, str(namespace))) as process:
            await eventually(lambda: not process.lacking(), "it serves")
            await work(Site(process, str(namespace)))

    uvloop.run(asyncio.wait_for(main(), 120))


def test_a_pods_token_becomes_its_certificate_and_that_its_picture(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    async def work(site: Site) -> None:
        uid = await site.pod("a-1")
        given = await site.enrol(await site.token("a-1", uid))
        assert given.status == 200, given.body
        leaf = x509.load_pem_x509_certificate(given.body["certificate"].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.UniformResourceIdentifier(f"spiffe://cluster.local/ns/{site.home}/sa/default")]
        assert leaf.subject.rfc4514_string() == f"CN={uid}"
        opened = await site.stream(given.body["certificate"])
        assert isinstance(opened, Stream), opened
        assert {"listener/inbound", "listener/outbound"} <= await opened.first()
        await eventually(lambda: site.process.acks.current(uid), "it is acknowledged")
        opened.close()

    bench(cluster, namespace, tmp_path, work)


def test_tokens_that_prove_something_else_are_refused(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    async def work(site: Site) -> None:
        uid, gone = await site.pod("a-1"), await site.pod("a-2", "198.18.99.2")
        good, late = await site.token("a-1", uid), await site.token("a-2", gone)
        tampered = good[:-8] + ("A" * 8 if good[-8:] != "A" * 8 else "B" * 8)
        await site.process.api.send("DELETE", f"/api/v1/namespaces/{site.home}/pods/a-2")
        await eventually(lambda: site.process.watch.pod(gone) is None, "the pod is gone")
        for token, told in (
            (None, "Bearer"),
            ("nonsense", "not accepted"),
            (tampered, "not accepted"),
            (late, "not accepted"),
            (await site.token("a-1", uid, "https://kubernetes.default.svc"), "not accepted"),
            (await site.token(None), "not bound to a pod"),
            (await site.token("a-1", uid, "api"), "not accepted"),
        ):
            answer = await site.enrol(token)
            assert (answer.status, told in answer.body["error"]) == (401, True), (told, answer)
        assert (await site.enrol(good)).status == 200

    bench(cluster, namespace, tmp_path, work)


def test_requests_that_cannot_be_signed_and_connections_that_are_not_tls_1_3_are_refused(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    async def work(site: Site) -> None:
        token = await site.token("a-1", await site.pod("a-1"))
        for asked, told in (
            (enrolment.request(rsa.generate_private_key(65537, 2048)), "P-256"),
            (enrolment.forged(), "possession"),
            ("-----BEGIN", "PEM"),
        ):
            answer = await site.enrol(token, asked)
            assert (answer.status, told in answer.body["error"]) == (400, True)
        old = site.tls
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        foreign = enrolment.trusting(Trust(roots.create("cluster.local", dt.datetime.now(dt.UTC))).pem().decode())
        for context in (old, foreign):
            with pytest.raises(CLOSED):
                await site.enrol(token, tls=context)
        with pytest.raises(CLOSED):
            await enrolment.enrol(site.port, None, token, enrolment.request(KEY))
        assert site.process.authority.enrolment.signatures == 0

    bench(cluster, namespace, tmp_path, work)


def test_only_a_pods_own_valid_certificate_opens_its_stream(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    async def work(site: Site) -> None:
        uid = await site.pod("a-1")
        await eventually(lambda: site.process.watch.pod(uid), "the pod is known")
        mine = Identity("cluster.local", site.home, "default", uid)
        now = dt.datetime.now(dt.UTC)
        nobody = await Stream.open(site.port, site.tls, site.server)
        assert isinstance(nobody, Answer)
        assert (nobody.status, "enrol first" in nobody.body["error"]) == (403, True)
        for identity in (mine._replace(name="0-0"), mine._replace(service_account="admin"), mine._replace(name="")):
            refused = await site.stream(site.leaf(identity))
            assert isinstance(refused, Answer)
            assert refused.status == 403
        with pytest.raises((*CLOSED, asyncio.IncompleteReadError)):
            await site.stream(site.leaf(mine, Trust(roots.create("cluster.local", now))))
        with pytest.raises((*CLOSED, asyncio.IncompleteReadError)):
            await site.stream(site.leaf(mine, now=now - dt.timedelta(days=2)))
        opened = await site.stream(site.leaf(mine))
        assert isinstance(opened, Stream)
        opened.close()

    bench(cluster, namespace, tmp_path, work)


@pytest.fixture
def rights(cluster: Any) -> Iterator[None]:
    """The chart's service account and roles, in its own namespace."""
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    documents = [each for each in yaml.safe_load_all(render("--skip-tests")) if each and each["kind"] in kinds]
    documents.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    text = yaml.safe_dump_all(documents)
    try:
        cluster.kubectl("apply", "-f", "-", text=text)
        yield
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", text=text)


def test_the_charts_rights_are_enough_for_all_of_it(
    cluster: Any, crds: None, rights: None, namespaces: Callable[..., Any], tmp_path: Path
) -> None:
    given = settings(cluster.kubeconfig, tmp_path, NAMESPACE)
    token = cluster.kubectl("create", "token", ACCOUNT, "--namespace", NAMESPACE)
    Path(given.api_token_file).write_text(token)

    async def main(home: str) -> None:
        async with running(given) as process:
            await eventually(lambda: not process.lacking(), "it serves")
            await eventually(process.lease.leader, "it leads")
            here = f"/api/v1/namespaces/{home}/configmaps/{TRUST}"

            async def there() -> Any:
                with contextlib.suppress(Refused):
                    return await process.api.get(here)

            map_ = await found(there)
            (owner,) = map_["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"]) == ("ClusterRole", "sidewinder-operator-read")
            await process.api.send("DELETE", here)
            assert (await found(there))["metadata"]["uid"] != map_["metadata"]["uid"]
            assert (await enrolment.enrol(
                process.doors.port.address[1],
                enrolment.trusting(process.authority.keeper.current().pem().decode()),
                "nonsense", enrolment.request(KEY), process.authority.names[0],
            )).status == 401, "a token may be reviewed"  # fmt: skip
            assert process.authority.keeper.fault == ""
            # a namespace of another test may be on its way out, and refuses then
            assert {home, NAMESPACE}.isdisjoint(process.authority.bundles._told)

    with namespaces("enabled", {"sidewinder.dev/inject": "enabled"}) as enabled:
        uvloop.run(asyncio.wait_for(main(str(enabled)), 60))


def test_two_replicas_share_one_ca_and_another_one_that_is_brought_is_used_live(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    home = str(namespace)
    path = f"/api/v1/namespaces/{home}"

    async def main() -> None:
        given = settings(cluster.kubeconfig, tmp_path, home)
        async with running(given) as one, running(given) as other:
            for each in (one, other):
                await eventually(lambda each=each: not each.lacking(), "both serve")
            first = fingerprint(one.authority.keeper.current().signing.certificate)
            assert first == fingerprint(other.authority.keeper.current().signing.certificate)

            async def bundle() -> Any:
                maps = await one.api.get(f"{path}/configmaps")
                texts = [each["data"]["bundle.pem"] for each in maps["items"] if each["metadata"]["name"] == TRUST]
                return texts == [one.authority.keeper.current().pem().decode()]

            await found(bundle)
            await one.api.send("DELETE", f"{path}/configmaps/{TRUST}")
            await found(bundle)
            brought = Trust(roots.create("cluster.local", dt.datetime.now(dt.UTC)))
            data = {name: base64.b64encode(text).decode() for name, text in roots.dump(brought).items()}
            secret = await one.api.get(f"{path}/secrets/{SECRET}")
            await one.api.send("PUT", f"{path}/secrets/{SECRET}", secret | {"data": data})
            for each in (one, other):
                await eventually(
                    lambda each=each: each.authority.keeper.current().bundle == brought.bundle,
                    "both use what was brought",
                )
            await found(bundle)
            await one.api.send("PUT", f"{path}/secrets/{SECRET}", {**secret, "metadata": {"name": SECRET}, "data": {}})
            await eventually(lambda: "ca.crt: missing" in one.authority.keeper.fault, "the fault is told")
            assert one.authority.keeper.current().bundle == brought.bundle
            await one.api.send("DELETE", f"{path}/secrets/{SECRET}")
            for each in (one, other):
                await eventually(lambda each=each: not each.authority.keeper.fault, "it is put back")
            put_back = await one.api.get(f"{path}/secrets/{SECRET}")
            assert put_back["data"] == data

    uvloop.run(asyncio.wait_for(main(), 120))
