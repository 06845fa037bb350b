"""Long runs: whether memory, latency and files stay as they are. ``python -m bench.soak --help``."""
