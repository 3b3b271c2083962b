"""Whom Strict would refuse, from what proxies of a Service say: in a cluster and of a running `up`."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidewinder_operator.cli import tls
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.kubectl import Unreachable
from sidewinder_operator.cli.tls import Absent, Seen, as_json, breaks, in_cluster, in_up, is_safe, show
from tests.support.kubectl import FakeKubectl

NOW = 1_700_000_000.0
KNOWN = "spiffe://cluster.local/ns/shop/sa/web"
SERVICE = "/api/v1/namespaces/shop/services/reviews"
PODS = "/api/v1/namespaces/shop/pods"


def row(caller: str, port: int = 9080, *, mtls: bool = False, **more: object) -> dict[str, object]:
    described = {"address": "10.0.0.7", "connections": 1, "last": NOW - 90, "mode": "Audit", "excepted": False}
    return {"listener": "inbound", "port": port, "caller": caller, "mtls": mtls, **described, **more}


def page(*rows: dict[str, object], since: float = NOW - 7200, forgotten: int = 0) -> dict[str, object]:
    return {"since": since, "callers": list(rows), "forgotten": forgotten}


def pod(name: str, labels: dict[str, str] | None = None, phase: str = "Running", proxy: bool = True) -> dict[str, Any]:
    containers = [{"name": "sidewinder-capture"}, {"name": "sidewinder-proxy"}] if proxy else None
    return {
        "metadata": {"name": name, "labels": labels if labels is not None else {"app": "reviews", "version": "v1"}},
        "spec": {"initContainers": containers},
        "status": {"phase": phase},
    }


class Cluster(FakeKubectl):
    """One with a Service; `pages` is what each pod's proxy answers."""

    def __init__(self, pages: dict[str, Any], *pods: dict[str, Any], selector: dict[str, str] | None = None) -> None:
        spec = {"selector": {"app": "reviews"} if selector is None else selector}
        super().__init__({SERVICE: {"spec": spec}, PODS: list(pods) or [pod(name) for name in pages]})
        self.pages = pages
        self.by_address: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str, int, str]] = []

    def get(self, path: str) -> Any:
        return {"items": self.by_address.get(path.rpartition("%3D")[2], [])} if "podIP" in path else super().get(path)

    def ask(self, namespace: str, name: str, port: int, path: str) -> Any:
        self.asked.append((namespace, name, port, path))
        if isinstance(answer := self.pages[name], Exception):
            raise answer
        return answer


def seen(*pages: Any) -> Seen:
    return in_cluster(Cluster({f"reviews-{number}": each for number, each in enumerate(pages)}), "shop", "reviews")


def said(found: Seen, capsys: pytest.CaptureFixture[str]) -> str:
    show(found, dt.datetime.fromtimestamp(NOW, dt.UTC), Voice(Console(width=240), Console(stderr=True, width=240)))
    out, err = capsys.readouterr()
    return out + err


def test_every_pod_of_the_service_is_asked_and_nobody_else() -> None:
    cluster = Cluster(
        {"reviews-1": page(row(KNOWN, mtls=True))},
        pod("reviews-1"),
        pod("ratings-1", {"app": "ratings"}),
        pod("job", phase="Succeeded"),
    )
    found = in_cluster(cluster, "shop", "reviews")
    assert cluster.asked == [("shop", "reviews-1", 15000, "/callers")]
    assert found.proxies == ("reviews-1",)
    assert is_safe(found)


def test_what_several_proxies_saw_is_one_table() -> None:
    found = seen(
        page(row("10.0.0.7", connections=2, last=NOW - 50), since=NOW - 60),
        page(row("10.0.0.7", connections=3, last=NOW - 10), row(KNOWN, mtls=True), forgotten=4),
    )
    assert [(each.caller, each.connections, each.last) for each in found.callers] == [
        ("10.0.0.7", 5, NOW - 10),
        (KNOWN, 1, NOW - 90),
    ]
    assert (found.since, found.forgotten) == (NOW - 60, 4)
    assert [each.caller for each in breaks(found)] == ["10.0.0.7"]


