#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
"""The benchmark: ours and what it is compared with, one after the other on
this machine, several times, as figures and as ratios.

It starts everything itself, in a directory of its own under /var/tmp, and
takes all of it away again.  README.md says what each figure means.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time

from figures import (billing, chat, exhaustion, growth, idle, logins, machine,
                     relay, rest, search, stats, storm, table, ticks, webhooks)
from figures.common import BUILD, HERE, TROUBLE, reason, run, say
from figures.ours import Ours
from figures.stack import Stack

PARTS = {'relay': relay, 'idle': idle, 'growth': growth, 'chat': chat,
         'rest': rest, 'logins': logins, 'webhooks': webhooks,
         'search': search, 'stats': stats,
         'exhaustion': exhaustion,
         # last: they leave many sessions behind
         'storm': storm, 'ticks': ticks, 'billing': billing}


class Bench:
    """What the parts are given: how long, how often, against whom."""

    def __init__(self, options, stack, files):
        self.stack = stack
        self.files = files
        self.rounds = options.rounds or (1 if options.quick else 3)
        self.seconds = options.seconds or (2 if options.quick else 5)
        self.sessions = options.sessions
        self.quick = options.quick
        self.sizes = [int(n) for n in options.sizes.split(',') if n]
        self.left_out = options.without
        self.goals = table.Goals()

        idle_plain, idle_tls = (3000, 1000) if options.quick else (15000, 5000)
        room = files - 1000
        self.idle = (min(idle_plain, room), min(idle_tls, room))

    def how(self):
        if self.rounds == 1:
            return f'once, {self.seconds:g} s'
        return (f'{self.rounds} rounds of {self.seconds:g} s, '
                'median (least - most)')

    def without(self, name):
        name = name.lower()
        return any(name.startswith(out) for out in self.left_out)

    def servers(self, *all_of_them):
        return [s for s in all_of_them if not self.without(s.name)]

    def ours(self):
        return Ours(self.stack)

    def start(self, server):
        """Starts a server at its first use; it is stopped by its part."""
        if not getattr(server, 'running', False):
            server.start()
            server.running = True

    def restart(self, server):
        """The same with processes that have served nobody yet."""
        if getattr(server, 'running', False):
            server.stop()
        server.restart()
        server.running = True


def main():
    options = arguments()
    files = machine.files()
    stack = None

    # so that whatever ends us, what we started is ended, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(BUILD, exist_ok=True)

    try:
        run(['make', '-s', '-C', HERE, f'BUILD={BUILD}'])
        stack = Stack(connections=min(files - 500, 19000))
        stack.start_database()
        bench = Bench(options, stack, files)
        header(stack)
        results = measure(bench, options.parts)
    except TROUBLE as e:
        sys.exit(f'bench: {reason(e)}')
    finally:
        if stack is not None:
            keep_log(stack)
            stack.close()

    bench.goals.show()

    if options.json:
        with open(options.json, 'w', encoding='utf-8') as f:
            json.dump(plain(results), f, indent=1)


def arguments():
    parser = argparse.ArgumentParser(
        prog='run.py', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='part',
                        help=f'of {", ".join(PARTS)}; default: all')
    parser.add_argument('--quick', action='store_true',
                        help='one round of 2 s each, fewer connections')
    parser.add_argument('--rounds', type=int, metavar='N',
                        help='times that each figure is taken (3)')
    parser.add_argument('--seconds', type=float, metavar='S',
                        help='that each figure takes (5)')
    parser.add_argument('--sessions', type=int, default=50000, metavar='N',
                        help='running at a time for the ticks (50000)')
    parser.add_argument('--sizes', default='', metavar='N,N',
                        help='sessions, for each row of billing, rising')
    parser.add_argument('--without', default='', metavar='NAMES',
                        help='leave out: ours, nchan, socket.io, ceiling, '
                        'express, node; with commas')
    parser.add_argument('--json', metavar='FILE',
                        help='every single result, too')
    options = parser.parse_args()

    for part in options.parts:
        if part not in PARTS:
            parser.error(f'no part "{part}"; there are: {", ".join(PARTS)}')
    options.parts = options.parts or list(PARTS)
    options.without = [n for n in options.without.lower().split(',') if n]
    return options


def header(stack):
    for line in machine.facts(stack.var):
        say(line)
    say('server, database and load generator share the cores, over loopback:')
    say('the ratios within a run say more than the figures')

    if machine.load_average() > 0.5:
        say(f'NOTE: the load average is {machine.load_average():.1f}: '
            'something else is running, and these figures are worth little')


def measure(bench, parts):
    results = {}

    for name, part in PARTS.items():
        if name not in parts:
            continue
        start = time.monotonic()
        try:
            results[name] = part.measure(bench)
        except TROUBLE as e:
            say(f'\n{name}: not measured: {reason(e)}')
        say(f'  [{name}: {time.monotonic() - start:.0f} s]')

    for line in bench.stack.complaints()[:5]:
        say(f'  nginx complained: {line}')

    return results


def plain(found):
    """Results as JSON has them."""
    if isinstance(found, table.Series):
        return {'why': found.why} if found.why else found.results
    if isinstance(found, dict):
        return {k if isinstance(k, str) else ' '.join(k): plain(v)
                for k, v in found.items()}
    return [plain(v) for v in found]


def keep_log(stack):
    """What went wrong is in the logs, which go with the directory."""
    source = os.path.join(stack.var, 'log')
    target = os.path.join(BUILD, 'bench', 'log')
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore_dangling_symlinks=True,
                    dirs_exist_ok=True)


if __name__ == '__main__':
    main()
