"""What logging in does to everybody else: the age of answers to GET
/api/wallet, at a rate of its own that leaves the machine room, without logins,
with one after the other, and with more at once than there are cores.

A login hashes a password for about a tenth of a second.  Each is looked at,
too: 200 and a token.
"""

import json
import os
import re
import subprocess
import tempfile
import urllib.request

from . import machine, table
from .common import OUT, TROUBLE, Skip, reason, run
from .rest import OursRest

RATE = 500
CONNECTIONS = 16
MORE_MS = 2
PASSWORD = 'a password of the bench'


class Logins(OursRest):
    """Those who log in have registered: their hashes are real ones."""

    def __init__(self, stack):
        super().__init__(stack)
        self.bodies = []

    def start(self):
        super().start()
        while len(self.bodies) < 8:
            body = {'email': f'login-{len(self.bodies)}@bench.test',
                    'password': PASSWORD, 'name': 'Bench'}
            with urllib.request.urlopen(urllib.request.Request(
                    f'http://127.0.0.1:{self.port}/api/auth/register',
                    json.dumps(body).encode(),
                    {'Content-Type': 'application/json'}), timeout=30):
                pass
            del body['name']
            self.bodies.append(json.dumps(body))

    def wallets(self):
        return [(self.path, self.stack.token(account, 'client'), text)
                for account, text in self.wanted]

    def logins(self):
        return [('/api/auth/login', '-', '"token":"', body)
                for body in self.bodies]


def command(server, requests, f, *args):
    for request in requests:
        f.write('\t'.join(request) + '\n')
    f.flush()
    return [os.path.join(OUT, 'restload'), '-p', str(server.port), *args,
            f.name]


def result(out):
    match = re.search(r'^result (.*)', out, re.M)
    if match is None:
        raise Skip(f'restload: {out[-200:]}')
    return {k: float(v) for k, _, v in
            (w.partition('=') for w in match.group(1).split())}


def one(bench, server, at_once):
    """restload's result, with how many logins there were a second."""
    with tempfile.NamedTemporaryFile('w') as f, \
            tempfile.NamedTemporaryFile('w') as g:
        beside = at_once and subprocess.Popen(
            command(server, server.logins(), g, '-c', str(at_once), '-w', '0',
                    '-d', str(bench.seconds + 2)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = result(run(command(
            server, server.wallets(), f, '-c', str(CONNECTIONS), '-r',
            str(RATE), '-w', '1', '-d', str(bench.seconds))))
        if found['requests'] == 0 or found['errors']:
            raise Skip(f"{found['errors']:.0f} wrong answers")
        found['logins'] = 0
        if beside:
            logins = result(beside.communicate(timeout=60)[0])
            if logins['requests'] == 0 or logins['errors']:
                raise Skip(f"{logins['errors']:.0f} wrong logins")
            found['logins'] = logins['requests'] / logins['seconds']
    return found


def measure(bench):
    many = 4 * machine.cores()
    series = {n: table.Series() for n in (0, 1, many)}
    server = Logins(bench.stack)

    try:
        server.start()
        for _ in range(bench.rounds):
            for n, it in series.items():
                it.add(one(bench, server, n))
    except TROUBLE as e:
        series[0].why = reason(e)

    names = {0: 'no logins', 1: 'one after the other',
             many: f'{many} at once'}
    table.show(f'Logins beside {RATE} GET /api/wallet a second, '
               f'{bench.how()}',
               ['', 'logins/s', 'p50 us', 'p99 us', 'max us'],
               [[names[n], table.short(s.middle('logins')),
                 table.short(s.middle('p50_us')), s.spread('p99_us'),
                 table.short(s.middle('max_us'))]
                for n, s in series.items() if s.results]
               or table.failures({'ours': series[0]}))

    alone = series[0].middle('p99_us')
    for n in (1, many):
        p99 = series[n].middle('p99_us')
        bench.goals.at_most(f'p99 of others, ms more beside logins, '
                            f'{names[n]}',
                            p99 and alone and (p99 - alone) / 1000, MORE_MS)
    return {names[n]: s for n, s in series.items()}
