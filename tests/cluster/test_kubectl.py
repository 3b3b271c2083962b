"""What people do with kubectl, through the kubelets of both nodes. (`kubectl top` is in bed/test_metrics.py.)"""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.support.cluster import Cluster
from tests.cluster.support.namespace import Namespace

pytestmark = pytest.mark.cluster

POD = """
apiVersion: v1
kind: Pod
metadata: {name: $name}
spec:
  nodeName: $node
  terminationGracePeriodSeconds: 0
  containers:
  - {name: echo, image: $apps_image, readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}
"""


@pytest.fixture(scope="module")
def pods(cluster: Cluster, namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    """A pod on each node, with the node's name."""
    with namespaces("kubectl") as fresh:
        for node in cluster.nodes:
            fresh.apply(POD, name=node.name, node=node.name)
        for node in cluster.nodes:
            fresh.wait_for(f"Pod/{node.name}")
        yield fresh


def test_logs(cluster: Cluster, pods: Namespace) -> None:
    for node in cluster.nodes:
        assert "starts" in cluster.kubectl("logs", f"--namespace={pods}", node.name)


def test_exec_passes_input_output_and_status(cluster: Cluster, pods: Namespace) -> None:
    for node in cluster.nodes:
        words = ("exec", "--stdin", f"--namespace={pods}", node.name, "--", "tr", "a-z", "A-Z")
        assert cluster.kubectl(*words, text="through") == "THROUGH"
    failed = pods.try_in_pod(cluster.nodes[0].name, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (failed.status, failed.out, failed.err) == (7, "out\n", "err\n")


def test_port_forward(cluster: Cluster, pods: Namespace) -> None:
    for node in cluster.nodes:
        command = ["kubectl", "port-forward", f"--namespace={pods}", f"pod/{node.name}", ":8080"]
        forward = subprocess.Popen(command, env=cluster.environment(), stdout=subprocess.PIPE, text=True)
        assert forward.stdout
        try:
            told = forward.stdout.readline()  # Forwarding from 127.0.0.1:PORT -> 8080
            connection = http.client.HTTPConnection(
                "127.0.0.1", int(told.split(" -> ")[0].rpartition(":")[2]), timeout=5
            )
            connection.request("GET", "/")
            assert json.loads(connection.getresponse().read())["pod"] == node.name
            connection.close()
        finally:
            forward.terminate()
            forward.wait(10)
            forward.stdout.close()
