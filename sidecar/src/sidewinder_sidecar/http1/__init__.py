"""HTTP/1.x on the wire, shared by both sides: heads are judged, a body's end is found, messages are written.

`request_head` and `response_head` judge (`lines` is what they share), `framing` finds the end of a chunked body,
`encode` writes, `sending` keeps a message's framing while it leaves.

Only complete heads reach httptools, one per call, so that none of its state lives from one message to the next; bodies
never reach it. Whatever is accepted here parses one way only.
"""
