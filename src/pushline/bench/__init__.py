"""The load generator of ``pushline bench``: opens pages, sends to them, and verifies every message that comes.

One process, one epoll, sockets without a library between. It says how busy it was itself.
"""
