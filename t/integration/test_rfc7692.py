"""permessage-deflate, RFC 7692 by section: our own client, which reads with no
more window than was agreed, and two that others wrote."""

import asyncio
import json
import os
import random
import ssl
import struct
import subprocess
import zlib

import pytest
import websockets
from websockets.extensions.permessage_deflate import \
    ClientPerMessageDeflateFactory

from astro.deflate import NAME, RSV1, Deflating
from astro.fixtures import watch
from astro.stack import Stack, eventually
from astro.ws import (BINARY, CLOSE, CONT, PING, PONG, REPO, SLOW, TEXT,
                      HandshakeRefused, frame)

MAX = 65536
LARGE = 16 << 20

PLAIN = NAME + '; server_no_context_takeover; client_no_context_takeover'


@pytest.fixture(scope='module')
def second():
    """Windows are kept, messages are large, memory is short."""
    stack = Stack(settings={'astro_deflate_takeover': 'on',
                            'astro_deflate_window': '15',
                            'astro_deflate_min_length': '1',
                            'astro_deflate_memory': '1m',
                            'astro_max_frame': '16m',
                            'astro_out_queue': '64m',
                            'astro_limit': 'all off'}, workers=1)
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def keeping(second):
    yield from watch(second)


def deflating(stack, offer=NAME, **kw):
    return stack.echo(kind=Deflating, **{'offer': offer, **kw})


def answer(stack, offer):
    """Our header line to that offer."""
    ws = deflating(stack, offer)
    line = ws.headers.get('sec-websocket-extensions')
    ws.close()
    return line


def text(size):
    """Words: about four letters to one when compressed."""
    words = 'namaste mercury retrograde kundli saturn and your wallet'.split()
    found = ''
    while len(found) < size:
        found += random.choice(words) + ' '
    return found[:size]


# -- 5, 7.1: what is agreed --------------------------------------------------------

@pytest.mark.parametrize('offer', [
    NAME, NAME + '; client_max_window_bits', 'x, ' + NAME,
    ['x', NAME], ['x; y=z', 'z, ' + NAME + ', ' + NAME]], ids=str)
def test_7_1_agreed(stack, offer):
    line = answer(stack, offer)
    assert line.startswith(PLAIN + '; server_max_window_bits=12')
    assert ('client_max_window_bits' in line) \
        == ('client_max_window_bits' in str(offer))


@pytest.mark.parametrize('offer, expected', [
    (NAME, NAME),
    (NAME + '; server_no_context_takeover',
     NAME + '; server_no_context_takeover'),
    (NAME + '; client_no_context_takeover',
     NAME + '; client_no_context_takeover'),
    (NAME + '; server_max_window_bits=10', NAME + '; server_max_window_bits=10'),
    (NAME + '; client_max_window_bits=9', NAME + '; client_max_window_bits=9'),
    (NAME + '; client_max_window_bits="8"', NAME + '; client_max_window_bits=8'),
    (NAME + '; server_max_window_bits=15; client_max_window_bits=15',
     NAME + '; server_max_window_bits=15'),
    (NAME + '; server_max_window_bits=8, ' + NAME, NAME),
    ([NAME + '; x', NAME + '; server_max_window_bits=9'],
     NAME + '; server_max_window_bits=9')], ids=str)
def test_7_1_parameters(keeping, offer, expected):
    assert answer(keeping, offer) == expected


@pytest.mark.parametrize('params', [
    'x', 'server_max_window_bits', 'server_max_window_bits=7',
    'server_max_window_bits=16', 'server_max_window_bits=09',
    'server_max_window_bits=8', 'client_max_window_bits=7',
    'client_max_window_bits=16', 'server_no_context_takeover=1',
    'client_no_context_takeover=""x"', 'server_no_context_takeover;'
    'server_no_context_takeover', 'client_max_window_bits=10; '
    'client_max_window_bits=10'])
def test_7_1_declined(stack, params):
    if params.count('"') == 3:
        with pytest.raises(HandshakeRefused) as e:
            answer(stack, f'{NAME}; {params}')
        assert e.value.status == 400
        return
    assert answer(stack, f'{NAME}; {params}') is None


