"""The demo's judge of splits is exact, and its load generator tells failures from answers."""

from __future__ import annotations

import asyncio
import math

import pytest

from examples.load import Load, Sample, bounds, counts, percentile


@pytest.mark.parametrize(("total", "share"), [(1000, 0.1), (640, 0.5), (50, 0.9), (1, 0.5)])
def test_bounds_leave_out_less_than_the_chance_and_no_more_than_needed(total: int, share: float) -> None:
    low, high = bounds(total, share, 1e-6)
    law = [math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(total + 1)]
    assert sum(law[:low]) <= 5e-7 < sum(law[: low + 1])
    assert sum(law[high + 1 :]) <= 5e-7 + 1e-12 < sum(law[high:]) + 1e-12


def test_all_or_nothing_has_no_room() -> None:
    assert bounds(100, 0.0) == (0, 0)
    assert bounds(100, 1.0) == (100, 100)


def test_only_answers_count() -> None:
    samples = [Sample(0, 0.1, 200, "v1"), Sample(0, 0.1, 503, ""), Sample(0, 0.1, 200, "v2"), Sample(0, 0.1, 200, "v1")]
    assert counts(samples) == {"v1": 2, "v2": 1}


def test_percentiles() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0] * 99 + [9.0], 0.99) == 9.0


@pytest.mark.parametrize(
    ("answer", "status", "version"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{"application": "reviews", "version": "v2"}'[:73], 200, ""),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n"reviews", "version": "v2"}', 200, "v2"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 503, ""),
        (b"", 0, "IncompleteReadError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 0, "IncompleteReadError"),
    ],
    ids=["cut before the version", "answer", "refusal", "closed", "cut short"],
)
def test_every_request_is_sampled(answer: bytes, status: int, version: str) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            load = Load(server.sockets[0].getsockname()[1], "shop.localhost", rate=100)
            await asyncio.wait_for(load.run(0.035), 10)
            load.close()
        assert load.started == len(load.samples) == 4
        assert load.samples[0].status == status
        assert load.samples[0].version.startswith(version)

    asyncio.run(main())
