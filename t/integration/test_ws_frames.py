"""RFC 6455, section by section, against a connection that sends anything."""

import base64
import os
import struct

import pytest

from astro.ws import (BINARY, CLOSE, CONT, PING, PONG, TEXT, SLOW,
                      HandshakeRefused, frame)


@pytest.fixture
def ws(stack):
    return stack.connect()


@pytest.fixture(params=[True, False], ids=['tls', 'plain'])
def either(stack, request):
    return stack.connect(tls=request.param)


def alive(ws):
    """The connection still works, as the protocol's own ping shows."""
    return ws.call('ping', {}) == {}


def refused(stack, **kw):
    with pytest.raises(HandshakeRefused) as e:
        stack.connect(**kw)
    return e.value


# -- section 4: the handshake --------------------------------------------------

def test_handshake(either):
    assert either.protocol == 'consult.v1'
    assert alive(either)


def test_other_version(stack):
    for version in ('12', '14', '8', '', 'x'):
        e = refused(stack, version=version)
        assert e.status == 426
        assert '13' in e.headers['sec-websocket-version']


@pytest.mark.parametrize('key', [
    '', 'x', base64.b64encode(b'x' * 15).decode(),
    base64.b64encode(b'x' * 17).decode(), '!' * 24,
    base64.b64encode(b'x' * 16).decode() + 'x'])
def test_bad_key(stack, key):
    assert refused(stack, key=key).status == 400


@pytest.mark.parametrize('missing', ['Sec-WebSocket-Key', 'Upgrade',
                                     'Connection', 'Sec-WebSocket-Version'])
def test_missing_header(stack, missing):
    assert refused(stack, skip=[missing]).status in (400, 426)


def test_other_methods(stack):
    for method in ('POST', 'HEAD', 'PUT'):
        assert refused(stack, method=method).status in (400, 405)


def test_header_names_and_tokens_in_any_case(stack):
    ws = stack.connect(skip=['Upgrade', 'Connection'], headers=[
        ('upgrade', 'WebSocket'), ('CONNECTION', 'keep-alive, UPGRADE')])
    assert alive(ws)


def test_origin(stack):
    host = f'127.0.0.1:{stack.port}'
    assert alive(stack.connect(headers=[('Origin', f'https://{host}')]))
    for origin in ('https://evil.example', 'null', f'https://{host}.evil.ex',
                   'https://127.0.0.1.evil.example', f'http://x{host}',
                   'https://', '', 'x' * 4000):
        assert refused(stack, headers=[('Origin', origin)]).status == 403


def test_subprotocol(stack):
    assert stack.connect(protocols=('other', 'consult.v1')).protocol \
        == 'consult.v1'
    person = stack.person()
    bearer = 'bearer.' + base64.urlsafe_b64encode(
        person.token.encode()).rstrip(b'=').decode()
    ws = stack.connect(protocols=('consult.v1', bearer))
    assert ws.protocol == 'consult.v1'
    assert ws.hello()['user'] == person.id


def test_two_subprotocol_headers(stack):
    ws = stack.connect(protocols=('consult.v1',), headers=[
        ('Sec-WebSocket-Protocol', 'consult.v9')])
    assert ws.protocol == 'consult.v1'


def test_no_subprotocol_of_ours(stack):
    """Selecting none is right; the browser then fails the connection."""
    try:
        ws = stack.connect(protocols=('consult.v9',))
    except HandshakeRefused as e:
        assert e.status in (400, 406)
    else:
        assert ws.protocol is None


def test_a_plain_get(stack):
    answer = stack.rest.get('/ws')
    assert answer.status in (400, 426)


def test_frames_that_come_with_the_handshake(stack):
    """A client that does not wait for the 101 loses nothing."""
    import socket
    person = stack.person()
    key = base64.b64encode(os.urandom(16)).decode()
    request = (f'GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{stack.plain_port}\r\n'
               'Upgrade: websocket\r\nConnection: Upgrade\r\n'
               f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n'
               'Sec-WebSocket-Protocol: consult.v1\r\n\r\n').encode()
    hello = ('{"type":"hello","id":1,"payload":{"token":"%s"}}'
             % person.token).encode()
    with socket.create_connection(('127.0.0.1', stack.plain_port),
                                  10 * SLOW) as s:
        s.sendall(request + frame(PING, b'early') + frame(TEXT, hello))
        got = b''
        while b'"reply"' not in got:
            more = s.recv(65536)
            assert more, got
            got += more
    assert got.startswith(b'HTTP/1.1 101')
    assert b'\x8a\x05early' in got


# -- section 5.1: masking --------------------------------------------------------

def test_unmasked(ws):
    ws.send_frame(TEXT, b'{"type":"ping","id":1}', mask=False)
    assert ws.wait_close() == 1002


