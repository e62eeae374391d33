#!/usr/bin/python3
"""Workers killed under nchan and under ours: who loses what.

Pairs talk over WebSocket through an nginx with four workers; every few
seconds one of these is killed (-9).  In both every message is sent again until
the server has acknowledged it, and whoever is cut comes back and resumes: with
nchan by the id of the last message (ws+meta.nchan, last_event_id), with ours
by position.  At the end the killing stops for some seconds, so that whatever is
only late can arrive.

    t/chaos/compare_nchan.py [--pairs 100] [--seconds 20] [--seed N]

sent        acknowledged by the server
lost        of those, never received by who had to
twice       received more than once
deaf        receivers who in the last seconds, with nothing killed, got nothing
            of what was sent to them

Exit status 1 if ours lost one.
"""

import argparse
import base64
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'integration'))

from astro.crowd import Crowd                           # noqa: E402
from astro.stack import Stack, eventually, free_ports   # noqa: E402
from astro.ws import frame                              # noqa: E402

WORKERS = 4
EVERY = 0.5         # s between two messages of one sender
KILL_EVERY = 3
QUIET = 8           # s at the end without a kill
MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so'

CONF = '''
load_module {module};
{user}
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    nchan_shared_memory_size 64m;
    client_body_temp_path {dir}/1; proxy_temp_path {dir}/2;
    fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4;
    scgi_temp_path {dir}/5;
    server {{
        listen 127.0.0.1:{port} reuseport;
        location ~ ^/sub/(\\w+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/pub/(\\w+)$ {{
            nchan_publisher websocket;
            nchan_channel_id $1;
            nchan_message_buffer_length 1000;
            nchan_message_timeout 5m;
        }}
    }}
}}
'''


class Line:
    """A WebSocket to nchan that comes back when it is cut."""

    def __init__(self, loop, channel, sends):
        self.loop, self.channel, self.sends = loop, channel, sends
        self.sock = None
        self.due = 0
        self.up = False
        self.last_id = None
        self.got = {}               # text -> times
        self.heard = 0              # when the last came
        self.waiting = None
        self.acked = {}             # text -> when
        self.next = 0

    def connect(self, now):
        path = f'/{"pub" if self.sends else "sub"}/{self.channel}'
        if self.last_id:
            path += f'?last_event_id={self.last_id}'
        meta = '' if self.sends else \
            'Sec-WebSocket-Protocol: ws+meta.nchan\r\n'
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(('127.0.0.1', self.loop.port))
        self.up, self.inbox, self.due = False, b'', now + 3
        self.outbox = (f'GET {path} HTTP/1.1\r\nHost: x\r\n'
                       'Upgrade: websocket\r\nConnection: Upgrade\r\n'
                       f'Sec-WebSocket-Version: 13\r\n{meta}'
                       'Sec-WebSocket-Key: '
                       f'{base64.b64encode(os.urandom(16)).decode()}\r\n\r\n'
                       ).encode()
        self.loop.by_fd[self.sock.fileno()] = self
        self.loop.poll.register(self.sock.fileno(), select.EPOLLIN
                                | select.EPOLLOUT)

    def cut(self, now):
        self.loop.poll.unregister(self.sock.fileno())
        del self.loop.by_fd[self.sock.fileno()]
        self.sock.close()
        self.sock, self.up = None, False
        self.due = now + random.uniform(0.05, 0.4)
        self.loop.cuts += 1

    def flush(self):
        try:
            self.outbox = self.outbox[self.sock.send(self.outbox):]
        except OSError:
            return
        self.loop.poll.modify(self.sock.fileno(), select.EPOLLIN
                              | (select.EPOLLOUT if self.outbox else 0))

    def readable(self, now):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if not data:
            self.cut(now)
            return
        self.inbox += data
        if not self.up:
            head, found, rest = self.inbox.partition(b'\r\n\r\n')
            if not found:
                return
            if b' 101 ' not in head[:16]:
                self.cut(now)
                return
            self.up, self.inbox, self.due = True, rest, now + 1e9
            self.ready_at = now
            if self.waiting:
                self.say(now)
        while len(self.inbox) >= 2:
            n, head = self.inbox[1] & 127, 2
            if n == 126:
                if len(self.inbox) < 4:
                    return
                n, head = struct.unpack_from('>H', self.inbox, 2)[0], 4
            if len(self.inbox) < head + n:
                return
            opcode = self.inbox[0] & 15
            payload = self.inbox[head:head + n]
            self.inbox = self.inbox[head + n:]
            if opcode == 8:
                self.cut(now)
                return
            if opcode == 9:
                self.outbox += frame(10, payload)
                self.flush()
            elif opcode == 1 and self.sends:
                if self.waiting:
                    self.acked[self.waiting] = now
                    self.waiting, self.due = None, now + 1e9
            elif opcode == 1:
                meta, _, text = payload.decode().partition('\n\n')
                self.last_id = next(
                    line[4:] for line in meta.split('\n')
                    if line.startswith('id: '))
                self.got[text] = self.got.get(text, 0) + 1
                self.heard = now

    def say(self, now):
        self.waiting = self.waiting or f'{uuid.uuid4()}'
        self.outbox += frame(1, self.waiting.encode())
        self.due = now + 5
        self.flush()

    def tick(self, now):
        if self.sock is None:
            if now >= self.due:
                self.connect(now)
        elif now >= self.due:
            self.cut(now)
        elif self.up and self.sends and self.loop.talking \
                and self.waiting is None and now >= self.next:
            self.next = now + EVERY
            self.say(now)


