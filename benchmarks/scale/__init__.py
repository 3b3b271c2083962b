"""`make bench-discovery`: how long a change takes to reach everybody, and what that costs one replica of the operator.

`bench` is the program: `world` fills an API server with Services and pods, `replica` is a real operator process,
`clients` are real discovery clients over mTLS in a few processes of their own, `figures` says what came of it.
"""
