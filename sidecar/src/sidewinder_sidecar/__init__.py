"""The proxy of the Sidewinder mesh. Start reading at `exchange`: one request, first byte to log line."""
