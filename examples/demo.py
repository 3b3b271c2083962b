"""The main job, live: 90 % of the calls to `reviews` stay on v1, 10 % go to v2, until you edit the weights.

`make demo` runs it. In a terminal it shows the split while you edit the manifest whose path it prints, until Ctrl-C.
Without a terminal it does one bounded pass: it changes the weights once itself, prints what it saw, and exits 1 if the
split, a request or a span was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import uvloop
import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from examples.load import Load, Sample, bounds, counts, percentile  # noqa: E402
from examples.traces import SPANS, complete, faults  # noqa: E402
from sidewinder_operator.cli.status import NotRunning, ask  # noqa: E402
from sidewinder_operator.local.children import Nursery, Program  # noqa: E402
from sidewinder_operator.local.ports import Ports, why_taken  # noqa: E402
from sidewinder_operator.resources.read import read  # noqa: E402
from tests.support.otlp import Receiver, receiver  # noqa: E402

SIDEWINDER = Path(sys.executable).with_name("sidewinder")
HOST = "productpage.bookinfo.localhost"
RATE = 80.0  # requests a second: three small Python applications behind each, on two busy cores
PHASE_SECONDS = 8.0  # of the bounded pass, twice: 640 requests tell 10 % from 50 % and from 15 %
START_SECONDS = 25.0
SPAN_SECONDS = 12.0  # for the last batch of spans: exporters send every second, and a busy machine is slow
WINDOW_SECONDS = 5.0  # over which a terminal shows shares and latencies
SEEN_SECONDS = 0.3  # until a saved file is seen and live: files are looked at every 0.1 s
LIVE_SECONDS = 1.0  # promised between a change and its being live everywhere


class Failed(Exception):
    """Something is not as it should be; says what."""


class Shop:
    """`sidewinder up` on a copy of the canary."""

    def __init__(self, folder: Path, nursery: Nursery, otlp: str) -> None:
        self.manifest = folder / "canary" / "canary.yaml"
        self.log: deque[str] = deque(maxlen=200)
        self.weights: dict[str, int] = {}
        self.changed = 0.0  # when the weights were last seen to be others
        self._state = folder / "state"
        self._nursery = nursery
        self._otlp = otlp
        self._process: asyncio.subprocess.Process | None = None
        self._heard = asyncio.Event()
        self.port = 8080
        if why_taken("127.0.0.1", self.port):
            ports = Ports()
            self.port = ports.reserve()
            ports.close()

    async def start(self) -> None:
        """Starts it and waits until everything answers."""
        shutil.copytree(HERE / "canary", self.manifest.parent)
        options = ("--port", str(self.port), "--state", str(self._state), "--otlp", self._otlp)
        command = (str(SIDEWINDER), "up", "-f", str(self.manifest.parent), *options)
        self._process = await self._nursery.start(Program(name="up", command=command, environment=dict(os.environ)))
        self._listening = asyncio.create_task(self._listen(self._process))
        await self.told("ready:", START_SECONDS)
        self.read_weights()

    async def told(self, text: str, seconds: float) -> str:
        """The next line of `up` with this text."""
        until = time.monotonic() + seconds
        while True:
            for line in self.log:
                if text in line:
                    return line
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), until - time.monotonic())
            except TimeoutError:
                raise Failed(f"`sidewinder up` did not say {text!r} within {seconds:g} s:\n" + self.tail()) from None
            if self._process is not None and self._process.returncode is not None:
                raise Failed("`sidewinder up` has ended:\n" + self.tail())

    def tail(self, lines: int = 20) -> str:
        """The last lines that it said."""
        return "\n".join([*self.log][-lines:])

    def read_weights(self) -> dict[str, int]:
        """The weights as the manifest has them now; while it is broken, as they were: those serve on."""
        try:
            route = yaml.safe_load(self.manifest.read_text())
            if read(route).refused:
                return self.weights
            rules = route["spec"]["rules"]
            refs = next(rule for rule in rules if rule["name"] == "everyone")["backendRefs"]
            weights = {ref["name"].rpartition("-")[2]: int(ref.get("weight", 1)) for ref in refs}
            if weights != self.weights:
                self.weights, self.changed = weights, time.monotonic()
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration):
            pass
        return self.weights

    def write_weights(self, v1: int, v2: int) -> None:
        """Edits the manifest as an editor does: another file in its place."""
        text = re.sub(r"(reviews-v1, port: 9080, weight: )\d+", rf"\g<1>{v1}", self.manifest.read_text())
        text = re.sub(r"(reviews-v2, port: 9080, weight: )\d+", rf"\g<1>{v2}", text)
        draft = self.manifest.with_name(".draft")
        draft.write_text(text)
        self.log.clear()
        draft.replace(self.manifest)

    async def retries(self) -> int:
        """Tries beyond the first, of all sidecars, by their own metrics."""
        try:
            proxies = json.loads(ask(self._state))["proxies"]
        except NotRunning:
            return 0
        pages = await asyncio.gather(*(_metrics(proxy["ports"]["probe"]) for proxy in proxies))
        return sum(int(float(found)) for page in pages for found in RETRIES.findall(page))

    async def stop(self) -> int:
        """Ctrl-C, and its exit code."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        code = await self._process.wait()
        self._nursery.forget(self._process.pid)
        await self._listening
        return code

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.log.append(line.decode(errors="replace").rstrip())
            self._heard.set()
        self._heard.set()


