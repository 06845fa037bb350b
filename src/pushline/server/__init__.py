"""The fronts, which read HTTP off sockets, and the wiring of everything."""
