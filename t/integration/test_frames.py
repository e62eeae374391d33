"""What goes over a WebSocket is described, all of it, and nothing else.

That every frame of the suite is as described sees astro/client.py (and
astro/crowd.py): astro/frames.py.
"""

import copy
import json
import pathlib
import re
import uuid

import pytest

from astro.consult import Consultation
from astro.frames import described, wrong_frame, wrong_request
from astro.routes import ROOT
from astro.schema import document, resolve

MODULE = ROOT / 'ngx_astro_module'
SECRET = 'a secret of the two'
TYPES = re.findall(r'\{ ngx_string\("(\w+)"\),\s*ngx_astro_handle',
                   (MODULE / 'ngx_astro_protocol.c').read_text())


def sent():
    """Types that the sources say something of their own in."""
    found = set()
    ours = set(MODULE.glob('*.c')) - set(MODULE.glob('*_ws_old*.c'))
    for file in (*ours, *(ROOT / 'billing_worker').glob('*.c'),
                 *(ROOT / 'sql' / 'functions').glob('*.sql')):
        text = pathlib.Path(file).read_text().replace('\\"', '"')
        found |= set(re.findall(r'\{"type":"(\w+)', text))
    assert 'user_' in found                 # user_%s
    found = found - {'about', 'reply', 'user_'} | {'user_online',
                                                   'user_offline'}
    # of consult.notice
    texts = ' '.join(file.read_text() for file in
                     (ROOT / 'sql' / 'functions').glob('*.sql'))
    found |= {kind for kind in ('queue_state', 'notification', 'payment')
              if f"'{kind}'" in texts}
    # what is stored, and what is passed on under the name it came by
    found |= {kind for kind in TYPES if kind.startswith(('signal_', 'chat_'))
              and kind != 'chat_ack'}
    if "'session_end'" in (ROOT / 'sql/functions/billing.sql').read_text() \
            + (ROOT / 'sql/functions/billing_apply.sql').read_text():
        found.add('session_end')
    if "'gift'" in (ROOT / 'sql/functions/gifts.sql').read_text():
        found.add('gift')
    return found


def test_n10_requests_are_the_table_of_types():
    assert len(TYPES) == len(set(TYPES)) > 25
    assert set(described()['requests']) == set(TYPES)


def test_n10_events_are_what_is_sent():
    assert set(described()['events']) == sent()


def schemas():
    for kind, said in described()['requests'].items():
        yield kind, said['payload']
        if said['reply']:
            yield f'reply to {kind}', said['reply']
    for kind, said in described()['events'].items():
        yield kind, said['frame']


KEYWORDS = {'type', 'required', 'properties', 'items', 'enum', 'const',
            'pattern', 'minimum', 'maximum', 'description', '$ref',
            'additionalProperties', 'format', 'example'}


def walk(schema):
    """All of a schema; of what we do not check there is nothing in it."""
    assert set(schema) <= KEYWORDS, schema
    if '$ref' in schema:
        assert resolve(schema)
    known = schema.get('properties', {})
    assert set(schema.get('required', ())) <= set(known) or '$ref' in schema
    for part in known.values():
        walk(part)
    if 'items' in schema:
        walk(schema['items'])


@pytest.mark.parametrize('kind, schema', schemas(), ids=lambda v: v
                         if isinstance(v, str) else '')
def test_schemas_are_what_is_checked(kind, schema):
    walk(schema)


def test_what_is_wrong_is_seen():
    """The check itself."""
    good = {'type': 'chat_receipt', 'conv': 'c_1',
            'payload': {'from': 'u_2', 'delivered': 3, 'read': 0}}
    assert wrong_frame(good) is None

    def bad(change):
        frame = copy.deepcopy(good)
        change(frame)
        assert wrong_frame(frame), frame

    bad(lambda f: f.update(type='chat_nothing'))
    bad(lambda f: f.update(more=1))
    bad(lambda f: f.pop('conv'))
    bad(lambda f: f['payload'].update(more=1))
    bad(lambda f: f['payload'].pop('read'))
    bad(lambda f: f['payload'].update(read='0'))
    bad(lambda f: f['payload'].update(read=True))
    bad(lambda f: f['payload'].update({'from': 'u_0'}))
    reply = {'type': 'reply', 'id': 1, 'payload': {'token_exp': 5}}
    assert wrong_frame(reply, ('auth_refresh', {'token': 'x'})) is None
    assert wrong_frame(reply, ('auth_refresh', {}))
    assert wrong_frame(reply, ('ping', {}))
    assert wrong_frame({**reply, 'error': {}}, ('auth_refresh', {}))
    assert wrong_frame({'type': 'reply', 'error': {
        'code': 'nonsense', 'message': '', 'retry': False}})
    assert wrong_request('chat_ack', {'conv': 's_1', 'read': 1})