def test_off_where_it_is_off(stack):
    """What was not offered is not used, and RSV1 is an error there."""
    ws = deflating(stack, None)
    ws.send_text(text(5000))
    assert not ws.packed
    ws.send_frame(TEXT, b'\0', rsv=RSV1)
    assert ws.wait_close() == 1002


# -- 6: framing ---------------------------------------------------------------------

@pytest.fixture
def ws(stack):
    return deflating(stack)


@pytest.mark.parametrize('opcode, rsv', [
    (PING, 4), (PONG, 4), (CLOSE, 4), (TEXT, 2), (TEXT, 1), (TEXT, 6),
    (BINARY, 5), (BINARY, 7), (3, 4)])
def test_6_rsv(ws, opcode, rsv):
    ws.send_frame(opcode, b'', rsv=rsv)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('first', [0, RSV1])
def test_6_1_rsv1_is_on_the_first_fragment_alone(ws, first):
    ws.send_frame(TEXT, b'', rsv=first, fin=False)
    ws.send_frame(CONT, b'\0', rsv=RSV1)
    assert ws.wait_close() == 1002


@pytest.mark.parametrize('size', [0, 1, 125, 126, 127, 255, 256, 257, 5000,
                                  65535, 65536])
@pytest.mark.parametrize('pieces', [1, 2, 7])
def test_6_messages(ws, size, pieces):
    for payload in (text(size), text(size).encode(), os.urandom(size)):
        kind = TEXT if isinstance(payload, str) else BINARY
        before = len(ws.packed)
        ws.send_packed(payload, pieces=pieces)
        got = ws.next_frame(kind)[1]
        assert got == (payload.encode() if kind == TEXT else payload)

        # text of 256 and more comes back compressed, noise and less does not
        packed = ws.packed[before:]
        if size < 256 or payload[:1] not in ('n', 'm', 'r', 'k', 's', 'a', 'y',
                                             'w'):
            continue
        assert len(packed) == 1 and len(packed[0]) < size


def test_6_noise_is_sent_as_it_is(ws):
    data = os.urandom(20000)
    ws.send_frame(BINARY, data)
    assert ws.next_frame(BINARY)[1] == data
    assert not ws.packed


def test_6_both_kinds_in_any_order(ws):
    sent = []
    for i in range(200):
        payload = text(random.choice((10, 300, 3000)))
        sent.append(payload.encode())
        if random.random() < 0.5:
            ws.send_packed(payload, pieces=random.randint(1, 3))
        else:
            ws.send_text(payload)
    for payload in sent:
        assert ws.next_frame(TEXT)[1] == payload


def test_6_control_frames_between_fragments(ws):
    data = ws.pack(text(4000).encode())
    ws.send_frame(TEXT, data[:100], rsv=RSV1, fin=False)
    ws.send_frame(PING, b'one')
    assert ws.next_frame(PONG)[1] == b'one'
    ws.send_frame(CONT, data[100:200], fin=False)
    ws.send_frame(PONG, b'')
    ws.send_frame(CONT, data[200:])
    assert len(ws.next_frame(TEXT)[1]) == 4000


def test_6_octet_by_octet(stack):
    ws = deflating(stack, tls=True)
    payload = text(700).encode()
    for octet in frame(TEXT, ws.pack(payload), rsv=RSV1):
        ws.send_raw(bytes([octet]))
    assert ws.next_frame(TEXT)[1] == payload


# -- 7.2: the octets ------------------------------------------------------------------

@pytest.mark.parametrize('octets', [
    'f248cdc9c90700', '000500faff48656c6c6f00', 'f348cdc9c9070000',
    'f248050000 00ffffcac9c90700'])
def test_7_2_3_examples(ws, octets):
    ws.send_frame(TEXT, bytes.fromhex(octets), rsv=RSV1)
    assert ws.next_frame(TEXT)[1] == b'Hello'


def test_7_2_3_2_the_window_is_kept_where_that_was_agreed(keeping):
    ws = deflating(keeping)
    for octets in ('f248cdc9c90700', 'f200110000', 'f200110000'):
        ws.send_frame(TEXT, bytes.fromhex(octets), rsv=RSV1)
        assert ws.next_frame(TEXT)[1] == b'Hello'


