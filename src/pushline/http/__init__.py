"""What HTTP asks and what is answered, as plain functions: no sockets. Any front can call it."""
