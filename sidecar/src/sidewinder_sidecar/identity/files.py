"""What is on disk of an identity: three PEM files in a folder, and the roots that are mounted. For `enrol`, `renewal`.

New files are checked in a folder beside and then renamed, each 0600. A crash between two renames leaves a key that is
not the certificate's: `load` sees it, and the sidecar enrols anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import ssl
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sidewinder_sidecar.identity import leaf
from sidewinder_sidecar.identity.leaf import Leaf, Root, Unfit
from sidewinder_sidecar.settings import Settings

log = logging.getLogger("sidewinder.identity")

KEY, CERTIFICATE, BUNDLE = "key.pem", "certificate.pem", "bundle.pem"
LARGEST = 1 << 20  # bytes of a file; a bundle of two roots has 1 500

# Who signed our certificate: the root that signs now (the first of the bundle), another one that is trusted still, or
# one that the mounted bundle does not name (any more).
Standing = Literal["current", "old", "foreign"]


class Held(NamedTuple):
    """An identity in use. `context` shows it to servers that `roots` vouch for."""

    leaf: Leaf
    roots: tuple[Root, ...]
    standing: Standing
    context: ssl.SSLContext
    since: float  # when it was written, in seconds since 1970
    pair: tuple[str, str]  # the files of certificate and key
    trust: str  # the roots' text


def read(path: str) -> str:
    """A small text file. Raises Unfit."""
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as fault:
        raise Unfit(f"{path}: {fault.strerror}") from None
    if len(raw) > LARGEST:
        raise Unfit(f"{path}: larger than {LARGEST >> 20} MB")
    return raw.decode("ascii", "replace")


class Files:
    """Where everything is, and whose it has to be."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.identity
        self.bundle = settings.bundle or os.path.join(settings.identity, BUNDLE)
        self.namespace = settings.pod_namespace
        self.uid = settings.pod_uid

    def mounted(self) -> str:
        """The roots that the operator keeps in the pod's namespace; they are newer than those that came with the
        certificate. Raises Unfit.
        """
        try:
            bundle = read(self.bundle)
            leaf.trusting(bundle)
        except Unfit as fault:
            raise Unfit(f"SIDEWINDER_BUNDLE={self.bundle}: {fault}") from None
        return bundle

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written here."""
        return not os.path.lexists(os.path.join(self.folder, CERTIFICATE))

    def load(self) -> Held:
        """What can be used from now on. Raises Unfit."""
        kept = read(os.path.join(self.folder, BUNDLE))
        try:
            trust = self.mounted()
        except Unfit as fault:
            log.warning("%s; the roots that came with the certificate are used", fault)
            trust = kept
        found, standing = self._judged(trust, kept)
        context = leaf.trusting(trust)
        leaf.load(context, *_pair(self.folder))
        try:
            since = os.stat(os.path.join(self.folder, CERTIFICATE)).st_mtime
        except OSError as fault:  # taken away this moment
            raise Unfit(f"{self.folder}: {fault.strerror}") from None
        since = min(max(since, found.not_before), found.not_after)
        return Held(found, leaf.roots(trust), standing, context, since, _pair(self.folder), trust)

    def _judged(self, trust: str, kept: str) -> tuple[Leaf, Standing]:
        attempts: tuple[tuple[Standing, str], ...] = (("current", leaf.split(trust)[0]), ("old", trust))
        for standing, roots in attempts:
            try:
                return self.check(self.folder, roots), standing
            except Unfit:
                continue
        return self.check(self.folder, kept), "foreign"

    def check(self, folder: str, bundle: str) -> Leaf:
        """What the certificate there says, if it belongs to its key, this pod and the bundle. Raises Unfit."""
        found = leaf.examine(*_pair(folder), bundle)
        if self.namespace and f"/ns/{self.namespace}/" not in found.spiffe_id:
            raise Unfit(f"{folder}: the certificate of {found.spiffe_id}, not of a pod in namespace {self.namespace}")
        if self.uid and found.subject not in ("", self.uid):
            raise Unfit(f"{folder}: the certificate of pod {found.subject}, not of {self.uid}")
        return found

    def replace(self, key: str, certificate: str, bundle: str) -> Leaf:
        """Put a new identity in the place of the old one, if it holds together. Raises Unfit, and the old one stays."""
        contents = {KEY: key, CERTIFICATE: certificate, BUNDLE: bundle}
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            with _alone(self.folder):
                return self._replace(f"{self.folder}.new", contents)
        except OSError as fault:
            raise Unfit(f"{self.folder}: cannot be written: {fault.strerror}") from None

    def _replace(self, following: str, contents: dict[str, str]) -> Leaf:
        os.makedirs(following, mode=0o700, exist_ok=True)
        try:
            for name, content in contents.items():
                _write(os.path.join(following, name), content.encode())
            found = self.check(following, contents[BUNDLE])
            for name in contents:
                os.replace(os.path.join(following, name), os.path.join(self.folder, name))
        finally:
            _remove(following, contents)
        return found


def _pair(folder: str) -> tuple[str, str]:
    return os.path.join(folder, CERTIFICATE), os.path.join(folder, KEY)


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """A person may enrol by hand while the proxy does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(folder: str, names: dict[str, str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
