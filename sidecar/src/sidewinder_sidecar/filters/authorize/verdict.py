"""What became of a request or a connection, and which rule wanted it so. Made with the rules, never changed."""

from __future__ import annotations

from typing import Final

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.messages import Reply

DEFAULT: Final = "defaultAction"  # stands for the rule where none matched
ERROR: Final = "denied"


class Verdict:
    """`decision` is "<policy>/<rule>", "audit:<policy>/<rule>" of an Audit section, "" if nobody was asked."""

    __slots__ = ("action", "allowed", "audit", "decision", "policy", "reply", "rule")

    def __init__(self, policy: str, rule: str, allowed: bool, audit: bool = False) -> None:
        self.policy = policy
        self.rule = rule
        self.audit = audit
        self.allowed = allowed or audit
        self.action = "Audit" if audit else "Allow" if allowed else "Deny"  # as counted
        self.decision = f"{'audit:' if audit else ''}{policy}/{rule}" if policy else ""
        # One answer for all refusals: it tells who is refused nothing of what would be let in.
        self.reply = (
            None if self.allowed else Reply(TABLE[ERROR].status, ERROR, TABLE[ERROR].meaning, decision=self.decision)
        )

    def __repr__(self) -> str:
        return f"<Verdict {self.action} {self.decision}>"


PASSED: Final = Verdict("", "", True)  # only Audit sections, and they would let it pass too
