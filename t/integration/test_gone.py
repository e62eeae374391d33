"""People who come and go: what others are told of it, what is over then, and
for whom an advisor is free again."""

import threading
import time
import uuid

import pytest

from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, eventually
from astro.ws import SLOW

GRACE, RING, BACK = 1 * SLOW, 2, 2      # of presence, a ring, a session


@pytest.fixture(scope='module')
def hall():
    stack = Stack(settings={'astro_presence_grace': f'{int(GRACE)}s',
                            'astro_grace': f'{BACK}s'},
                  worker_settings={'ring_seconds': RING,
                                   'grace_seconds': BACK})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(hall):
    hall.revive()
    yield from watch(hall)


def watching(stack, person):
    """Somebody on another worker than that person's, who watches them."""
    away = person.client.worker if person.client else None
    watcher = stack.person().connect(away_from=away)
    watcher.call('presence_watch', {'users': [person.id]})
    return watcher


def news(watcher):
    return [m['type'] for m in watcher.messages
            if m['type'] in ('user_online', 'user_offline')]


# -- C3, C4, C5: presence ------------------------------------------------------

def test_c3_of_two_tabs_the_last_counts(stack):
    person = stack.person('advisor')
    watcher = watching(stack, person)
    tabs = []
    for _ in range(2):
        person.device = str(uuid.uuid4())
        tabs.append(person.connect(away_from=tabs[0].worker if tabs
                                   else watcher.worker))
    watcher.expect('user_online')
    tabs[0].close()
    watcher.quiet('user_offline', GRACE + 0.4)
    assert watcher.call('presence_watch', {'users': [person.id]}
                        )['users'][0]['online']
    closed = time.monotonic()
    tabs[1].close()
    off = watcher.expect('user_offline')
    assert off['payload']['user'] == person.id
    assert off['_t'] - closed > GRACE - 0.1
    time.sleep(0.5)
    assert news(watcher) == []


def test_c4_twenty_short_drops_are_no_news(stack):
    """Whether they say goodbye or not.  A drop that took longer than the
    grace, on a busy machine, may be told."""
    person = stack.person('advisor')
    person.connect()
    watcher = watching(stack, person)
    long = 0
    for i in range(20):
        began = time.monotonic()
        person.client.close() if i % 2 else person.client.drop()
        time.sleep(0.05)
        person.connect()
        long += time.monotonic() - began > GRACE * 0.7
    time.sleep(GRACE + 0.5)
    assert news(watcher).count('user_offline') <= long
    assert news(watcher).count('user_online') <= long
    assert person.client.call('ping', {}) == {}


def test_c5_no_news_is_older_than_the_snapshot(stack, rest):
    """Four go offline and online without end, while one asks for snapshots:
    in the order in which it all came each is newer than what was before."""
    people = [stack.person('advisor') for _ in range(4)]
    for person in people:
        person.connect()
    ids = [p.id for p in people]
    watcher = stack.person().connect(away_from=people[0].client.worker)
    first = watcher.request('presence_watch', {'users': ids})
    asked = [first]
    watcher.reply(first)

    def toggle(person):
        for i in range(15):
            answer = rest.call('PUT', '/api/advisors/me/status', {
                'status': ('offline', 'online')[i % 2]}, person.token)
            assert answer.status == 200

    threads = [threading.Thread(target=toggle, args=(p,)) for p in people]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        asked.append(watcher.request('presence_watch', {'users': ids}))
        watcher.reply(asked[-1])
    for thread in threads:
        thread.join()

    def state():
        came = [(watcher.replies[n]['_t'], w['user'], w['ver'], w['online'],
                 False) for n in asked
                for w in watcher.replies[n]['payload']['users']]
        came += [(m['_t'], m['payload']['user'], m['ver'],
                  m['type'] == 'user_online', True)
                 for m in watcher.messages
                 if m['type'] in ('user_online', 'user_offline')]
        known = {}
        for _, user, ver, online, delta in sorted(came, key=lambda x: x[0]):
            was, before = known.get(user, (0, None))
            assert ver > was if delta or online != before else ver >= was, (
                user, ver, was, delta)
            known[user] = ver, online
        return known

    eventually(lambda: not any(on for _, on in state().values()), 10,
               'all of them offline')
    assert len(asked) > 5
    assert any(m['type'] == 'user_offline' for m in watcher.messages)