@pytest.mark.parametrize('offer', [NAME, NAME +
                                   '; client_no_context_takeover'])
def test_7_2_3_2_and_nowhere_else(stack, keeping, offer):
    ws = deflating(keeping if ';' in offer else stack, offer)
    ws.send_frame(TEXT, bytes.fromhex('f248cdc9c90700'), rsv=RSV1)
    assert ws.next_frame(TEXT)[1] == b'Hello'
    ws.send_frame(TEXT, bytes.fromhex('f200110000'), rsv=RSV1)
    assert ws.wait_close() == 1007


def test_7_2_3_6_empty(stack, keeping):
    for ws in (deflating(stack), deflating(keeping)):
        for _ in range(3):
            ws.send_frame(TEXT, b'\0', rsv=RSV1)
            assert ws.next_frame(TEXT)[1] == b''


@pytest.mark.parametrize('octets', [
    '', '06', 'ff', 'f248cd', 'f248cdc9c9', '000500fbff4865', 'f348cdc9c90700',
    'f2', '00050', 'ffffffffffff'])
def test_7_2_2_no_deflate(ws, octets):
    ws.send_frame(TEXT, bytes.fromhex(octets + '0' * (len(octets) % 2)),
                  rsv=RSV1)
    assert ws.wait_close() == 1007


@pytest.mark.parametrize('bits', range(9, 16))
def test_7_1_2_windows(keeping, bits):
    """Deflating reads with exactly the window that was agreed; and writes."""
    ws = deflating(keeping, f'{NAME}; server_max_window_bits={bits}; '
                   f'client_max_window_bits={bits}')
    assert ws.agreed.get('server_max_window_bits', 15) == bits
    data = os.urandom(300)
    for _ in range(30):
        payload = b''.join(data[i:i + 40]
                           + text(random.randint(0, 2000)).encode()
                           for i in range(0, 260, 20))
        ws.send_packed(payload + payload)
        assert ws.next_frame(BINARY)[1] == payload + payload
    assert ws.packed


def test_7_1_1_context_makes_it_shorter(stack, keeping):
    message = os.urandom(1000).hex()
    lengths = {}
    for name, ws in (('without', deflating(stack)), ('with',
                                                     deflating(keeping))):
        for _ in range(2):
            ws.send_text(message)
            assert ws.next_frame(TEXT)[1] == message.encode()
        lengths[name] = [len(p) for p in ws.packed]
    assert lengths['without'][0] == lengths['without'][1]
    assert lengths['with'][1] * 10 < lengths['with'][0]


# -- 8.1 of RFC 6455, 10.4, and what is hostile ---------------------------------------

@pytest.mark.parametrize('bad', [b'\xff', b'\xc3', b'\xed\xa0\x80',
                                 b'\xf4\x90\x80\x80'], ids=repr)
def test_utf8_is_that_of_the_inflated(ws, bad):
    ws.send_packed(b'fine ' + bad, opcode=TEXT)
    assert ws.wait_close() == 1007


def test_utf8_fails_fast(ws):
    """In the middle of a compressed frame; the rest is never sent."""
    packer = zlib.compressobj(0, zlib.DEFLATED, -15)      # stored
    data = packer.compress(b'x' * 100 + b'\xff' + b'x' * 2000) \
        + packer.flush(zlib.Z_SYNC_FLUSH)
    ws.send_raw(frame(TEXT, data[:-4], rsv=RSV1)[:150])
    assert ws.wait_close() == 1007