RETRIES = re.compile(r"^sidewinder_retries_total\S* (\S+)$", re.MULTILINE)


async def _metrics(port: int) -> str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        page = await asyncio.wait_for(reader.read(-1), 5)
        writer.transport.abort()
    except (OSError, TimeoutError):
        return ""
    return page.decode()


# ── a bounded pass ────────────────────────────────────────────────────────────────────────────────────────────────────


async def once(shop: Shop, spans: Receiver, rate: float) -> None:
    """Both splits, every request, every span; raises Failed."""
    load = Load(shop.port, HOST, rate=rate)
    began = time.monotonic()
    await load.run(PHASE_SECONDS)
    first = [*load.samples]
    wrong = _judge(shop, "as written", first)
    shop.write_weights(50, 50)
    changed = time.monotonic()
    running = asyncio.create_task(load.run(LIVE_SECONDS + PHASE_SECONDS))
    line = await shop.told("sidecars", 5.0)
    took = time.monotonic() - changed
    print(f"changed    weights {_weights(shop.read_weights())} in the manifest; {line.partition('│ ')[2]}")
    if "live in all" not in line or took > LIVE_SECONDS:
        wrong.append(f"the change was not live everywhere within {LIVE_SECONDS:g} s: {line}")
    await running
    wrong += _judge(shop, "changed", [one for one in load.samples if one.started > changed + LIVE_SECONDS])
    samples = [*load.samples]
    seconds = time.monotonic() - began
    load.close()
    failed = [one for one in samples if one.status != 200]
    wrong += [f"request failed: {one.status} {one.version}" for one in failed[:5]]
    latencies = [one.seconds * 1000 for one in samples]
    retries = await shop.retries()
    print(f"requests   {len(samples)} sent, {len(failed)} failed, {len(samples) / seconds:.0f}/s, {retries} retries")
    print(f"latency    p50 {percentile(latencies, 0.5):.1f} ms, p99 {percentile(latencies, 0.99):.1f} ms")
    wrong += await _judge_spans(spans, len(samples), retries)
    if wrong:
        raise Failed("\n".join(wrong))


def _judge(shop: Shop, when: str, samples: list[Sample]) -> list[str]:
    """Prints the shares of a phase; says which are further off than chance allows."""
    got, weights = counts(samples), shop.weights
    total, sum_of_weights = got.total(), sum(weights.values())
    wrong = []
    told = []
    for name, weight in weights.items():
        low, high = bounds(total, weight / sum_of_weights)
        told.append(f"{name} {got[name]} of {total} ({got[name] / max(total, 1):.1%}; {low}–{high} is fair)")
        if not low <= got[name] <= high:
            wrong.append(f"{name} got {got[name]} of {total} with weight {weight}: {low} to {high} is fair")
    print(f"split      {when}, weights {_weights(weights)}: {', '.join(told)}")
    return wrong if total else [*wrong, "no request was answered"]


