"""All rules that hold on one port, judged at once: each is a few bits, and a request's answers are put together by AND.

An entry is one `to` of one rule; its bit says whether everything that it asks for holds. Who calls, what is called and
what else must hold each give the bits of the entries that it does not speak against (`sources`, `targets`,
`conditions`), so that a thousand rules cost a few operations on numbers of a thousand bits. Deny comes before Allow,
and both before the default. Used by the package's `Authorizer` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.filters.authorize.addresses import Ranges
from sidewinder_sidecar.filters.authorize.conditions import Conditions, Table
from sidewinder_sidecar.filters.authorize.sources import Sources
from sidewinder_sidecar.filters.authorize.targets import Hosts, Methods, Paths
from sidewinder_sidecar.filters.authorize.verdict import DEFAULT, PASSED, Verdict
from sidewinder_sidecar.snapshot.authorization import AccessRule, AuthorizationSpec, ToSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call, Peer

# Callers whose `from` is kept, with a bit for each entry: 0.5 MB at a thousand entries.
MOST_CALLERS: Final = 2048
ANYTHING: Final = ToSpec()


class Engine:
    """`judge` a request, `judge_connection` one that is relayed. `port` is the pod's."""

    __slots__ = (
        "_all_default", "_allow", "_allows", "_any", "_audit_allow", "_audit_deny", "_audits", "_callers",
        "_conditions", "_connection", "_default", "_deny", "_everything", "_hosts", "_hosts_asked", "_methods",
        "_methods_asked", "_paths", "_paths_asked", "_sources", "_tables", "_verdicts",
    )  # fmt: skip

    def __init__(
        self, specs: tuple[AuthorizationSpec, ...], port: int, trust_domain: str, lists: Mapping[str, Ranges]
    ) -> None:
        """Raises ValueError for what is no CIDR."""
        self._verdicts: list[Verdict] = []  # by entry
        self._deny = self._allow = self._audit_deny = self._audit_allow = 0
        self._any = 0  # entries that ask nobody who calls
        self._connection = 0  # entries that can hold of a connection that is relayed
        self._sources = Sources(trust_domain, lists)
        self._methods, self._hosts, self._paths = Methods(), Hosts(), Paths()
        self._conditions = Conditions()
        self._callers: dict[tuple[str, str, str], int] = {}
        for section in specs:
            for rule in section.rules:
                self._add(section, rule, port)
        self._audits = any(section.audit for section in specs)
        self._default = _default([section for section in specs if not section.audit], False)
        self._all_default = _default(list(specs), True)
        self._allows = self._allow | self._audit_allow
        self._everything = everything = self._allows | self._deny | self._audit_deny
        self._sources.seal()
        self._methods_asked = self._methods.seal(everything)
        self._hosts_asked = self._hosts.seal(everything, self._allows)
        self._paths_asked = self._paths.seal(everything, self._allows)
        self._conditions.seal(everything)
        self._tables: tuple[Table, ...] = self._conditions.tables

    def _add(self, section: AuthorizationSpec, rule: AccessRule, port: int) -> None:
        allows = rule.action == "Allow"
        for target in rule.targets or (ANYTHING,):
            if (target.ports and port not in target.ports) or port in target.not_ports:
                continue
            bit = 1 << len(self._verdicts)
            self._verdicts.append(Verdict(section.policy, rule.name, allows, section.audit and not allows))
            if section.audit:
                self._audit_allow |= bit if allows else 0
                self._audit_deny |= 0 if allows else bit
            else:
                self._allow |= bit if allows else 0
                self._deny |= 0 if allows else bit
            for source in rule.sources:
                self._sources.add(source, allows, bit)
            self._any |= 0 if rule.sources else bit
            self._methods.add(bit, target)
            self._hosts.add(bit, target)
            self._paths.add(bit, target)
            self._conditions.add(bit, rule.conditions, allows)
            if not allows or not (rule.conditions or speaks_http(target)):
                self._connection |= bit

    def judge(self, call: Call) -> Verdict:
        """A request."""
        request, peer = call.request, call.peer
        attributes = call.attributes
        client: str = peer.client if attributes is None else attributes.get("client", peer.client)
        held = self._who(peer, client)
        if held and self._methods_asked:
            held &= self._methods.table.get(request.method, self._methods.other)
        if held and self._paths_asked:
            held &= self._paths.entries(request.path)
        if held and self._hosts_asked:
            held &= self._hosts.entries(request.authority)
        for table in self._tables:
            if held & table.members:
                held &= table.entries(call)
        return self._decide(held)

    def judge_connection(self, peer: Peer) -> Verdict:
        """A connection that is relayed: who calls is all that is known."""
        return self._decide(self._who(peer, peer.client) & self._connection)

    def _who(self, peer: Peer, client: str) -> int:
        key = (peer.identity, client, peer.address) if self._sources.addressed else (peer.identity, "", "")
        if (known := self._callers.get(key)) is not None:
            return known
        if len(self._callers) >= MOST_CALLERS:
            self._callers.clear()
        self._callers[key] = found = self._any | self._sources.entries(*key)
        return found

    def _decide(self, held: int) -> Verdict:
        if hit := held & self._deny:
            return self._verdicts[(hit & -hit).bit_length() - 1]
        hit = held & self._allow
        verdict = self._verdicts[(hit & -hit).bit_length() - 1] if hit else self._default
        if self._audits and verdict.allowed:
            return self._audited(held, verdict)
        return verdict

    def _audited(self, held: int, verdict: Verdict) -> Verdict:
        """What would be, were the Audit sections enforced: told if it is a refusal."""
        if hit := held & self._audit_deny:
            return self._verdicts[(hit & -hit).bit_length() - 1]
        if held & self._allows or self._all_default.rule == "":
            return verdict
        return self._all_default

    def __repr__(self) -> str:
        return f"<Engine {len(self._verdicts)} entries, {len(self._callers)} callers>"


def speaks_http(target: ToSpec) -> bool:
    """Does it ask for what only a request has?"""
    positive = target.methods or target.paths or target.hosts
    return bool(positive or target.not_methods or target.not_paths or target.not_hosts)


def _default(sections: list[AuthorizationSpec], audit: bool) -> Verdict:
    """For what no rule takes: of the most specific section that says it, else Deny. Without sections nobody is asked.

    With `audit` only a refusal is of interest.
    """
    if not sections:
        return PASSED
    section, action = sections[-1], "Deny"
    for each in sections:
        if each.default_action is not None:
            section, action = each, each.default_action
    if audit:
        return PASSED if action == "Allow" else Verdict(section.policy, DEFAULT, False, audit=True)
    return Verdict(section.policy, DEFAULT, action == "Allow")
