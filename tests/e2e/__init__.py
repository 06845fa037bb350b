"""Few and real: browsers, processes and sockets. A package, so that what its browsers hold ends with its last test."""
