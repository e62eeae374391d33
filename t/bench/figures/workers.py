"""Billing workers of a benchmark's own: any number, with settings as needed;
and somebody who hears what they say in Redis, with the time of it."""

import os
import re
import signal
import socket
import subprocess
import threading
import time

from . import crowd
from .common import Skip
from .stack import WORKER

SAMPLE = 7                      # one line of so many is looked at


def audit(stack):
    """Exit status and words of the auditor."""
    done = subprocess.run(
        [WORKER, 'audit', '-o', f'pg=host={stack.var}/run dbname=astro'
         ' user=astro_worker'], text=True, check=False, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.strip()


class Worker:
    COUNT = 0

    def __init__(self, stack, program=WORKER, metrics=True, **settings):
        if not os.path.exists(program):
            raise Skip(f'{program} is not built')
        Worker.COUNT += 1
        run = f'{stack.var}/run'
        self.socket = f'{run}/metrics{Worker.COUNT}.sock' if metrics else None
        given = {'pg': f'host={run} dbname=astro user=astro_worker',
                 'redis': f'unix:{run}/redis.sock', **settings}
        if metrics:
            given['metrics_listen'] = f'unix:{self.socket}'
        args = [x for key, value in given.items()
                for x in ('-o', f'{key}={value}')]
        # what it says goes with the other logs
        self.log = open(f'{stack.var}/log/worker{Worker.COUNT}.log', 'wb')
        self.born = crowd.boot_s()
        self.process = subprocess.Popen([program, 'run', *args],
                                        stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self.pid = self.process.pid

    def metric(self, name):
        """The value, None while nobody answers."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            try:
                s.connect(self.socket)
                s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
                text = b''
                while True:
                    some = s.recv(65536)
                    if not some:
                        break
                    text += some
            except OSError:
                return None
        match = re.search(rf'^astro_billing_{name} (\S+)$', text.decode(),
                          re.M)
        return float(match.group(1)) if match else None

    def until(self, name, value, timeout=60, every=0.01):
        """Seconds from its start until that metric is so much."""
        while True:
            found = self.metric(name)
            now = crowd.boot_s() - self.born
            if found is not None and found >= value:
                return now
            if self.process.poll() is not None or now > timeout:
                raise Skip(f'{name} is {found}, not {value}, after '
                           f'{now:.1f} s')
            time.sleep(every)

    def rss_kb(self):
        with open(f'/proc/{self.pid}/status', encoding='ascii') as f:
            return int(re.search(r'^VmRSS:\s+(\d+)', f.read(), re.M).group(1))

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(number)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Ear(threading.Thread):
    """Hears of ticks; keeps, of a sample of the lines, session and when."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(f'{stack.var}/run/redis.sock')
        self.sock.sendall(b'*2\r\n$9\r\nSUBSCRIBE\r\n$12\r\nastro:events\r\n')
        self.lock = threading.Lock()
        self.every = SAMPLE
        self.heard = []             # (session, boot clock s)
        self.lines = 0
        self.over = False
        self.start()

    def run(self):
        """Of Redis' protocol no more than is needed: a line that begins with
        a digit and has nine blanks is a tick."""
        rest = b''
        while not self.over:
            try:
                some = self.sock.recv(1 << 18)
            except OSError:
                return
            if not some:
                return
            now = crowd.boot_s()
            *lines, rest = (rest + some).split(b'\n')
            ticks = [line for line in lines if line.count(b' ') == 9
                     and line[:1].isdigit()]
            first = -self.lines % self.every
            mine = [(int(line[:line.index(b' ')]), now)
                    for line in ticks[first::self.every]]
            with self.lock:
                self.lines += len(ticks)
                self.heard += mine

    def take(self):
        """What was heard since the last time; how many lines in all."""
        with self.lock:
            heard, self.heard = self.heard, []
            lines, self.lines = self.lines, 0
        return heard, lines

    def close(self):
        self.over = True
        self.sock.shutdown(socket.SHUT_RDWR)
        self.join()
        self.sock.close()
