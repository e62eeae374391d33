"""What tests of nginx's life cycle do: another configuration for a while, a
reload, and the end of workers while a crowd talks.
"""

import os
import re
import signal
import time

from .stack import alive, eventually


class Conf:
    """nginx.conf, for a while."""

    def __init__(self, stack, *changes):
        self.path = f'{stack.var}/etc/nginx.conf'
        with open(self.path, encoding='utf-8') as f:
            self.good = self.text = f.read()
        for pattern, text in changes:
            self.text, n = re.subn(pattern, text, self.text)
            assert n, pattern

    def __enter__(self):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(self.text)
        return self

    def __exit__(self, *_):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(self.good)


def hup(stack, workers=None):
    """As many new workers as there should be; the pids of the old."""
    before = stack.serving()
    stack.moved = True
    os.kill(stack.pid('nginx'), signal.SIGHUP)
    eventually(lambda: len(stack.serving()) == (workers or stack.workers)
               and not stack.serving() & before, 15, 'new workers')
    return before


def gone(pids, timeout):
    began = time.monotonic()
    eventually(lambda: not any(alive(pid) for pid in pids), timeout,
               f'the end of {pids}')
    return time.monotonic() - began


def finish(crowd, city):
    print(crowd.summary(), flush=True)
    crowd.verdict()
    crowd.end()
    crowd.close()
    code, said = city.audit()
    assert code == 0, said


def whole(crowd, city):
    crowd.wait(lambda: crowd.alive() == len(crowd.members)
               and crowd.workers() <= city.serving(), 20, 'everybody back')
