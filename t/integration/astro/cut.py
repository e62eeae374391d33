"""The network of one browser, which a test cuts: nothing of what is sent comes
anywhere, in either direction, and nobody is told.

A TCP forwarder before nginx for that browser alone, and a UDP forwarder before
the TURN server for all, which knows whose packets it sees: logins at the relay
are "<when>:u_<who>", in clear."""

import re
import selectors
import socket
import threading

SIZE = 1 << 16
USER = re.compile(rb'\d{9,11}:(u_\d+)')


class Network:
    def __init__(self, tcp, udp):
        """tcp, udp: the ports of nginx and of the TURN server."""
        self.to = tcp, udp
        self.moved = None
        self.cut_off = None             # the user who hears nothing now
        self.pairs = {}                 # socket: the other one
        self.flows = {}                 # a browser's address: socket to TURN
        self.users = {}                 # a browser's address: u_..
        self.select = selectors.DefaultSelector()

        self.listening = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.turn = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.turn.bind(('127.0.0.1', 0))
        self.wake, self.waker = socket.socketpair()
        for s, what in ((self.listening, self.accept),
                        (self.turn, self.from_browser),
                        (self.wake, self.woken)):
            s.setblocking(False)
            self.select.register(s, selectors.EVENT_READ, what)
        self.tcp_port = self.listening.getsockname()[1]
        self.udp_port = self.turn.getsockname()[1]

        self.going = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    # -- what a test does ----------------------------------------------------

    def cut(self, user):
        """Whoever comes through the TCP port; of UDP that user's packets."""
        self.cut_off = user.encode()
        self.waker.send(b'c')

    def mend(self):
        """It is back, at another address: what a relay had allocated for the
        old one is of no use any more."""
        self.moved = self.cut_off
        self.cut_off = None
        self.waker.send(b'm')

    def close(self):
        self.going = False
        self.waker.send(b'e')
        self.thread.join(10)
        for key in list(self.select.get_map().values()):
            key.fileobj.close()
        for s in self.pairs:
            s.close()
        self.waker.close()

    # -- the thread ----------------------------------------------------------

    def run(self):
        while self.going:
            for key, _ in self.select.select():
                try:
                    key.data(key.fileobj)
                except BlockingIOError:
                    pass
                except OSError:
                    self.end(key.fileobj)

    def woken(self, s):
        s.recv(SIZE)
        if self.cut_off:
            # what comes stays where it is: nobody reads it
            for one in (self.listening, *self.pairs):
                if one in self.select.get_map():
                    self.select.unregister(one)
            return
        for address in [a for a, u in self.users.items() if u == self.moved]:
            flow = self.flows.pop(address)
            self.select.unregister(flow)
            flow.close()
            del self.users[address]
        for one, what in ((self.listening, self.accept),
                          *((one, self.forward) for one in self.pairs)):
            if one not in self.select.get_map():
                self.select.register(one, selectors.EVENT_READ, what)

    def accept(self, s):
        ours, _ = s.accept()
        ours.settimeout(10)
        try:
            theirs = socket.create_connection(('127.0.0.1', self.to[0]), 10)
        except OSError:
            return ours.close()         # as nobody listens there now
        self.pairs |= {ours: theirs, theirs: ours}
        for one in (ours, theirs):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.select.register(one, selectors.EVENT_READ, self.forward)
        return None

    def forward(self, s):
        data = s.recv(SIZE)
        if not data:
            return self.end(s)
        self.pairs[s].sendall(data)
        return None

    def end(self, s):
        other = self.pairs.pop(s, None)
        if other is None:
            return
        del self.pairs[other]
        for one in (s, other):
            if one in self.select.get_map():
                self.select.unregister(one)
            one.close()

    def from_browser(self, s):
        data, address = s.recvfrom(SIZE)
        found = USER.search(data)
        if found:
            self.users[address] = found[1]
        if address not in self.flows:
            flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            flow.connect(('127.0.0.1', self.to[1]))
            flow.setblocking(False)
            self.flows[address] = flow
            self.select.register(flow, selectors.EVENT_READ,
                                 lambda f, a=address: self.from_turn(f, a))
        if not self.is_cut(address):
            try:
                self.flows[address].send(data)
            except OSError:
                pass                    # the TURN server is away

    def from_turn(self, flow, address):
        try:
            data = flow.recv(SIZE)
        except OSError:
            return
        if not self.is_cut(address):
            self.turn.sendto(data, address)

    def is_cut(self, address):
        return self.cut_off is not None \
            and self.users.get(address) == self.cut_off
