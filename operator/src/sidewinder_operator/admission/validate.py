"""/validate: what one object shows to be wrong is refused; what needs others is a warning. Called by `server`.

Order of apply must never decide: a route may come before its Service, so that what others could still make right is
told and admitted. Calls `resources.read`, and for the others whatever it is given (`others`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from sidewinder_operator.admission.review import ADMITTED, Answer, Request
from sidewinder_operator.compile.compiler import Options, compile_cluster
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import FIELDS, Cluster, Object
from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.resources.meta import GROUP
from sidewinder_operator.resources.read import read

KINDS = frozenset(of.kind.KIND for of in DEFINITIONS)
UNREAD = "RefNotFound"
Others = Callable[[Object], Iterable[Problem]]


def validate(request: Request) -> tuple[Answer, Object | None]:
    """The answer as far as the object itself goes, and the object when others are to be asked about it."""
    raw = request.object
    if request.operation not in ("CREATE", "UPDATE") or raw is None:
        return ADMITTED, None
    if request.kind.group != GROUP or request.kind.kind not in KINDS:
        return ADMITTED, None
    if _map(raw, "metadata").get("deletionTimestamp"):
        return ADMITTED, None  # it is on its way out: a finalizer must be able to go
    reading = read(raw)
    told = tuple(map(sentence, reading.problems))
    if not reading.refused:
        return Answer(warnings=told), reading.found
    if request.old_object is not None and request.old_object.get("spec") == raw.get("spec"):
        return Answer(warnings=told), None  # it was so before; labels and annotations may still be changed
    return Answer(refused=f"sidewinder: {'; '.join(told)}"), None


def sentence(problem: Problem) -> str:
    """`field: what would be right (Reason)`."""
    return f"{problem.field}: {problem.message} ({problem.reason})" if problem.field else problem.message


def warned(answer: Answer, problems: Iterable[Problem]) -> Answer:
    """The answer with what others have to do with the object."""
    more = tuple(f"sidewinder: {sentence(problem)}" for problem in problems)
    return msgspec.structs.replace(answer, warnings=(*answer.warnings, *more))


def against(cluster: Cluster, found: Object, options: Options) -> list[Problem]:
    """What would be wrong with this object in this cluster: what its status would say.

    But for Secrets and ConfigMaps that are not there: a replica knows those alone that policies name already.
    """
    name = FIELDS[type(found)]
    with_it = {**getattr(cluster, name), found.key: found}
    there = msgspec.structs.replace(
        cluster, **{name: dict(sorted(with_it.items()))}, broken=cluster.broken - {found.reference}
    )
    problems = compile_cluster(there, options=options).problems
    return [problem for problem in problems if problem.reference == found.reference and problem.reason != UNREAD]


def _map(thing: Mapping[str, object], name: str) -> Mapping[str, object]:
    inner = thing.get(name)
    return inner if isinstance(inner, dict) else {}
