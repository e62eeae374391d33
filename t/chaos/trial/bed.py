"""What a trial runs on.  A bed is one PostgreSQL and one Redis, used for one
trial after the other; each has a database of its own.  Everything here dies
with the process that started it."""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import psycopg
import redis as redis_client

ROOT = pathlib.Path(__file__).resolve().parents[3]
SLOW = float(os.environ.get("ASTRO_TEST_SLOW")
             or os.environ.get("ASTRO_SLOW") or 1)
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
MOULD = "astro_mould"


def boot_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def eventually(ready, timeout=30, what=None, every=0.03):
    until = time.monotonic() + timeout * SLOW
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what or 'that'} in {timeout} s")
        time.sleep(every)


def _bins():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"),
                   key=lambda p: int(p.split("/")[4]))
    assert found, "PostgreSQL is not installed"
    return found[-1]


def _as_postgres(*more):
    """What to put before a command: another user when we are root."""
    if os.geteuid() == 0:
        more = ("--reuid=postgres", "--regid=postgres", "--init-groups",
                *more)
    return ["setpriv", *more] if more else []


def mortal(sig):
    """Before a command: it gets that signal when this process is gone."""
    return ["setpriv", "--pdeathsig", sig]


class Cluster:
    """One PostgreSQL on a Unix socket."""

    def __init__(self, mould=None):
        self.home = tempfile.mkdtemp(prefix="astro-trial-", dir="/tmp")
        self.process = None

        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.home, user.pw_uid, user.pw_gid)

        if mould is None:
            subprocess.run(
                [*_as_postgres(), f"{_bins()}/initdb", "-D",
                 f"{self.home}/pg", "-U", "postgres", "-A", "trust", "-E",
                 "UTF8", "--locale=C.UTF-8", "--no-sync"], check=True,
                cwd="/", stdout=subprocess.DEVNULL)
        else:
            subprocess.run(["cp", "-a", f"{mould.home}/pg",
                            f"{self.home}/pg"], check=True)

        self.start()

    def dsn(self, name="postgres", user="postgres"):
        return f"host={self.home} user={user} dbname={name}"

    def start(self):
        with open(f"{self.home}/log", "ab") as log:
            self.process = subprocess.Popen(
                [*_as_postgres("--pdeathsig", "QUIT"), f"{_bins()}/postgres",
                 "-D", f"{self.home}/pg", "-c", "listen_addresses=",
                 "-c", f"unix_socket_directories={self.home}",
                 "-c", "fsync=off", "-c", "max_connections=100",
                 "-c", "shared_buffers=32MB", "-c", "autovacuum=off",
                 "-c", "restart_after_crash=on"],
                cwd="/", stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        eventually(self.up, 60, "PostgreSQL takes connections")

    def up(self):
        with contextlib.suppress(psycopg.Error):
            with psycopg.connect(self.dsn()):
                return True

    def stop(self, sig=signal.SIGQUIT):
        """SIGQUIT: at once, as from a crash; nothing is said to anybody."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        self.process.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def mould():
    """A cluster with a migrated database, stopped: to be copied."""
    made = Cluster()

    with psycopg.connect(made.dsn(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {MOULD}")

    subprocess.run([ROOT / "scripts" / "migrate.sh", made.dsn(MOULD)],
                   check=True, stdout=subprocess.DEVNULL)
    made.stop(signal.SIGINT)
    return made


class Redis:
    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="astro-trial-", dir="/tmp")
        self.path = f"{self.home}/redis.sock"
        self.client = redis_client.Redis(unix_socket_path=self.path)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [*mortal("KILL"), "redis-server", "--port", "0", "--unixsocket",
             self.path, "--save", "", "--dir", self.home],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            with contextlib.suppress(redis_client.RedisError):
                return self.client.ping()

        eventually(up, what="redis-server")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


class Worker:
    """One billing_worker process.  point: where it is to die; clock: a file
    for libfaketime, which moves the time of day and no other clock."""

    def __init__(self, binary, home, settings, point=None, clock=None):
        self.log = f"{home}/worker-{uuid.uuid4().hex[:8]}.log"
        self.stays = point is None  # nobody has meant it to die, so far
        env = dict(os.environ)
        env.pop("BILLING_POINT", None)

        if point is not None:
            env["BILLING_POINT"] = point

        if clock is not None:
            env.update(LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=clock,
                       FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1",
                       DONT_FAKE_MONOTONIC="1")

        options = [word for key, value in settings.items()
                   for word in ("-o", f"{key}={value}")]

        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*mortal("KILL"), binary, "run", *options], env=env,
                stderr=log, stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL)

    def lines(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            for line in log:
                try:
                    yield json.loads(line)
                except ValueError:
                    yield {"level": "error", "msg": line.strip()}

    def said(self, msg):
        return [line for line in self.lines() if line["msg"] == msg]

    @property
    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.stays = False
        self.process.kill()
        self.process.wait()

    def signal(self, sig):
        self.process.send_signal(sig)

    def stop(self):
        """SIGTERM; its status."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(15 * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
                return "hung at SIGTERM"
        return self.process.returncode


class Bed:
    def __init__(self, made_from, build):
        self.binary = pathlib.Path(build).resolve() / "billing_worker"
        self.pg = Cluster(made_from)
        self.redis = Redis()
        self.stack = None           # for trials with nginx: see nginx.py

    def database(self):
        name = "trial_" + uuid.uuid4().hex[:12]
        with psycopg.connect(self.pg.dsn(), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {MOULD}")
        return name

    def drop(self, name):
        with psycopg.connect(self.pg.dsn(), autocommit=True) as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def mend(self):
        """Whatever a trial has left dead."""
        if self.pg.process.poll() is not None:
            self.pg.start()
        if self.redis.process.poll() is not None:
            self.redis.start()

    def close(self):
        self.pg.close()
        self.redis.close()
        if self.stack is not None:
            self.stack.down()
