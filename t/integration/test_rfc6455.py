"""RFC 6455, each MUST of a server by its section, against the echo: the codec
without the protocol above it.  test_ws_frames.py has what /ws adds."""

import base64
import os
import random
import re
import socket
import struct
import time

import pytest

from astro.stack import eventually
from astro.ws import (BINARY, CLOSE, CONT, PING, PONG, SLOW, TEXT,
                      HandshakeRefused, frame)

MAX = 65536             # astro_max_frame
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='        # of section 1.3

WELL = {'Host': 'x', 'Upgrade': 'websocket', 'Connection': 'Upgrade',
        'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13'}


@pytest.fixture
def ws(stack):
    return stack.echo()


@pytest.fixture(params=[True, False], ids=['tls', 'plain'])
def either(stack, request):
    return stack.echo(tls=request.param)


@pytest.fixture(params=['/echo', '/ws'])
def path(request):
    return request.param


def ask(stack, path, headers, method='GET', version='1.1', lines=()):
    """One request as it is: (status, headers, what came after them)."""
    text = f'{method} {path} HTTP/{version}\r\n'
    text += ''.join(f'{n}: {v}\r\n' for n, v in
                    [*headers.items(), *lines] if v is not None)
    with socket.create_connection(('127.0.0.1', stack.plain_port),
                                  10 * SLOW) as s:
        s.sendall(text.encode('latin-1') + b'\r\n')
        data = b''
        while b'\r\n\r\n' not in data:
            more = s.recv(4096)
            if not more:
                break
            data += more
    head, _, rest = data.partition(b'\r\n\r\n')
    first, *others = head.decode('latin-1').split('\r\n')
    return (int(first.split(' ')[1]),
            {n.lower(): v.strip() for n, v in
             (line.split(':', 1) for line in others)}, rest)


def echoed(ws, payload, opcode=BINARY):
    got = ws.next_frame(opcode)[1]
    assert got == payload, (len(got), len(payload), got[:40])


def alive(ws):
    token = os.urandom(8)
    ws.send_frame(BINARY, token)
    echoed(ws, token)


# -- 4.1, 4.2: the handshake ---------------------------------------------------

def test_4_2_2_the_accept_of_the_rfc(stack, path):
    status, headers, _ = ask(stack, path, WELL)
    assert status == 101
    assert headers['sec-websocket-accept'] == 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    assert headers['upgrade'].lower() == 'websocket'
    assert headers['connection'].lower() == 'upgrade'


def test_4_2_2_nothing_is_selected_that_was_not_offered(stack, path):
    _, headers, _ = ask(stack, path, WELL)
    assert 'sec-websocket-protocol' not in headers
    assert 'sec-websocket-extensions' not in headers


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS'])
def test_4_1_2_the_method_is_get(stack, path, method):
    assert ask(stack, path, {**WELL, 'Content-Length': '0'}, method)[0] \
        in (400, 405)


def test_4_1_2_http_1_0(stack, path):
    assert ask(stack, path, WELL, version='1.0')[0] == 400


def test_4_1_4_host(stack, path):
    assert ask(stack, path, {**WELL, 'Host': None})[0] == 400
    assert ask(stack, path, WELL, lines=[('Host', 'y')])[0] == 400


@pytest.mark.parametrize('value', [None, 'http/2', 'websockets', 'xwebsocket',
                                   ''])
def test_4_2_1_3_upgrade(stack, path, value):
    status, headers, _ = ask(stack, path, {**WELL, 'Upgrade': value})
    assert status == 426
    assert headers['upgrade'] == 'websocket'


@pytest.mark.parametrize('value', [None, 'keep-alive', 'Upgrades', 'x-upgrade',
                                   'close', ''])
def test_4_2_1_4_connection(stack, path, value):
    assert ask(stack, path, {**WELL, 'Connection': value})[0] == 400


@pytest.mark.parametrize('value', ['websocket', 'WebSocket', 'h2c, WEBSOCKET'])
@pytest.mark.parametrize('connection', ['upgrade', 'keep-alive, Upgrade',
                                        'keep-alive ,UPGRADE, x'])
def test_4_2_1_tokens_in_any_case_and_in_lists(stack, value, connection):
    assert ask(stack, '/echo', {**WELL, 'Upgrade': value,
                                'Connection': connection})[0] == 101


def test_4_2_1_tokens_in_several_lines(stack, path):
    assert ask(stack, path, {**WELL, 'Connection': 'keep-alive'},
               lines=[('Connection', 'Upgrade')])[0] == 101


