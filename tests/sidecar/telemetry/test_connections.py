from sidewinder_sidecar.messages import Peer, Relayed
from sidewinder_sidecar.telemetry import connections
from sidewinder_sidecar.telemetry.metrics import Metrics


def relayed(**more):
    made = Relayed("outbound", Peer("10.1.0.5", 4000), 1.0)
    made.protocol, made.service, made.backend = "TLS", "shop/db:5432", "shop/db"
    made.ended = 3.5
    for name, value in more.items():
        setattr(made, name, value)
    return made


def rendered(*observed):
    counted = Metrics()
    for one in observed:
        counted.connections.observe(one)
    return "".join(counted.render()).splitlines()


WHERE = 'listener="outbound",protocol="TLS",service="shop/db:5432",backend="shop/db"'


def test_a_connection_counts_everywhere():
    text = rendered(relayed(bytes_in=3, bytes_out=4, retries=1), relayed(error="idle", ended=7200.0))
    for line in (
        f'sidewinder_tcp_connections_total{{{WHERE},flag="",error=""}} 1',
        f'sidewinder_tcp_connections_total{{{WHERE},flag="SI",error="idle"}} 1',
        f"sidewinder_tcp_received_bytes_total{{{WHERE}}} 3",
        f"sidewinder_tcp_sent_bytes_total{{{WHERE}}} 4",
        f"sidewinder_tcp_connect_retries_total{{{WHERE}}} 1",
        f'sidewinder_tcp_connection_duration_seconds_bucket{{{WHERE},le="1"}} 0',
        f'sidewinder_tcp_connection_duration_seconds_bucket{{{WHERE},le="10"}} 1',
        f'sidewinder_tcp_connection_duration_seconds_bucket{{{WHERE},le="+Inf"}} 2',
        f"sidewinder_tcp_connection_duration_seconds_count{{{WHERE}}} 2",
        f"sidewinder_tcp_connection_duration_seconds_sum{{{WHERE}}} 7201.5",
    ):
        assert line in text


def test_label_sets_are_bounded():
    text = rendered(*(relayed(service=f"shop/s{n}:1") for n in range(connections.MAX_SERIES + 9)))
    others = 'listener="outbound",protocol="other",service="other",backend="other"'
    assert f'sidewinder_tcp_connections_total{{{others},flag="",error=""}} 9' in text
    assert sum(line.startswith("sidewinder_tcp_connections_total") for line in text) == connections.MAX_SERIES + 1
