"""Where everything of one bed is: its folder, its name on the machine, its addresses.

Called by every module of the test bed; calls nothing. All addresses come from the ranges set aside for
benchmarks of networks, 198.18.0.0/15 and 2001:2::/48, which no network outside uses. Bed K (0 to 13):

    nodes     198.18.(255-K).(10+N)    2001:2:0:K00::(10+N)    the machine itself is .1 and ::1
    balancers 198.18.(255-K).128/25    2001:2:0:K00::1:0/112   addresses of Services of type LoadBalancer
    pods      198.18.(16K+N).0/24      2001:2:0:K80+N::/64     of node N; all of them: /20 and /57
    services  198.19.(16K).0/20        2001:2:0:K7f::/112
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from pathlib import Path

RANGES = {4: "198.18.0.0/15", 6: "2001:2::/48"}
BEDS = range(14)  # the pods' /20 of a fifteenth would reach the nodes' /24s at the end of the range
NODES = range(1, 15)  # a /20 of pods has sixteen /24s; the first and the last stay unused
ROOT = Path(__file__).resolve().parents[3]


@dataclasses.dataclass(frozen=True)
class Layout:
    """What was asked for when the bed was made; everything else is computed from it."""

    directory: Path
    identity: int = 0
    count: int = 1
    proxy: str = "iptables"
    families: tuple[int, ...] = (4,)
    owner: tuple[int, str] | None = None
    tools: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, directory: Path) -> Layout:
        saved = json.loads((directory / "bed.json").read_text())
        owner = tuple(saved["owner"]) if saved["owner"] else None
        families, tools = tuple(saved["families"]), tuple((name, path) for name, path in saved["tools"])
        return cls(directory, saved["identity"], saved["count"], saved["proxy"], families, owner, tools)

    def save(self) -> None:
        fields = dataclasses.asdict(self)
        del fields["directory"]
        unfinished = self.directory / "bed.json.new"
        unfinished.write_text(json.dumps(fields))
        unfinished.rename(self.directory / "bed.json")

    @property
    def name(self) -> str:
        """Of the bridge and of the cgroups."""
        return f"bed{self.identity}"

    @property
    def numbers(self) -> range:
        return range(1, self.count + 1)

    @property
    def server(self) -> str:
        return f"https://{self.address(1)}:6443"

    @property
    def bin(self) -> Path:
        return self.directory / "bin"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    def node(self, number: int) -> Path:
        return self.directory / "nodes" / f"node{number}"

    def log(self, number: int, component: str) -> Path:
        return self.directory / "logs" / f"node{number}" / f"{component}.log"

    def tool(self, name: str) -> str:
        return dict(self.tools)[name]

    def _six(self, subnet: int, rest: str) -> str:
        text = f"2001:2:0:{self.identity << 8 | subnet:x}:{rest}"
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))

    def host(self, family: int = 4) -> str:
        """The machine, as the nodes and pods see it."""
        return f"198.18.{255 - self.identity}.1" if family == 4 else self._six(0, ":1")

    def address(self, number: int, family: int = 4) -> str:
        return f"198.18.{255 - self.identity}.{10 + number}" if family == 4 else self._six(0, f":{10 + number}")

    def balancers(self, family: int = 4) -> str:
        return f"198.18.{255 - self.identity}.128/25" if family == 4 else self._six(0, ":1:0/112")

    def pods(self, number: int, family: int = 4) -> str:
        if family == 4:
            return f"198.18.{16 * self.identity + number}.0/24"
        return self._six(0x80 + number, ":/64")

    def all_pods(self, family: int = 4) -> str:
        return f"198.18.{16 * self.identity}.0/20" if family == 4 else self._six(0x80, ":/57")

    def services(self, family: int = 4) -> str:
        return f"198.19.{16 * self.identity}.0/20" if family == 4 else self._six(0x7F, ":/112")

    def service(self, last: int, family: int = 4) -> str:
        """One address of the services: 1 is Kubernetes itself, 10 is DNS."""
        return f"198.19.{16 * self.identity}.{last}" if family == 4 else self._six(0x7F, f":{last:x}")

    def prefix(self, family: int) -> int:
        """Length of the nodes' subnet."""
        return 24 if family == 4 else 64
