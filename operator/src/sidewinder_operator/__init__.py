"""The control plane of the Sidewinder mesh, and its command line. Cluster ──compile──▶ Mesh ──project──▶ Snapshot."""
