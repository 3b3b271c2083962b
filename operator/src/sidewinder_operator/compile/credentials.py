"""What a Secret says of who may come: API keys, users, or a client of an authorization server.

Asked by `compile/authentication`. A broken entry takes only itself out: its key or user is nobody. No message has
anything of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sidewinder_operator.compile.sections import Fault
from sidewinder_operator.resources import Cluster, stored_key
from sidewinder_operator.resources.core import Secret
from sidewinder_sidecar.snapshot.authentication import Credential, CredentialsSpec
from sidewinder_sidecar.snapshot.hashed import KEY_ID, LONGEST_NAME, password

MOST = 10_000  # keys or users of a Secret: it holds 1 MiB, and an entry takes 100 bytes at least
MOST_TOLD = 8  # broken entries; who has more has one reason for all

INVALID = "InvalidEntry"  # the policy holds, but for those of whom an entry should speak

CLIENT_ID = "client-id"
CLIENT_SECRET = "client-secret"  # noqa: S105 (the entry's name)
USERS = "users"


class Read(NamedTuple):
    """What stands in a Secret. `spec` is None where nothing can be made of it; what is wrong is told in either case."""

    spec: CredentialsSpec | None
    faults: tuple[Fault, ...]


def api_keys(cluster: Cluster, namespace: str, name: str) -> Read:
    """An entry for each key, named by its id."""
    return _read(cluster, namespace, name, "api-keys", _keys)


def users(cluster: Cluster, namespace: str, name: str) -> Read:
    """The lines of the entry `users`."""
    return _read(cluster, namespace, name, "users", _users)


def client(cluster: Cluster, namespace: str, name: str) -> Read:
    """The entries `client-id` and `client-secret`."""
    read = _read(cluster, namespace, name, "client", _client)
    return read if read.spec is None or read.spec.credentials else Read(None, read.faults)


def _read(
    cluster: Cluster, namespace: str, name: str, kind: str, find: Callable[[Secret], Iterator[Credential | str]]
) -> Read:
    secret = cluster.secrets.get((namespace, name))
    if secret is None:
        return Read(None, (Fault("name", "RefNotFound", f"there is no Secret {namespace}/{name}"),))
    found: dict[str, Credential] = {}
    wrong: list[str] = []
    for each in find(secret):
        if isinstance(each, str):
            wrong.append(each)
        elif each.id in found:
            wrong.append(f"{each.id} is there twice")
        else:
            found[each.id] = each
    more = [f"and {len(wrong) - MOST_TOLD} more"] if len(wrong) > MOST_TOLD else []
    told = [f"Secret {namespace}/{name}: {one}" for one in (*wrong[:MOST_TOLD], *more)]
    spec = CredentialsSpec(
        name=f"{namespace}/{name}/{kind}", credentials=tuple(found[each] for each in sorted(found)[:MOST])
    )
    return Read(spec, tuple(Fault("name", INVALID, message) for message in told))


def _entries(secret: Secret) -> list[str]:
    return sorted({*secret.data, *secret.string_data})


def _keys(secret: Secret) -> Iterator[Credential | str]:
    for name in _entries(secret):
        if KEY_ID.fullmatch(name) is None:
            yield f"the entry {name} is not named by the id of an API key: ten letters a-z and digits 2-7"
            continue
        try:
            key = stored_key.read(secret.value(name) or b"")
        except ValueError as fault:
            yield f"the entry {name} {fault}"
            continue
        yield Credential(
            id=name,
            hash=key.hash,
            plan=key.plan,
            metadata=key.metadata,
            expires=key.expires.timestamp() if key.expires is not None else 0.0,
        )


def _users(secret: Secret) -> Iterator[Credential | str]:
    raw = secret.value(USERS)
    if raw is None:
        yield f"there is no entry `{USERS}` with a line `name:hash` for each user"
        return
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        yield f"the entry `{USERS}` is not UTF-8 text"
        return
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, kept = line.strip().partition(":")
        if not colon or not name or len(name.encode()) > LONGEST_NAME:
            yield f"line {number} of `{USERS}` is not `name:hash`"
            continue
        try:
            password(kept)
        except ValueError as fault:
            yield (
                f"the password of user {name} in line {number}: {fault}. Hashes of htpasswd are not read; "
                f"`sidewinder apikey password {name}` makes such a line"
            )
            continue
        yield Credential(id=name, hash=kept)


def _client(secret: Secret) -> Iterator[Credential | str]:
    values = []
    for name in (CLIENT_ID, CLIENT_SECRET):
        try:
            value = (secret.value(name) or b"").decode("utf-8").strip()
        except UnicodeDecodeError:
            value = ""
        if not value:
            yield f"there is no entry `{name}` with text"
        values.append(value)
    if all(values):
        yield Credential(id=values[0], plain=values[1])
