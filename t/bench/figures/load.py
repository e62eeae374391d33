"""Runs wsload and reads what it prints."""

import os
import subprocess
import tempfile

from . import machine
from .common import OUT, Skip, end, say

WSLOAD = os.path.join(OUT, 'wsload')
MARK = 34                       # bytes that %T becomes
SIZE = 230                      # of a relayed message: that of a candidate
CHAT_TEXT = 120                 # bytes that somebody says in chat

CANDIDATE = ('candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx'
             ' raddr 10.0.0.5 rport 46154 generation 0 ufrag 4ZcD')


def plan(path, headers='-', template='-', steps=()):
    """A line of the connection file."""
    return '\t'.join((path, headers, template, *steps))


def text(size):
    """A template of that many bytes: a mark, and words."""
    room = size - MARK - 1
    assert room >= 0
    return '%T ' + (CANDIDATE + ' ' * room)[:room]


def message(before, after, size=SIZE):
    """A template whose messages have "size" bytes, whatever is around."""
    return before + text(size - len(before) - len(after)) + after


class Load:
    """One run of wsload against a server.

    with Load(server, plans, '-w', '1') as load: the connections are ready.
    """

    def __init__(self, server, plans, *args, tls=False):
        self.server = server
        self.plans = plans
        port = server.tls_port if tls else server.port
        self.args = [WSLOAD, '-p', str(port), *(['-t'] if tls else []),
                     *server.load_args, *args]
        self.process = None
        self.setup = {}

    def __enter__(self):
        with tempfile.NamedTemporaryFile('w', prefix='astro-plan-') as f:
            f.write(''.join(line + '\n' for line in self.plans))
            f.flush()
            self.process = subprocess.Popen(
                self.args + [f.name], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            try:
                self.setup = self.line('ready')
            except BaseException:
                end(self.process)
                raise
        return self

    def __exit__(self, *_):
        end(self.process)
        said = self.said()
        if said:
            say(f'  {self.server.name}: {said}')
        self.process.stdout.close()
        self.process.stderr.close()

    def said(self):
        """The first of its complaints; others are alike."""
        lines = self.process.stderr.read().splitlines()
        return lines[0][:300] if lines else None

    def line(self, word):
        """Waits for the line that starts with the word; its name=value."""
        got = self.process.stdout.readline().split()
        if not got or got[0] != word:
            self.process.wait()
            raise Skip(self.said() or f'wsload: no "{word}" line')
        return {k: float(v) for k, _, v in (w.partition('=')
                                            for w in got[1:])}

    def measure(self):
        """The result, with the server's CPU time for each message."""
        before = machine.cpu_seconds(self.server.pids())
        self.line('stop')
        used = machine.cpu_seconds(self.server.pids()) - before
        result = self.line('result')
        if result['in_time'] == 0:
            raise Skip('nothing was delivered')
        result['cpu_us'] = used * 1e6 / result['in_time']
        result['failed'] = self.setup['failed']
        return result


def measure(server, plans, *args):
    with Load(server, plans, *args) as load:
        return load.measure()
