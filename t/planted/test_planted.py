"""Each planted bug is caught: see planted.py, which does it by hand as well."""

import pytest
from bugs import BUGS
from planted import plant_all, table


@pytest.fixture(scope="module")
def done(request):
    """All of them, three at a time; prints the table."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text):
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)

    found = plant_all(BUGS, 3, say)
    say("\n" + table(found) + "\n")
    return {bug.name: wrong for bug, wrong, _ in found}


@pytest.mark.parametrize("name", [bug.name for bug in BUGS])
def test_is_caught(done, name):
    assert done[name] is None