class Nchan:
    name = 'nchan'

    def __init__(self, pairs):
        self.dir = tempfile.mkdtemp(prefix='astro-nchan-', dir='/tmp')
        os.chmod(self.dir, 0o755)
        self.port, = free_ports(1)
        with open(f'{self.dir}/nginx.conf', 'w', encoding='ascii') as f:
            f.write(CONF.format(
                module=MODULE, workers=WORKERS, dir=self.dir, port=self.port,
                user='user www-data;' if os.getuid() == 0 else ''))
        subprocess.run(['/usr/sbin/nginx', '-p', self.dir, '-e',
                        f'{self.dir}/error.log', '-c',
                        f'{self.dir}/nginx.conf'], check=True)
        eventually(lambda: os.path.exists(f'{self.dir}/nginx.pid'))
        with open(f'{self.dir}/nginx.pid', encoding='ascii') as f:
            self.master = int(f.read())
        self.poll, self.by_fd = select.epoll(), {}
        self.talking, self.cuts = False, 0
        self.pairs = [(Line(self, f'c{i}', True), Line(self, f'c{i}', False))
                      for i in range(pairs)]
        self.run(2, lambda: all(a.up and b.up for a, b in self.pairs))
        self.talking = True

    def workers(self):
        with open(f'/proc/{self.master}/task/{self.master}/children',
                  encoding='ascii') as f:
            return [int(pid) for pid in f.read().split()]

    def run(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        ticked = 0
        while time.monotonic() < end and not until():
            for fd, mask in self.poll.poll(0.02):
                line = self.by_fd.get(fd)
                now = time.monotonic()
                if line and mask & select.EPOLLOUT:
                    line.flush()
                if line and line.sock and mask & ~select.EPOLLOUT:
                    line.readable(now)
            now = time.monotonic()
            if now - ticked > 0.02:
                ticked = now
                for pair in self.pairs:
                    for line in pair:
                        line.tick(now)

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)

    def result(self):
        since = time.monotonic()
        self.run(QUIET)
        self.talking = False
        self.run(2)
        sent = received = lost = twice = deaf = 0
        for sender, receiver in self.pairs:
            sent += len(sender.acked)
            received += len(receiver.got)
            lost += len(set(sender.acked) - set(receiver.got))
            twice += sum(n > 1 for n in receiver.got.values())
            deaf += receiver.heard < since + 2 \
                and any(t > since + 2 for t in sender.acked.values())
        return sent, received, lost, twice, deaf, self.cuts

    def close(self):
        # stuck ones are known to hear no TERM
        pids = [self.master, *self.workers()]
        os.kill(self.master, signal.SIGTERM)
        time.sleep(1)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        subprocess.run(['rm', '-rf', self.dir], check=False)


class Ours:
    name = 'ours'

    def __init__(self, pairs):
        self.stack = Stack({'astro_grace': '60s'}, {'grace_seconds': '60'},
                           workers=WORKERS)
        try:
            self.stack.up()
            # both parties of each talk: half as many pairs, as many senders
            self.crowd = Crowd(self.stack, max(pairs // 2, 1), EVERY)
            self.crowd.talk(60)
        except BaseException:
            self.stack.down()
            raise

    def workers(self):
        return sorted(self.stack.nginx_workers())

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)

    def run(self, seconds):
        time.sleep(seconds)
        self.crowd.check()

    def result(self):
        crowd = self.crowd
        self.run(2)
        heard = {m: len(m.events) for m in crowd.members}
        self.run(QUIET - 2)
        deaf = sum(len(m.events) == n for m, n in heard.items())
        crowd.hush()
        time.sleep(2)
        sent = received = lost = twice = 0
        for member in crowd.members:
            got = [p['cid'] for _, kind, p in member.events
                   if kind == 'chat_message']
            sent += len(member.acked)
            to_me = set(member.other.acked)
            received += len(to_me & set(got))
            lost += len(to_me - set(got))
            twice += len(got) - len(set(got))
        cuts = sum(m.cuts for m in crowd.members)
        crowd.verdict()
        return sent, received, lost, twice, deaf, cuts

    def close(self):
        self.crowd.close()
        self.stack.down()


def measure(kind, options):
    chance = random.Random(options.seed)
    server = kind(options.pairs)
    kills = 0
    try:
        server.run(2)
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            server.kill(chance.choice(server.workers()))
            kills += 1
            server.run(KILL_EVERY)
        return kills, *server.result()
    finally:
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--pairs', type=int, default=100)
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()

    if not os.path.exists(MODULE):
        sys.exit('nchan is not there: scripts/setup.sh bench')

    heads = ('', 'killed', 'sent', 'received', 'lost', 'twice', 'deaf',
             'reconnects')
    print(f'{options.pairs} senders, as many receivers, {WORKERS} workers, '
          f'one killed every {KILL_EVERY} s for {options.seconds:g} s')
    print('  '.join(f'{head:>10}' for head in heads), flush=True)
    for kind in (Nchan, Ours):
        row = measure(kind, options)
        print('  '.join(f'{cell:>10}' for cell in (kind.name, *row)),
              flush=True)
    if row[3]:
        sys.exit(1)


if __name__ == '__main__':
    main()
