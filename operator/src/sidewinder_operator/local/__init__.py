"""The embedded mode: a cluster from manifests on disk, with real processes and no Kubernetes.

`files` reads manifests, `changes` sees them change, `kept` remembers what was good, `replicas` starts and stops the
applications with their sidecars (`sidecars`, `children`, `ports`, `readiness`), `warden` clears up when all else fails.
"""
