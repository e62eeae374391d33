"""The billing worker of an earlier version beside ours, on the same database:
whichever of the two holds the shards, the books are the same.

Builds the earlier one, so only `make soak` runs it (ASTRO_SOAK).
"""

import os
import subprocess

import pytest

import billing_fixture
from billing_fixture import BINARY, Bench, Redis, Talk, eventually
from sql_fixture import sql     # noqa: F401

REPO = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
BEFORE = '7d3e6a7'              # issue 3: no ticks out of memory, no partitions

pytestmark = pytest.mark.skipif(not os.environ.get('ASTRO_SOAK'),
                                reason='only in make soak')


@pytest.fixture(scope='module')
def earlier(tmp_path_factory):
    tree = str(tmp_path_factory.mktemp('earlier') / 'tree')
    subprocess.run(['git', 'worktree', 'add', '--detach', tree, BEFORE],
                   cwd=REPO, check=True, capture_output=True)
    try:
        subprocess.run(['make', 'build/billing_worker'], cwd=tree, check=True,
                       capture_output=True,
                       env={k: v for k, v in os.environ.items()
                            if k not in ('BUILD', 'SANITIZE', 'MAKEFLAGS')})
        yield f'{tree}/build/billing_worker'
    finally:
        subprocess.run(['git', 'worktree', 'remove', '--force', tree],
                       cwd=REPO, check=False)


@pytest.fixture
def bench(sql):                 # noqa: F811
    redis = Redis()
    made = Bench(sql, redis)
    yield made
    made.close()
    redis.close()


def run(bench, binary):
    """A worker of that version."""
    billing_fixture.BINARY = binary
    try:
        return bench.worker()
    finally:
        billing_fixture.BINARY = BINARY


@pytest.mark.parametrize('first', ['earlier', 'ours'])
def test_they_take_turns(bench, earlier, first):
    """Each takes over from the other in mid-session, twice, by kill -9 and by
    an orderly end."""
    kinds = [earlier, BINARY] if first == 'earlier' else [BINARY, earlier]
    talks = []
    holder = run(bench, kinds[0]).ready()

    for turn in range(4):
        talks.append(Talk(bench, rate=60000 + turn).active())
        for talk in talks:
            talk.ticked(2)
        after = run(bench, kinds[(turn + 1) % 2])
        eventually(lambda w=after: w.said(
            'standing by, others hold all shards'))
        if turn % 2:
            assert holder.stop() == 0
        else:
            holder.kill()
        after.ready(12)
        holder = after

    for talk in talks:
        talk.ticked(2)
    talks[0].end()
    talks[2].end()
    for talk in talks[:1] + talks[2:3]:
        bench.settled(talk.id, 'client_ended')
    bench.clean()
    for talk in talks[1::2]:
        talk.end()
        bench.settled(talk.id, 'client_ended')
    bench.clean()
