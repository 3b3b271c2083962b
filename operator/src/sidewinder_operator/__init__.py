"""The control plane of the Sidewinder mesh, and its command line. Cluster ──compile──▶ Mesh ──project──▶ Snapshot."""

VERSION = "0.1.0"  # of both distributions and the chart; the image knows no other, for nothing is installed in it
