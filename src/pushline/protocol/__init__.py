"""The wire and its rules, pure: no I/O, no time, no randomness of its own. ``spec/protocol.md`` is its document."""
