"""Our own system, started by scripts/stack.sh in a directory of its own:
PostgreSQL (fsync on, as it is shipped), Redis, nginx with the module, worker.

The database is also the peers': they get a second database in the same
cluster.  So the cluster starts first and the parts of ours as they are asked
for, or not at all where they are not built yet.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import tempfile
import time

import psycopg

from . import machine
from .common import BUILD, PEERS, REPO, Skip, free_port, run

SCRIPT = os.path.join(REPO, 'scripts', 'stack.sh')
MODULE = os.path.join(BUILD, 'ngx_astro_module.so')
WORKER = os.path.join(BUILD, 'billing_worker')


class Stack:
    def __init__(self, connections):
        # not /tmp, which may be in memory, where a fsync costs nothing
        self.var = tempfile.mkdtemp(prefix='astro-bench-', dir='/var/tmp')
        os.chmod(self.var, 0o755)
        self.port = free_port()
        self.plain_port = free_port()
        self.started = set()
        self.refused = {}           # part -> why it did not start
        self.key = None

        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith('ASTRO_') or k == 'ASTRO_BUILD'}
        self.env.update({
            'ASTRO_VAR': self.var,
            'ASTRO_PORT': str(self.port),
            'ASTRO_PLAIN_PORT': str(self.plain_port),
            'ASTRO_WORKERS': str(machine.cores()),
            'ASTRO_PG_CONNECTIONS': '120',
            # for ours and for the peers: what anybody sets who writes much.
            # fsync and synchronous_commit are on, as shipped
            'ASTRO_PG_SETTINGS': '\n'.join((
                'shared_buffers = 1GB',
                'max_wal_size = 16GB',
                'checkpoint_timeout = 30min',
                'wal_buffers = 64MB',
            )),
            # the peers write no access log either
            'ASTRO_SETTINGS': '\n'.join((
                f'worker_connections {connections}',
                'access_log off',
                # checked as ever, but nobody here is one of many thousands
                'astro_limit all rate=1000000/s burst=1000000',
                'astro_connections per_user=64 per_address=60000',
                # 3200 signals are on their way at once
                'astro_zone 64m seats=16 ring=1m users=65536',
            )),
        })

    # -- parts -------------------------------------------------------------

    def script(self, *args, **env):
        return run([SCRIPT, *args], env={**self.env, **env}, cwd=REPO,
                   timeout=180)

    def start_database(self):
        self.script('start', 'pg', 'redis')
        self.started.add('pg')
        with open(f'{self.var}/secret/jwt', 'rb') as f:
            self.key = f.read()
        with self.admin('postgres') as db:
            db.execute('CREATE DATABASE peers')
        run(['psql', '-Xq', '-v', 'ON_ERROR_STOP=1',
             f'host={self.var}/run dbname=peers user=postgres',
             '-f', f'{PEERS}/schema.sql'])

    def need(self, *parts, settings=''):
        """Starts parts of ours that do not run yet: migrate, nginx, worker.
        settings: of the worker, "name = value" lines."""
        for part in parts:
            if part in self.refused:
                raise Skip(self.refused[part])
            if part in self.started:
                continue
            try:
                self.start(part, settings)
            except Skip as e:
                self.refused[part] = str(e)
                raise
            self.started.add(part)

    def start(self, part, settings):
        if part == 'nginx' and not os.path.exists(MODULE):
            raise Skip(f'{MODULE} is not built')
        if part == 'worker' and not os.path.exists(WORKER):
            raise Skip(f'{WORKER} is not built')
        if part == 'migrate':
            self.script('migrate')
        else:
            self.script('start', part, ASTRO_WORKER_SETTINGS=settings)

    def stop(self, part):
        if part in self.started:
            self.script('stop', part)
            self.started.discard(part)

    def close(self):
        subprocess.run([SCRIPT, 'stop'], env=self.env, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.var, ignore_errors=True)

    def pid(self, part):
        with open(f'{self.var}/run/{part}.pid', encoding='ascii') as f:
            return int(f.read())

    def audit(self):
        """The auditor's verdict on the books: exit status, words."""
        try:
            done = subprocess.run([SCRIPT, 'audit'], env=self.env, text=True,
                                  stdout=subprocess.PIPE, timeout=120,
                                  stderr=subprocess.STDOUT, check=False)
        except subprocess.TimeoutExpired:
            return None, 'not done after 120 s'
        return done.returncode, done.stdout.strip()

    def complaints(self):
        """Lines of nginx's error log that nothing here may cause."""
        try:
            with open(f'{self.var}/log/error.log', encoding='utf-8',
                      errors='replace') as f:
                return [line.strip() for line in f
                        if any(word in line for word in
                               ('[alert]', '[crit]', '[emerg]'))]
        except FileNotFoundError:
            return []

    # -- the database ------------------------------------------------------

    def admin(self, name='astro'):
        """A connection as the cluster's owner, whom no policy binds."""
        return psycopg.connect(f'host={self.var}/run dbname={name} '
                               'user=postgres', autocommit=True)

    def pg_env(self, name):
        """Environment of programs that speak to the database."""
        return {**os.environ, 'PGHOST': f'{self.var}/run', 'PGUSER':
                'postgres', 'PGDATABASE': name}

    # -- tokens ------------------------------------------------------------

    def token(self, account, role):
        """Signed as the server signs them; logging in is not measured."""
        now = int(time.time())
        claims = {'iss': 'astro', 'aud': 'astro', 'sub': f'u_{account}',
                  'role': role, 'iat': now, 'exp': now + 43200,
                  'jti': os.urandom(16).hex()}
        text = b'.'.join(_b64(json.dumps(part, separators=(',', ':')).encode())
                         for part in ({'alg': 'HS256', 'typ': 'JWT'}, claims))
        mac = hmac.new(self.key, text, hashlib.sha256).digest()
        return (text + b'.' + _b64(mac)).decode()


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=')
