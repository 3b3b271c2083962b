"""`helm test`: the operator is ready, and discovery and admission speak TLS with a certificate of that name.

python3 -c THIS SERVICE PEERS. Prints a line per door; the exit status is the number of those that do not answer.
"""

import json
import socket
import ssl
import sys
import urllib.request

SECONDS = 10
SERVICE, PEERS = sys.argv[1:3]


def ready():
    with urllib.request.urlopen(f"http://{PEERS}:8080/readyz", timeout=SECONDS) as answer:
        return json.load(answer)["ready"]


def tls(port):
    # Who signed it is the API server's business; that it is a certificate for this name is seen without.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((SERVICE, port), SECONDS)
    with context.wrap_socket(plain, server_hostname=SERVICE) as wrapped:
        return wrapped.version()


DOORS = {"ready": ready, "discovery": lambda: tls(15012), "admission": lambda: tls(443)}
failed = 0
for name, door in DOORS.items():
    try:
        sys.stdout.write(f"{name}: {door()}\n")
    except OSError as fault:
        sys.stdout.write(f"{name}: {fault}\n")
        failed += 1
sys.exit(failed)
