"""`python3 -m apps APPLICATION …`: the entrypoint of the image of test applications.

Called by manifests and by `kubectl exec`; calls the module of the application.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import signal
import ssl
import sys

from . import banner, echo, events, get, http1, load, serving, webhook
from .tally import Tally


def _tls(certificate: str, key: str) -> ssl.SSLContext | None:
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def _load(job: load.Job) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    summary = await load.run(job, Tally(functools.partial(print, flush=True)), stop)
    print(json.dumps(summary), flush=True)
    return 1 if summary["failures"] else 0


def start_echo(chosen: argparse.Namespace) -> None:
    application = echo.Echo(echo.Self.here(), float(os.environ.get("READY_AFTER", "0")))
    asyncio.run(serving.serve(application, chosen.port, _tls(chosen.certificate, chosen.key)))


def start_banner(chosen: argparse.Namespace) -> None:
    asyncio.run(serving.serve(banner.converse, chosen.port))


def start_spans(chosen: argparse.Namespace) -> None:
    from . import spans  # the only application with a dependency, so the others start without it

    asyncio.run(serving.serve(http1.answering(spans.Receiver()), chosen.port))


def start_webhook(chosen: argparse.Namespace) -> None:
    answer = functools.partial(webhook.review, mark=chosen.mark)
    asyncio.run(serving.serve(http1.answering(answer), chosen.port, _tls(chosen.certificate, chosen.key)))


def start_load(chosen: argparse.Namespace) -> None:
    sys.exit(asyncio.run(_load(load.Job(**json.loads(chosen.job)))))


def start_get(chosen: argparse.Namespace) -> None:
    print(get.get(load.Job(chosen.url, timeout=5, reuse=False)), end="")


def start_say(chosen: argparse.Namespace) -> None:
    events.say(chosen.first, chosen.seconds, chosen.last)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python3 -m apps")
    kinds = main.add_subparsers(required=True)
    servers = (("echo", start_echo, 8080), ("banner", start_banner, 2525), ("spans", start_spans, 4318))
    for name, start, port in (*servers, ("webhook", start_webhook, 8443)):
        kind = kinds.add_parser(name)
        kind.set_defaults(start=start)
        kind.add_argument("--port", type=int, default=port)
        kind.add_argument("--certificate", default="")
        kind.add_argument("--key", default="")
        kind.add_argument("--mark", default="seen")
    loader = kinds.add_parser("load", help="one argument: the fields of load.Job as JSON")
    loader.set_defaults(start=start_load)
    loader.add_argument("job")
    getter = kinds.add_parser("get", help="one request to a URL, its answer printed")
    getter.set_defaults(start=start_get)
    getter.add_argument("url")
    sayer = kinds.add_parser("say", help="record one event, and after a while another")
    sayer.set_defaults(start=start_say)
    sayer.add_argument("first")
    sayer.add_argument("--seconds", type=float, default=0)
    sayer.add_argument("--last", default="")
    return main


if __name__ == "__main__":
    chosen = parser().parse_args()
    chosen.start(chosen)