def test_it_is_served(rest):
    served = rest.get('/api/openapi.json').json['x-websocket']
    assert served == described() == document()['x-websocket']


# whatever is sent ------------------------------------------------------------

VALUES = [None, True, 0, -1, 1.5, 10 ** 18, 10 ** 40, 1e308, '', 'x' * 300,
          'é' * 5000, '\u202e\ufeff\U0001f600', "';--", 's_0', 'c_99999999',
          'u_-1', [], [None], [[[[1]]]], {}, {'a': {'a': 1}}]

RAW = ['{"a":NaN}', '{"a":1,"a":2}', '{"a":{"b":1,"b":2}}', '{"a":"\\u0000"}',
       '{"a":"\\ud800"}', '{"a":"\\udc00\\ud800"}', '{"a":01}', '{a:1}', '[]',
       '{"a":' * 17 + '1' + '}' * 17, '[' * 9000, '"x"', '17', '']


def good(kind, talk):
    """A request that the document says is good, about these two."""
    values = {
        'session': talk.id, 'conv': talk.conv, 'advisor': talk.advisor.id,
        'cid': str(uuid.uuid4()), 'service': 'audio',
        'users': [talk.client.id],
        'sdp': 'v=0\r\na=fingerprint:sha-256 0\r\n', 'text': 'x', 'msg': 1,
        'emoji': '👍', 'kind': 'text', 'token': 'x', 'device': 'x', 'app': 'x',
        'pos': [[talk.conv, 0]], 'rtt': 1, 'loss': 0.5, 'jitter': 1,
        'max_minutes': 5, 'confirm_rate': 1, 'gen': 1, 'after': 0, 'read': 0,
        'delivered': 0, 'reply_to': 1, 'mic': True, 'cam': True, 'on': True,
        'screen': True, 'admin_metrics': True}
    known = described()['requests'][kind]['payload']['properties']
    return {name: values[name] for name in known}


@pytest.fixture(scope='module')
def talks():
    return {}


@pytest.mark.parametrize('kind', [t for t in TYPES if t != 'pong'])
def test_a10_every_request_with_all_that_is_wrong(stack, talks, kind):
    """By somebody who has no part in it: each is refused, for its reason, or
    concerns themselves alone; the connection is as it was."""
    if 'talk' not in talks:
        talks['talk'] = talk = Consultation(stack).active()
        talk.c.say(talk.conv, SECRET)
    talk = talks['talk']
    other = stack.person()
    client = other.connect()
    base = good(kind, talk)
    theirs = {'session', 'conv'} & set(base)

    payloads = [base, {**base, 'nobody_reads_this': VALUES[-1]}]
    for name in base:
        payloads.append({k: v for k, v in base.items() if k != name})
        payloads += [{**base, name: value} for value in VALUES]
    texts = [json.dumps(p) for p in payloads] + RAW

    first = client.ids = 1000
    client.waited = set(range(first, first + len(texts)))
    for number, text in enumerate(texts, first):
        client.send_text(f'{{"type":"{kind}","id":{number},"payload":{text}}}')
    # what could not be read has no id, and a reply all the same
    client.ids += len(texts)
    client.call('ping')
    client.wait(lambda: all(first + n in client.replies
                            for n in range(len(payloads))))

    for number in range(len(payloads)):
        reply = client.replies[first + number]
        assert SECRET not in reply['_raw']
        error = reply.get('error')
        if error:
            assert error['code'] not in ('internal', 'unavailable'), reply
            if error['code'] == 'bad_request':
                assert error.get('field'), reply
        else:
            assert not theirs or kind == 'hello', (payloads[number], reply)
    assert client.open
