"""TLS between proxies: whom a certificate names, the contexts to show ours with, handshakes over bytes already read.

`keyring` is one per process and is asked by both sides of the data path; `identity` gives it what is on disk.
"""
