"""A whole private system for tests: PostgreSQL, Redis, nginx, billing worker.

scripts/stack.sh starts and stops every part, as it does for `make run`; this
adds what only tests do: kill, suspend, count, look into the database.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import uuid

import psycopg

from . import leaks
from .client import Client, Person
from .rest import Rest
from .template import template
from .ws import BUILD, REPO, SLOW, WebSocket

SCRIPT = os.path.join(REPO, 'scripts', 'stack.sh')
ROLES = ('client', 'advisor', 'admin')

# Fast enough for tests, long enough for the sanitizers.
SETTINGS = {
    'astro_debug': 'on',
    'astro_deflate': 'on',
    'astro_hello_timeout': '2s',
    'astro_live_ping': '500ms',
    'astro_live_silence': f'{int(1500 * SLOW)}ms',
    'astro_presence_grace': '500ms',
    'astro_drain': '1s',
    'astro_grace': '20s',
    'astro_ready': '1s',
    # on, but nothing that a test does on purpose reaches them
    'astro_limit': 'all rate=100000/s burst=100000',
}

WORKER_SETTINGS = {
    'tick_seconds': '1',
    'paid_ahead_seconds': '5',
    'low_seconds': '3',
    'ring_seconds': '20',
    'grace_seconds': '20',
}


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    try:
        for s in socks:
            s.bind(('127.0.0.1', 0))
        return [s.getsockname()[1] for s in socks]
    finally:
        for s in socks:
            s.close()


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(ready, timeout=10, what=None, every=0.05):
    """Waits until ready() is true, returns that."""
    until = time.monotonic() + timeout * SLOW
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f'{what or ready} within {timeout * SLOW} s')
        time.sleep(every)


class Stack:
    def __init__(self, settings=None, worker_settings=None, workers=2,
                 demo=False):
        """settings: of nginx, name -> value ("" for one without).  demo: with
        coturn, and Stripe on loopback that pays at /demo/pay."""
        self.var = tempfile.mkdtemp(prefix='astro-t-', dir='/tmp')
        os.chmod(self.var, 0o755)
        self.workers = workers
        self.port, self.plain_port, self.http_port = free_ports(3)
        self.clients = []
        self.log_start = 0
        self.expected = []          # patterns of alerts a test brings about
        self.moved = False          # the test replaced workers of nginx
        self.billing_moved = False  # the test replaced billing_worker
        self.planted = []           # patterns of "file: what" that may leak
        self.key = None
        self.rest = None

        merged = {**SETTINGS, **(settings or {})}
        of_worker = {**WORKER_SETTINGS, **(worker_settings or {})}
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith('ASTRO_') or k == 'ASTRO_BUILD'}
        self.env.update({
            'ASTRO_VAR': self.var,
            'ASTRO_PORT': str(self.port),
            'ASTRO_PLAIN_PORT': str(self.plain_port),
            'ASTRO_HTTP_PORT': str(self.http_port),
            'ASTRO_ECHO': '/echo',
            'ASTRO_WORKERS': str(workers),
            'ASTRO_PG_FSYNC': 'off',
            'ASTRO_SETTINGS': '\n'.join(f'{k} {v}'.strip()
                                        for k, v in merged.items()),
            'ASTRO_WORKER_SETTINGS': '\n'.join(f'{k} = {v}' for k, v in
                                               of_worker.items()),
        })
        self.parts = ['pg', 'redis', 'nginx', 'worker']
        if demo:
            turn, vendor = free_ports(2)
            self.env |= {'ASTRO_TURN_PORT': str(turn),
                         'ASTRO_VENDOR_PORT': str(vendor)}
            self.parts += ['turn', 'vendor']

    # -- life --------------------------------------------------------------

    def script(self, *args, check=True):
        done = subprocess.run([SCRIPT, *args], env=self.env, cwd=REPO,
                              stdout=subprocess.PIPE, timeout=180,
                              stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f'stack.sh {" ".join(args)}: {done.stdout}')
        return done

    def up(self):
        self.env['ASTRO_PG_TEMPLATE'] = template()
        self.script('start', *self.parts)
        with open(f'{self.var}/secret/jwt', 'rb') as f:
            self.key = f.read()
        self.rest = Rest(self.port, f'{self.var}/tls/cert.pem')
        self.tls = ssl.create_default_context(
            cafile=f'{self.var}/tls/cert.pem')
        eventually(lambda: self.rest.get('/api/health').status == 200, 20,
                   'a healthy /api/health')
        self.wait_seats()
        eventually(self.connected, 10, 'all connections to the database')
        return self

    def down(self, *parts, dump=False):
        """Stops it.  Fails if something is written down that may not be: in
        its logs, its configurations or (dump) its database."""
        self.drop_clients()
        found = []
        with contextlib.ExitStack() as ends:    # the last first
            if not os.environ.get('ASTRO_TEST_KEEP'):
                ends.callback(shutil.rmtree, self.var, ignore_errors=True)
            ends.callback(lambda: found.extend(leaks.logs(self)
                                               + leaks.configurations(self)))
            ends.callback(self.script, 'stop', *parts, check=False)
            if dump and self.whole():
                found += leaks.dump(self)
        told = [f'{where}: {what}' for where, what in found]
        told = [line for line in told
                if not any(re.search(p, line) for p in self.planted)]
        assert not told, f'written down, and may not be: {told}'

    def start(self, *parts):
        """Starts them, and waits until all of nginx's workers know."""
        self.script('start', *parts)
        if {'pg', 'redis'} & set(parts):
            eventually(self.connected, 15, 'all connections made again')

    def connected(self):
        """Has every worker of nginx what it needs: 3 to PostgreSQL, 2 to
        Redis?"""
        metrics = self.metrics()
        return (metrics['astro_pg_up'], metrics['astro_redis_up']) \
            == (3 * self.workers, 2 * self.workers)

    def stop(self, *parts):
        self.script('stop', *parts)

    # -- processes ---------------------------------------------------------

    def pid(self, name):
        with open(f'{self.var}/run/{name}.pid', encoding='ascii') as f:
            return int(f.read())

    def whole(self):
        """Do all parts live?"""
        try:
            with open(f'{self.var}/pg/postmaster.pid', encoding='ascii') as f:
                pids = [int(f.readline())]
            pids += [self.pid(name) for name in ('redis', 'nginx', 'worker')]
            return all(alive(pid) for pid in pids)
        except (OSError, ValueError):
            return False

    def nginx_workers(self, master=None):
        """{pid: title} of nginx's workers, those that drain as well; of that
        master or of the one that wrote the pid file last."""
        master, found = master or self.pid('nginx'), {}
        try:
            with open(f'/proc/{master}/task/{master}/children',
                      encoding='ascii') as f:
                children = f.read().split()
        except (FileNotFoundError, ProcessLookupError):
            return found
        for pid in children:
            try:
                with open(f'/proc/{pid}/cmdline', 'rb') as f:
                    title = f.read().replace(b'\0', b' ').decode().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if title.startswith('nginx: worker process'):
                found[int(pid)] = title
        return found

    def serving(self):
        """The workers that take new connections."""
        return {pid for pid, title in self.nginx_workers().items()
                if 'shutting down' not in title}

    def kill_nginx_worker(self, pid):
        """SIGKILL, and waits until another serves in its place."""
        assert pid in self.serving()
        self.moved = True
        self.expected.append(rf'worker process {pid} exited on signal 9')
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid) and len(self.serving())
                   == self.workers, 10, 'a worker in the place of the killed')

    def reload(self):
        """HUP, and waits until all workers that serve are new."""
        before = self.serving()
        self.moved = True
        self.script('reload')
        eventually(lambda: len(self.serving()) == self.workers
                   and not self.serving() & before, 15, 'new workers')
        return before

    def kill_billing(self, sig=signal.SIGKILL):
        pid = self.pid('worker')
        os.kill(pid, sig)
        if sig not in (signal.SIGSTOP, signal.SIGCONT):
            self.billing_moved = True
            eventually(lambda: not alive(pid), 10, 'the end of the worker')

    def restart_billing(self):
        self.kill_billing()
        self.start('worker')

    def pause_billing(self):
        self.kill_billing(signal.SIGSTOP)

    def resume_billing(self):
        self.kill_billing(signal.SIGCONT)

    def crash_pg(self):
        """As a power cut of PostgreSQL alone: nothing is said to anyone."""
        self.env['ASTRO_PG_STOP'] = 'immediate'
        try:
            self.script('stop', 'pg')
        finally:
            del self.env['ASTRO_PG_STOP']

    def redis(self, *command):
        return subprocess.run(['redis-cli', '-s', f'{self.var}/run/redis.sock',
                               *command], check=True, text=True, timeout=10,
                              stdout=subprocess.PIPE).stdout

    def audit(self):
        """(exit status, what it printed)"""
        done = self.script('audit', check=False)
        return done.returncode, done.stdout

    # -- looking in --------------------------------------------------------

    def db(self):
        """A connection as the database's owner, whom no policy binds."""
        return psycopg.connect(f'host={self.var}/run dbname=astro '
                               'user=postgres', autocommit=True)

    def log(self, name='error.log', start=0):
        try:
            with open(f'{self.var}/log/{name}', 'rb') as f:
                f.seek(start)
                return f.read().decode('utf-8', 'replace')
        except FileNotFoundError:
            return ''

    def metrics(self):
        """{name: sum over its labels}"""
        answer = self.rest.get('/metrics')
        assert answer.status == 200, answer
        found = {}
        for line in answer.body.decode().splitlines():
            match = re.match(r'([a-z_:][a-z0-9_:]*)(?:\{.*\})? (\S+)$', line)
            if match:
                name, value = match.groups()
                found[name] = found.get(name, 0) + float(value)
        return found

    def wait_seats(self):
        eventually(lambda: self.metrics().get('astro_seats_taken')
                   == self.workers, 20, 'as many seats taken as workers')

    def alerts(self):
        """Lines of the error log that no run may have, since mark()."""
        bad = re.compile(r'\[(alert|crit|emerg)\]|Sanitizer|runtime error:'
                         r'|NOTICE: ')
        return [line for line in self.log(start=self.log_start).splitlines()
                if bad.search(line)
                and not any(re.search(p, line) for p in self.expected)]

    def reports(self):
        """What the sanitizers wrote, of any process of this stack."""
        folder = f'{self.var}/log/asan'
        return [self.log(f'asan/{name}') for name in sorted(
            os.listdir(folder) if os.path.isdir(folder) else [])]

    def begin(self):
        """A test begins: from here on alerts() and reports() count."""
        self.log_start = os.path.getsize(f'{self.var}/log/error.log')
        self.expected = []
        self.moved = self.billing_moved = False
        for name in os.listdir(f'{self.var}/log/asan'):
            os.unlink(f'{self.var}/log/asan/{name}')

    def revive(self):
        """Starts again what a test that failed has left dead."""
        if self.whole():
            return
        try:
            self.script('start')
            eventually(lambda: self.rest.get('/api/health').status == 200, 10)
        except (AssertionError, OSError):
            self.script('stop', check=False)
            self.up()

    # -- people ------------------------------------------------------------

    def jwt(self, number, role, ttl=3600, header=None, key=None, **claims):
        """A token as the server issues them, or with whatever is given."""
        now = int(time.time())
        body = {'iss': 'astro', 'aud': 'astro', 'sub': f'u_{number}',
                'role': role, 'iat': now, 'exp': now + ttl,
                'jti': uuid.uuid4().hex, **claims}
        body = {k: v for k, v in body.items() if v is not None}
        text = b'.'.join(base64.urlsafe_b64encode(json.dumps(part).encode())
                         .rstrip(b'=') for part in
                         (header or {'alg': 'HS256', 'typ': 'JWT'}, body))
        mac = hmac.new(key or self.key, text, hashlib.sha256).digest()
        return (text + b'.' + base64.urlsafe_b64encode(mac).rstrip(b'=')
                ).decode()

    def person(self, role='client', balance=0, rates=(6000, 9000, 12000),
               bps=3000):
        """A new account; rates and bps are an advisor's: chat, audio, video
        in minor units a minute, and the platform's part."""
        assert role in ROLES
        email = f'{role}-{uuid.uuid4().hex[:12]}@test.test'
        with self.db() as db:
            number, = db.execute(
                'INSERT INTO identity.account'
                ' (email, name, role, password_hash)'
                ' VALUES (%s, %s, %s, %s) RETURNING id',
                (email, f'A {role}', role, '!')).fetchone()
            if role == 'advisor':
                db.execute(
                    'INSERT INTO identity.advisor (account_id, headline,'
                    ' rate_chat_minor, rate_audio_minor, rate_video_minor,'
                    ' commission_bps) VALUES (%s, %s, %s, %s, %s, %s)',
                    (number, 'Answers', *rates, bps))
            if role != 'admin':
                db.execute('INSERT INTO ledger.wallet (owner_id, kind)'
                           ' VALUES (%s, %s)', (number, role))
            if balance:
                db.execute('SELECT billing.topup(%s, %s, %s)',
                           (number, balance, f'test-{uuid.uuid4()}'))
        return Person(self, number, role, email, self.jwt(number, role))

    def connect(self, tls=True, **kw):
        client = Client(self.port if tls else self.plain_port,
                        tls=self.tls if tls else None, **kw)
        self.clients.append(client)
        return client

    def echo(self, tls=False, kind=WebSocket, **kw):
        """A connection to the location that echoes."""
        client = kind(self.port if tls else self.plain_port,
                      tls=self.tls if tls else None,
                      **{'path': '/echo', 'protocols': (), **kw})
        self.clients.append(client)
        return client

    def drop_clients(self):
        for client in self.clients:
            client.drop()
        self.clients.clear()