def test_every_mask(ws):
    for key in (b'\0\0\0\0', b'\xff\xff\xff\xff', b'\1\2\3\4'):
        ws.ids += 1
        ws.waited = {ws.ids}
        ws.send_frame(TEXT, b'{"type":"ping","id":%d}' % ws.ids, mask=key)
        ws.reply(ws.ids)


# -- section 5.2: the base protocol ----------------------------------------------

@pytest.mark.parametrize('rsv', [1, 2, 4, 7])
def test_rsv(ws, rsv):
    ws.send_frame(TEXT, b'{}', rsv=rsv)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('opcode', [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes(ws, opcode):
    ws.send_frame(opcode, b'x')
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('length', [
    b'\xfe\x00\x05', b'\xfe\x00\x7d',
    b'\xff\x00\x00\x00\x00\x00\x00\xff\xff',
    b'\xff\x80\x00\x00\x00\x00\x00\x00\x00',
    b'\xff\xff\xff\xff\xff\xff\xff\xff\xff'])
def test_lengths_not_minimal_or_negative(ws, length):
    ws.send_frame(TEXT, b'', length=length)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('length', [65537, 2 ** 20, 2 ** 31, 2 ** 40, 2 ** 62])
def test_too_large_is_told_from_the_header(ws, length):
    """No byte of the payload is sent: nothing may wait, or be allotted."""
    ws.send_frame(TEXT, b'', length=length)
    assert ws.wait_close() == 1009


def test_too_large_by_fragments(ws):
    piece = b' ' * 30000
    for opcode in (TEXT, CONT):
        ws.send_frame(opcode, piece, fin=False)
    try:
        ws.send_frame(CONT, piece, fin=False)
    except OSError:
        pass
    assert ws.wait_close() == 1009


def test_the_reason_arrives_whatever_is_behind_it(either):
    """A server that closes with bytes unread resets the connection, and the
    close frame is lost with it: it has to read on for a while."""
    try:
        either.send_raw(frame(TEXT, b'x', mask=False) + b'\0' * (4 << 20))
    except OSError:
        pass
    assert either.wait_close() == 1002


def test_the_largest_that_is_allowed(ws):
    text = b'{"type":"ping","id":1}'
    ws.waited = {1}
    ws.send_frame(TEXT, text + b' ' * (65536 - len(text)))
    assert ws.reply(1) == {}


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 1000])
def test_bytes_in_any_pieces(either, chunk):
    data = frame(TEXT, b'{"type":"ping","id":1}') + frame(PING, b'a' * 125) \
        + frame(TEXT, b'{"type":"ping","id":2}' + b' ' * 300)
    either.waited = {1, 2}
    for at in range(0, len(data), chunk):
        either.send_raw(data[at:at + chunk])
    assert either.reply(1) == {}
    assert either.reply(2) == {}
    assert either.next_frame(PONG)[1] == b'a' * 125


def test_many_frames_in_one_write(either):
    n = 400
    either.waited = set(range(1, n + 1))
    either.send_raw(b''.join(frame(TEXT, b'{"type":"ping","id":%d}' % i)
                             for i in range(1, n + 1)))
    for i in range(1, n + 1):
        assert either.reply(i) == {}


# -- section 5.4: fragmentation --------------------------------------------------

def test_fragments(ws):
    text = b'{"type":"ping","id":1}'
    ws.waited = {1}
    for i, octet in enumerate(text):
        ws.send_frame(CONT if i else TEXT, bytes([octet]),
                      fin=i == len(text) - 1)
    assert ws.reply(1) == {}


def test_empty_fragments(ws):
    ws.waited = {1}
    ws.send_frame(TEXT, b'', fin=False)
    ws.send_frame(CONT, b'', fin=False)
    ws.send_frame(CONT, b'{"type":"ping","id":1}', fin=False)
    ws.send_frame(CONT, b'')
    assert ws.reply(1) == {}


def test_control_frames_between_fragments(ws):
    ws.waited = {1}
    ws.send_frame(TEXT, b'{"type":"ping"', fin=False)
    ws.send_frame(PING, b'between')
    assert ws.next_frame(PONG)[1] == b'between'
    ws.send_frame(PONG, b'unasked for')
    ws.send_frame(CONT, b',"id":1}')
    assert ws.reply(1) == {}


def test_continuation_of_nothing(ws):
    ws.send_frame(CONT, b'x')
    assert ws.wait_close() == 1002


def test_continuation_after_a_whole_message(ws):
    ws.send_frame(TEXT, b'{"type":"ping"}')
    ws.send_frame(CONT, b'x')
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_a_new_message_within_another(ws, opcode):
    ws.send_frame(TEXT, b'{', fin=False)
    ws.send_frame(opcode, b'}')
    assert ws.wait_close() == 1002


# -- section 5.5: control frames -------------------------------------------------

@pytest.mark.parametrize('size', [0, 1, 124, 125])
def test_ping_is_echoed(ws, size):
    data = os.urandom(size)
    ws.send_frame(PING, data)
    assert ws.next_frame(PONG)[1] == data


