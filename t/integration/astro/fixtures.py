"""Fixtures: a running stack, and what must hold after every single test."""

import pytest

from .stack import Stack, alive, eventually

GAUGES = ('astro_connections', 'astro_registry_entries')


def settled(stack):
    """Nobody is connected, and each worker has its seat: one look at both."""
    now = stack.metrics()
    return all(now.get(g) == 0 for g in GAUGES) \
        and now.get('astro_seats_taken') == stack.workers


def watch(stack):
    """Runs a test on that stack, and looks for what it left behind."""
    stack.begin()
    workers, billing = stack.serving(), stack.pid('worker')

    yield stack

    stack.drop_clients()
    assert not stack.alerts()
    assert not stack.reports()

    eventually(lambda: settled(stack), 20,
               f'{GAUGES} back at 0, as many seats taken as workers')

    if not stack.moved:
        assert stack.serving() == workers, 'a worker of nginx was replaced'
    if not stack.billing_moved:
        assert stack.pid('worker') == billing
    assert alive(stack.pid('worker')), 'billing_worker is gone'
    assert not stack.alerts()
    assert not stack.reports()


@pytest.fixture(scope='session')
def shared():
    """One stack for all tests that need nothing special."""
    stack = Stack()
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(shared):
    shared.revive()
    yield from watch(shared)


@pytest.fixture
def rest(stack):
    return stack.rest
