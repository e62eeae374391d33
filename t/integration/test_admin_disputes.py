"""Disputes: opened by a party with the evidence of that instant, decided once
by an admin, the money in its exact split; and who may read what was said."""

import concurrent.futures
import uuid

import pytest

from astro.consult import Consultation
from test_http import problem

DISPUTE = {'reason': 'quality', 'text': 'no sound'}


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json


@pytest.fixture(scope='module')
def boss(shared):
    return shared.person('admin')


@pytest.fixture
def talk(stack):
    """It is over, and something was charged and said."""
    talk = Consultation(stack, rates=(600000, 600000, 600000)).active()
    talk.c.say(talk.conv, 'hello')
    talk.a.say(talk.conv, 'yes')
    talk.c.call('session_quality', {'session': talk.id, 'rtt': 120,
                                    'loss': 0.01, 'jitter': 9})
    for party in (talk.c, talk.a):
        party.expect('billing_tick', lambda m:
                     m['payload']['session'] == talk.id
                     and m['payload']['charged'] > 10, timeout=20)
    talk.end()
    return talk


def opened(stack, talk, who=None, **more):
    return ok(stack.rest.post(f'/api/sessions/{talk.id}/dispute',
                              {**DISPUTE, **more},
                              (who or talk.client).token), 201)


def decide(stack, boss, dispute, body, status=200):
    return ok(stack.rest.post(
        f"/api/admin/disputes/{dispute['id']}/decision",
        {'text': 'so it was', **body}, boss.token), status)


def acts(stack, who, about):
    page = ok(stack.rest.get(f'/api/admin/log?about={about}', who.token))
    return [(a['act'], a['detail']) for a in reversed(page['data'])]


def books_are_right(stack):
    code, said = stack.audit()
    assert code == 0, said


def test_l9_opened_once_with_its_evidence(stack, rest, boss, talk):
    path = f'/api/sessions/{talk.id}/dispute'
    problem(rest.get(path, talk.client.token), 404, 'not_found')
    problem(rest.post(path, DISPUTE, stack.person().token), 404, 'not_found')
    for body, field in (({**DISPUTE, 'reason': 'x'}, '/reason'),
                        ({**DISPUTE, 'text': ''}, '/text')):
        said = problem(rest.post(path, body, talk.client.token), 400,
                       'bad_request')
        assert said['errors'][0]['pointer'] == field

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda who: rest.post(path, DISPUTE, who.token),
                             [talk.client, talk.advisor] * 3))
    assert sorted(a.status for a in said) == [201] + [409] * 5
    mine = next(a.json for a in said if a.status == 201)
    for who in (talk.client, talk.advisor):
        assert ok(rest.get(path, who.token)) == mine
    assert (mine['state'], mine['session']) == ('open', talk.id)

    full = ok(rest.get(f"/api/admin/disputes/{mine['id']}", boss.token))
    row, transfers = talk.row(), talk.transfers()
    found = full['evidence']
    assert found['session']['session'] == talk.id
    assert found['session']['reason'] == row['reason']
    assert found['ended_by'] == talk.client.id
    assert found['transfers']['amount'] == row['charged'] > 0
    assert found['transfers']['fee'] == row['fee']
    assert [(c['amount'], c['fee'], c['no']) for c in found['charges']] \
        == transfers
    assert {i['user'] for i in found['intervals']} == {talk.client.id,
                                                       talk.advisor.id}
    ms = found['connected_ms']
    assert row['billed_ms'] <= ms['both'] <= min(ms['client'], ms['advisor'])
    assert found['quality'][0]['from'] == talk.client.id
    assert (found['transcript']['client'], found['transcript']['advisor']) \
        == (1, 1)
    listed = ok(rest.get('/api/admin/disputes?state=open', boss.token))
    one = next(d for d in listed['data'] if d['id'] == mine['id'])
    assert 'charges' not in one['evidence']
    del found['charges']
    assert one == full
    problem(rest.get('/api/admin/disputes', talk.client.token), 403,
            'forbidden')

    # what happens later is no part of it
    with stack.db() as db:
        db.execute('UPDATE consult.session_quality SET rtt_ms = 1'
                   ' WHERE session_id = %s', (talk.number,))
    again = ok(rest.get(f"/api/admin/disputes/{mine['id']}", boss.token))
    assert again['evidence']['quality'][0]['rtt'] == 120

    by, other = ((talk.client, talk.advisor) if mine['by'] == talk.client.id
                 else (talk.advisor, talk.client))
    told = ok(rest.get('/api/notifications', other.token))['data']
    assert [n['about']['id'] for n in told
            if n['kind'] == 'dispute_opened'] == [mine['id']]
    told = ok(rest.get('/api/notifications', by.token))['data']
    assert [n for n in told if n['kind'] == 'dispute_opened'] == []