@pytest.mark.parametrize('value', [
    None, '', 'x', 'AAAA', base64.b64encode(b'x' * 15).decode(),
    base64.b64encode(b'x' * 17).decode(), base64.b64encode(b'x' * 32).decode(),
    '!' * 22 + '==', KEY[:-1], KEY + '=', KEY[:-2], KEY.replace('==', '=A'),
    'dGhlIHNhbXBsZSBub25jZ-=='])
def test_4_2_1_5_the_key(stack, path, value):
    assert ask(stack, path, {**WELL, 'Sec-WebSocket-Key': value})[0] == 400


def test_11_3_1_the_key_twice(stack, path):
    assert ask(stack, path, WELL, lines=[('Sec-WebSocket-Key', KEY)])[0] == 400


@pytest.mark.parametrize('value', [None, '', '0', '8', '12', '14', '013', '130',
                                   '13, 8', '1 3', 'x'])
def test_4_4_the_version(stack, path, value):
    status, headers, _ = ask(stack, path,
                             {**WELL, 'Sec-WebSocket-Version': value})
    assert status == 426
    assert headers['sec-websocket-version'] == '13'


def test_11_3_5_the_version_twice(stack, path):
    assert ask(stack, path, WELL,
               lines=[('Sec-WebSocket-Version', '13')])[0] == 426


def test_10_2_origin(stack, path):
    for origin, status in ((None, 101), ('http://x', 101),
                           ('http://evil.example', 403), ('null', 403)):
        assert ask(stack, path, {**WELL, 'Origin': origin})[0] == status


@pytest.mark.parametrize('line', ['', ',', ';', 'a;', 'a; ;b', 'a=b', 'a; b=',
                                  'a; b="', 'a; b=""', 'a; b="c d"', 'a b',
                                  'a; b="c"d', '(a)', 'a;\tb=c/d'])
def test_9_1_extensions_that_are_none_fail_the_handshake(stack, path, line):
    assert ask(stack, path, {**WELL, 'Sec-WebSocket-Extensions': line})[0] \
        == 400
    assert ask(stack, path, {**WELL, 'Sec-WebSocket-Extensions': 'x'},
               lines=[('Sec-WebSocket-Extensions', line)])[0] == 400


@pytest.mark.parametrize('line', ['x', 'x-y; z', 'x; y=1, z', ',x,', 'x;y="z"',
                                  'x; y="\\z"', 'x ;\ty = z'])
def test_9_1_extensions_that_nobody_knows(stack, path, line):
    status, headers, _ = ask(stack, path,
                             {**WELL, 'Sec-WebSocket-Extensions': line})
    assert status == 101
    assert 'sec-websocket-extensions' not in headers


def test_4_1_a_refused_handshake_leaves_http_as_it_was(stack, path):
    """The connection can be used for the next request."""
    good = ''.join(f'{n}: {v}\r\n' for n, v in WELL.items())
    with socket.create_connection(('127.0.0.1', stack.plain_port),
                                  10 * SLOW) as s:
        s.sendall(f'GET {path} HTTP/1.1\r\n{good}'.replace(
            '13\r\n', '12\r\n').encode() + b'\r\n')
        assert b' 426 ' in s.recv(4096)
        s.sendall(f'GET {path} HTTP/1.1\r\n{good}\r\n'.encode())
        assert b' 101 ' in s.recv(4096)


# -- 5.1: overview -------------------------------------------------------------

@pytest.mark.parametrize('opcode', [TEXT, BINARY, PING, PONG, CLOSE])
def test_5_1_unmasked(ws, opcode):
    ws.send_frame(opcode, b'\x03\xe8', mask=False)
    assert ws.wait_close() == 1002


def test_5_3_any_mask(ws):
    for mask in (b'\0\0\0\0', b'\xff\xff\xff\xff', b'\1\2\3\4', b'\0\0\0\1'):
        for size in (0, 1, 3, 4, 5, 7, 8, 9, 100, 4099):
            data = os.urandom(size)
            ws.send_frame(BINARY, data, mask=mask)
            echoed(ws, data)


# -- 5.2: base framing ---------------------------------------------------------

@pytest.mark.parametrize('opcode', [TEXT, BINARY])
@pytest.mark.parametrize('size', [0, 1, 124, 125, 126, 127, 128, 255, 256, 4095,
                                  65534, 65535, 65536])
