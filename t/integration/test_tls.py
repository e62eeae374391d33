"""TLS to PostgreSQL with sslmode=verify-full, of module and worker: a server
that our authority vouches for is spoken to, and no other."""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, eventually, free_ports


def openssl(*words):
    subprocess.run(['openssl', *words], check=True, capture_output=True)


def authority(home, name):
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
            '-subj', f'/CN={name}', '-out', f'{home}/{name}.pem', '-keyout',
            f'{home}/{name}.key')
    return f'{home}/{name}.pem'


@pytest.fixture(scope='module')
def tls():
    home = tempfile.mkdtemp(prefix='astro-tls-', dir='/tmp')
    os.chmod(home, 0o755)
    ours, (port,) = authority(home, 'ours'), free_ports(1)
    authority(home, 'strange')
    pathlib.Path(f'{home}/ext').write_text(
        'subjectAltName=DNS:localhost\n', 'ascii')
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost',
            '-out', f'{home}/server.csr', '-keyout', f'{home}/server.key')
    openssl('x509', '-req', '-in', f'{home}/server.csr', '-CA', ours,
            '-CAkey', f'{home}/ours.key', '-days', '2', '-extfile',
            f'{home}/ext', '-out', f'{home}/server.pem')
    shutil.copy(ours, f'{home}/trusted.pem')
    for name in ('ours', 'strange', 'trusted', 'server'):
        os.chmod(f'{home}/{name}.pem', 0o644)
    if os.geteuid() == 0:
        shutil.chown(f'{home}/server.key', pwd.getpwnam('postgres').pw_uid)
    os.chmod(f'{home}/server.key', 0o600)

    def conninfo(role, host='localhost'):
        return (f'host={host} hostaddr=127.0.0.1 port={port} dbname=astro'
                f' user={role} sslmode=verify-full'
                f' sslrootcert={home}/trusted.pem')

    stack = Stack({'astro_pg': f'"{conninfo("astro_web")}"'},
                  worker_settings={'pg': conninfo('astro_worker')})
    stack.env['ASTRO_PG_SETTINGS'] = '\n'.join((
        "listen_addresses = '127.0.0.1'", f'port = {port}',
        f"unix_socket_directories = '{stack.var}/run'", 'ssl = on',
        f"ssl_cert_file = '{home}/server.pem'",
        f"ssl_key_file = '{home}/server.key'"))
    # where libpq looks for certificates of clients: not in root's
    stack.env['HOME'] = '/nonexistent'
    stack.env['PGPORT'] = str(port)
    os.environ['PGPORT'] = str(port)        # of the tests' own connections
    stack.home = home
    try:
        yield stack.up()
    finally:
        stack.down()
        del os.environ['PGPORT']
        shutil.rmtree(home)


@pytest.fixture
def stack(tls):
    yield from watch(tls)


def test_m6_by_tls_alone(stack):
    """A whole consultation; and each connection of theirs is encrypted."""
    talk = Consultation(stack).active()
    talk.end()
    with stack.db() as db:
        seen = db.execute(
            'SELECT a.usename, bool_and(s.ssl), min(s.version)'
            '  FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)'
            " WHERE a.usename LIKE 'astro_w%%' GROUP BY 1 ORDER BY 1"
            ).fetchall()
    assert [row[:2] for row in seen] == [('astro_web', True),
                                         ('astro_worker', True)]
    assert all(row[2] in ('TLSv1.2', 'TLSv1.3') for row in seen)


def connections(stack):
    with stack.db() as db:
        return db.execute('SELECT usename FROM pg_stat_activity'
                          " WHERE usename LIKE 'astro_w%'").fetchall()


def test_m6_a_server_of_another_authority_is_refused(stack):
    """As if somebody stood between: what we trust is not who signed it."""
    shutil.copy(f'{stack.home}/strange.pem', f'{stack.home}/trusted.pem')
    try:
        with stack.db() as db:
            db.execute('SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
                       " WHERE usename LIKE 'astro_w%'")
        eventually(lambda: re.search(
            'PostgreSQL for .*certificate verify failed', stack.log()), 20)
        eventually(lambda: stack.rest.get('/health/ready').status == 503, 20)
        # the worker says once for each outage that there is one
        assert connections(stack) == []
        time.sleep(3)
        assert connections(stack) == []
        person = stack.jwt(1, 'client')
        eventually(lambda: stack.rest.get('/api/wallet', person).status
                   == 503, 20)
    finally:
        shutil.copy(f'{stack.home}/ours.pem', f'{stack.home}/trusted.pem')
        eventually(lambda: stack.rest.get('/health/ready').status == 200, 20)
