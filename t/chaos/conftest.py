"""The integration tests' fixtures, and their tools."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'integration'))

pytest.register_assert_rewrite('astro')

from astro.fixtures import shared, stack      # noqa: E402,F401

signal.signal(signal.SIGTERM, signal.default_int_handler)
