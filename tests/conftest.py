"""What all tests need."""

from __future__ import annotations

import signal

# A shell starts what it puts in the background (as ./dev test does with half of the tests) with Ctrl-C ignored,
# and everything started from there inherits that. What is handled here is at its default in a new process.
signal.signal(signal.SIGINT, signal.default_int_handler)