async def _judge_spans(spans: Receiver, requests: int, retries: int) -> list[str]:
    wanted = requests * SPANS
    until = time.monotonic() + SPAN_SECONDS
    got = [*spans.spans]
    while not complete(got, requests) and time.monotonic() < until:
        await asyncio.sleep(0.1)
        got = [*spans.spans]
    traces = {span["trace_id"] for span in got}
    print(f"spans      {len(got)} received in {len(traces)} traces; {SPANS} a request are {wanted}")
    wrong = faults(got)[:5]
    if len(got) < wanted or (len(got) > wanted and not retries):
        wrong.append(f"{len(got)} spans were received for {requests} requests, not {wanted}")
    if len(traces) != requests:
        wrong.append(f"{len(traces)} traces for {requests} requests")
    return wrong


def _weights(weights: dict[str, int]) -> str:
    return "/".join(map(str, weights.values()))


# ── a terminal ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def live(shop: Shop, spans: Receiver, rate: float, console: Console) -> None:
    """Shows it until Ctrl-C."""
    load = Load(shop.port, HOST, rate=rate, kept=int(rate * 60))
    sending = asyncio.create_task(load.run())
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    received = retries = 0
    ticks = 0
    with Live(console=console, refresh_per_second=4, screen=False) as screen:
        while not stop.is_set():
            received += len(spans.spans)
            spans.spans.clear()  # only counted here
            if ticks % 4 == 0:
                retries = await shop.retries()
            screen.update(_screen(shop, [*load.samples], received, retries))
            ticks += 1
            try:
                await asyncio.wait_for(stop.wait(), 0.25)
            except TimeoutError:
                pass
    sending.cancel()
    load.close()


def _screen(shop: Shop, samples: list[Sample], received: int, retries: int) -> Group:
    now = time.monotonic()
    weights = shop.read_weights()
    # What was sent by the old weights says nothing of the new ones.
    since = max(now - WINDOW_SECONDS, min(shop.changed + SEEN_SECONDS, now - SEEN_SECONDS))
    recent = [one for one in samples if one.started > since]
    got = counts(recent)
    total, sum_of_weights = max(got.total(), 1), max(sum(weights.values()), 1)
    table = Table(
        "reviews", "share by weight", "share received", "", title=f"the last {now - since:.0f} s", title_justify="left"
    )
    for name in sorted(weights.keys() | got.keys()):
        share = got[name] / total
        want = f"{weights.get(name, 0) / sum_of_weights:6.1%}"
        table.add_row(name, want, f"{share:6.1%}", Text("█" * round(share * 50), style="green"))
    latencies = [one.seconds * 1000 for one in recent]
    failed = sum(one.status != 200 for one in samples)
    figures = (
        f"{len(recent) / (now - since):.0f} requests/s   p50 {percentile(latencies, 0.5):.1f} ms   "
        f"p99 {percentile(latencies, 0.99):.1f} ms   {failed} failed   {retries} retries   {received} spans received"
    )
    edit = Text.assemble("edit the weights in ", (str(shop.manifest), "bold cyan"), " and save: they follow at once")
    way_in = Text(f"http://{HOST}:{shop.port}/   Ctrl-C ends it")
    said = Panel(shop.tail(6), title="sidewinder up", title_align="left")
    return Group(edit, way_in, table, Text(figures), said)


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def main(arguments: Any, folder: Path) -> int:
    """Starts everything, shows it, ends everything."""
    console = Console(highlight=False)
    nursery = Nursery(folder)
    await nursery.open()
    with receiver() as spans:
        shop = Shop(folder, nursery, spans.endpoint)
        code = 0
        try:
            began = time.monotonic()
            await shop.start()
            print(f"manifest   {shop.manifest}")
            print(f"way in     http://{HOST}:{shop.port}/ after {time.monotonic() - began:.1f} s")
            if arguments.once or not console.is_terminal:
                await once(shop, spans, arguments.rate)
            else:
                await live(shop, spans, arguments.rate, console)
        except Failed as why:
            print(f"FAILED\n{why}", file=sys.stderr)
            code = 1
        finally:
            ended = await shop.stop()
            await nursery.close()
    if ended:
        print(f"FAILED\n`sidewinder up` ended with {ended}:\n{shop.tail()}", file=sys.stderr)
        return 1
    print("ended      everything that was started is gone")
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--once", action="store_true", help="one bounded pass, even in a terminal")
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second (%(default)s)")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sidewinder-demo-", ignore_cleanup_errors=True) as made:
        sys.exit(uvloop.run(main(parsed, Path(made))))
