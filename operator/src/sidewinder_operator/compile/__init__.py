"""What users wrote → what it means → what one sidecar must do. Pure verbs: no I/O, no waiting, no clock.

`compiler.compile_cluster` makes the Mesh, `project.Projector` the snapshots, `conditions.statuses` the statuses.
"""
