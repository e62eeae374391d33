"""Fixtures are in astro/fixtures.py, for t/chaos too."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

pytest.register_assert_rewrite('astro')

from astro.fixtures import rest, shared, stack      # noqa: E402,F401

# In the background Ctrl-C is not heard; scripts/test.sh passes it on as this.
# What the fixtures have started they then stop.
signal.signal(signal.SIGTERM, signal.default_int_handler)
