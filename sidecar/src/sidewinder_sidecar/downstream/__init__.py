"""The side that faces the caller: sockets, connections, streams. They call the exchange; main makes them."""
