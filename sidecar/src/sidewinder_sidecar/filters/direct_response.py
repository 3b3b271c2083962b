"""DirectResponse: answers without an upstream. Made by plan.build for a rule, called once per request of that rule."""

from __future__ import annotations

from collections.abc import Callable

from sidewinder_sidecar.filters import template
from sidewinder_sidecar.filters.headers import checked, static_value
from sidewinder_sidecar.messages import Call, Reply
from sidewinder_sidecar.snapshot.filters import DirectResponse

BODILESS = (204, 205, 304)  # RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5


def build(spec: DirectResponse) -> Callable[[Call], Reply]:
    """The filter of one DirectResponse. Raises ValueError for what cannot be answered."""
    if not 200 <= spec.status <= 599:
        raise ValueError(f"status {spec.status}: a final status is 200 to 599")
    body = b"" if spec.status in BODILESS else spec.body.encode()
    static = [(checked(field.name)[1], static_value(field.value)) for field in spec.headers if not field.template]
    filled = [(checked(field.name)[1], template.value(field.value)) for field in spec.headers if field.template]
    if body and not any(field.name.lower() == "content-type" for field in spec.headers):
        static.append((b"content-type", b"text/plain; charset=utf-8"))
    if not filled:
        reply = Reply(spec.status, fields=tuple(static), body=body)
        return lambda _call: reply

    def answer(call: Call) -> Reply:
        rows = [*static, *((name, fill(call.captures)) for name, fill in filled)]
        return Reply(spec.status, fields=tuple(rows), body=body)

    return answer
