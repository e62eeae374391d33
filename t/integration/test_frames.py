"""What goes over a WebSocket is described, all of it, and nothing else.

That every frame of the suite is as described sees astro/client.py (and
astro/crowd.py): astro/frames.py.
"""

import copy
import pathlib
import re

import pytest

from astro.frames import described, wrong_frame, wrong_request
from astro.routes import ROOT
from astro.schema import document, resolve

MODULE = ROOT / 'ngx_astro_module'
TYPES = re.findall(r'\{ ngx_string\("(\w+)"\),\s*ngx_astro_handle',
                   (MODULE / 'ngx_astro_protocol.c').read_text())


def sent():
    """Types that the sources say something of their own in."""
    found = set()
    for file in (*MODULE.glob('*.c'), *(ROOT / 'billing_worker').glob('*.c'),
                 *(ROOT / 'sql' / 'functions').glob('*.sql')):
        text = pathlib.Path(file).read_text().replace('\\"', '"')
        found |= set(re.findall(r'\{"type":"(\w+)', text))
    assert 'user_' in found                 # user_%s
    found = found - {'about', 'reply', 'user_'} | {'user_online',
                                                   'user_offline'}
    # what is stored, and what is passed on under the name it came by
    found |= {kind for kind in TYPES if kind.startswith(('signal_', 'chat_'))
              and kind != 'chat_ack'}
    if "'session_end'" in (ROOT / 'sql/functions/billing.sql').read_text() \
            + (ROOT / 'sql/functions/billing_apply.sql').read_text():
        found.add('session_end')
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
