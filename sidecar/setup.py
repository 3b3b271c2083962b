"""What pyproject.toml cannot say: with COMPILE_SIDEWINDER=1 the modules that every request touches become C, by mypyc.

That is the form that ships (Dockerfile.sidecar); without the variable the same files run as they are. It needs a C
compiler, the interpreter's headers and the packages of requirements-build.lock, so build without isolation. The files
are typed strictly anyway; what mypyc reads out of the types is which class it is, and so where its attributes are.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

# The data path and what it stands on. Not here: what runs once a process, a snapshot or a second (main, admin,
# discovery, most of plan, settings, the snapshot's types, the exporter of spans).
COMPILED = (
    "fields.py",
    "messages.py",
    "wheel.py",
    "wire.py",
    "errors.py",
    "exchange.py",
    "rescue.py",
    "observed.py",
    "timeouts.py",
    "proxy.py",
    "replay.py",
    "tunnel.py",
    "fleet.py",
    "means.py",
    "claims.py",
    "http1/*.py",
    "router/*.py",
    "resilience/*.py",
    "upstream/*.py",
    "upstream/balance/*.py",
    "tls/frames.py",
    "downstream/*.py",
    "filters/*.py",
    "filters/authorize/*.py",
    "filters/mirror/*.py",
    "plan/__init__.py",
    "plan/guards.py",
    "plan/listeners.py",
    "plan/services.py",
    "telemetry/trace.py",
    "telemetry/record.py",
    "telemetry/metrics.py",
    "telemetry/connections.py",
    "telemetry/access_log.py",
)
# Extends classes of pybreaker, which are no C; nor is it loaded where no policy asks for breakers.
INTERPRETED = ("resilience/circuit.py",)
# Nobody links against the library: modules find each other by what Python hands on. Without a table of 5 000 names, and
# with its 17 000 relocations packed (glibc from 2.36 on), a process holds 0.7 MB less.
HIDDEN = ("-fvisibility=hidden",)
PACKED = ("-Wl,-z,pack-relative-relocs",)
PACKAGE = Path("src/sidewinder_sidecar")


def extensions() -> list:
    """Nothing, or one library for all and a shim for each module."""
    if os.environ.get("COMPILE_SIDEWINDER", "0") in ("", "0"):
        return []
    from mypyc.build import mypycify

    left_out = {PACKAGE / name for name in INTERPRETED}
    found = {file for pattern in COMPILED for file in PACKAGE.glob(pattern) if file.name != "__main__.py"}
    files = sorted(map(str, found - left_out))
    options = [
        "--config-file=",
        "--strict",
        "--ignore-missing-imports",
        "--no-warn-unused-ignores",
        "--no-warn-unreachable",
    ]
    made = mypycify([*options, *files], opt_level="3", debug_level="0", strip_asserts=False)
    for one in made if sys.platform == "linux" else ():
        one.extra_compile_args = [*one.extra_compile_args, *HIDDEN]
        one.extra_link_args = [*one.extra_link_args, *PACKED]
    return made


setup(ext_modules=extensions())
