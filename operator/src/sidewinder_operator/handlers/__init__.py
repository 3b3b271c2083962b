"""What the leader does with kopf: handlers that only mark objects, in a thread and an event loop of their own.

`lifecycle` declares the handlers, `thread` runs kopf while this replica leads and starts it again when it ends.
"""