def test_5_2_lengths(either, opcode, size):
    """ws.py refuses an answer whose length is not in its shortest form."""
    data = b'*' * size if opcode == TEXT else os.urandom(size)
    either.send_frame(opcode, data)
    echoed(either, data, opcode)


@pytest.mark.parametrize('opcode', [TEXT, BINARY, CONT, PING])
@pytest.mark.parametrize('rsv', range(1, 8))
def test_5_2_rsv(ws, rsv, opcode):
    ws.send_frame(opcode, b'', rsv=rsv)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('opcode', [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize('within', [False, True])
def test_5_2_reserved_opcodes(ws, opcode, within):
    if within:
        ws.send_frame(TEXT, b'x', fin=False)
    ws.send_frame(opcode, b'')
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('length', [
    b'\xfe\x00\x00', b'\xfe\x00\x7d',
    b'\xff\x00\x00\x00\x00\x00\x00\x00\x00',
    b'\xff\x00\x00\x00\x00\x00\x00\x00\x7d',
    b'\xff\x00\x00\x00\x00\x00\x00\xff\xff',
    b'\xff\x80\x00\x00\x00\x00\x00\x00\x00',
    b'\xff\xff\xff\xff\xff\xff\xff\xff\xff'])
@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_5_2_lengths_not_in_their_shortest_form(ws, length, opcode):
    ws.send_frame(opcode, b'', length=length)
    assert ws.wait_close() == 1002


# -- 5.4: fragmentation --------------------------------------------------------

@pytest.mark.parametrize('opcode', [TEXT, BINARY])
@pytest.mark.parametrize('size', [1, 2, 125, 126, 1000, 65536])
@pytest.mark.parametrize('pieces', [2, 3, 20])
def test_5_4_fragments(ws, opcode, size, pieces):
    data = bytes(random.choices(b'abcdefgh', k=size))
    cuts = sorted(random.randint(0, size) for _ in range(pieces - 1))
    cuts = [0, *cuts, size]
    for i in range(pieces):
        ws.send_frame(CONT if i else opcode, data[cuts[i]:cuts[i + 1]],
                      fin=i == pieces - 1)
    echoed(ws, data, opcode)


def test_5_4_control_frames_between_fragments(either):
    either.send_frame(TEXT, b'one', fin=False)
    for i in range(20):
        either.send_frame(PING, b'%d' % i)
        either.send_frame(PONG, b'unasked')
        either.send_frame(CONT, b' %d' % i, fin=False)
    either.send_frame(CONT, b'')
    for i in range(20):
        assert either.next_frame(PONG)[1] == b'%d' % i
    echoed(either, b'one' + b''.join(b' %d' % i for i in range(20)), TEXT)


def test_5_4_close_between_fragments(ws):
    ws.send_frame(TEXT, b'x', fin=False)
    assert ws.close(1001) == 1001


@pytest.mark.parametrize('fin', [True, False])
def test_5_4_a_continuation_of_nothing(ws, fin):
    ws.send_frame(CONT, b'x', fin=fin)
    assert ws.wait_close() == 1002


def test_5_4_a_continuation_after_the_last(ws):
    ws.send_frame(TEXT, b'a', fin=False)
    ws.send_frame(CONT, b'b')
    echoed(ws, b'ab', TEXT)
    ws.send_frame(CONT, b'c')
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('opcode', [TEXT, BINARY])
@pytest.mark.parametrize('fin', [True, False])
def test_5_4_a_message_within_another(ws, opcode, fin):
    ws.send_frame(TEXT, b'a', fin=False)
    ws.send_frame(opcode, b'b', fin=fin)
    assert ws.wait_close() == 1002


# -- 5.5: control frames -------------------------------------------------------

@pytest.mark.parametrize('opcode', [CLOSE, PING, PONG])
@pytest.mark.parametrize('size', [126, 127, 65536])
def test_5_5_longer_than_125(ws, opcode, size):
    ws.send_frame(opcode, b'', length=size)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('opcode', [CLOSE, PING, PONG])
def test_5_5_fragmented(ws, opcode):
    ws.send_frame(opcode, b'', fin=False)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('size', [0, 1, 2, 64, 124, 125])
def test_5_5_3_a_pong_has_the_data_of_its_ping(either, size):
    data = os.urandom(size)
    either.send_frame(PING, data)
    assert either.next_frame(PONG)[1] == data


def test_5_5_3_pongs_unasked_for(ws):
    for size in (0, 1, 125):
        ws.send_frame(PONG, b'x' * size)
    alive(ws)


# -- 5.6, 5.7: data; the RFC's own examples ------------------------------------

def test_5_7_examples(ws):
    hello = bytes.fromhex('818537fa213d7f9f4d5158')
    ws.send_raw(hello)
    echoed(ws, b'Hello', TEXT)
    ws.send_raw(bytes.fromhex('018337fa213d7f9f4d')
                + bytes.fromhex('808200000000') + b'lo')
    echoed(ws, b'Hello', TEXT)
    ws.send_raw(bytes.fromhex('898537fa213d7f9f4d5158'))
    assert ws.next_frame(PONG)[1] == b'Hello'
    for size in (256, 65536):
        data = os.urandom(size)
        ws.send_frame(BINARY, data)
        echoed(ws, data)


def test_5_7_the_answer_octet_by_octet(stack):
    """Not only what our own client makes of it."""
    head = ''.join(f'{n}: {v}\r\n' for n, v in WELL.items())
    with socket.create_connection(('127.0.0.1', stack.plain_port),
                                  10 * SLOW) as s:
        s.sendall(f'GET /echo HTTP/1.1\r\n{head}\r\n'.encode())
        got = b''
        while b'\r\n\r\n' not in got:
            got += s.recv(4096)
        s.sendall(bytes.fromhex('818537fa213d7f9f4d5158'))
        got = got.split(b'\r\n\r\n', 1)[1]
        while len(got) < 7:
            got += s.recv(4096)
        assert got == bytes.fromhex('810548656c6c6f')


# -- 5.8, 6: cut anywhere ------------------------------------------------------

def stream():
    """Frames of every kind, and what has to come back."""
    text = 'κόσμε कुंडली 𐍈'.encode()
    return (frame(TEXT, text) + frame(PING, b'1') + frame(BINARY, b'\0' * 300)
            + frame(TEXT, text[:5], fin=False) + frame(PING, b'2')
            + frame(CONT, b'', fin=False) + frame(CONT, text[5:])
            + frame(PONG, b'x') + frame(BINARY, b''),
            [(TEXT, text), (PONG, b'1'), (BINARY, b'\0' * 300), (PONG, b'2'),
             (TEXT, text), (BINARY, b'')])


def test_6_2_octet_by_octet(either):
    data, expected = stream()
    for i in range(len(data)):
        either.send_raw(data[i:i + 1])
    for opcode, payload in expected:
        assert either.next_frame() == (opcode, payload)


def test_6_2_cut_at_every_octet(ws):
    data, expected = stream()
    for i in range(1, len(data)):
        ws.send_raw(data[:i])
        if i % 16 == 0:
            time.sleep(0.001)
        ws.send_raw(data[i:])
        for opcode, payload in expected:
            assert ws.next_frame() == (opcode, payload), i


def test_6_2_many_in_one_write(either):
    data, expected = stream()
    either.send_raw(data * 100)
    for opcode, payload in expected * 100:
        assert either.next_frame() == (opcode, payload)


# -- 7.4: codes ----------------------------------------------------------------

@pytest.mark.parametrize('code', [1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                  1010, 1011, 1012, 1013, 1014, 3000, 3999,
                                  4000, 4999])
def test_5_5_1_a_close_is_answered_with_its_code(ws, code):
    assert ws.close(code) == code


@pytest.mark.parametrize('code', [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999,
                                  2000, 2999, 5000, 9999, 65535])
def test_7_4_codes_that_may_not_be_sent(ws, code):
    ws.send_frame(CLOSE, struct.pack('>H', code))
    assert ws.wait_close() == 1002


def test_7_1_5_without_a_code(ws):
    ws.send_frame(CLOSE, b'')
    assert ws.wait_close() == 1005


@pytest.mark.parametrize('reason', ['', 'x', 'κόσμε', 'x' * 123])
def test_7_1_6_reasons(ws, reason):
    ws.send_frame(CLOSE, b'\x03\xe8' + reason.encode())
    assert ws.wait_close() == 1000


def test_5_5_1_half_a_code(ws):
    ws.send_frame(CLOSE, b'\x03')
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('reason', [b'\xff', b'\xc3', b'\xed\xa0\x80'])
def test_5_5_1_a_reason_that_is_no_text(ws, reason):
    ws.send_frame(CLOSE, b'\x03\xe8' + reason)
    assert ws.wait_close() == 1007


# -- 8.1: UTF-8 ----------------------------------------------------------------

@pytest.mark.parametrize('text', ['\x00', '\x7f', '\x80', '\u07ff', '\u0800',
                                  '\ud7ff', '\ue000', '\ufffd', '\ufffe',
                                  '\uffff', '\U00010000', '\U0010ffff',
                                  'Hello-µ@ßöäüàá-UTF-8!!', 'क्षत्रिय'], ids=ascii)
def test_8_1_valid(ws, text):
    data = text.encode()
    ws.send_frame(TEXT, data)
    echoed(ws, data, TEXT)
    for i in range(len(data)):
        ws.send_frame(CONT if i else TEXT, data[i:i + 1],
                      fin=i == len(data) - 1)
    echoed(ws, data, TEXT)


INVALID = [
    b'\xff', b'\xfe', b'\x80', b'\xbf', b'\xc0\x80', b'\xc1\xbf',
    b'\xe0\x80\x80', b'\xe0\x9f\xbf', b'\xed\xa0\x80', b'\xed\xbf\xbf',
    b'\xf0\x80\x80\x80', b'\xf0\x8f\xbf\xbf', b'\xf4\x90\x80\x80',
    b'\xf5\x80\x80\x80', b'\xf8\x88\x80\x80\x80', b'\xfc\x84\x80\x80\x80\x80',
    b'\xc3', b'\xe2\x82', b'\xf0\x9f\x98', b'\xc3(', b'\xe2\x82(',
    b'\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited']


@pytest.mark.parametrize('bad', INVALID, ids=repr)
def test_8_1_invalid(ws, bad):
    ws.send_frame(TEXT, b'fine ' + bad)
    assert ws.wait_close() == 1007


@pytest.mark.parametrize('bad', [b for b in INVALID if len(b) < 2
                                 or b[-1] in (0x28, 0x80, 0xbf, 0xaf)],
                         ids=repr)
def test_8_1_told_before_the_frame_is_whole(either, bad):
    """The header announces 1000 octets; those that follow the wrong one need
    not come."""
    if bad in (b'\xc3',):
        return
    data = frame(TEXT, b'x' * 20 + bad + b'x' * (980 - len(bad)))
    either.send_raw(data[:8 + 20 + len(bad)])
    assert either.wait_close() == 1007


def test_8_1_binary_may_be_anything(ws):
    for bad in INVALID:
        ws.send_frame(BINARY, bad)
        echoed(ws, bad)


# -- 10.4: limits --------------------------------------------------------------

@pytest.mark.parametrize('length', [MAX + 1, 2 ** 20, 2 ** 31 - 1, 2 ** 31,
                                    2 ** 32, 2 ** 32 + 1, 2 ** 62,
                                    2 ** 63 - 1])
@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_10_4_told_from_the_header(ws, length, opcode):
    ws.send_frame(opcode, b'', length=length)
    assert ws.wait_close() == 1009


def test_10_4_by_fragments(ws):
    ws.send_frame(BINARY, b'x' * (MAX - 1), fin=False)
    ws.send_frame(CONT, b'x', fin=False)
    ws.send_frame(CONT, b'', fin=False)
    ws.send_frame(CONT, b'x')
    assert ws.wait_close() == 1009


# -- what an echo is besides ----------------------------------------------------

def test_an_echo_needs_no_hello(stack):
    """astro_hello_timeout is 2 s here; and it is pinged as any other is."""
    ws = stack.echo()
    time.sleep(3 * SLOW)
    alive(ws)


def test_an_echo_ends_with_its_worker(stack):
    ws = stack.echo()
    alive(ws)
    stack.reload()
    assert ws.wait_close(20) == 4503
    assert ws.frames == []          # and no text of consult.v1 before it


def test_an_echo_that_is_not_read(stack):
    ws = stack.echo()
    ws.pause()
    try:
        for _ in range(400):
            ws.send_frame(BINARY, b'x' * MAX)
    except OSError:
        pass
    ws.resume()
    assert ws.wait_close(30) in (4504, None)
    eventually(lambda: stack.metrics()['astro_connections'] == 0, 10)


def test_an_echo_is_no_subprotocol(stack):
    ws = stack.echo(protocols=('consult.v1', 'other'))
    assert ws.protocol is None
    alive(ws)
    with pytest.raises(HandshakeRefused):
        stack.connect(protocols=('other',))


def test_it_is_in_the_log_of_nobody(stack):
    """A client's mistake is told at level info, with what it was."""
    ws = stack.echo()
    ws.send_frame(11, b'')
    ws.wait_close()
    assert not re.search(r'\[(warn|error)\].*bad frame', stack.log())