@pytest.mark.parametrize(
    ("pages", "safe", "told"),
    [
        pytest.param(
            [page(row(KNOWN, mtls=True))],
            True,
            "Strict breaks nothing that was seen of shop/reviews in 2 h",
            id="all-mtls",
        ),
        pytest.param([page()], True, "nobody has called shop/reviews in the 2 h", id="nobody"),
        pytest.param(
            [page(row("10.0.0.7"), row("10.0.0.8"), row(KNOWN, mtls=True))],
            False,
            "Strict refuses 2 of the callers of shop/reviews: 10.0.0.7, 10.0.0.8",
            id="plain",
        ),
        pytest.param([page(row("10.0.0.7", 9090, excepted=True))], True, "left out", id="left-out"),
        pytest.param(
            [page(), Unreachable("nothing answers")],
            False,
            "reviews-1 could not be asked: nothing answers",
            id="silent",
        ),
        pytest.param([{"what": 1}], False, "not like a proxy of this version", id="another-version"),
        pytest.param([page(row(KNOWN, mtls=True), forgotten=3)], True, "3 callers more were seen", id="forgotten"),
    ],
)
def test_what_is_said_and_whether_strict_is_safe(
    pages: list[Any], safe: bool, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = seen(*pages)
    assert is_safe(found) == safe
    assert told in said(found, capsys)


def test_a_pod_without_a_proxy_is_named() -> None:
    found = in_cluster(Cluster({}, pod("reviews-1", proxy=False)), "shop", "reviews")
    assert found.silent == {"reviews-1": "it has no proxy"}
    assert not is_safe(found)


def test_a_caller_without_a_certificate_is_named_by_its_pod(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster({"reviews-1": page(row("10.0.0.7"), row("10.0.0.8", address="10.0.0.8"), row(KNOWN, mtls=True))})
    metadata = {"namespace": "old", "name": "cart-1"}
    cluster.by_address = {"10.0.0.7": [{"metadata": metadata}], "10.0.0.8": [{"metadata": metadata}] * 2}
    found = in_cluster(cluster, "shop", "reviews")
    assert [each.pod for each in found.callers] == ["old/cart-1", "", ""], "an address of a node is no pod's"
    assert "Strict refuses 2 of the callers of shop/reviews: 10.0.0.7 (old/cart-1), 10.0.0.8" in said(found, capsys)


def test_who_may_not_see_all_pods_sees_addresses() -> None:
    cluster = Cluster({"reviews-1": page(row("10.0.0.7"))})
    cluster.get = lambda path: FakeKubectl.get(cluster, path)  # type: ignore[method-assign]
    assert [each.who for each in in_cluster(cluster, "shop", "reviews").callers] == ["10.0.0.7"]


def test_people_see_who_calls_how(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(seen(page(row("10.0.0.7", mode="Strict"), row(KNOWN, mtls=True))), capsys).splitlines()
    assert told[0].split() == ["caller", "port", "mTLS", "mode", "connections", "last", "Strict"]
    assert told[1].split() == ["10.0.0.7", "9080", "no", "Strict", "1", "1", "min", "ago", "refuses", "it"]
    assert told[2].split() == [KNOWN, "9080", "yes", "Audit", "1", "1", "min", "ago", "lets", "it", "pass"]


def test_machines_get_the_verdict_with_each_row() -> None:
    told = json.loads(as_json(seen(page(row("10.0.0.7"), row(KNOWN, mtls=True)))))
    assert told["safe"] is False
    assert [(each["caller"], each["breaks"]) for each in told["callers"]] == [("10.0.0.7", True), (KNOWN, False)]
    assert (told["service"], told["proxies"], told["silent"]) == ("shop/reviews", ["reviews-0"], {})


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        pytest.param(FakeKubectl({}), "there is no Service shop/reviews", id="no-service"),
        pytest.param(Cluster({}), "selects no pod", id="no-pods"),
        pytest.param(Cluster({}, pod("a"), selector={}), "selects no pod", id="no-selector"),
    ],
)
def test_where_nobody_can_be_asked_it_is_said(cluster: Any, why: str) -> None:
    with pytest.raises(Absent, match=why):
        in_cluster(cluster, "shop", "reviews")


# ── of a running `up` ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def door() -> Iterator[int]:
    """A sidecar's admin port."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(page(row("127.0.0.1"))).encode()
            self.send_response(200 if self.path == "/callers" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def up(monkeypatch: pytest.MonkeyPatch, *ports: int, members: list[str] | None = None) -> None:
    proxies = [
        {"id": f"LocalProcess/shop/reviews/{number}", "name": f"reviews-{number}", "ports": {"admin": port}}
        for number, port in enumerate(ports)
    ]
    ids = [proxy["id"] for proxy in proxies] if members is None else members
    told = {"proxies": [*proxies, {"id": "Gateway/way-in", "name": "way-in", "ports": {}}]}
    answer = json.dumps({**told, "services": {"shop/reviews": ids}}).encode()
    monkeypatch.setattr(tls.status, "ask", lambda state: answer)


def test_of_a_running_up_the_sidecars_of_the_service_are_asked(
    monkeypatch: pytest.MonkeyPatch, door: int, tmp_path: Path
) -> None:
    up(monkeypatch, door, 1)
    found = in_up(tmp_path, "shop", "reviews")
    assert [(each.caller, each.breaks) for each in found.callers] == [("127.0.0.1", True)]
    assert found.proxies == ("reviews-0", "reviews-1")
    assert list(found.silent) == ["reviews-1"], "nothing listens on port 1"


@pytest.mark.parametrize(
    ("service", "why"), [("reviews", "nobody serves shop/reviews"), ("other", "has no Service shop/other")]
)
def test_of_a_running_up_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: str, why: str
) -> None:
    up(monkeypatch, members=[])
    with pytest.raises(Absent, match=why):
        in_up(tmp_path, "shop", service)
