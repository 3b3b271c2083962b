"""One copy: whatever its backend does, the caller gets what it would have got, and nothing stays behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters import mirror
from sidewinder_sidecar.filters.mirror import shadow, tally
from sidewinder_sidecar.filters.mirror.answer import MOST_READ
from sidewinder_sidecar.messages import ANSWERING, CONNECT, SENT, UNSENT
from sidewinder_sidecar.snapshot.filters import FieldValue, Mirror, ResponseHeaders
from tests.support.examples import examples
from tests.support.memory import Scene, backend, rule, shop

BOTH = (backend("v1"), backend("shadow"))


def scene_of(compare=False, shadows=1, **options):
    filters = (Mirror(backend="shadow", compare=compare), *options.pop("behind", ()))
    return Scene(*shop(rule("v1", filters=filters, **options), backends=(backend("v1"), backend("shadow", shadows))))


def counted(scene):
    [(_, found)] = tally.every(scene.fleet.means)
    return found


def sent(scene, **request):
    """A caller, its attempt and the copy's."""
    caller = scene.ask(**request)
    original = scene.attempt()
    scene.clock.advance(0.05)
    return caller, original, scene.attempt()


FATES = {  # what the copy's backend does, and what that is counted as
    "dead": (lambda copy: copy.fail(CONNECT, "connect_refused"), "failed"),
    "reset": (lambda copy: copy.fail(SENT, "reset"), "failed"),
    "half": (lambda copy: (copy.answer(200), copy.data(b"ha"), copy.fail(ANSWERING, "incomplete")), "failed"),
    "a tunnel": (lambda copy: copy.open_tunnel(), "failed"),
    "10 MB": (
        lambda copy: (copy.answer(200), [copy.data(bytes(65536)) for _ in range(160) if not copy.over]),
        "answered",
    ),
    "interim": (lambda copy: (copy.inform(103), copy.answer(204, b"")), "answered"),
    "an error": (lambda copy: copy.answer(500, b"no"), "answered"),
}  # fmt: skip


@pytest.mark.parametrize("compare", [False, True], ids=["", "compared"])
@pytest.mark.parametrize("first", [False, True], ids=["after the original", "before it"])
@pytest.mark.parametrize("fate", FATES)
def test_the_original_never_notices(fate, first, compare):
    act, result = FATES[fate]
    scene = scene_of(compare)
    caller, original, copy = sent(scene, method=b"POST", body=b"{}")
    if first:
        act(copy)
    original.answer(200, None, (b"x-a", b"1"))
    original.data(b"hello ")
    original.data(b"world")
    original.end()
    if not first:
        act(copy)
    assert (caller.status, caller.body, caller.ended, caller.header(b"x-a")) == (200, b"hello world", True, b"1")
    [call] = scene.records
    assert (call.error, call.retries, call.backend, call.address) == ("", 0, "v1", original.endpoint.address)
    assert counted(scene).results == {result: 1}
    scene.clock.advance(60.0)
    assert len(scene.wheel) == 0
    scene.check()


def test_a_slow_one_is_given_up():
    scene = scene_of()
    caller, original, copy = sent(scene)
    original.answer(200, b"ok")
    assert caller.ended
    scene.clock.advance(shadow.LIMIT + 0.1)
    assert (copy.cancelled, counted(scene).results) == ("mirrored", {"late": 1})
    scene.check()


