"""The operator's words: `stream` hears them, `transaction` checks them, `keep` remembers them. Started by main."""