class Host(Stack):
    """One more nginx beside that of a stack: its own folder, port and shared
    memory, the same database, Redis and secret."""

    def __init__(self, first, settings=None, workers=2, redis=None):
        """redis: an address of its own for the same Redis."""
        super().__init__(settings, workers=workers)
        self.first = first
        self.env['ASTRO_PG'] = f'host={first.var}/run dbname=astro' \
                               ' user=postgres'
        self.env['ASTRO_REDIS'] = redis or f'unix:{first.var}/run/redis.sock'

    def up(self):
        self.script('conf')
        shutil.copyfile(f'{self.first.var}/secret/jwt',
                        f'{self.var}/secret/jwt')
        self.key = self.first.key
        self.script('start', 'nginx')
        self.rest = Rest(self.port, f'{self.var}/tls/cert.pem')
        self.tls = ssl.create_default_context(
            cafile=f'{self.var}/tls/cert.pem')
        eventually(lambda: self.rest.get('/api/health').status == 200, 20,
                   'a healthy /api/health')
        return self

    def down(self, *parts, dump=False):
        super().down(*(parts or ('nginx',)))

    def die(self):
        """As a host that loses its power: nobody has the time to say it."""
        master = self.pid('nginx')
        pids = [master, *self.nginx_workers()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(alive(pid) for pid in pids))
        self.drop_clients()

    def db(self):
        return self.first.db()

    def redis(self, *command):
        return self.first.redis(*command)


def sanitized():
    """The environment of an nginx that a test runs itself, or None for its
    own: the stock nginx is not linked with the sanitizers' runtimes."""
    if not os.path.exists(f'{BUILD}/sanitized'):
        return None
    libs = [subprocess.run(['gcc', f'-print-file-name={name}'], text=True,
                           stdout=subprocess.PIPE, check=True).stdout.strip()
            for name in ('libasan.so', 'libubsan.so')]
    return {**os.environ, 'LD_PRELOAD': ':'.join(libs),
            'ASAN_OPTIONS': 'detect_leaks=0'}