def test_l9_not_while_it_is_live_and_not_too_late(stack, rest):
    talk = Consultation(stack).active()
    path = f'/api/sessions/{talk.id}/dispute'
    problem(rest.post(path, DISPUTE, talk.client.token), 409, 'session_state')
    talk.end()
    with stack.db() as db:
        days, = db.execute('SELECT open_days FROM consult.dispute_option'
                           ).fetchone()
        db.execute('UPDATE consult.session SET ended_at = now() - %s *'
                   " interval '1 day' - interval '1 minute' WHERE id = %s",
                   (days, talk.number))
        problem(rest.post(path, DISPUTE, talk.client.token), 410, 'gone')
        db.execute('UPDATE consult.session SET ended_at = ended_at +'
                   " interval '2 minutes' WHERE id = %s", (talk.number,))
    assert rest.post(path, DISPUTE, talk.advisor.token).status == 201


def test_l2_refunded_in_the_exact_split_once(stack, rest, boss, talk):
    """By many admins at once, with other words: one decision, one reversal,
    one row of the log; both are told."""
    dispute = opened(stack, talk)
    row = talk.row()
    client, advisor = talk.client.wallet(), talk.advisor.wallet()
    amount = row['charged'] // 3
    admins = [boss] + [stack.person('admin') for _ in range(3)]
    path = f"/api/admin/disputes/{dispute['id']}/decision"
    problem(rest.post(path, {'decision': 'refund', 'text': 'x',
                             'amount': row['charged'] + 1}, boss.token), 409,
            'conflict')
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda who: rest.post(path, {
            'decision': 'refund', 'amount': amount, 'text': who.id},
            who.token), admins))
    assert sorted(a.status for a in said) == [200, 409, 409, 409]
    won = next(a.json for a in said if a.status == 200)
    assert (won['state'], won['amount']['amount']) == ('refunded', amount)
    assert won['decision'] == won['decided_by']
    fee = row['fee'] * amount // row['charged']
    assert talk.client.wallet()[0] == client[0] + amount
    assert talk.advisor.wallet()[0] == advisor[0] - (amount - fee)
    assert acts(stack, boss, dispute['id']) == [('dispute_decide', {
        'session': talk.id, 'decision': 'refunded', 'amount': amount,
        'reason': won['decision']})]
    for who in (talk.client, talk.advisor):
        mine = ok(rest.get(f'/api/sessions/{talk.id}/dispute', who.token))
        assert (mine['state'], mine['decision']) == ('refunded',
                                                     won['decision'])
        told = [n['about'] for n in ok(rest.get(
            '/api/notifications', who.token))['data']
            if n['kind'] == 'dispute_decided']
        assert [(t['state'], t['amount']['amount']) for t in told] == [
            ('refunded', amount)]
    books_are_right(stack)


def test_l2_all_that_is_left(stack, boss, talk):
    """After some was given back by hand: never more than was charged."""
    row = talk.row()
    with stack.db() as db:
        db.execute('SELECT billing.reverse(%s, 7, %s)',
                   (talk.number, f'by hand {uuid.uuid4()}'))
    before = talk.client.wallet()[0]
    dispute = opened(stack, talk, talk.advisor, reason='other')
    told = decide(stack, boss, dispute, {'decision': 'refund'})
    assert told['amount']['amount'] == row['charged'] - 7
    assert talk.client.wallet()[0] == before + row['charged'] - 7
    assert talk.advisor.wallet()[0] == 0
    books_are_right(stack)


