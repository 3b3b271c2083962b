"""A section `authentication` in a proxy without sockets, and the answers of those that it asks: see `memory.Scene`."""

from __future__ import annotations

from typing import Any

from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.authentication import (
    AuthenticationSpec,
    Credential,
    CredentialsSpec,
    Provider,
)
from sidewinder_sidecar.snapshot.hashed import key_hash
from sidewinder_sidecar.snapshot.policies import PolicySpec
from sidewinder_sidecar.snapshot.routes import RouteSpec
from sidewinder_sidecar.upstream.ask import Asker
from tests.support.memory import Attempt, Caller, Scene, backend, listener, rule, service

POLICY = "shop/public"
NOW = 1_900_000_000.0  # seconds since 1970, where the wall clock of these tests begins

ALICE = "swk_aaaaaaaaaa_" + "b" * 52
BOB = "swk_bbbbbbbbbb_" + "c" * 52
KEYS = CredentialsSpec(
    name="shop/keys/api-keys",
    credentials=(
        Credential(id="aaaaaaaaaa", hash=key_hash(ALICE.encode()), plan="gold", metadata={"team": "web"}),
        Credential(id="bbbbbbbbbb", hash=key_hash(BOB.encode()), expires=NOW + 60),
    ),
)
CLIENT = CredentialsSpec(name="shop/idp/client", credentials=(Credential(id="me", plain="hush:+"),))
BOTH = (KEYS, CLIENT)


class Guarded(Scene):
    """The service `reviews`, and who may call it. Attempts are those at the service and those at who is asked."""

    def __init__(
        self, *sections: AuthenticationSpec, credentials: tuple[CredentialsSpec, ...] = (KEYS, CLIENT)
    ) -> None:
        super().__init__()
        self.asker = Asker(self.wheel, self._make)
        self.fleet.means.ask = self.asker.ask
        self.fleet.means.clock = lambda: NOW + self.clock() - self._began
        self._began = self.clock()
        self.guard(*sections, credentials=credentials)

    def guard(self, *sections: AuthenticationSpec, credentials: tuple[CredentialsSpec, ...] = BOTH) -> None:
        """Another configuration."""
        self.adopt(
            listener(),
            service("shop/reviews", policy="shop/reviews"),
            RouteSpec(name="shop/reviews", rules=(rule("v1"),)),
            *backend("v1"),
            PolicySpec(name="shop/reviews", authentication=sections),
            *credentials,
        )

    def get(self, *pairs: tuple[bytes, bytes], target: bytes = b"/") -> Caller:
        """A request."""
        return self.ask(b"GET", target, *pairs)

    def passed(self) -> Attempt:
        """The latest request at the service, answered."""
        attempt = self.attempt()
        assert attempt.endpoint.address[1] == 9080
        attempt.answer(200, b"")
        return attempt

    @property
    def last(self) -> Call:
        """The latest call that ended."""
        return self.records[-1]

    @property
    def counted(self) -> dict[str, int]:
        """Decisions by action."""
        return {action: count for (_, action, _), count in self.fleet.means.decisions.items()}


def section(*providers: Provider, **more: Any) -> AuthenticationSpec:
    """A section of the policy."""
    return AuthenticationSpec(policy=POLICY, providers=providers, **more)