def test_a_long_answer_is_not_read_to_its_end():
    scene = scene_of()
    _, original, copy = sent(scene)
    copy.answer(200)
    for _ in range(MOST_READ // 65536):
        copy.data(bytes(65536))
    assert not copy.over
    copy.data(b"x")
    assert copy.cancelled == "mirrored"
    original.answer(200, b"")
    scene.check()


def test_answers_that_bring_much_at_once_are_read_in_turns():
    scene = scene_of(compare=True)
    piece, copies = bytes(131_072), []
    for _ in range(40):
        _, original, copy = sent(scene)
        original.answer(200, b"")
        copies.append(copy)
    for copy in copies:
        copy.answer(200)
        copy.data(piece)
    held = [copy for copy in copies if copy.paused]
    assert 0 < len(held) < len(copies)
    copies[0].end()
    held[0].fail(ANSWERING, "reset")
    scene.clock.advance(1.0)
    assert not any(copy.paused for copy in held[1:])
    for copy in copies[1:]:
        if not copy.over:
            copy.end()
    assert counted(scene).results == {"answered": 39, "failed": 1}
    scene.clock.advance(shadow.LIMIT)
    assert len(scene.wheel) == 0
    scene.check()


def test_nobody_there_is_counted():
    scene = scene_of(shadows=0)
    scene.ask()
    scene.attempt().answer(200, b"")
    scene.clock.advance(0.1)
    assert (scene.attempts, counted(scene).results) == (1, {"no_endpoints": 1})
    scene.check()


def test_a_kept_connection_that_had_died_is_made_up_for_once():
    scene = scene_of()
    _, original, copy = sent(scene, method=b"POST", body=b"{}")
    original.answer(200, b"")
    copy.fail(UNSENT, "reset_before_request")
    again = scene.attempt()
    assert (scene.attempts, again.body, again.ended) == (3, b"{}", True)
    again.fail(UNSENT, "reset_before_request")
    assert (scene.attempts, counted(scene).results) == (3, {"failed": 1})
    scene.check()


@pytest.mark.parametrize("end", ["left", "early answer"])
def test_a_request_that_never_was_whole_is_not_sent(end):
    scene = scene_of()
    caller = scene.ask(b"POST", length=100, body=None)
    caller.exchange.on_request_data(b"half")
    if end == "left":
        caller.exchange.on_caller_gone("caller_gone")
    else:
        scene.attempt().answer(413, b"no")
        caller.exchange.on_request_data(b"more")
        caller.exchange.on_request_end(None)
    scene.clock.advance(1.0)
    assert (scene.attempts, counted(scene).results) == (1, {"left": 1})
    scene.check()


def test_a_caller_that_leaves_takes_no_copy_with_it():
    scene = scene_of()
    caller = scene.ask()
    caller.exchange.on_caller_gone("caller_gone")
    scene.clock.advance(0.05)
    scene.attempt().answer(200, b"")
    assert counted(scene).results == {"answered": 1}
    scene.check()


# Comparing


def compared(scene):
    found = counted(scene)
    return found.same, found.unlike, found.unsettled


@pytest.mark.parametrize("whole", [False, True], ids=["in pieces", "at once"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["original first", "copy first"])
def test_same_answers_are_the_same(order, whole):
    scene = scene_of(compare=True)
    _, *attempts = sent(scene)
    for number in order:
        date = b"Mon, %d" % number
        attempts[number].answer(200, b"hello", (b"date", date), (b"content-type", b"text/plain"), whole=whole)
    assert compared(scene) == (1, 0, 0)
    scene.check()


def test_what_differs_is_counted_and_told():
    scene = scene_of(compare=True)
    _, original, copy = sent(scene, target=b"/reviews/1?token=hidden")
    original.answer(200, b"hello", (b"content-type", b"text/plain"), (b"set-cookie", b"a=secret"))
    copy.answer(404, b"bye", (b"content-type", b"text/html"), (b"x-new", b"secret"))
    assert compared(scene) == (0, 1, 0)
    assert counted(scene).differing == {"status": 1, "headers": 1, "body": 1}
    [sample] = counted(scene).samples
    assert (sample["method"], sample["path"]) == ("GET", "/reviews/1")
    assert sample["request_id"] == scene.records[0].request_id.decode() == copy.fields[b"x-request-id"].decode() != ""
    assert "secret" not in repr(sample)
    assert "hello" not in repr(sample)
    assert sample["status"] == {"original": 200, "mirror": 404}
    scene.check()


def test_the_original_is_taken_as_its_upstream_sent_it():
    edit = ResponseHeaders(set=(FieldValue("x-served-by", "sidewinder"),))
    scene = scene_of(compare=True, behind=(edit,))
    caller, original, copy = sent(scene)
    original.answer(200, b"a", whole=True)
    copy.answer(200, b"a")
    assert caller.header(b"x-served-by") == b"sidewinder"
    assert compared(scene) == (1, 0, 0)
    scene.check()


@pytest.mark.parametrize("how", ["fails", "left", "never ends"])
def test_an_original_without_a_whole_answer_is_compared_with_nothing(how):
    scene = scene_of(compare=True)
    caller, original, copy = sent(scene)
    copy.answer(200, b"a")
    original.answer(200)
    original.data(b"a")
    if how == "fails":
        original.fail(ANSWERING, "incomplete")
    elif how == "left":
        caller.exchange.on_caller_gone("caller_gone")
    scene.clock.advance(shadow.LIMIT + 1.0)
    assert compared(scene) == (0, 0, 1)
    if how == "never ends":
        original.data(b"b")
        original.end()
    assert compared(scene) == (0, 0, 1)
    scene.check()


EVENTS = ("original", "piece", "end", "fail", "leave", "copy", "copy-piece", "copy-end", "copy-fail", "wait", "long")


def play(scene, caller, event):
    """One thing that may happen now; what cannot is passed over."""
    if caller is None or not scene.opened:
        return
    original = scene.opened[0]
    copy = next((one for one in scene.opened if mirror.MARK in one.fields and not one.over), None)
    if event == "wait":
        scene.clock.advance(0.05)
    elif event == "long":
        scene.clock.advance(shadow.LIMIT + 0.1)
    elif event == "leave" and not caller.over and not original.over:
        caller.exchange.on_caller_gone("caller_gone")
    elif event.startswith("copy") and copy is not None:
        _drive(copy, event.partition("-")[2] or "original")
    elif not original.over:
        _drive(original, event)


def _drive(attempt, event):
    begun = getattr(attempt, "begun", False)
    if event == "original" and not begun:
        attempt.begun = True
        attempt.answer(200)
    elif event == "piece" and begun:
        attempt.data(b"x" * 1000)
    elif event == "end" and begun:
        attempt.end()
    elif event == "fail":
        attempt.fail(ANSWERING if begun else SENT, "incomplete" if begun else "reset")


@examples(150)
@given(st.booleans(), st.booleans(), st.lists(st.sampled_from(EVENTS), max_size=14))
def test_whatever_comes_in_whatever_order_one_result_and_nothing_left(compare, body, events):
    scene = scene_of(compare)
    caller = scene.ask(b"POST", body=b"{}") if body else scene.ask()
    for event in events:
        play(scene, caller, event)
    if not scene.opened[0].over:
        play(scene, caller, "fail")
    scene.clock.advance(60.0)
    for attempt in scene.opened:
        if not attempt.over:
            attempt.fail(SENT, "reset")
    scene.clock.advance(60.0)
    found = counted(scene)
    assert sum(found.results.values()) == 1
    settled = found.same + found.unlike + found.unsettled
    assert settled == (1 if compare and found.results == {"answered": 1} else 0)
    [copies] = scene.proxy.plan.routes["shop/reviews"].entries[0].route.filters
    assert copies.__self__.sender.in_flight == 0
    assert len(scene.wheel) == 0
    scene.check()
