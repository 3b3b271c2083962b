"""What a Service's `appProtocol` says about its bytes. Called by `services` and `workloads`.

A name of RFC 6335's registry, or one of Kubernetes' own with its prefix. What is named neither here is told by the
first bytes. HTTP/2 and what is built on it count as TCP until it is built: read as HTTP/1 it would be refused.
"""

from __future__ import annotations

from sidewinder_operator.mesh.services import Spoken

_HTTP = frozenset({"http", "kubernetes.io/ws", "ws"})
_TCP = frozenset({
    "tcp", "https", "tls", "ssl", "kubernetes.io/wss", "wss", "kubernetes.io/h2c", "h2c", "http2", "grpc", "grpc-web",
    "amqp", "amqps", "cassandra", "cql", "clickhouse", "etcd", "ftp", "imap", "imaps", "kafka", "ldap", "ldaps",
    "memcache", "memcached", "mongo", "mongodb", "mqtt", "mqtts", "ms-sql-s", "mssql", "mysql", "nats", "oracle",
    "pop3", "postgres", "postgresql", "redis", "rediss", "smtp", "smtps", "sqlserver", "ssh", "thrift", "zookeeper",
})  # fmt: skip


def protocol(written: str) -> Spoken:
    """HTTP, TCP, or "" where the first bytes tell."""
    name = written.lower()
    return "HTTP" if name in _HTTP else "TCP" if name in _TCP else ""