@pytest.mark.parametrize('opcode', [PING, PONG, CLOSE])
def test_long_control_frames(ws, opcode):
    ws.send_frame(opcode, b'\x03\xe8' + b'x' * 124)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('opcode', [PING, PONG, CLOSE])
def test_fragmented_control_frames(ws, opcode):
    ws.send_frame(opcode, b'', fin=False)
    assert ws.wait_close() == 1002


def test_unasked_pongs_are_ignored(ws):
    ws.send_frame(PONG, b'')
    ws.send_frame(PONG, b'x' * 125)
    assert alive(ws)


# -- section 5.6: data -----------------------------------------------------------

def test_binary_is_refused(ws):
    ws.send_frame(BINARY, b'\x00\x01')
    assert ws.wait_close() == 1003


def test_fragmented_binary_is_refused(ws):
    ws.send_frame(BINARY, b'\x00', fin=False)
    ws.send_frame(CONT, b'\x01')
    assert ws.wait_close() == 1003


# -- section 7: closing ----------------------------------------------------------

def test_close_by_the_client(either):
    assert either.close(1000) == 1000


@pytest.mark.parametrize('code', [1001, 1003, 1007, 1008, 1009, 1010, 1011,
                                  1012, 3000, 3999, 4000, 4999])
def test_close_codes_that_may_be_sent(ws, code):
    assert ws.close(code) in (code, 1000)


def test_close_without_a_code(ws):
    ws.send_frame(CLOSE, b'')
    assert ws.wait_close() in (1005, 1000)


def test_close_with_a_reason(ws):
    ws.send_frame(CLOSE, struct.pack('>H', 1000) + 'прощай'.encode())
    assert ws.wait_close() == 1000


@pytest.mark.parametrize('code', [0, 999, 1004, 1005, 1006, 1015, 1016, 1100,
                                  2000, 2999, 5000, 65535])
def test_close_codes_that_may_not(ws, code):
    ws.send_frame(CLOSE, struct.pack('>H', code))
    assert ws.wait_close() == 1002


def test_close_of_one_byte(ws):
    ws.send_frame(CLOSE, b'\x03')
    assert ws.wait_close() == 1002


def test_close_reason_not_utf8(ws):
    ws.send_frame(CLOSE, b'\x03\xe8\xff\xfe')
    assert ws.wait_close() in (1007, 1002)


def test_nothing_is_read_after_close(ws):
    ws.send_raw(frame(CLOSE, b'\x03\xe8')
                + frame(TEXT, b'{"type":"ping","id":1}'))
    ws.sent_close = True
    assert ws.wait_close() == 1000
    assert not ws.replies


def test_close_by_the_server_waits_for_ours(stack):
    """After its close frame the server lets us answer, and then ends TCP."""
    ws = stack.connect(auto_pong=False)
    ws.send_frame(TEXT, b'x', mask=False)
    ws.wait(lambda: ws.close_code, what='the close frame')
    ws.send_frame(CLOSE, b'\x03\xea')
    assert ws.wait_close() == 1002


def test_a_peer_that_never_answers_the_close(stack):
    """It is not waited for without end."""
    ws = stack.connect(auto_pong=False)
    ws.send_frame(TEXT, b'x', mask=False)
    assert ws.wait_close(timeout=15) == 1002


def test_tcp_ends_without_a_close_frame(stack):
    for end in ('drop', 'reset'):
        ws = stack.connect()
        ws.send_raw(frame(TEXT, b'{"type":"ping"}')[:5])
        getattr(ws, end)()


# -- section 8.1: UTF-8 ----------------------------------------------------------

@pytest.mark.parametrize('bad', [
    b'\xff', b'\xc0\xaf', b'\xe0\x80\x80', b'\xed\xa0\x80', b'\xf4\x90\x80\x80',
    b'\xf8\x88\x80\x80\x80', b'\x80', b'\xce\xba\xe1\xbd\xb9\xcf\xc3', b'\xe2\x82'],
    ids=repr)
def test_invalid_utf8(ws, bad):
    ws.send_frame(TEXT, b'{"type":"' + bad + b'"}')
    assert ws.wait_close() == 1007


def test_utf8_split_between_fragments(ws):
    text = '{"type":"ping","id":1,"x":"κόσμε €𐍈"}'.encode()
    ws.waited = {1}
    for i in range(len(text)):
        ws.send_frame(CONT if i else TEXT, text[i:i + 1],
                      fin=i == len(text) - 1)
    assert ws.reply(1) == {}


def test_invalid_utf8_is_told_early(ws):
    """In a first fragment: the rest need not come."""
    ws.send_frame(TEXT, b'{"x":"\xf4\x90', fin=False)
    assert ws.wait_close() == 1007


def test_a_character_that_is_never_finished(ws):
    ws.send_frame(TEXT, b'{"x":"\xe2\x82', fin=False)
    ws.send_frame(CONT, b'')
    assert ws.wait_close() == 1007
