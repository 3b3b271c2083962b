"""What the exchange holds of a try: quiet once it is over, patient while there is no connection."""

from __future__ import annotations

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.http1.encode import request_head
from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.upstream.attempt import Attempt
from tests.support.http1 import Receiver, Up, request


class Dial:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def connecting(length: int | None = None) -> tuple[Up, Attempt, Receiver]:
    up = Up()
    up.endpoint.active = 1
    receiver = Receiver()
    asked = request(b"PUT", length)
    attempt = Attempt(up.endpoint, asked, receiver, request_head(asked))
    attempt.dial = Dial()
    return up, attempt, receiver


def test_what_is_sent_before_there_is_a_connection_goes_out_with_the_head() -> None:
    up, attempt, _ = connecting()
    assert not attempt.send_data(b"he")
    assert not attempt.send_data(b"")
    assert not attempt.send_data(b"llo")
    attempt.send_end(fields((b"X-T", b"1")))
    attempt.pause()
    attempt.resume()
    up.connection.start(attempt)
    assert up.transport.sent.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")


def test_cancelled_while_connecting() -> None:
    up, attempt, receiver = connecting()
    attempt.cancel("enough")
    attempt.cancel("again")
    assert attempt.dial.cancelled
    assert up.endpoint.active == 0
    attempt.fail(CONNECT, "connect_refused", "late")
    assert not receiver.told
    assert attempt.send_data(b"late")
    attempt.send_end()
    assert repr(attempt) == "<Attempt <Request PUT /> 192.0.2.1:80 over>"


def test_failed_once() -> None:
    up, attempt, receiver = connecting()
    attempt.fail(CONNECT, "connect_refused", "no")
    attempt.fail(CONNECT, "connect_refused", "no")
    assert receiver.told == ["failure connect connect_refused"]
    assert up.endpoint.active == 0
