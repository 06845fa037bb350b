"""For tests of Pushline and of programs that use it: a clock moved by hand, a wire in memory, conformance suites."""

from pushline.testing.clock import FakeClock
from pushline.testing.pipe import MemoryPipe

__all__ = ["FakeClock", "MemoryPipe"]
