"""SQL alone: what a worker may have missed, and who may not stay."""

import time

import psycopg

from sql_fixture import Pair, at_once, call, call1, pair, refused, sql, web


def heal(conn, users, told=(), iats=None, since=None):
    """told: (user, session, ver, head)"""
    columns = [list(c) for c in zip(*told)] if told else [[], [], [], []]
    return call(conn, 'heal', users, iats or [10 ** 10] * len(users),
                *columns, since)


def test_what_is_news_and_what_is_not(pair):
    web, both = pair.web, [pair.client, pair.advisor]
    assert heal(web, both) == []
    assert heal(web, []) == [] and heal(web, [0, 2 ** 40]) == []

    live = pair.start()
    session, conv = live['session_id'], live['conversation_id']
    rows = heal(web, both)
    assert sorted(r['num'] for r in rows) == sorted(both)
    for row in rows:
        assert (row['kind'], row['id'], row['ver'], row['state']) \
            == ('session', session, 1, 'ringing')
        assert (row['client_id'], row['advisor_id'], row['conversation_id']) \
            == (pair.client, pair.advisor, conv)
        assert (row['head'], row['start'], row['settled']) == (0, 0, False)
    text = web.execute('SELECT snapshot::text FROM api.gateway_renew(%s, 1,'
                       ' NULL, NULL, NULL, %s, %s)',
                       (pair.gateway, [session], [0])).fetchone()[0]
    assert {r['doc'] for r in rows} == {text}

    # each for itself: one was told, one was not
    told = (pair.client, session, 1, 0)
    assert [r['num'] for r in heal(web, both, [told])] == [pair.advisor]
    assert heal(web, [pair.client], [told]) == []
    # told of it, and of no place in the conversation
    row, = heal(web, [pair.client], [(pair.client, session, 1, -1)])
    assert (row['start'], row['doc']) == (0, None)
    # told less
    row, = heal(web, [pair.client], [(pair.client, session, 0, 0)])
    assert row['doc'] == text and row['start'] is None

    # a head alone
    pair.apply(session, 'accept')
    pair.activate(session)
    call(web, 'chat_batch', [conv], [pair.client], ['chat_message'], [None],
         ['{"a":1}'], ['active'])
    row, = heal(web, [pair.client], [(pair.client, session, 3, 0)])
    assert (row['head'], row['doc'], row['start']) == (1, None, None)
    assert heal(web, [pair.client], [(pair.client, session, 3, 1)]) == []

    # the end: told, then settled, then never again by itself
    pair.sql.admin("UPDATE consult.session SET state = 'ended', ver = 4"
                   ' WHERE id = %s', session)
    assert heal(web, both) == []
    row, = heal(web, [pair.client], [(pair.client, session, 3, 1)])
    assert (row['state'], row['settled']) == ('ended', False)
    assert heal(web, [pair.client], [(pair.client, session, 4, 1)]) == []
    pair.sql.admin('UPDATE consult.session SET settled = true WHERE id = %s',
                   session)
    row, = heal(web, [pair.client], [(pair.client, session, 4, 1)])
    assert row['settled'] is True

    # the next one begins where the last has ended
    again = pair.start()
    assert again['conversation_id'] == conv
    rows = heal(web, both)
    assert {(r['id'], r['start'], r['head']) for r in rows} \
        == {(again['session_id'], 1, 1)}


def test_other_peoples_sessions(pair):
    """A session is given together with one of its parties only."""
    other = Pair(pair.sql, pair.web)
    session = pair.start()['session_id']
    assert heal(pair.web, [other.client], [(other.client, session, 0, -1)]) \
        == []
    assert heal(pair.web, [pair.client], [(other.client, session, 0, -1)])[0][
        'num'] == pair.client


