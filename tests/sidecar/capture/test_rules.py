"""What is redirected and what is left alone, in which order."""

from ipaddress import ip_network

from sidewinder_sidecar.capture.rules import Wanted, rules

WANTED = Wanted(65533, 15006, 15001, (9901,), (3306, 53), (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))


def test_rules_of_both_families_as_a_person_reads_them():
    assert [str(rule) for rule in rules(WANTED, 4)] == [
        "output meta skuid 65533 return",
        "output ip daddr 127.0.0.0/8 return",
        "output ip daddr 192.0.2.0/24 return",
        "output tcp dport 53 return",
        "output tcp dport 3306 return",
        "prerouting tcp dport 9901 return",
        "output meta l4proto tcp counter redirect to :15001",
        "prerouting meta l4proto tcp counter redirect to :15006",
    ]
    assert [str(rule) for rule in rules(WANTED, 6)][1:3] == [
        "output ip6 daddr ::1/128 return",
        "output ip6 daddr 2001:db8::/32 return",
    ]
