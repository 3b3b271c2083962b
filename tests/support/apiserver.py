"""A small API server for faults that a real one cannot be made to have in a test.

Faithful in what reflectors, the Lease and the status writer depend on.

Objects under any collection with one resourceVersion for all; LIST in pages, watch from a position, WatchList with its
closing bookmark; conflicts by resourceVersion and uid; server-side apply of a status. Faults: see the attributes.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

PATH = re.compile(
    r"^(?P<group>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?P<sub>/status)?$"
)
Collection = tuple[str, str]


class FakeApiServer:
    """Serves on loopback from `serving` on. Collections are told by their path without a namespace."""

    def __init__(self) -> None:
        self.url = ""
        self.version = 100
        self.objects: dict[Collection, dict[tuple[str, str], dict[str, Any]]] = {}
        self.log: list[tuple[int, Collection, str, dict[str, Any]]] = []
        self.compacted = 0  # watches from before it are too old
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[tuple[str, str, Any]] = []
        # faults
        self.failing = 0  # a status that everything is answered with
        self.forbidden = ""  # a plural that nobody may read
        self.token = ""  # the one that is accepted; "" accepts any
        self.tokens: dict[str, dict[str, Any]] = {}  # what TokenReview says of a token, as its status
        self.watch_list = True  # whether sendInitialEvents is known
        self._speaking = asyncio.Event()
        self._speaking.set()
        self.unwhole = False  # WatchLists never say that they are whole
        self.gone_by_status = False  # 410 as the answer's status instead of as an event
        self.expired_pages = 0  # so many continue tokens are refused with 410
        # inside
        self._open: dict[asyncio.Queue[Any], tuple[Collection, web.Request]] = {}

    # ── what tests do ─────────────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeApiServer]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self.end_streams()
            await runner.cleanup()

    def put(self, collection: str, body: dict[str, Any], *, announce: bool = True) -> dict[str, Any]:
        """Creates or replaces an object. `announce` False: nobody who watches is told, as if they had been away."""
        key = self._collection(collection)
        metadata = body.setdefault("metadata", {})
        place = metadata.get("namespace", ""), metadata["name"]
        old = self.objects.setdefault(key, {}).get(place)
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("uid", old["metadata"]["uid"] if old else str(uuid.uuid4()))
        self.objects[key][place] = body
        self._happened(key, "MODIFIED" if old else "ADDED", body, announce)
        return body

    def delete(self, collection: str, name: str, namespace: str = "", *, announce: bool = True) -> None:
        key = self._collection(collection)
        body = self.objects[key].pop((namespace, name))
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self._happened(key, "DELETED", body, announce)

    def get(self, collection: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        return self.objects.get(self._collection(collection), {}).get((namespace, name))

    def all(self, collection: str) -> list[dict[str, Any]]:
        return list(self.objects.get(self._collection(collection), {}).values())

    def compact(self) -> None:
        """What has been is forgotten: positions up to now are too old."""
        self.log.clear()
        self.version += 1
        self.compacted = self.version

    def fall_silent(self) -> None:
        """Streams stay open and nothing comes."""
        self._speaking.clear()

    def speak(self) -> None:
        self._speaking.set()

    def bookmark(self) -> None:
        for queue, (key, _) in self._open.items():
            queue.put_nowait(self._bookmark(key, {}))

    def end_streams(self) -> None:
        """In good order, as after timeoutSeconds."""
        for queue in self._open:
            queue.put_nowait(None)

    def cut_streams(self) -> None:
        """In the middle of a line, without a farewell."""
        for _, request in self._open.values():
            if request.transport is not None:
                request.transport.abort()

    def send(self, event: dict[str, Any]) -> None:
        """Anything, to all streams."""
        for queue in self._open:
            queue.put_nowait(event)

    @property
    def streams(self) -> int:
        return len(self._open)

    # ── what clients get ──────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        if self.failing:
            return _status(self.failing, "ServiceUnavailable", "the fault that the test wants")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized", "Unauthorized")
        if (kinds := self._kinds(request.path)) is not None:
            return web.json_response(kinds)
        found = PATH.match(request.path)
        if found is None:
            return _status(404, "NotFound", request.path)
        key = found["group"], found["plural"]
        if found["plural"] == self.forbidden:
            return _status(403, "Forbidden", f"{self.forbidden} is forbidden")
        if request.method == "GET" and found["name"] is None:
            if request.query.get("watch") == "true":
                return await self._watch(request, key)
            return self._list(request, key, found["namespace"])
        body = json.loads(await request.read() or b"null")
        self.bodies.append((request.method, request.path, body))
        return self._one(request, key, (found["namespace"] or "", found["name"] or ""), body)

    def _kinds(self, path: str) -> dict[str, Any] | None:
        """What kopf asks before anything else."""
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/api/v1":
            return {"resources": [_kind("namespaces", "Namespace", ["list", "watch"], namespaced=False)]}
        if path == "/apis":
            version = {"version": "v1alpha1", "groupVersion": "sidewinder.dev/v1alpha1"}
            group = {"name": "sidewinder.dev", "preferredVersion": version, "versions": [version]}
            return {"groups": [group]}
        if path == "/apis/sidewinder.dev/v1alpha1":
            kinds = (("apiroutes", "ApiRoute"), ("apipolicies", "ApiPolicy"), ("externalworkloads", "ExternalWorkload"))
            verbs = ["list", "watch", "get", "patch"]
            return {"resources": [_kind(plural, kind, verbs) for plural, kind in kinds]}
        return None

    def _one(
        self, request: web.Request, key: Collection, place: tuple[str, str], body: dict[str, Any]
    ) -> web.StreamResponse:
        collection = "/".join(key)
        if request.method == "POST" and key[1] == "tokenreviews":
            status = self.tokens.get(body["spec"]["token"], {"error": "[invalid bearer token]"})
            return web.json_response(body | {"status": status}, status=201)
        if request.method == "POST":
            metadata = body["metadata"]
            metadata.setdefault("name", f"{metadata.get('generateName', '')}{len(self.requests)}")
            if place[0]:
                metadata["namespace"] = place[0]
            if (place[0], metadata["name"]) in self.objects.get(key, {}):
                return _status(409, "AlreadyExists", "already exists")
            return web.json_response(self.put(collection, body), status=201)
        here = self.objects.get(key, {}).get(place)
        if request.method == "PATCH" and request.content_type == "application/merge-patch+json" and here is not None:
            return web.json_response(self.put(collection, _merged(here, body)))
        if request.method == "PATCH" and not request.path.endswith("/status") and place[0]:
            return self._apply(key, place, body, here)
        if here is None:
            return _status(404, "NotFound", f"{place[1]} not found")
        if request.method == "GET":
            return web.json_response(here)
        if request.method == "DELETE":
            self.delete(collection, place[1], place[0])
            return web.json_response({"kind": "Status", "status": "Success"})
        asked = body.get("metadata", {})
        for field in ("resourceVersion", "uid"):
            if asked.get(field, here["metadata"][field]) != here["metadata"][field]:
                return _status(409, "Conflict", f"{field} differs")
        if request.method == "PATCH":
            body = copy.deepcopy(here) | {"status": body["status"]}
        if body == here:
            return web.json_response(here)  # what changes nothing has no new version
        body["metadata"].pop("uid", None)
        return web.json_response(self.put(collection, body))

    def _apply(
        self, key: Collection, place: tuple[str, str], body: dict[str, Any], here: dict[str, Any] | None
    ) -> web.Response:
        """Server-side apply of a whole object, which has no other writers."""
        body["metadata"] = {**body["metadata"], "namespace": place[0]}
        if here is not None and body["data"] == here.get("data"):
            return web.json_response(here)
        return web.json_response(self.put("/".join(key), body))

    def _list(self, request: web.Request, key: Collection, namespace: str | None) -> web.StreamResponse:
        items = [one for (space, _), one in self._selected(request, key) if namespace in (None, space)]
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 0)
        if start and self.expired_pages:
            self.expired_pages -= 1
            return _status(410, "Expired", "the provided continue parameter is too old")
        page = items[start : start + limit] if limit else items
        more = str(start + limit) if limit and start + limit < len(items) else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        return web.json_response({"kind": "List", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request, key: Collection) -> web.StreamResponse:
        initial = request.query.get("sendInitialEvents") == "true"
        if initial and not self.watch_list:
            return _status(422, "Invalid", "sendInitialEvents: Forbidden: the WatchList feature is not enabled")
        position = int(request.query.get("resourceVersion") or 0)
        too_old = not initial and position < self.compacted
        if too_old and self.gone_by_status:
            return _status(410, "Expired", "too old resource version")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        if too_old:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            queue.put_nowait({"type": "ERROR", "object": status})
            queue.put_nowait(None)
        elif initial:
            for _, one in self._selected(request, key):
                queue.put_nowait({"type": "ADDED", "object": copy.deepcopy(one)})
            if not self.unwhole:
                queue.put_nowait(self._bookmark(key, {"k8s.io/initial-events-end": "true"}))
        else:
            for version, other, kind, one in self.log:
                metadata = one["metadata"]
                wanted = _wants(request, metadata.get("namespace", ""), metadata["name"])
                if other == key and version > position and wanted:
                    queue.put_nowait({"type": kind, "object": one})
        self._open[queue] = key, request
        try:
            while (event := await queue.get()) is not None:
                await self._speaking.wait()
                await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            pass
        finally:
            del self._open[queue]
        return response

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _selected(self, request: web.Request, key: Collection) -> list[tuple[tuple[str, str], dict[str, Any]]]:
        there = sorted(self.objects.get(key, {}).items())
        return [(place, one) for place, one in there if _wants(request, *place)]

    def _collection(self, path: str) -> Collection:
        group, _, plural = path.rpartition("/")
        return group, plural

    def _bookmark(self, key: Collection, annotations: dict[str, str]) -> dict[str, Any]:
        return {
            "type": "BOOKMARK",
            "object": {"metadata": {"resourceVersion": str(self.version), "annotations": annotations}},
        }

    def _happened(self, key: Collection, kind: str, body: dict[str, Any], announce: bool) -> None:
        seen = copy.deepcopy(body)
        self.log.append((self.version, key, kind, seen))
        for queue, (other, request) in self._open.items():
            metadata = body["metadata"]
            if other == key and announce and _wants(request, metadata.get("namespace", ""), metadata["name"]):
                queue.put_nowait({"type": kind, "object": seen})


def _merged(here: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    base = copy.deepcopy(here) if isinstance(here, dict) else {}
    for name, value in patch.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = _merged(base.get(name), value)
    return base


def _wants(request: web.Request, namespace: str, name: str) -> bool:
    """Is it in the namespace and of the name that was asked for?"""
    found = PATH.match(request.path)
    space = found["namespace"] if found is not None else None
    return space in (None, namespace) and _chosen(request) in ("", name)


def _chosen(request: web.Request) -> str:
    """The one name that is asked for; "" for all."""
    return request.query.get("fieldSelector", "").removeprefix("metadata.name=")


def _kind(plural: str, kind: str, verbs: list[str], *, namespaced: bool = True) -> dict[str, Any]:
    return {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": verbs}


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)