def test_accounts(pair):
    sql, web = pair.sql, pair.web
    admin = sql.one("INSERT INTO identity.account (email, name, role,"
                    " password_hash) VALUES (gen_random_uuid() || '@x', 'n',"
                    " 'admin', 'h') RETURNING id")
    since = int(time.time() * 1000) - 5000

    def changed():
        rows = heal(web, [], since=since)
        assert [r['kind'] for r in rows][-1:] == ['clock']
        assert abs(rows[-1]['num'] / 1000 - time.time()) < 60
        return {r['id']: (r['state'], r['num']) for r in rows[:-1]}

    assert pair.client not in changed()
    row = call1(web, 'tokens_revoke', pair.client, pair.client)
    at = row['body']['tokens_valid_from']
    assert (row['status'], row['hint']) == (200, f'A {pair.client}')
    assert row['body']['user'] == f'u_{pair.client}'
    assert 0 < at - time.time() + 1 < 60
    assert changed()[pair.client] == ('revoked', at)
    for iat, states in ((at - 1, ['revoked']), (at, [])):
        assert [r['state'] for r in heal(web, [pair.client], iats=[iat])] \
            == states
    hello = call(web, 'hello', pair.client, pair.gateway, [])
    assert f'"valid_from":{at}}}' in hello[0]['doc']

    for who in (pair.client, pair.advisor):
        for name, more in (('tokens_revoke', ()), ('account_block', (True,))):
            row = call1(web, name, who, admin, *more)
            assert row['status'] == 403 and row['hint'] is None
            assert row['body']['code'] == 'forbidden'
    row = call1(web, 'account_block', admin, admin, True)
    assert row['status'] == 403

    row = call1(web, 'account_block', admin, pair.advisor, True)
    assert (row['status'], row['body']) == (200, {
        'user': f'u_{pair.advisor}', 'blocked': True})
    assert changed()[pair.advisor][0] == 'blocked'
    assert [r['state'] for r in heal(web, [pair.advisor])] == ['blocked']
    call1(web, 'account_block', admin, pair.advisor, False)
    assert changed()[pair.advisor] == ('good', None)
    assert heal(web, [pair.advisor]) == []

    # by hand, by whatever tool
    sql.admin('UPDATE identity.account SET blocked = true WHERE id = %s',
              pair.client)
    assert changed()[pair.client] == ('blocked', at)
    # a blocked admin is none
    sql.admin('UPDATE identity.account SET blocked = true WHERE id = %s',
              admin)
    assert call1(web, 'tokens_revoke', admin, pair.advisor)['status'] == 403


def test_no_table_is_read_as_a_whole(sql, web):
    """Not one sequential scan, whatever the plan was made with."""
    pairs = [Pair(sql, web) for _ in range(20)]
    told = []
    for p in pairs[:10]:
        session = p.start()['session_id']
        told += [(p.client, session, 1, 0), (p.advisor, session, 1, 0)]
    users = [u for p in pairs for u in (p.client, p.advisor)]

    def scans():
        with psycopg.connect(sql.dsn(), autocommit=True) as conn:
            return dict(conn.execute(
                'SELECT relname, seq_scan FROM pg_stat_user_tables WHERE'
                " relname IN ('session', 'account', 'conversation', 'event')"
                ).fetchall())

    with sql.connect() as conn:
        conn.execute('SET plan_cache_mode = force_custom_plan')
        conn.execute('SELECT pg_stat_force_next_flush()')
        before = scans()
        for _ in range(30):
            assert heal(conn, users, told) == []
        conn.execute('SELECT pg_stat_force_next_flush()')
        conn.execute('SELECT 1')
        after = scans()
    assert {t: after[t] - before[t] for t in after
            if after[t] - before[t] >= 30} == {}


def test_proven_life_is_not_taken_back(pair):
    """A worker that was frozen closes an interval where a tick has billed."""
    pair.sql.admin('UPDATE consult.gateway SET silence_ms = 1000'
                   ' WHERE id = %s', pair.gateway)
    session, mine, theirs = pair.joined(100)
    pair.activate(session)
    pair.renew(9000)
    # billed up to 8000, and now said to be gone since 3000
    pair.renew(9500, [(mine, 3000, 'silent'), (theirs, 8500, 'gone')])
    assert pair.sql.admin('SELECT close_life_ms FROM consult.interval WHERE'
                          ' session_id = %s ORDER BY id', session) \
        == [(8000,), (8500,)]
    # the first renewal that says so is proof enough
    other = Pair(pair.sql, pair.web)
    session, mine, _ = other.joined(100)
    other.renew(9000, [(mine, 3000, 'silent')])
    assert pair.sql.one('SELECT close_life_ms FROM consult.interval WHERE'
                        ' id = %s', mine) == 3000


def test_renewals_and_closings_at_once(sql, web):
    """Two calls of one worker's lease (the first was taken for lost)."""
    pair = Pair(sql, web)
    session, mine, _ = pair.joined(0)

    def renew(i, barrier):
        with sql.connect() as conn:
            barrier.wait()
            for k in range(20):
                call(conn, 'gateway_renew', pair.gateway, 1000 + k, [mine],
                     [900], ['gone'], [session], [0])

    at_once(renew, 4)
    assert sql.one('SELECT close_life_ms FROM consult.interval WHERE id = %s',
                   mine) == 900
    refused(call1(web, 'gateway_renew', 0, 1, None, None, None, None, None),
            410, 'gone')
