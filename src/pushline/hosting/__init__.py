"""``pushline run``: an application and its channels on one address, in one process (contract, R5)."""
