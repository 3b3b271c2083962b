"""What is told of an exchange, once, when it is over: metrics, access log, spans. `record.Recorder` feeds all three."""
