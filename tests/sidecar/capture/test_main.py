"""The init container's arguments: all mistakes at once, before anything is written."""

import pytest

from sidewinder_sidecar.capture import main
from sidewinder_sidecar.capture.netfilter import Refused

GOOD = ["--uid", "65533", "--inbound-port", "15006", "--outbound-port", "15001"]


@pytest.fixture
def kernel(monkeypatch):
    """Stands in for the kernel; the real one is in test_netfilter."""
    sent = []
    monkeypatch.setattr(main.Batch, "send", lambda self: sent.append(len(self.messages)))
    return sent


def test_good_arguments_write_both_families_and_tell_them(kernel, capsys):
    assert main.main([*GOOD, "--skip-outbound-networks", "192.0.2.0/24, 2001:db8::/32"]) == 0
    told = capsys.readouterr().out
    assert kernel == [22]
    assert "IPv4 output ip daddr 192.0.2.0/24 return" in told
    assert "IPv6 prerouting meta l4proto tcp counter redirect to :15006" in told


def test_all_mistakes_are_told_at_once_and_nothing_is_written(kernel, capsys):
    wrong = ["--uid", "root", "--inbound-port", "0", "--outbound-port", "70000", "--skip-inbound-ports", "80,http"]
    assert main.main([*wrong, "--skip-outbound-networks", "10.0.0.1/8"]) == 2
    told = capsys.readouterr().err
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "--uid", "--inbound-port", "--outbound-port", "--skip-inbound-ports", "--skip-outbound-networks",
    ]  # fmt: skip
    assert "'http' is not a port from 1 to 65535" in told
    assert kernel == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--uid", "1", "--inbound-port", "15001", "--outbound-port", "15001"], "must differ"),
        (["--uid", "1,2", "--inbound-port", "15006", "--outbound-port", "15001"], "one value each"),
        (["--uid", "0", "--inbound-port", "15006", "--outbound-port", "15001"], "root is not told"),
        (["--uid", "\u0661", "--inbound-port", "15006", "--outbound-port", "15001"], "user id"),
    ],
)
def test_what_cannot_be_meant_is_refused(kernel, capsys, words, told):
    assert main.main(words) == 2
    assert told in capsys.readouterr().err


def test_a_kernel_that_refuses_ends_the_start_with_its_reason(monkeypatch, capsys):
    def refuse(self):
        raise Refused("Operation not permitted: the container needs the capability NET_ADMIN")

    monkeypatch.setattr(main.Batch, "send", refuse)
    assert main.main(GOOD) == 1
    assert "NET_ADMIN" in capsys.readouterr().err