@pytest.mark.parametrize('size', [MAX + 1, 1 << 20, 1 << 26])
def test_a_bomb(stack, ws, size):
    """Nothing is inflated beyond the limit; memory is where it was."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b''.join(packer.compress(b'\0' * min(size - at, 1 << 20))
                    for at in range(0, size, 1 << 20))
    data += packer.flush(zlib.Z_SYNC_FLUSH)
    ws.send_raw(frame(BINARY, data[:-4][:MAX], rsv=RSV1))
    assert ws.wait_close() == 1009


def test_many_bombs(stack):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(b'\0' * (1 << 25)) + packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = frame(BINARY, data[:-4], rsv=RSV1)
    for _ in range(30):
        ws = deflating(stack)
        ws.send_raw(bomb)
        assert ws.wait_close() == 1009
    eventually(lambda: stack.metrics()['astro_deflate_memory_bytes']
               < 2 * 300000, 5, 'zlib has given its memory back')


def test_a_bomb_of_nothing(ws):
    """Blocks that inflate to nothing, without end."""
    try:
        for i in range(40):
            ws.send_frame(CONT if i else BINARY, b'\0\0\0\xff\xff' * 600,
                          rsv=0 if i else RSV1, fin=False)
    except OSError:
        pass
    assert ws.wait_close() == 1009


def test_cut_in_mid_message(stack):
    """Whatever it held is given back."""
    for _ in range(50):
        ws = deflating(stack)
        data = ws.pack(text(3000).encode())
        ws.send_raw(frame(TEXT, data, rsv=RSV1)[:50])
        ws.drop()
    eventually(lambda: stack.metrics()['astro_connections'] == 0, 10)
    assert stack.metrics()['astro_deflate_memory_bytes'] < 2 * 300000


def test_half_a_message_of_many_harms_nobody(keeping):
    """1 MB of memory: more who began a message than there are streams.  Theirs
    are gathered as they come, and nothing is refused that was agreed."""
    offer = PLAIN
    message = text(5000).encode()
    clients = []
    for _ in range(60):
        ws = deflating(keeping, offer)
        assert ws.agreed is not None
        data = frame(TEXT, ws.pack(message), rsv=RSV1)
        ws.send_raw(data[:300])
        clients.append((ws, data))
    fresh = deflating(keeping, offer)
    for _ in range(3):
        fresh.send_packed(message)
        assert fresh.next_frame(BINARY)[1] == message
    for ws, data in clients:
        ws.send_raw(data[300:])
        assert ws.next_frame(TEXT)[1] == message
        ws.close()


def test_memory_is_a_limit(keeping):
    """Windows that are kept: a few connections are all that 1 MB is for.  The
    others work without; the counter says so; and then there is room again."""
    before = keeping.metrics()
    clients = [deflating(keeping) for _ in range(20)]
    agreed = [ws for ws in clients if ws.agreed is not None]
    assert 1 <= len(agreed) < 10

    for ws in clients:
        message = text(1000)
        ws.send_text(message)
        assert ws.next_frame(TEXT)[1] == message.encode()
        assert bool(ws.packed) <= (ws.agreed is not None)

    after = keeping.metrics()
    assert after['astro_deflate_memory_bytes'] <= 1 << 20
    assert after['astro_deflate_refused_total'] \
        - before['astro_deflate_refused_total'] == 20 - len(agreed)
    assert after['astro_deflate_agreed_total'] \
        - before['astro_deflate_agreed_total'] == len(agreed)

    for ws in clients:
        ws.close()
    eventually(lambda: keeping.metrics()['astro_deflate_memory_bytes']
               == before['astro_deflate_memory_bytes'], 10)
    assert deflating(keeping).agreed is not None


def test_bytes_are_counted(stack):
    names = [f'astro_deflate_{n}_bytes_total'
             for n in ('in', 'in_plain', 'out_plain', 'out')]
    before = stack.metrics()
    ws = deflating(stack)
    message = text(3000)
    ws.send_packed(message)
    assert ws.next_frame()[1] == message.encode()
    sent, plain_in, plain_out, out = (stack.metrics()[n] - before[n]
                                      for n in names)
    assert plain_in == plain_out == 3000
    assert 0 < sent < 1500 and out == len(ws.packed[0])


# -- consult.v1 over it ----------------------------------------------------------------

def test_the_protocol_is_the_same(stack):
    person = stack.person()
    ws = stack.echo(kind=Deflating, path='/ws', protocols=('consult.v1',))
    assert ws.agreed is not None
    hello = {'type': 'hello', 'id': 1, 'payload': {'token': person.token}}
    ws.send_packed(json.dumps(hello))
    reply = json.loads(ws.next_frame(TEXT)[1])
    assert reply['id'] == 1 and reply['payload']['user'] == person.id
    ws.send_packed('{"type":"ping","id":2}')
    while json.loads(ws.next_frame(TEXT)[1]).get('id') != 2:
        pass
    ws.send_packed(b'\1', opcode=BINARY)
    assert ws.wait_close() == 1003


# -- large frames; clients of others ---------------------------------------------------

@pytest.mark.parametrize('offer', [None, NAME], ids=['plain', 'deflate'])
@pytest.mark.parametrize('tls', [False, True], ids=['tcp', 'tls'])
def test_large_frames(keeping, offer, tls):
    ws = deflating(keeping, offer, tls=tls, timeout=40)
    for size in (65537, 100000, 131072, 1 << 20, (1 << 22) + 1, LARGE):
        data = random.randbytes(size // 2)
        data += bytes(size - len(data))
        if offer:
            ws.send_packed(data, pieces=random.randint(1, 3))
        else:
            ws.send_frame(BINARY, data)
        assert ws.next_frame(BINARY, timeout=40)[1] == data
        ws.send_frame(PING, b'x')
        assert ws.next_frame(PONG)[1] == b'x'
    ws.send_frame(BINARY, b'', length=LARGE + 1)
    assert ws.wait_close() == 1009


@pytest.mark.parametrize('which', ['first', 'second'])
@pytest.mark.parametrize('factory', [
    {}, {'client_max_window_bits': True}, {'server_max_window_bits': 9},
    {'server_max_window_bits': 15},
    {'server_max_window_bits': 10, 'client_max_window_bits': 11},
    {'server_no_context_takeover': True, 'client_no_context_takeover': True},
    None], ids=str)
def test_python_websockets(request, which, factory):
    stack = request.getfixturevalue('stack' if which == 'first'
                                    else 'keeping')
    most = MAX if which == 'first' else LARGE

    async def talk():
        tls = ssl.create_default_context(cafile=f'{stack.var}/tls/cert.pem')
        extensions = None if factory is None else [
            ClientPerMessageDeflateFactory(**factory)]
        async with websockets.connect(
                f'wss://localhost:{stack.port}/echo', ssl=tls,
                host='127.0.0.1', extensions=extensions, compression=None,
                max_size=None, ping_interval=None,
                open_timeout=20 * SLOW) as ws:
            assert bool(ws.extensions) == (factory is not None)
            for size in (0, 1, 125, 126, 1000, 65535, 65536, most):
                for payload in (text(min(size, 100000)),
                                random.randbytes(size), b'ab' * (size // 2)):
                    await ws.send(payload)
                    assert await asyncio.wait_for(ws.recv(),
                                                  30 * SLOW) == payload
            await ws.send([b'one', b'', b'two' * 1000, b''])
            assert await ws.recv() == b'one' + b'two' * 1000
            for _ in range(3):
                await ws.send('')
                assert await ws.recv() == ''
            await (await ws.ping())
            await ws.close(4000, 'done')
            assert ws.close_code == 4000

    asyncio.run(asyncio.wait_for(talk(), 100 * SLOW))


@pytest.mark.parametrize('which', ['first', 'second'])
@pytest.mark.parametrize('offer', [
    False, {}, {'clientMaxWindowBits': 10, 'serverMaxWindowBits': 9},
    {'serverNoContextTakeover': True, 'clientNoContextTakeover': True}],
    ids=str)
def test_ws_of_npm(request, which, offer):
    stack = request.getfixturevalue('stack' if which == 'first'
                                    else 'keeping')
    peers = os.path.join(REPO, 'build', 'test-peers', 'node_modules')
    assert os.path.isdir(peers), 'scripts/setup.sh test'

    sizes = [0, 1, 125, 126, 1000, 16384, 40000]
    if which == 'second':
        sizes += [65536, 300000, 1 << 20, LARGE]
    done = subprocess.run(
        ['node', os.path.join(REPO, 't/integration/peers/client.js'),
         json.dumps({'url': f'wss://127.0.0.1:{stack.port}/echo',
                     'offer': offer, 'sizes': sizes, 'times': 1,
                     'fragments': True})],
        env={**os.environ, 'NODE_PATH': peers}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=100 * SLOW, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)

    assert result['wrong'] == [] and 'error' not in result, result
    assert result['echoed'] == 3 * len(sizes) + 1
    assert result['close'] == 4242
    assert (result['extensions'] is not None) == (offer is not False)
