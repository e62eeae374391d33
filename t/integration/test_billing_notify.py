"""What systemd is told, on a socket of the test's own, and the unit."""

import os
import signal
import socket
import subprocess
import time

import pytest

from billing_fixture import BINARY, ROOT, SLOW, Bench, Redis, eventually
from sql_fixture import sql     # noqa: F401


@pytest.fixture(scope="module")
def redis():
    server = Redis()
    yield server
    server.close()


@pytest.fixture
def bench(sql, redis):          # noqa: F811
    made = Bench(sql, redis)
    yield made
    made.close()


class Systemd:
    """Starts billing_worker as systemd would, and listens."""

    def __init__(self, path, pg, *options, **env):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(f"\0{path[1:]}" if path[0] == "@" else path)
        self.sock.setblocking(False)
        self.heard = []
        self.process = subprocess.Popen(
            [BINARY, "run", "-o", f"pg={pg}", *options],
            stderr=subprocess.DEVNULL, env={
                **os.environ, "NOTIFY_SOCKET": path,
                "WATCHDOG_USEC": "1000000", **env})

    def listen(self):
        while True:
            try:
                self.heard.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    def count(self, word):
        return sum(word == text.split("\n")[0] for text in self.listen())

    def until(self, word, n=1, timeout=20):
        eventually(lambda: self.count(word) >= n, timeout, f"{word} * {n}")

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        assert self.process.wait(20 * SLOW) == 0
        self.listen()


@pytest.fixture
def start(request, tmp_path):
    made = []

    def one(*args, path=None, **env):
        made.append(Systemd(path or str(tmp_path / f"n{len(made)}"), *args,
                            **env))
        return made[-1]

    yield one

    for systemd in made:
        if systemd.process.poll() is None:
            systemd.close()


def test_ready_with_leases_or_standing_by(bench, start):
    first = start(bench.dsn("astro_worker"))
    first.until("READY=1")
    assert bench.one("SELECT count(*) FROM billing.shard_lease"
                     " WHERE expires_at > clock_timestamp()") == 256
    second = start(bench.dsn("astro_worker"), path="@astro-" + bench.name)
    second.until("READY=1")
    second.until("STATUS=standing by, others hold all shards")
    first.until("WATCHDOG=1", 3)
    assert first.count("READY=1") == 1
    second.close()
    assert "STOPPING=1" in second.heard
    assert first.count("STOPPING=1") == 0


def test_not_ready_without_a_database(bench, start):
    """It waits, and lives: systemd has no reason to kill it."""
    systemd = start("host=/nonexistent")
    systemd.until("WATCHDOG=1", 6)
    assert systemd.count("READY=1") == 0
    systemd.close()
    assert systemd.count("READY=1") == 0


def test_reload(bench, start, tmp_path):
    file = tmp_path / "c.conf"
    file.write_text("tick_seconds = 5\n")
    systemd = start(bench.dsn("astro_worker"), "--config", file)
    systemd.until("READY=1")

    for n, text in enumerate(("tick_seconds = 6\n", "tick_seconds = x\n"), 1):
        file.write_text(text)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.process.send_signal(signal.SIGHUP)
        systemd.until("RELOADING=1", n)
        systemd.until("READY=1", n + 1)
        said = [text for text in systemd.heard if "RELOADING=1" in text][-1]
        assert int(said.split("MONOTONIC_USEC=")[1]) >= before

    words = [text.split("\n")[0] for text in systemd.heard
             if text[0] == "R"]
    assert words == ["READY=1"] + ["RELOADING=1", "READY=1"] * 2


def test_a_loop_that_stands_feeds_nobody(bench, start):
    systemd = start(bench.dsn("astro_worker"))
    systemd.until("WATCHDOG=1", 2)
    systemd.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    fed = systemd.count("WATCHDOG=1")
    time.sleep(2)
    assert systemd.count("WATCHDOG=1") == fed
    systemd.process.send_signal(signal.SIGCONT)
    systemd.until("WATCHDOG=1", fed + 2)


def test_another_process_watchdog(bench, start):
    systemd = start(bench.dsn("astro_worker"), WATCHDOG_PID="1")
    systemd.until("READY=1")
    time.sleep(1.5)
    assert systemd.count("WATCHDOG=1") == 0


def test_fed_twice_as_often_as_needed(bench, start):
    systemd = start(bench.dsn("astro_worker"), WATCHDOG_USEC="4000000")
    systemd.until("WATCHDOG=1", 1)
    began = time.monotonic()
    systemd.until("WATCHDOG=1", 3)
    assert time.monotonic() - began > 2.5, "far too often"


def test_the_unit(tmp_path):
    """systemd finds no fault with it."""
    unit = (ROOT / "conf/astro-billing.service").read_text()
    assert "Type=notify" in unit and "WatchdogSec=" in unit
    file = tmp_path / "astro-billing.service"
    file.write_text(unit.replace("/usr/local/sbin/billing_worker",
                                 str(BINARY)))
    done = subprocess.run(["systemd-analyze", "verify", file], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
