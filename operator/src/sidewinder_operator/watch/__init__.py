"""What every replica knows of the cluster, and which of them leads: slim records kept by reflectors, and a Lease.

`reflector` follows one kind, `records` says what is kept of an object, `kinds` is the table of both, `collect` makes of
all of it what compile works from; `lease` elects.
"""