def test_l2_refused(stack, rest, boss, talk):
    dispute = opened(stack, talk)
    before = talk.client.wallet(), talk.advisor.wallet()
    path = f"/api/admin/disputes/{dispute['id']}/decision"
    for body, field in (({'decision': 'refuse', 'text': 'x', 'amount': 1},
                         '/amount'), ({'decision': 'x', 'text': 'x'},
                                      '/decision'),
                        ({'decision': 'refuse'}, '/text')):
        said = problem(rest.post(path, body, boss.token), 400, 'bad_request')
        assert said['errors'][0]['pointer'] == field
    told = decide(stack, boss, dispute, {'decision': 'refuse'})
    assert (told['state'], told['amount']) == ('refused', None)
    problem(rest.post(path, {'decision': 'refund', 'text': 'x'}, boss.token),
            409, 'conflict')
    assert (talk.client.wallet(), talk.advisor.wallet()) == before
    assert acts(stack, boss, dispute['id']) == [('dispute_decide', {
        'session': talk.id, 'decision': 'refused', 'reason': 'so it was'})]
    problem(rest.post(path, {'decision': 'refuse', 'text': 'x'},
                      talk.client.token), 403, 'forbidden')
    problem(rest.get(f'/api/admin/disputes/d_{10 ** 12}', boss.token), 404,
            'not_found')
    page = ok(rest.get('/api/admin/disputes?state=refused', boss.token))
    assert dispute['id'] in [d['id'] for d in page['data']]
    page = ok(rest.get('/api/admin/disputes?state=open', boss.token))
    assert dispute['id'] not in [d['id'] for d in page['data']]


def test_l2_all_of_it_or_nothing(stack, rest, boss, talk):
    """The log takes no row: then nothing was decided or moved, either."""
    dispute = opened(stack, talk)
    before = talk.client.wallet(), talk.advisor.wallet()
    with stack.db() as db:
        db.execute('ALTER TABLE consult.admin_log ADD CONSTRAINT planted'
                   " CHECK (act <> 'dispute_decide') NOT VALID")
        try:
            answer = rest.post(
                f"/api/admin/disputes/{dispute['id']}/decision",
                {'decision': 'refund', 'text': 'x'}, boss.token)
            assert answer.status == 500, answer
        finally:
            db.execute('ALTER TABLE consult.admin_log DROP CONSTRAINT'
                       ' planted')
    stack.expected.append('planted')
    assert (talk.client.wallet(), talk.advisor.wallet()) == before
    assert ok(rest.get(f'/api/sessions/{talk.id}/dispute',
                       talk.client.token))['state'] == 'open'
    books_are_right(stack)


def test_e11_an_admin_reads_only_what_is_disputed(stack, rest, boss, talk):
    """The transcript is that of the parties, and the original of what was
    changed; to look is an act."""
    problem(rest.get(f'/api/sessions/{talk.id}/transcript', boss.token), 404,
            'not_found')
    with stack.db() as db:
        db.execute(f"SET ROLE astro_admin; SET astro.caller = {boss.number}")
        assert db.execute('SELECT count(*) FROM consult.event e WHERE'
                          ' e.conversation_id = %s', (int(talk.conv[2:]),)
                          ).fetchone() == (0,)
    theirs = ok(rest.get(f'/api/sessions/{talk.id}/transcript',
                         talk.client.token))
    assert [m['payload']['text'] for m in theirs['data']
            if m['type'] == 'chat_message'] == ['hello', 'yes']
    seq = theirs['data'][0]['seq']
    gone = rest.post(f'/api/conversations/{talk.conv}/deletions',
                     {'msg': seq, 'cid': str(uuid.uuid4())},
                     talk.client.token)
    assert gone.status in (200, 201), gone
    dispute = opened(stack, talk, talk.advisor)
    path = f"/api/admin/disputes/{dispute['id']}/transcript"
    problem(rest.get(path, talk.advisor.token), 403, 'forbidden')
    seen, cursor = [], ''
    while cursor is not None:
        page = ok(rest.get(f'{path}?limit=1{cursor}', boss.token))
        seen += page['data']
        cursor = page['next_cursor'] and f"&cursor={page['next_cursor']}"
    mine = ok(rest.get(f'/api/sessions/{talk.id}/transcript',
                       talk.advisor.token))['data']
    assert [{k: v for k, v in m.items() if k != 'original'}
            for m in seen] == mine
    assert [m['original']['text'] for m in seen if 'original' in m] == [
        'hello']
    assert 'hello' not in str(mine)
    looked = acts(stack, boss, talk.id)
    assert [a for a, _ in looked] == ['transcript_read'] * len(seen)
    assert {d['dispute'] for _, d in looked} == {dispute['id']}
    problem(rest.get(f'/api/sessions/{talk.id}/transcript', boss.token), 404,
            'not_found')
    problem(rest.get(f'/api/admin/disputes/d_{10 ** 12}/transcript',
                     boss.token), 404, 'not_found')
    decide(stack, boss, dispute, {'decision': 'refuse'})
    assert rest.get(path, boss.token).status == 200     # and afterwards
