"""The command line: `sidewinder up`, `validate`, `status`, `version`. The operator's functions, for people."""
