"""The doors: one file a protocol, each a translation between its requests and the core. No transport here."""
