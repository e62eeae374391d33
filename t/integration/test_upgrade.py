"""The binary upgrade (USR2) under load, from one build of the module to
another, to its end and back again.

The new build is the built module with another version in it, in a file of
another name: nginx runs it only if it has loaded that file anew.
"""

import os
import re
import signal
import time

import pytest
from astro.crowd import Crowd
from astro.fixtures import watch
from astro.stack import Stack, alive, eventually
from astro.ws import BUILD, REPO, SLOW

PAIRS = 12
LAG = 5000 * SLOW       # ms, from one generation to the other at worst


def version():
    with open(f'{REPO}/ngx_astro_module/ngx_astro.h', encoding='ascii') as f:
        return re.search(r'NGX_ASTRO_VERSION +"(.*)"', f.read()).group(1)


BUILT = version()


class Upgrade:
    """Both generations of one stack, by the pids of their masters."""

    def __init__(self, stack):
        self.stack = stack
        self.conf = f'{stack.var}/etc/nginx.conf'
        with open(self.conf, encoding='utf-8') as f:
            self.before = f.read()
        self.running, = self.versions()
        self.next = BUILT[:-1] + ('Y' if self.running[-1] == 'Z' else 'Z')

        # never into a file that someone has mapped
        self.module = f'{stack.var}/run/module-{time.time_ns()}.so'
        with open(f'{BUILD}/ngx_astro_module.so', 'rb') as f:
            code = f.read()
        assert BUILT.encode() in code
        with open(self.module, 'wb') as f:
            f.write(code.replace(BUILT.encode(), self.next.encode()))
        os.chmod(self.module, 0o644)
        self.old = stack.pid('nginx')
        self.new = None

    def write(self, text):
        with open(self.conf, 'w', encoding='utf-8') as f:
            f.write(text)

    def usr2(self):
        self.stack.moved = True
        self.write(re.sub(r'load_module .*;', f'load_module {self.module};',
                          self.before))
        os.kill(self.old, signal.SIGUSR2)
        eventually(lambda: self.master() not in (None, self.old)
                   and len(self.stack.serving()) == self.stack.workers, 20,
                   'the new master and its workers')
        self.new = self.master()
        return self

    def master(self):
        """That of the pid file, which moves while nginx is upgraded."""
        try:
            return self.stack.pid('nginx')
        except (FileNotFoundError, ValueError):
            return None

    def workers(self, master):
        return self.stack.nginx_workers(master)

    def quit(self, master):
        os.kill(master, signal.SIGQUIT)
        eventually(lambda: not alive(master), 30, 'the end of a master')

    def versions(self):
        """What new connections are answered by."""
        return {self.version() for _ in range(24)}

    def version(self):
        # without until a new worker has its connections to the database
        return eventually(lambda: self.stack.rest.get('/api/health').json.get(
            'version'), 10, 'a healthy answer')

    def end(self):
        """Only the running generation is left, also after a failure."""
        for master in {self.old, self.new} - {None, self.master()}:
            workers = self.workers(master)
            for pid in (master, *workers) if alive(master) else ():
                os.kill(pid, signal.SIGKILL)
        if self.master() == self.old:
            self.write(self.before)


@pytest.fixture(scope='module')
def own():
    stack = Stack({'astro_grace': '60s'}, {'grace_seconds': '60'})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def city(own):
    yield from watch(own)


@pytest.fixture
def upgrade(city):
    there = Upgrade(city)
    yield there
    there.end()


@pytest.fixture
def crowd(city):
    people = Crowd(city, PAIRS, every=0.3)
    try:
        yield people.talk()
    finally:
        people.close()


def both_at_once(upgrade, crowd):
    """Half of each pair moves, until some pair is on both generations."""
    old, new = set(upgrade.workers(upgrade.old)), \
        set(upgrade.workers(upgrade.new))

    def split():
        return sum(len({p.client.worker, p.advisor.worker} & old) == 1
                   and len({p.client.worker, p.advisor.worker} & new) == 1
                   for p in crowd.pairs)

    for _ in range(10):
        crowd.shake([p.advisor for p in crowd.pairs])
        time.sleep(0.5)
        crowd.wait(lambda: crowd.alive() == len(crowd.members), 10,
                   'everybody back')
        if split():
            break
    assert split()
    crowd.lag()
    before = crowd.received
    time.sleep(4 * SLOW)
    assert crowd.received > before + 50
    return crowd.lag()


def finish(crowd, city):
    crowd.verdict()
    crowd.end()
    crowd.close()
    code, said = city.audit()
    assert code == 0, said


def test_to_the_end(city, crowd, upgrade):
    """USR2, both talk to each other, QUIT to the old master."""
    upgrade.usr2()
    assert upgrade.versions() == {upgrade.running, upgrade.next}
    lag = both_at_once(upgrade, crowd)
    assert lag < LAG, 'between the generations'

    old = upgrade.workers(upgrade.old)
    upgrade.quit(upgrade.old)
    assert not any(alive(pid) for pid in old)
    crowd.wait(lambda: crowd.workers() <= city.serving()
               and crowd.alive() == len(crowd.members), 10,
               'everybody on the new generation')
    assert upgrade.versions() == {upgrade.next}
    finish(crowd, city)


def test_as_debian_does_it(city, crowd, upgrade):
    """QUIT to the old master as soon as both pid files are there."""
    upgrade.usr2()
    upgrade.quit(upgrade.old)
    finish(crowd, city)
    assert upgrade.versions() == {upgrade.next}


def test_and_back(city, crowd, upgrade):
    """QUIT to the new master: the old one has never stopped."""
    upgrade.usr2()
    both_at_once(upgrade, crowd)
    upgrade.write(upgrade.before)
    upgrade.quit(upgrade.new)
    eventually(lambda: upgrade.master() == upgrade.old, 10, 'its pid file')
    crowd.wait(lambda: crowd.workers() <= city.serving()
               and crowd.alive() == len(crowd.members), 10,
               'everybody on the old generation')
    assert upgrade.versions() == {upgrade.running}
    finish(crowd, city)


def test_back_after_the_old_workers_left(city, crowd, upgrade):
    """WINCH to the old master, everybody moves, HUP to it, QUIT to the new."""
    upgrade.usr2()
    os.kill(upgrade.old, signal.SIGWINCH)
    eventually(lambda: not upgrade.workers(upgrade.old), 20,
               'the old workers have left')
    crowd.wait(lambda: crowd.workers() <= city.serving()
               and crowd.alive() == len(crowd.members), 10,
               'everybody on the new generation')
    upgrade.write(upgrade.before)
    os.kill(upgrade.old, signal.SIGHUP)
    eventually(lambda: len(upgrade.workers(upgrade.old)) == city.workers, 10,
               'the old master has workers again')
    upgrade.quit(upgrade.new)
    eventually(lambda: upgrade.master() == upgrade.old, 10, 'its pid file')
    crowd.wait(lambda: crowd.workers() <= city.serving()
               and crowd.alive() == len(crowd.members), 10,
               'everybody on the old generation')
    assert upgrade.versions() == {upgrade.running}
    finish(crowd, city)
