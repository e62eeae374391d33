"""TURN credentials: coturn takes ours while they are good, and no others."""

import subprocess

import pytest

from astro.consult import Consultation
from astro.coturn import Coturn
from astro.fixtures import watch
from astro.stack import Stack, eventually


@pytest.fixture(scope='module')
def turned():
    coturn = Coturn()
    stack = Stack(settings={'astro_turn': coturn.setting('6s')})
    stack.turn_port = coturn.port
    try:
        yield stack.up()
    finally:
        stack.down()
        coturn.close()


@pytest.fixture
def stack(turned):
    yield from watch(turned)


def relayed(stack, name, password):
    """Does coturn make a relay for these, and send through it?"""
    done = subprocess.run(
        ['turnutils_uclient', '-u', name, '-w', password, '-n', '2', '-m',
         '1', '-y', '-c', '-p', str(stack.turn_port), '127.0.0.1'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=30, check=False)
    return 'Total lost packets 0' in done.stdout, done.stdout


def test_d5_turn_credentials(stack):
    talk = Consultation(stack).connect()
    started = talk.ring()
    stun, turn = started['ice_servers']
    assert stun == {'urls': [f'stun:127.0.0.1:{stack.turn_port}']}
    assert turn['urls'] == [f'turn:127.0.0.1:{stack.turn_port}']
    assert turn['username'].endswith(':' + talk.client.id)
    assert talk.accept()['ice_servers'][1]['username'].endswith(
        ':' + talk.advisor.id)
    for joined in talk.join():
        assert [sorted(s) for s in joined['ice_servers']] == [
            ['urls'], ['credential', 'urls', 'username']]
    fresh = talk.c.call('session_join', talk.this)['ice_servers'][1]
    good, said = relayed(stack, fresh['username'], fresh['credential'])
    assert good, said
    assert not relayed(stack, fresh['username'], 'x')[0]

    eventually(lambda: not relayed(stack, turn['username'],
                                   turn['credential'])[0], 20,
               'a refusal of what has expired')
    fresh = talk.c.call('session_join', talk.this)['ice_servers'][1]
    assert relayed(stack, fresh['username'], fresh['credential'])[0]
    talk.end()