# -- C6: busy ------------------------------------------------------------------

def status(stack, who):
    return stack.rest.get(f'/api/advisors/{who.id}', who.token).json['status']


def rings(stack, advisor):
    """Somebody else starts a session with that advisor, and cancels it."""
    talk = Consultation(stack)
    talk.advisor = advisor
    talk.client.connect()
    assert talk.start()['state'] == 'ringing'
    talk.c.call('session_cancel', talk.this)


def test_c6_both_vanish_while_it_rings(stack):
    talk = Consultation(stack).connect()
    talk.ring()
    for party in (talk.c, talk.a):
        party.drop()
    talk.advisor.connect()
    assert status(stack, talk.advisor) == 'busy'
    eventually(lambda: status(stack, talk.advisor) == 'online', RING + 10)
    row = talk.row()
    assert row['reason'] == 'missed'
    took = (row['ended_at'] - row['created_at']).total_seconds()
    assert took < RING + 2 * SLOW
    rings(stack, talk.advisor)


@pytest.mark.parametrize('state', ['ringing', 'accepted', 'active'])
def test_c6_a_stale_busy_is_repaired(stack, state):
    """A session that says busy and that nobody knows of any more: its people
    are gone, the billing worker too, and whatever it waited for has passed."""
    talk = Consultation(stack).connect()
    talk.ring()
    if state != 'ringing':
        talk.accept()
    if state == 'active':
        talk.join()
        talk.state('active')
    stack.kill_billing()
    for party in (talk.c, talk.a):
        party.drop()
    if state != 'active':
        with stack.db() as db:
            db.execute('UPDATE consult.session SET state_ms = state_ms'
                       ' - 3600000 WHERE id = %s', (talk.number,))
    talk.advisor.connect()
    assert status(stack, talk.advisor) == 'busy'
    stack.start('worker')
    eventually(lambda: status(stack, talk.advisor) == 'online', 20)
    rings(stack, talk.advisor)


# -- D10, F7: the end ----------------------------------------------------------

def ends(person, talk):
    return [raw for raw in person.events.get(talk.conv, {}).values()
            if '"type":"session_end"' in raw]


def test_d10_one_end_when_both_are_gone(stack):
    talk = Consultation(stack).active()
    for party in (talk.c, talk.a):
        party.drop()
    eventually(lambda: talk.row()['settled'], BACK + 15, 'the end')
    for person in (talk.client, talk.advisor):
        back = stack.connect()
        back.person = person
        back.hello(person.token, person.device, {talk.conv: 0})
        eventually(lambda p=person: ends(p, talk), 10, 'the end is told')
        time.sleep(0.3)
        assert back.call('ping', {}) == {}
        assert len(ends(person, talk)) == 1
        assert '"reason":"peer_lost"' in ends(person, talk)[0]


def test_d10_one_end_when_the_money_is_spent(stack):
    talk = Consultation(stack, balance=300).active()
    end = talk.ended(20)
    assert end['reason'] == 'low_balance'
    for party in (talk.c, talk.a):
        party.call('session_end', talk.this)
        party.quiet('session_end', 0.3)
    for person in (talk.client, talk.advisor):
        assert len(ends(person, talk)) == 1
    assert talk.client.wallet() == (0, 0)


def test_f7_after_the_grace_it_ended_when_last_seen(stack):
    talk = Consultation(stack).active()
    talk.c.expect('billing_tick')
    left = time.time() * 1000
    talk.c.drop()
    talk.state('reconnecting', talk.a)
    talk.a.expect('session_end', timeout=BACK + 15)
    row = talk.assert_settled()
    assert row['reason'] == 'peer_lost'
    assert row['billed_ms'] <= left - row['active_ms'] + 500 * SLOW
    assert row['end_ms'] - row['active_ms'] - row['billed_ms'] \
        >= BACK * 1000 - 500 * SLOW
    assert stack.audit()[0] == 0
