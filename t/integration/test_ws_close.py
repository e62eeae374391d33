"""The end of a connection (RFC 6455 section 7), slowly and both ways: who says
what, who ends TCP first, and what is not listened to any more."""

import socket
import struct
import time

import pytest

from astro.stack import eventually
from astro.ws import CLOSE, PING, SLOW, TEXT, frame


@pytest.fixture(params=[True, False], ids=['tls', 'plain'])
def raw(stack, request):
    """A socket to the echo after the handshake; it closes nothing by itself."""
    return lambda path='/echo': Raw(stack, request.param, path)


class Raw:
    def __init__(self, stack, tls, path):
        port = stack.port if tls else stack.plain_port
        self.s = socket.create_connection(('127.0.0.1', port), 20 * SLOW)
        if tls:
            self.s = stack.tls.wrap_socket(self.s, server_hostname='127.0.0.1')
        self.s.sendall((
            f'GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n'
            'Upgrade: websocket\r\nConnection: Upgrade\r\n'
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
            'Sec-WebSocket-Version: 13\r\n\r\n').encode())
        self.got = b''
        while b'\r\n\r\n' not in self.got:
            self.got += self.s.recv(4096)
        head, self.got = self.got.split(b'\r\n\r\n', 1)
        assert b' 101 ' in head

    def send(self, *frames):
        self.s.sendall(b''.join(frames))

    def until_eof(self):
        """All that comes until the server ends its half; a reset fails."""
        while True:
            more = self.s.recv(65536)
            if not more:
                return self.got
            self.got += more

    def until(self, n):
        while len(self.got) < n:
            more = self.s.recv(65536)
            assert more
            self.got += more


def close(code=None, reason=b''):
    return frame(CLOSE, b'' if code is None
                 else struct.pack('>H', code) + reason)


def said(code=None):
    """A Close frame of the server without a reason."""
    return b'\x88\x00' if code is None else b'\x88\x02' + struct.pack('>H', code)


def no_connection(stack):
    eventually(lambda: stack.metrics()['astro_connections'] == 0, 10)


@pytest.mark.parametrize('code', [None, 1000, 1001, 3000, 4999])
def test_the_server_answers_and_ends_tcp_first(raw, code):
    """7.1.1: we only wait: what we read is its answer, and then its end."""
    c = raw()
    c.send(close(code, b'' if code is None else b'why'))
    assert c.until_eof() == said(code)


def test_it_waits_for_nobody(stack, raw):
    """A client that has its answer but never ends TCP: two seconds."""
    c = raw()
    c.send(close(1000))
    assert c.until_eof() == said(1000)
    start = time.monotonic()
    no_connection(stack)
    assert time.monotonic() - start < 8 * SLOW
    c.s.close()


def test_it_is_gone_at_once_when_both_have_ended(stack, raw):
    clients = [raw() for _ in range(5)]
    for c in clients:
        c.send(close(1000))
        assert c.until_eof() == said(1000)
        c.s.close()
    start = time.monotonic()
    no_connection(stack)
    assert time.monotonic() - start < 1.5 * SLOW


def test_what_follows_a_close_is_ignored(raw):
    """1.4, 5.5.1: in the same segment, and long after: no echo, no pong, no
    second answer, no reset, and nothing wrong is told of it."""
    c = raw()
    c.send(close(1000), frame(TEXT, b'late'), frame(PING, b'late'),
           close(1001), frame(11, b'not a frame'), b'\xff' * 100)
    assert c.until_eof() == said(1000)


def test_much_that_follows_a_close_loses_no_answer(raw):
    """A server that closed with octets unread would reset the connection, and
    the answer might be lost with it."""
    c = raw()
    c.send(frame(TEXT, b'before'), close(1000), b'\0' * (1 << 20))
    c.until(8 + 4)
    for _ in range(20):
        try:
            c.send(b'\0' * 65536)
        except OSError:
            break
    assert c.got == b'\x81\x06before' + said(1000)


def test_a_client_that_ends_its_half_gets_its_answer(raw):
    """It says Close and shuts down: what it can still read is our Close."""
    c = raw()
    if hasattr(c.s, 'version'):
        # TLS cannot be read after unwrap(); FIN without close_notify
        c.send(frame(TEXT, b'x' * 1000), close(1000))
        socket.socket.shutdown(c.s, socket.SHUT_WR)
    else:
        c.send(frame(TEXT, b'x' * 1000), close(1000))
        c.s.shutdown(socket.SHUT_WR)
    try:
        got = c.until_eof()
    except OSError:
        got = c.got
    assert got == b'\x81\x7e\x03\xe8' + b'x' * 1000 + said(1000)


def test_an_answer_behind_much_that_is_not_read_yet(raw):
    """Close comes in its turn, however slowly the client reads."""
    c = raw()
    data = frame(TEXT, b'x' * 60000)
    c.s.settimeout(20 * SLOW)
    for _ in range(3):
        c.send(data)
    c.send(close(1000))
    time.sleep(0.5)
    c.until(3 * (60000 + 4) + 4)
    assert c.until_eof()[-4:] == said(1000)
    assert len(c.got) == 3 * (60000 + 4) + 4


def test_a_close_octet_by_octet(raw):
    c = raw()
    for octet in close(4321, b'slowly'):
        c.send(bytes([octet]))
        time.sleep(0.02)
    assert c.until_eof() == said(4321)


# -- the server begins ------------------------------------------------------------

def test_it_hears_our_answer_and_ends_first(raw):
    """7.1.7: it fails the connection; we take our time to answer."""
    c = raw()
    c.send(frame(3, b''))
    c.until(4)
    assert c.got[:1] == b'\x88' and c.got[2:4] == struct.pack('>H', 1002)
    time.sleep(0.3)
    c.send(close(1002))
    got = c.until_eof()
    assert got[1] == len(got) - 2       # that one frame and no other


def test_it_waits_for_our_close_after_a_goodbye(stack, raw):
    """No hello within 2 s: bye, Close 4408.  TCP stays until we answer; what
    we send before that is not looked at."""
    c = raw('/ws')
    c.until(1)
    while b'\x88' not in c.got:
        c.until(len(c.got) + 1)
    at = c.got.index(b'\x88')
    c.until(at + 4)
    assert c.got[at + 2:at + 4] == struct.pack('>H', 4408)
    length = at + 2 + c.got[at + 1]
    c.until(length)
    c.send(frame(TEXT, b'{"type":"ping","id":1}'), frame(PING, b'late'))
    c.s.settimeout(0.5)
    with pytest.raises(TimeoutError):
        c.s.recv(1)
    c.s.settimeout(20 * SLOW)
    c.send(close(4408))
    assert len(c.until_eof()) == length


def test_nobody_answers_its_close(stack, raw):
    """It ends TCP by itself, after two seconds."""
    c = raw('/ws')
    start = time.monotonic()
    c.until_eof()
    assert b'\x88' in c.got
    assert 3.5 < time.monotonic() - start < 12 * SLOW
    no_connection(stack)


def test_both_say_close_at_once(raw):
    """Ours was under way when its own came: neither is answered again."""
    c = raw()
    c.send(frame(3, b''), close(1000))
    got = c.until_eof()
    assert got[:1] == b'\x88' and got[2:4] == struct.pack('>H', 1002)
    assert got[1] == len(got) - 2
