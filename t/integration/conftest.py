"""Fixtures are in astro/fixtures.py, for t/chaos too."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

pytest.register_assert_rewrite('astro')

from astro.fixtures import rest, shared, stack      # noqa: E402,F401
