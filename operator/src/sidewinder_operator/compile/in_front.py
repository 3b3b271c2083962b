"""What stands in front of a workload and is believed, by its annotations. Asked by `workloads` and by `watch.records`.

Both annotations are also in the table of `inject.annotations`, where a pod that has them written wrongly is refused.
What still arrives here wrong (a live pod was edited, a LocalProcess) is believed nothing: that is the safe side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Cluster

TRUSTED_HOPS = "sidewinder.dev/trusted-hops"
PROXY_PROTOCOL = "sidewinder.dev/proxy-protocol"
MOST_HOPS = 16  # proxies one behind the other: more is a mistake
MOST_PORTS = 64  # as of every list in an annotation

HOPS_RIGHT = f"a number of proxies from 0 to {MOST_HOPS}"
PORTS_RIGHT = f"at most {MOST_PORTS} ports from 1 to 65535, with commas"


def hops(annotations: Mapping[str, str]) -> int:
    """How many proxies in front of it are believed; 0 where that is not said, or cannot be read."""
    text = annotations.get(TRUSTED_HOPS, "0").strip()
    return int(text) if _is_number(text) and int(text) <= MOST_HOPS else 0


def ports(annotations: Mapping[str, str]) -> tuple[int, ...]:
    """Where its callers begin with PROXY protocol."""
    words = [word.strip() for word in annotations.get(PROXY_PROTOCOL, "").split(",") if word.strip()]
    if len(words) > MOST_PORTS or not all(_is_number(word) and 0 < int(word) < 65536 for word in words):
        return ()
    return tuple(sorted({int(word) for word in words}))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6


def mistakes(cluster: Cluster) -> Iterator[Problem]:
    """What LocalProcesses say wrongly."""
    for process in cluster.processes.values():
        annotations = process.metadata.annotations
        for name, right, read in (
            (TRUSTED_HOPS, HOPS_RIGHT, lambda text: text.strip() == "0" or hops({TRUSTED_HOPS: text})),
            (PROXY_PROTOCOL, PORTS_RIGHT, lambda text: not text.strip() or ports({PROXY_PROTOCOL: text})),
        ):
            if name in annotations and not read(annotations[name]):
                message = f"{annotations[name][:64]!r} is not {right}; until it is, nobody in front is believed"
                yield Problem(
                    reference=process.reference,
                    field=f"metadata.annotations[{name}]",
                    reason="Invalid",
                    message=message,
                )
