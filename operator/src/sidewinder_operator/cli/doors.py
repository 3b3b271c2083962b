"""The admin doors of proxies, for commands that ask many of them: of a running `up` over this machine's loopback.

A pod's door is asked through `kubectl`. Used by `tls`, `breakers` and `mirrors`.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from sidewinder_operator.cli import status
from sidewinder_operator.cli.kubectl import Refused, Unreachable
from sidewinder_operator.inject.containers import PROXY
from sidewinder_operator.inject.options import ADMIN

ANSWER_SECONDS = 5.0
LARGEST_ANSWER = 1 << 20  # a table of 1 000 callers is 200 KB
AT_ONCE = 8  # kubectl takes 50 ms of a core for each
MOST = 500  # proxies that are asked: half a minute

T = TypeVar("T")


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def items(self, path: str) -> Iterable[Any]: ...
    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any: ...


def ask(port: int, page: str) -> Any:
    """What a proxy on this machine answers. Raises OSError, HTTPException and ValueError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read(LARGEST_ANSWER)
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(0, f"{page} is answered with {answer.status}")
    return json.loads(body)


def is_proxied(pod: Any) -> bool:
    """Has the pod a proxy?"""
    return any(each["name"] == PROXY for each in pod["spec"].get("initContainers") or ())


def is_running(pod: Any) -> bool:
    """Has it not ended?"""
    return pod["status"].get("phase") not in ("Succeeded", "Failed")


def every_pod(api: Api, page: str, kind: type[T]) -> dict[str, T | str]:
    """What the proxies of all pods of the cluster answer, or why one does not. Raises what kubectl raises."""
    pods = [pod for pod in api.items("/api/v1/pods") if is_proxied(pod) and is_running(pod)]
    names = sorted((pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods)
    asks = {f"{namespace}/{name}": partial(api.ask, namespace, name, ADMIN, page) for namespace, name in names}
    return _asked(asks, kind)


def every_local(state: Path, page: str, kind: type[T]) -> dict[str, T | str]:
    """What the proxies of a running `up` answer, or why one does not. Raises status.NotRunning."""
    told = json.loads(status.ask(state))
    ports = {proxy["name"]: proxy["ports"]["admin"] for proxy in told["proxies"] if "admin" in proxy["ports"]}
    return _asked({name: partial(ask, port, page) for name, port in ports.items()}, kind)


def _asked(asks: Mapping[str, Callable[[], Any]], kind: type[T]) -> dict[str, T | str]:
    some = dict(list(asks.items())[:MOST])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(partial(_answer, kind), some.values())
        pages: dict[str, T | str] = dict(zip(some, answers, strict=True))
    return pages | dict.fromkeys(asks.keys() - some.keys(), f"only {MOST} proxies are asked")


def _answer(kind: type[T], ask: Callable[[], Any]) -> T | str:
    try:
        return msgspec.convert(ask(), kind)
    except msgspec.ValidationError as fault:
        return f"it answers, but not like a proxy of this version: {fault}"
    except (Refused, Unreachable, OSError, http.client.HTTPException, ValueError) as why:
        return str(why) or type(why).__name__


def elsewhere(wanted: str, known: Iterable[str]) -> str:
    """Where that name of `<namespace>/<name>` is instead: a namespace is easily forgotten. "" if it is nowhere."""
    name = wanted.partition("/")[2]
    found = [f"{one} (-n {one.partition('/')[0]})" for one in known if one.partition("/")[2] == name]
    return f"; there are for {', '.join(found)}" if found else ""
