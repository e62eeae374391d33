"""Paths, ports, programs, and the exception that says "skipped"."""

import os
import shutil
import signal
import socket
import subprocess
import time

import psycopg

HERE = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))
REPO = os.path.abspath(os.path.join(HERE, '..', '..'))
BUILD = os.path.join(REPO, os.environ.get('ASTRO_BUILD', 'build'))
OUT = os.path.join(BUILD, 'bench')
PEERS = os.path.join(HERE, 'peers')


class Skip(Exception):
    """Something cannot be measured here; the text says why."""


# what keeps one figure from being taken, and not the others
TROUBLE = (Skip, psycopg.Error, OSError)


def reason(trouble):
    return str(trouble).split('\n', maxsplit=1)[0] or repr(trouble)


def say(text=''):
    print(text, flush=True)


def free_port(taken=set()):
    """A port below those that the kernel gives to outgoing connections."""
    for port in range(21000, 24000):
        if port in taken:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('127.0.0.1', port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise Skip('no free port between 21000 and 24000')


def wait_port(port, process=None, timeout=20):
    """Until somebody listens there."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            raise Skip(f'{process.args[0]} ended with {process.returncode}')
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0:
                return
        time.sleep(0.05)
    raise Skip(f'nobody listens on port {port} after {timeout} s')


def need(program, package):
    path = shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if path is None:
        raise Skip(f'{program} is not there (Debian package {package})')
    return path


def pg_program(name):
    """A program of PostgreSQL's that Debian keeps out of the PATH."""
    for version in ('15', '16', '17'):
        path = f'/usr/lib/postgresql/{version}/bin/{name}'
        if os.access(path, os.X_OK):
            return path
    return need(name, 'postgresql-15')


def run(args, timeout=120, **kw):
    """Output of a program that must succeed."""
    try:
        done = subprocess.run(args, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, timeout=timeout,
                              stderr=subprocess.STDOUT, **kw)
    except subprocess.TimeoutExpired as e:
        raise Skip(f'{args[0]} did not end in {timeout} s') from e
    if done.returncode != 0:
        last = ' '.join(done.stdout.split('\n')[-4:]).strip()
        raise Skip(f'{os.path.basename(args[0])}: {last}')
    return done.stdout


def end(process, sig=signal.SIGTERM, timeout=10):
    """Ends a process that we started."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
