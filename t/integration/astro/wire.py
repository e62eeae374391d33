"""A wire between a program and a Unix socket that can be cut."""

import os
import select
import socket
import threading


class Wire:
    """Listens on a port of 127.0.0.1, passes everything on to a socket."""

    def __init__(self, path):
        self.path = path
        self.server = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.port = self.server.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'
        self.lock = threading.Lock()
        self.pairs = set()
        self.whole = True           # passes bytes on
        self.refuses = False        # closes who connects
        self.holds = False          # keeps what is for who only publishes
        self.said = {}              # near end: what it said of late
        self.poke, self.poked = os.pipe()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def cut(self):
        """What is connected is closed, and nobody can connect."""
        with self.lock:
            self.refuses = True
            self._close_all()

    def stall(self):
        """Nothing passes any more, and nobody is told."""
        self.whole = False
        os.write(self.poked, b'x')

    def cut_listener(self, channel):
        """The one that listens to it is closed; nobody can connect."""
        name = f'SUBSCRIBE\r\n${len(channel)}\r\n{channel}\r\n'.encode()
        with self.lock:
            self.refuses = True
            found = [pair for pair in self.pairs
                     if self.said[pair[0]].rfind(b'$9\r\n' + name)
                     > self.said[pair[0]].rfind(b'$11\r\nUN' + name)]
            assert len(found) == 1
            for s in found[0]:
                s.shutdown(socket.SHUT_RDWR)

    def hold(self, on):
        """Answers to those who publish wait; those who listen hear."""
        self.holds = on
        os.write(self.poked, b'x')

    def mend(self):
        with self.lock:
            if not self.whole:
                self._close_all()
            self.refuses, self.whole = False, True
        os.write(self.poked, b'x')

    def close(self):
        self.stopping = True
        os.write(self.poked, b'x')
        self.thread.join(10)
        self.server.close()
        self._close_all()
        os.close(self.poke)
        os.close(self.poked)

    def _close_all(self):
        for pair in self.pairs:
            for s in pair:
                s.close()
        self.pairs = set()

    def _run(self):
        while not self.stopping:
            with self.lock:
                other = {}
                for a, b in self.pairs:
                    other[a], other[b] = b, a
            watched = [self.server, self.poke]
            if self.whole:
                watched += [s for s in other if s.fileno() >= 0
                            and not (self.holds and self._publishes(other[s]))]
            try:
                ready = select.select(watched, [], [], 0.2)[0]
            except (OSError, ValueError):
                continue
            if self.poke in ready:
                os.read(self.poke, 100)
            if self.server in ready:
                self._accept()
            for s in ready:
                if s in other:
                    self._pass(s, other[s])

    def _publishes(self, near):
        return near in self.said and b'SUBSCRIBE' not in self.said[near]

    def _accept(self):
        near = self.server.accept()[0]
        far = socket.socket(socket.AF_UNIX)
        try:
            if self.refuses:
                raise OSError('cut')
            far.connect(self.path)
        except OSError:
            near.close()
            far.close()
            return
        with self.lock:
            self.pairs.add((near, far))
            self.said[near] = b''

    def _pass(self, s, other):
        try:
            data = s.recv(65536)
            if s in self.said:
                self.said[s] = (self.said[s] + data)[-1 << 20:]
            other.sendall(data)
        except OSError:
            data = b''
        if not data:
            with self.lock:
                self.pairs -= {(s, other), (other, s)}
            s.close()
            other.close()
