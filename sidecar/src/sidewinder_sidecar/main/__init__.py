"""`sidewinder-sidecar`: the process. No subcommand is the proxy itself; later ones run once and end.

Read `process.Process.run` for the recipe.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from sidewinder_sidecar.settings import read_or_exit
from sidewinder_sidecar.telemetry.writer import Handler, Writer


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in ONCE:
        raise SystemExit(ONCE[words[0]](words[1:]))
    command = COMMANDS.get(" ".join(words))
    if command is None:
        sys.stderr.write(
            f"sidewinder-sidecar: takes no arguments, not {' '.join(words)!r}; settings are SIDEWINDER_*\n"
        )
        raise SystemExit(2)
    raise SystemExit(command())


def proxy() -> int:
    """Serve until SIGTERM; the exit status."""
    settings = read_or_exit()
    writer = Writer(2)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[Handler(writer)], force=True)
    # Only now, so that a mistake in the environment is told before anything heavy is loaded.
    import uvloop

    from sidewinder_sidecar.main import memory, process

    memory.tune()
    try:
        uvloop.run(process.serve(settings))
    except process.Unable as fault:
        return process.unable(fault)
    finally:
        writer.close(1.0)
    return 0


def judge() -> int:
    """Read the settings, say what is wrong with them and end: for whoever is about to start many proxies with them."""
    read_or_exit()
    return 0


def capture(words: Sequence[str]) -> int:
    """Write the redirect rules and end: the init container. Nothing of the proxy is loaded."""
    from sidewinder_sidecar.capture.main import main as write

    return write(words)


def enrol(words: Sequence[str]) -> int:
    """Have a certificate signed and end: a child of the proxy, so that what it takes is never loaded there."""
    from sidewinder_sidecar.identity.enrol import main as ask

    return ask(words)


def decide(words: Sequence[str]) -> int:
    """Say what the policies of a snapshot make of a request, and end."""
    from sidewinder_sidecar.main.ask import main as answer

    return answer(words)


# what is said on the command line → what is done
COMMANDS: dict[str, Callable[[], int]] = {"": proxy, "settings": judge}
# first word → what is done once with the words after it
ONCE: dict[str, Callable[[Sequence[str]], int]] = {"ask": decide, "capture": capture, "enrol": enrol}
