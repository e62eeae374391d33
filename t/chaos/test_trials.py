"""Crash trials: see trials.py, which plays them by hand as well.

ASTRO_TRIALS        how many (20; make soak: 300)
ASTRO_TRIALS_JOBS   at once (6): they mostly wait
ASTRO_TRIALS_SEED   repeats the choices of a run
"""

import os
import random

import pytest
import trials

COUNT = int(os.environ.get("ASTRO_TRIALS") or 20)
JOBS = int(os.environ.get("ASTRO_TRIALS_JOBS") or 6)
SEED = int(os.environ.get("ASTRO_TRIALS_SEED") or random.randrange(10**9))


@pytest.fixture(scope="module")
def played(request):
    """All of them at once; a line for each as it ends."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text):
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)

    say(f"{COUNT} trials, ASTRO_TRIALS_SEED={SEED}")
    done = trials.run(COUNT, SEED, JOBS, say=say)
    say("\n" + trials.table(done) + "\n")
    return done


@pytest.mark.parametrize("number", range(COUNT))
def test_trial(played, number):
    one = played[number]
    assert not one["wrong"], (
        f"{one['kind']}: {one['wrong']}\nagain: t/chaos/trials.py --count 1"
        f" --seed {one['seed']} --kind \"{one['kind']}\"")
