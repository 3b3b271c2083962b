"""Section `authentication`: providers as sent, with what their Secrets say. `policy_specs` asks what a proxy gets.

JWT is in `compile/jwt`, Secrets in `compile/credentials`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sidewinder_operator.compile import credentials, jwt, keys
from sidewinder_operator.compile.credentials import Read
from sidewinder_operator.compile.sections import Built, Fault, Row, read_spec
from sidewinder_operator.mesh.authentication import MeshAuthentication
from sidewinder_operator.mesh.jwt import MeshJwt, MeshSource
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.authentication import (
    ApiKey,
    Authentication,
    Basic,
    External,
    Introspection,
    Provider,
)
from sidewinder_operator.resources.jwt import CredentialSource, ForwardClaim
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    AuthenticationSpec,
    BasicProvider,
    CredentialsSpec,
    ExternalProvider,
    Forward,
    IntrospectionProvider,
    KeysSpec,
    Source,
)

API_KEY = MeshSource(type="Header", name="x-api-key")


class Builder:
    """One section being built: what its providers need beside themselves, and what is wrong."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.secrets: dict[str, CredentialsSpec] = {}
        self.faults: list[Fault] = []

    def provider(
        self, at: str, written: Provider
    ) -> MeshJwt | ApiKeyProvider | BasicProvider | IntrospectionProvider | ExternalProvider | None:
        """One provider as meant; None where a fault forbids it."""
        name = written.name
        if written.jwt is not None:
            found, faults = jwt.build(name, written.jwt, self._namespace, self._cluster)
            self._tell(f"{at}.jwt", faults)
            return found
        if written.api_key is not None:
            return self._api_key(f"{at}.apiKey", name, written.api_key)
        if written.basic is not None:
            return self._basic(f"{at}.basic", name, written.basic)
        if written.oauth2_introspection is not None:
            return self._introspection(f"{at}.oauth2Introspection", name, written.oauth2_introspection)
        assert written.external is not None
        return _external(name, written.external)

    def _api_key(self, at: str, name: str, written: ApiKey) -> ApiKeyProvider | None:
        found = self._secret(
            f"{at}.secretRef", credentials.api_keys(self._cluster, self._namespace, written.secret_ref.name)
        )
        if found is None:
            return None
        return ApiKeyProvider(
            name=name,
            credentials=found,
            sources=_sources(written.sources, API_KEY),
            forward=_forward(written.forward_claims),
            strip=written.strip_key,
        )

    def _basic(self, at: str, name: str, written: Basic) -> BasicProvider | None:
        found = self._secret(
            f"{at}.secretRef", credentials.users(self._cluster, self._namespace, written.secret_ref.name)
        )
        if found is None:
            return None
        forward = _forward(written.forward_claims)
        return BasicProvider(
            name=name, credentials=found, realm=written.realm, forward=forward, strip=written.strip_credentials
        )

    def _introspection(self, at: str, name: str, written: Introspection) -> IntrospectionProvider | None:
        found = self._secret(
            f"{at}.clientSecretRef", credentials.client(self._cluster, self._namespace, written.client_secret_ref.name)
        )
        if found is None:
            return None
        return IntrospectionProvider(
            name=name,
            uri=written.uri,
            credentials=found,
            cache=seconds(written.cache_duration),
            timeout=seconds(written.timeout),
            audiences=written.audiences,
            required_scopes=written.required_scopes,
            sources=_sources(written.sources, jwt.BEARER),
            forward=_forward(written.forward_claims),
            strip=written.strip_token,
            ca=written.ca or "",
        )

    def _secret(self, at: str, read: Read) -> str | None:
        """The name that the Secret's credentials are sent under."""
        self._tell(at, read.faults)
        if read.spec is None:
            return None
        self.secrets[read.spec.name] = read.spec
        return read.spec.name

    def _tell(self, at: str, faults: Iterable[Fault]) -> None:
        self.faults += [Fault(f"{at}.{each.field}" if each.field else at, each.reason, each.message) for each in faults]


def build(written: Authentication, cluster: Cluster, namespace: str) -> Built:
    """The section as meant. Without one of its providers it would mean something else, so it is all or nothing."""
    builder = Builder(cluster, namespace)
    providers = [builder.provider(f"providers[{index}]", each) for index, each in enumerate(written.providers)]
    faults = tuple(builder.faults)
    meant = tuple(each for each in providers if each is not None)
    if len(meant) < len(providers):
        return None, faults
    secrets = tuple(builder.secrets[name] for name in sorted(builder.secrets))
    section = MeshAuthentication(
        credentials=written.credentials, require=written.require, providers=meant, secrets=secrets
    )
    return section, faults


ROW = Row("authentication", Authentication, read_spec("authentication"), build)


def spec(section: MeshAuthentication, policy: str) -> AuthenticationSpec:
    """As sent, with its policy's name."""
    return AuthenticationSpec(
        policy=policy,
        credentials=section.credentials,
        require=section.require,
        providers=tuple(jwt.spec(each) if isinstance(each, MeshJwt) else each for each in section.providers),
    )


def credential_specs(section: MeshAuthentication) -> tuple[CredentialsSpec, ...]:
    """What goes to the proxies that enforce it, as `credentials/<name>`."""
    return section.secrets


def key_specs(section: MeshAuthentication) -> tuple[KeysSpec, ...]:
    """The same as `keys/<name>`."""
    found = {each.keys.id: keys.spec(each.keys) for each in section.providers if isinstance(each, MeshJwt)}
    return tuple(found[name] for name in sorted(found))


def _external(name: str, written: External) -> ExternalProvider:
    return ExternalProvider(
        name=name,
        uri=written.uri,
        timeout=seconds(written.timeout),
        fail_open=written.fail_open,
        send_headers=tuple(header.lower() for header in written.send_headers),
        allow_headers=tuple(header.lower() for header in written.allow_headers),
        ca=written.ca or "",
    )


def _sources(written: tuple[CredentialSource, ...], usual: MeshSource) -> tuple[Source, ...]:
    meant = jwt.sources(written) or (usual,)
    return tuple(Source(type=each.type, name=each.name, prefix=each.prefix) for each in meant)


def _forward(written: tuple[ForwardClaim, ...]) -> tuple[Forward, ...]:
    return tuple(Forward(claim=each.claim, header=each.header) for each in jwt.forward(written))
