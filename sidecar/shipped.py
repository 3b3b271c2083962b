"""Put the sidecar into a virtual environment as it ships, the data path compiled: `make bench`, `make test-compiled`.

`python sidecar/shipped.py INTERPRETER [VENV LOCK [--or-pure]]` makes VENV of INTERPRETER with the packages of LOCK,
builds the wheel in an environment of its own and installs it. What a build needs (a C compiler, the interpreter's
headers) is installed as root on Debian; where it cannot be had it is named, and with --or-pure the sources are
installed as they are written.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BUILD = "import setuptools.build_meta as build, sys; build.build_wheel(sys.argv[1])"


def main() -> int:
    """Build and install."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("interpreter")
    parser.add_argument("venv", type=Path, nargs="?", help="where to; without it only says what is missing")
    parser.add_argument("lock", type=Path, nargs="?")
    parser.add_argument("--or-pure", action="store_true")
    options = parser.parse_args()
    lacking = lacks(options.interpreter) and provide(options.interpreter)
    if options.venv is None:
        print(lacking, end="")
        return 0
    if lacking:
        print(f"{lacking}{'; installing the sources as they are' if options.or_pure else ''}", file=sys.stderr)
        if not options.or_pure:
            return 1
    shutil.rmtree(options.venv, ignore_errors=True)
    environment(options.interpreter, options.venv, options.lock)
    with tempfile.TemporaryDirectory() as folder:
        pip(options.venv, "install", "--quiet", "--no-deps", str(wheel(options.interpreter, Path(folder), not lacking)))
    return 0


def ask(interpreter: str, code: str) -> str:
    """What an interpreter says."""
    return subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def lacks(interpreter: str) -> str:
    """What a build needs and this machine does not have; empty if nothing."""
    include = Path(ask(interpreter, "import sysconfig; print(sysconfig.get_path('include'))"))
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    absent = [] if compiler else ["a C compiler"]
    if not (include / "Python.h").exists():
        absent.append(f"the headers of {interpreter} ({include}/Python.h)")
    return " and ".join(absent)


def provide(interpreter: str) -> str:
    """Debian's packages, as root; what is still missing afterwards, with how to get it."""
    version = ask(interpreter, "import sys; print('%d.%d' % sys.version_info[:2])")
    wanted = ["gcc", "libc6-dev", f"python{version}-dev"]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(wanted)} with apt-get", file=sys.stderr)
        subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, check=False)
        subprocess.run(["apt-get", "install", "-y", "-q", *wanted], stdout=subprocess.DEVNULL, check=False)
    missing = lacks(interpreter)
    return f"{missing} missing: apt-get install {' '.join(wanted)}" if missing else ""


def environment(interpreter: str, venv: Path, *locks: Path) -> None:
    """A virtual environment with exactly the packages of its locks."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", str(venv)], check=True)
    files = [argument for lock in locks for argument in ("-r", str(lock))]
    pip(venv, "install", "--quiet", "--require-hashes", *files)


def pip(venv: Path, *command: str) -> None:
    """The pip that runs this, working on another environment."""
    subprocess.run([sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), *command], check=True)


def wheel(interpreter: str, folder: Path, compiled: bool) -> Path:
    """The distribution, built in a copy, so that nothing of an earlier build gets in and nothing is left behind."""
    environment(interpreter, folder / "venv", HERE / "requirements.lock", HERE / "requirements-build.lock")
    source = folder / "source"
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "*.so", ".*"))
    subprocess.run(
        [folder / "venv/bin/python", "-c", BUILD, folder],
        cwd=source,
        env={**os.environ, "COMPILE_SIDEWINDER": "1" if compiled else "0", "PYTHONPATH": "", "MYPYPATH": "src"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    sys.exit(main())
