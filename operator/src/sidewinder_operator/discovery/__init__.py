"""Configuration on its way to the sidecars: what each should have, what each has, and the stream between.

`store` holds the newest picture per workload, `session` is one client's side of the protocol without any I/O, `server`
carries it over HTTP, `acks` knows who has what. Fed by `reconcile`; asked by status and the command line.
"""
