"""Admission: what the API server asks before it keeps a pod or an object of ours. Every replica answers.

`review` is the API server's vocabulary, `mutate` and `validate` the answers, `server` the HTTP side, `tls` its
certificate. Run by `main`; nothing here writes to the API server.
"""
