"""Issuers' public keys, fetched once for the mesh: when (`freshness`), how (`fetch`), and what is held (`keeper`).

Run by `main` on the replica that leads, and by `up`; `shelf` is how it is kept over a restart.
"""
