"""What becomes of people's data, and payouts by REST: how long words are kept,
what their owners are given, how they are forgotten, and the books after all of
it, here and restored elsewhere."""

import json
import os
import shutil
import subprocess
import uuid

import pytest

import sql_fixture
from astro.client import Refused
from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import BUILD, Stack, eventually
from test_auth_logins import PASSWORD, login
from test_people import number, ok
from test_webhooks import Vendors
from vendor_fixture import Vendor


@pytest.fixture(scope='module')
def stripe():
    vendor = Vendor(seed=3)
    if os.geteuid() == 0:           # the stack is www-data's then
        shutil.chown(vendor.home, 'www-data')
        shutil.chown(vendor.key_file, 'www-data')
    yield vendor
    vendor.close()


@pytest.fixture(scope='module')
def town(stripe):
    stack = Stack(worker_settings={'stripe_url': stripe.url,
                                   'stripe_key_file': stripe.key_file})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(town):
    yield from watch(town)


@pytest.fixture
def rest(stack):
    return stack.rest


def worker(stack, *words):
    """A command of the worker, on the stack's database."""
    return subprocess.run(
        [os.path.join(BUILD, 'billing_worker'), *words, '-o',
         f'pg=host={stack.var}/run dbname=astro user=astro_worker'],
        text=True, capture_output=True, timeout=120, check=False)


def said(talk, word):
    """All that can be said in a consultation; the seq of both messages."""
    first = talk.c.say(talk.conv, f'a secret of {word}')['seq']
    talk.c.call('chat_edit', {'conv': talk.conv, 'msg': first,
                              'cid': str(uuid.uuid4()),
                              'text': f'a secret of {word}, edited'})
    answer = talk.a.call('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'reply_to': first,
        'text': f'the answer to {word}'})['seq']
    for who, emoji in ((talk.a, '👍'), (talk.c, '🙏')):
        who.call('chat_react', {'conv': talk.conv, 'msg': answer, 'on': True,
                                'emoji': emoji, 'cid': str(uuid.uuid4())})
    talk.a.call('chat_react', {'conv': talk.conv, 'msg': first, 'on': True,
                               'emoji': '😀', 'cid': str(uuid.uuid4())})
    return first, answer


def everything(stack):
    """All rows of all tables, as text."""
    return subprocess.run(
        ['pg_dump', '-a', f'host={stack.var}/run dbname=astro user=postgres'],
        check=True, capture_output=True, text=True).stdout


def journal(stack):
    with stack.db() as db:
        return db.execute('SELECT * FROM ledger.transfer ORDER BY id'
                          ).fetchall()


def history(rest, talk, who):
    return ok(rest.get(f'/api/conversations/{talk.conv}/messages?limit=200',
                       who.token))['data']


def disputed(stack, talk, said):
    with stack.db() as db:
        db.execute("INSERT INTO consult.dispute (session_id, conversation_id,"
                   " client_id, advisor_id, opened_by, reason, said, evidence)"
                   " VALUES (%s, %s, %s, %s, %s, 'other', %s, '{}')",
                   (talk.number, int(talk.conv[2:]), number(talk.client),
                    number(talk.advisor), number(talk.client), said))


def decided(stack, talk):
    with stack.db() as db:
        db.execute("UPDATE consult.dispute SET state = 'refused', decided_at"
                   " = now(), decided_by = %s WHERE session_id = %s",
                   (number(stack.person('admin')), talk.number))


# M2 ---------------------------------------------------------------------------

def aged(stack, conv, days, upto=10 ** 9):
    with stack.db() as db:
        db.execute('UPDATE consult.event SET at = at - make_interval('
                   'days => %s) WHERE conversation_id = %s AND seq <= %s',
                   (days, int(conv[2:]), upto))


def test_m2_words_go_and_the_books_stay(stack, rest):
    talk = Consultation(stack).active()
    first, answer = said(talk, 'two')
    third = talk.c.say(talk.conv, 'a secret of two, and more')['seq']
    late = talk.c.call('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'reply_to': answer,
        'text': 'what is young'})['seq']
    # what was said then, said again since
    talk.c.call('chat_edit', {'conv': talk.conv, 'msg': third,
                              'cid': str(uuid.uuid4()),
                              'text': 'a secret of two, still'})
    talk.end()
    other = Consultation(stack).active()
    other.c.say(other.conv, 'a secret that is held')
    other.end()
    admin = stack.person('admin')
    aged(stack, talk.conv, 40, late - 1)
    aged(stack, other.conv, 40)
    hold = f'/api/admin/users/{other.advisor.id}/hold'
    ok(rest.call('PUT', hold, {'hold': True, 'reason': 'a case'},
                 admin.token))
    with stack.db() as db:
        for n, days in ((1, 40), (2, 1)):
            db.execute("INSERT INTO consult.notice (account_id, type, kind,"
                       " payload, at, told_at) VALUES (%s, 'notification',"
                       " 'x', '{}', now() - make_interval(days => %s), now())",
                       (number(talk.client), days))
            db.execute("INSERT INTO identity.login (id, account_id, refresh,"
                       " made_at, ends_at) VALUES (%s, %s, %s, now(),"
                       " now() - make_interval(days => %s))",
                       (uuid.uuid4().hex, number(talk.client), b'x' * 32,
                        days))
            db.execute("INSERT INTO consult.session_quality VALUES (%s, %s,"
                       " date_trunc('second', now()) - make_interval(days =>"
                       " %s), 1, 1, 1, false)",
                       (talk.number, number(talk.client), days))

    def left():
        with stack.db() as db:
            return [db.execute(f'SELECT count(*) FROM {table} WHERE'
                               ' account_id = %s', (number(talk.client),)
                               ).fetchone()[0]
                    for table in ('consult.notice', 'identity.login',
                                  'consult.session_quality')]

    # off by default: a worker is running all the while
    assert worker(stack, 'retention').stdout == ''
    before, was = journal(stack), left()
    assert 'a secret of two' in everything(stack)

    days = [f'retain_{kind}_days=30' for kind in
            ('messages', 'notices', 'logins', 'traces')]
    done = worker(stack, 'retention', *[w for d in days for w in ('-o', d)])
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [
        'retention: messages: 3 removed', 'retention: notices: 1 removed',
        'retention: logins: 1 removed', 'retention: traces: 1 removed']
    assert left() == [n - 1 for n in was]

    kept = everything(stack)
    for secret in ('a secret of two', 'the answer to two'):
        assert secret not in kept
    with stack.db() as db:
        for table in ('reaction', 'quote'):
            assert db.execute(f'SELECT count(*) FROM consult.{table} WHERE'
                              ' conversation_id = %s', (int(talk.conv[2:]),)
                              ).fetchone() == (0,), table
        assert db.execute("SELECT count(*) FROM consult.event WHERE type ="
                          " 'chat_react' AND payload->>'emoji' <> '' AND"
                          " conversation_id = %s", (int(talk.conv[2:]),)
                          ).fetchone() == (0,)
    assert 'what is young' in kept and 'a secret that is held' in kept

    events = history(rest, talk, talk.client)
    assert [e['seq'] for e in events] == list(range(1, len(events) + 1))
    by_seq = {e['seq']: e for e in events}
    for seq in (first, answer, third):
        assert by_seq[seq]['payload']['deleted'] is True
        assert 'text' not in by_seq[seq]['payload']
        assert by_seq[seq]['deleted_at']
        assert 'reactions' not in by_seq[seq]
    quote = by_seq[late]['payload']['quote']
    assert quote['deleted'] is True and 'excerpt' not in quote
    assert by_seq[late]['payload']['text'] == 'what is young'

    # who resumes from before it gets all numbers, and is told that it is gone
    stack.drop_clients()
    back = stack.connect()
    back.hello(talk.client.token, pos={talk.conv: 0})
    head = events[-1]['seq']
    got = [back.expect('chat_message', lambda m, s=seq: m['seq'] == s)
           for seq in (first, answer, third, late)]
    assert [m['payload'].get('deleted') for m in got] \
        == [True, True, True, None]
    eventually(lambda: back.seen[talk.conv] == head)
    assert ok(rest.get(f'/api/conversations/{talk.conv}',
                       talk.advisor.token))['unread'] <= 1
    gone = rest.post(f'/api/conversations/{talk.conv}/reactions',
                     {'msg': first, 'emoji': '👍', 'on': True,
                      'cid': str(uuid.uuid4())}, talk.advisor.token)
    assert gone.code == 'gone'

    # again: nothing is left; released: the rest goes
    again = worker(stack, 'retention', '-o', days[0])
    assert again.stdout == 'retention: messages: 0 removed\n'
    ok(rest.call('PUT', hold, {'hold': False}, admin.token))
    disputed(stack, other, 'x')
    worker(stack, 'retention', '-o', days[0])
    assert 'a secret that is held' in everything(stack)
    decided(stack, other)
    worker(stack, 'retention', '-o', days[0])
    assert 'a secret that is held' not in everything(stack)

    assert journal(stack) == before
    talk.assert_settled()
    assert stack.audit()[0] == 0, stack.audit()
    with stack.db() as db:
        assert db.execute("SELECT act, about, detail->>'hold' FROM"
                          " consult.admin_log WHERE about = %s ORDER BY no",
                          (other.advisor.id,)).fetchall() == [
            ('user_hold', other.advisor.id, 'true'),
            ('user_hold', other.advisor.id, 'false')]
    refused = rest.call('PUT', '/api/admin/users/u_99999999/hold',
                        {'hold': True, 'reason': 'x'}, admin.token)
    assert refused.code == 'not_found'
    assert rest.call('PUT', hold, {'hold': True}, admin.token).code \
        == 'bad_request'


def test_m2_many_in_small_steps(stack):
    """A step is a thousand events at most, wherever they are; what is killed
    goes on where it was."""
    talk = Consultation(stack)
    with stack.db() as db:
        conv, = db.execute(
            'INSERT INTO consult.conversation (client_id, advisor_id, head)'
            ' VALUES (%s, %s, 2500) RETURNING id',
            (number(talk.client), number(talk.advisor))).fetchone()
        db.execute(
            "INSERT INTO consult.event (conversation_id, seq, at, type,"
            " sender_id, cid, payload) SELECT %s, n, now() - interval '40"
            " days', 'chat_message', %s, gen_random_uuid(),"
            " '{\"from\":\"u_1\",\"text\":\"many\"}'"
            " FROM generate_series(1, 2500) n", (conv, number(talk.client)))
        db.execute('DELETE FROM billing.retention')
        steps = []
        while row := db.execute('SELECT removed, total, done FROM'
                                ' billing.retain_next(30, 0, 0, 0)'
                                ).fetchone():
            steps.append(row)
        assert [s[0] for s in steps if s[0]] == [1000, 1000, 500]
        assert steps[-1][1:] == (2500, True)
        assert db.execute("SELECT count(*) FROM consult.event WHERE"
                          " conversation_id = %s AND payload->>'text'"
                          " IS NOT NULL", (conv,)).fetchone() == (0,)


def test_m2_the_command_waits_for_who_is_at_it(stack):
    """What another has in hand is not done: it is waited for."""
    with stack.db() as db, stack.db() as other:
        db.execute('DELETE FROM billing.retention')
        db.execute("INSERT INTO billing.retention (kind, day) VALUES"
                   " ('notices', now() AT TIME ZONE 'UTC')")
        other.execute('BEGIN')
        other.execute('SELECT FROM billing.retention FOR UPDATE')
        with subprocess.Popen(
                [os.path.join(BUILD, 'billing_worker'), 'retention', '-o',
                 f'pg=host={stack.var}/run dbname=astro user=astro_worker',
                 '-o', 'retain_notices_days=300'], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
            said_so = asked.stderr.readline()
            other.execute('ROLLBACK')
            out, _ = asked.communicate(timeout=60)
    assert said_so == 'billing_worker: retention: others are at it\n'
    assert (asked.returncode, out) \
        == (0, 'retention: notices: 0 removed\n')


def test_m2_a_long_walk_keeps_nobody_waiting(stack, rest):
    """Of what is too old there is no end; who asks for an export gets it."""
    me = stack.person('client')
    with stack.db() as db:
        was, = db.execute("SELECT pg_get_functiondef('billing.retain_next'"
                          "::regproc)").fetchone()
        db.execute('CREATE SEQUENCE billing.test_walk')
        db.execute('GRANT USAGE ON SEQUENCE billing.test_walk TO'
                   ' astro_private, astro_worker')
        db.execute(
            'CREATE OR REPLACE FUNCTION billing.retain_next(messages int,'
            ' notices int, logins int, traces int) RETURNS TABLE (kind text,'
            ' removed int, total bigint, done boolean) LANGUAGE sql VOLATILE'
            " AS $$ SELECT 'messages'::text, 0,"
            " nextval('billing.test_walk'), false $$")
    try:
        with stack.db() as db:
            eventually(lambda: db.execute(
                'SELECT last_value FROM billing.test_walk').fetchone()[0] > 9)
        assert rest.post('/api/me/export', None, me.token).status == 202
        eventually(lambda: ok(rest.get('/api/me/export', me.token))
                   ['state'] == 'ready', 30)
    finally:
        with stack.db() as db:
            db.execute(was)
            db.execute('DROP SEQUENCE billing.test_walk')


# M3 ---------------------------------------------------------------------------

def test_m3_an_export_is_whole(stack, rest):
    talk = Consultation(stack).active()
    said(talk, 'three')
    # the other one takes back what is quoted
    back = talk.a.say(talk.conv, 'better not said')['seq']
    talk.c.call('chat_message', {'conv': talk.conv, 'reply_to': back,
                                 'cid': str(uuid.uuid4()), 'text': 'heard'})
    talk.a.call('chat_delete', {'conv': talk.conv, 'msg': back,
                                'cid': str(uuid.uuid4())})
    talk.end()
    me, other = talk.client, talk.advisor
    disputed(stack, talk, 'what was wrong')
    ok(rest.call('PUT', '/api/me/profile', {
        'birth': {'date': '1990-01-31', 'place': 'Pune'}}, me.token))
    ok(rest.post(f'/api/sessions/{talk.id}/review',
                 {'rating': 5, 'text': 'so true'}, me.token), 201)
    ok(rest.call('PUT', f'/api/advisors/me/clients/{me.id}/note',
                 {'text': 'what I think of him'}, other.token))
    with stack.db() as db:
        db.execute("INSERT INTO identity.phone (account_id, phone) VALUES"
                   " (%s, '+15550123456')", (number(me),))
        db.execute("UPDATE identity.account SET password_hash = 'the hash'"
                   " WHERE id = %s", (number(me),))
        db.execute("INSERT INTO identity.login (id, account_id, refresh,"
                   " ends_at) VALUES (%s, %s, %s, now() + interval '1 day')",
                   (uuid.uuid4().hex, number(me), b'y' * 32))
        # more than one part holds
        db.execute("INSERT INTO consult.notice (account_id, type, kind,"
                   " payload, told_at) SELECT %s, 'notification', 'x',"
                   " json_build_object('n', n), now()"
                   " FROM generate_series(1, 4500) n", (number(me),))

    assert ok(rest.get('/api/me/export', me.token))['state'] == 'none'
    asked = rest.post('/api/me/export', None, me.token)
    assert asked.status == 202 and asked.json['state'] == 'making', asked
    done = eventually(lambda: (x := ok(rest.get('/api/me/export', me.token)))
                      ['state'] == 'ready' and x, 30)
    docs = {}
    for part in done['parts']:
        body = ok(rest.get(f'/api/me/export/part?part={part["part"]}',
                           me.token))
        assert (body['name'], len(body['data'])) \
            == (part['name'], part['entries'])
        docs.setdefault(part['name'], []).extend(body['data'])

    text = json.dumps(docs, ensure_ascii=False)
    for mine in (me.email, 'Pune', '+15550123456', 'so true',
                 'a secret of three, edited', 'the answer to three', '🙏',
                 'what was wrong', 'heard'):
        assert mine in text, mine
    for secret in ('the hash', '79' * 32, 'what I think of him',
                   'better not said'):
        assert secret not in text, secret
    answer, = [m for m in docs['messages']
               if m['payload'].get('text') == 'heard']
    assert answer['payload']['quote'] == {'msg': back, 'from': other.id,
                                          'deleted': True}
    assert docs['disputes'][0]['evidence'] == {}
    # what a client can spend is not the advisor's to know
    with stack.db() as db:
        query, = db.execute('SELECT query FROM billing.private_map() WHERE'
                            " name = 'sessions'").fetchone()
        db.execute('PREPARE x(bigint) AS ' + query)
        (theirs,), = db.execute(f'EXECUTE x({number(other)})').fetchall()
    assert set(session := docs['sessions'][0]) - set(theirs) == {
        'cap_minor', 'max_minor', 'max_ms', 'held', 'promo'}
    assert session['id'] == theirs['id']
    assert len(docs['notifications']) >= 4500
    assert [n['payload'] for n in docs['notifications']
            if 'n' in n['payload']] == [{'n': n} for n in range(1, 4501)]
    session, = docs['sessions']
    assert session['charged'] == talk.row()['charged']
    assert {t['kind'] for t in docs['transfers']} == {'topup'}
    assert docs['wallets'][0]['balance'] == me.wallet()[0]

    # nobody else's, and not for ever
    assert ok(rest.get('/api/me/export', other.token))['state'] == 'none'
    part = '/api/me/export/part?part=1'
    assert rest.get(part, other.token).code == 'not_found'
    assert rest.get('/api/me/export/part', me.token).code == 'bad_request'
    with stack.db() as db:
        db.execute('UPDATE identity.export SET until = now()')
    assert rest.get(part, me.token).code == 'not_found'
    with stack.db() as db:
        eventually(lambda: db.execute('SELECT count(*) FROM'
                                      ' identity.export_part').fetchone()
                   == (0,))


def test_m3_every_table_about_people_is_known(stack):
    """A table that has an account's number, address or wallet is in the export,
    or it is said why not.  Who adds one decides, in
    sql/functions/export.sql."""
    with stack.db() as db:
        about = {row[0] for row in db.execute(
            """
            SELECT n.nspname || '.' || c.relname
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
               AND NOT a.attisdropped
             WHERE n.nspname !~ '^(pg_.*|information_schema)$'
               AND c.relkind IN ('r', 'p')
               AND (a.attname ~ ('^(.*_)?(account|client|advisor|owner|sender'
                                 || '|admin|user|caller)(_id)?$')
                    AND a.atttypid = 'bigint'::regtype
                    OR a.attname ~ '_(by|wallet|account)$'
                       AND a.atttypid = 'bigint'::regtype
                    OR a.attname IN ('email', 'phone')
                    OR EXISTS (SELECT FROM pg_constraint f
                                WHERE f.conrelid = c.oid AND f.contype = 'f'
                                  AND f.confrelid
                                      = 'identity.account'::regclass))
               AND c.relname !~ '^transfer_s[0-9]+$'
            """)}
        rows = db.execute('SELECT no, name, query, covers, exempt FROM'
                          ' billing.private_map()').fetchall()
        known = {t for row in rows for t in row[3]}
        assert about - known == set(), 'neither exported nor exempt'
        assert all((row[0] is None) != (row[4] is None) for row in rows)

        # each document can be read by who makes it, also of nobody
        for no, name, query, covers, _ in rows:
            for table in covers:
                assert db.execute('SELECT to_regclass(%s)', (table,)
                                  ).fetchone()[0], table
            if no:
                db.execute('SET ROLE astro_private')
                db.execute('PREPARE x(bigint) AS ' + query)
                db.execute('EXECUTE x(0)')
                db.execute('DEALLOCATE x')
                db.execute('RESET ROLE')
        assert len({row[1] for row in rows if row[0]}) \
            == len([row for row in rows if row[0]])


class Account:
    """A client who has a password, as Person is one who has not."""

    def __init__(self, stack, name):
        self.email = f'{uuid.uuid4().hex[:12]}@erase.test'
        made = stack.rest.post('/api/auth/register', {
            'email': self.email, 'password': PASSWORD, 'name': name})
        self.id = ok(made, 201)['id']
        self.token = login(stack, self.email).json['token']


def test_m3_forgotten(stack, rest):
    talk = Consultation(stack, balance=50000)
    name, email = f'Name {uuid.uuid4().hex}', talk.client.email
    talk.active()
    first, answer = said(talk, 'four')
    talk.end()
    me, other, who = talk.client, talk.advisor, number(talk.client)
    ok(rest.call('PUT', '/api/me/profile', {
        'name': name, 'birth': {'place': 'Pune of mine'}}, me.token))
    ok(rest.post(f'/api/sessions/{talk.id}/review',
                 {'rating': 4, 'text': 'words of mine'}, me.token), 201)
    ok(rest.call('PUT', f'/api/advisors/me/clients/{me.id}/note',
                 {'text': 'a note about mine'}, other.token))
    ok(rest.call('PUT', f'/api/favorites/{other.id}', None, me.token))
    ok(rest.post(f'/api/sessions/{talk.id}/gifts', {
        'amount': 5, 'note': 'with a gift of mine',
        'cid': str(uuid.uuid4())}, me.token), 201)
    with stack.db() as db:
        db.execute("INSERT INTO identity.phone (account_id, phone) VALUES"
                   " (%s, '+15550199999')", (who,))
        # what the other one was told of a booking
        db.execute("INSERT INTO consult.notice (account_id, type, kind,"
                   " payload, told_at) VALUES (%s, 'notification', 'x',"
                   " json_build_object('client', json_build_object('id',"
                   " %s::text, 'name', 'told of mine')), now())",
                   (number(other), me.id))

    def erase(token=me.token, **body):
        return rest.post('/api/me/erase', body, token)

    def fresh(minutes=0):
        """A login of so long ago, as if by password."""
        sid = uuid.uuid4().hex
        with stack.db() as db:
            db.execute("INSERT INTO identity.login (id, account_id, refresh,"
                       " made_at, ends_at) VALUES (%s, %s, %s, now() -"
                       " make_interval(mins => %s), now() + interval '1 d')",
                       (sid, who, os.urandom(32), minutes))
        return stack.jwt(who, 'client', sid=sid)

    # a token of another kind, one of an old login
    assert (erase().status, erase().code) == (403, 'forbidden')
    assert erase(fresh(11)).code == 'forbidden'
    token = fresh()
    admin = stack.person('admin')
    hold = f'/api/admin/users/{me.id}/hold'
    ok(rest.call('PUT', hold, {'hold': True, 'reason': 'a case'},
                 admin.token))
    assert erase(token, forfeit_balance=True).code == 'conflict'
    ok(rest.call('PUT', hold, {'hold': False}, admin.token))
    disputed(stack, talk, 'a complaint of mine')
    assert 'dispute' in erase(token, forfeit_balance=True).json['detail']
    decided(stack, talk)
    with stack.db() as db:
        db.execute("INSERT INTO ledger.checkout (owner_id, provider, amount,"
                   " currency) VALUES (%s, 'stripe', 5000, 'INR')", (who,))
        assert 'on its way' in erase(token, forfeit_balance=True
                                     ).json['detail']
        db.execute("UPDATE ledger.checkout SET state = 'failed', ended_at ="
                   " now() WHERE owner_id = %s", (who,))
    poor = erase(token)
    assert poor.code == 'conflict'
    assert poor.json['errors'][0]['pointer'] == '/forfeit_balance'
    with stack.db() as db:
        db.execute('SELECT billing.promo(%s, 700, %s)', (who,
                                                         str(uuid.uuid4())))
    before, left = journal(stack), me.wallet()[0] - 700
    socket = stack.connect()
    socket.hello(token)

    done = erase(token, forfeit_balance=True)
    assert done.status == 202, done
    assert done.json == {'user': me.id, 'forfeited': {
        'amount': left, 'currency': 'INR'}}
    assert socket.wait_close(5) == 4403
    eventually(lambda: rest.get('/api/me', token).status == 401)
    assert rest.get('/api/me', me.token).status == 401

    def forgotten():
        with stack.db() as db:
            return db.execute('SELECT done_at FROM identity.erasure WHERE'
                              ' account_id = %s', (who,)).fetchone()[0]

    eventually(forgotten, 20)
    rows = everything(stack)
    # (pytest would compare the texts, line by line)
    found = [mine for mine in (
        name, email, 'Pune of mine', '+15550199999', 'words of mine',
        'a note about mine', 'a secret of four', 'a complaint of mine',
        'with a gift of mine', 'told of mine')
        if mine in rows]
    assert found == []
    # what the other one said is the other one's
    assert 'the answer to four' in rows

    events = {e['seq']: e for e in history(rest, talk, other)}
    assert events[first]['payload']['deleted'] is True
    assert events[answer]['payload']['text'] == 'the answer to four'
    assert events[answer]['payload']['quote']['deleted'] is True
    assert [r['emoji'] for r in events[answer]['reactions']] == ['👍']
    client, = [c for c in ok(rest.get('/api/advisors/me/clients',
                                      other.token))['data']
               if c['client']['id'] == me.id]
    assert client['client']['name'] == 'Erased'

    with stack.db() as db:
        assert db.execute('SELECT count(*) FROM stats.signin WHERE'
                          ' account_id = %s', (who,)).fetchone() == (0,)
    after = journal(stack)
    assert after[:len(before)] == before
    with stack.db() as db:
        assert db.execute('SELECT balance, held, promo FROM ledger.wallet'
                          ' WHERE owner_id = %s', (who,)).fetchone() \
            == (700, 0, 700)
    assert stack.audit()[0] == 0, stack.audit()


def test_m3_by_password_and_not_while_it_is_live(stack, rest):
    me = Account(stack, 'Somebody')
    advisor = stack.person('advisor')
    with stack.db() as db:
        db.execute('SELECT billing.topup(%s, 5000, %s)',
                   (int(me.id[2:]), str(uuid.uuid4())))
    advisor.connect()
    socket = stack.connect()
    socket.hello(me.token)
    started = socket.call('session_start', {
        'advisor': advisor.id, 'cid': str(uuid.uuid4()), 'service': 'chat'})
    live = rest.post('/api/me/erase', {'forfeit_balance': True}, me.token)
    assert live.code == 'conflict' and 'not over' in live.json['detail']
    socket.call('session_cancel', {'session': started['session']})
    ok(rest.post('/api/me/erase', {'forfeit_balance': True}, me.token), 202)
    gone = rest.post('/api/auth/login', {'email': me.email,
                                         'password': PASSWORD})
    assert (gone.status, gone.code) == (401, 'unauthorized')
    # the address may be somebody's again
    ok(rest.post('/api/auth/register', {'email': me.email, 'name': 'Anew',
                                        'password': PASSWORD}), 201)
    with stack.db() as db:
        email, *rest_of = db.execute(
            'SELECT email, name, blocked FROM identity.account'
            ' WHERE id = %s', (int(me.id[2:]),)).fetchone()
        assert rest_of == ['Erased', True]
        # nobody can have taken it before
        assert email.startswith(f'erased-{me.id[2:]}-')


def test_m3_what_another_ones_hold_keeps(stack, rest):
    """Words said to somebody who is held stay until the hold is lifted; those
    said to others go, a thousand events at a time."""
    me = Account(stack, 'Somebody else')
    who = int(me.id[2:])
    held, free = stack.person('advisor'), stack.person('advisor')
    convs = []
    with stack.db() as db:
        db.execute("INSERT INTO identity.hold (account_id, reason, held_by)"
                   " VALUES (%s, 'a case', %s)",
                   (number(held), number(stack.person('admin'))))
        for advisor, n in ((held, 3), (free, 2500)):
            conv, = db.execute(
                'INSERT INTO consult.conversation (client_id, advisor_id,'
                ' head) VALUES (%s, %s, %s) RETURNING id',
                (who, number(advisor), n)).fetchone()
            convs.append(conv)
            db.execute(
                'INSERT INTO consult.event (conversation_id, seq, type,'
                " sender_id, cid, payload) SELECT %s, n, 'chat_message', %s,"
                " gen_random_uuid(), '{\"from\":\"u_1\",\"text\":\"x\"}'"
                ' FROM generate_series(1, %s) n', (conv, who, n))

        def left():
            return [db.execute("SELECT count(*) FROM consult.event WHERE"
                               " conversation_id = %s AND"
                               " payload ->> 'text' = 'x'", (conv,)
                               ).fetchone()[0] for conv in convs]

        def row():
            return db.execute('SELECT done_at IS NOT NULL, again_at IS NOT'
                              ' NULL FROM identity.erasure WHERE account_id'
                              ' = %s', (who,)).fetchone()

        ok(rest.post('/api/me/erase', None, me.token), 202)
        eventually(lambda: row() == (False, True), 20)
        assert left() == [3, 0]
        db.execute('DELETE FROM identity.hold WHERE account_id = %s',
                   (number(held),))
        db.execute('UPDATE identity.erasure SET again_at = now()'
                   ' WHERE account_id = %s', (who,))
        eventually(lambda: row() == (True, True), 20)
        assert left() == [0, 0]


def test_m3_nobody_rings_who_is_being_erased(stack):
    """A start waits for whoever has the advisor's lock, as an erasure has."""
    advisor, client = stack.person('advisor'), stack.person(balance=50000)
    advisor.connect()
    client.connect()
    with stack.db() as db, stack.db() as other:
        with db.transaction():
            db.execute('SELECT pg_advisory_xact_lock(4, hashint8(%s))',
                       (number(advisor),))
            ident = client.client.request('session_start', {
                'advisor': advisor.id, 'cid': str(uuid.uuid4()),
                'service': 'chat'})
            eventually(lambda: other.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                ' AND classid = 4 AND NOT granted').fetchone() == (1,), 2)
            db.execute('UPDATE identity.account SET blocked = true WHERE id ='
                       ' %s', (number(advisor),))
        with pytest.raises(Refused) as refused:
            client.client.reply(ident)
        assert refused.value.error['code'] == 'not_found'


# H6, H8, L3 -----------------------------------------------------------------

def test_l3_twice_with_one_key_is_one_run(stack, rest, stripe):
    talk = Consultation(stack, bps=0, rates=(600000, 600000, 600000)).active()
    eventually(lambda: talk.row()['charged'] >= 1500, 30)
    talk.end()
    eventually(lambda: talk.row()['settled'])
    me, admin = talk.advisor, stack.person('admin')
    earned = me.wallet()[0]
    with stack.db() as db:
        db.execute("UPDATE ledger.connect_option SET return_url ="
                   " 'https://a.test/', refresh_url = 'https://a.test/'")

    # an account at the vendor, of which the vendor says that it is good
    assert rest.post('/api/advisors/me/payouts/account', {'country': 'IN'},
                     me.token).status == 202

    def account(state):
        with stack.db() as db:
            db.execute("UPDATE billing.outbox SET due_at = now() WHERE state ="
                       " 'waiting' AND owner IS NULL")
        found = ok(rest.get('/api/advisors/me/payouts/account', me.token))
        return found['state'] == state and found

    eventually(lambda: (a := account('onboarding')) and a['url'], 20)
    stripe.do('account', id=stripe.books('account')[-1]['id'], charges=True,
              payouts=True)
    assert Vendors(stack).say(stripe.books('event')[-1]) == 200
    eventually(lambda: account('enabled'))

    key = {'Idempotency-Key': str(uuid.uuid4())}
    first, again = [rest.post('/api/admin/payouts', {}, admin.token,
                              headers=key) for _ in range(2)]
    assert first.status == 202 and again.body == first.body
    # and by the path of old
    done = eventually(lambda: (o := ok(rest.get(
        '/api/admin/payouts', admin.token)))['orders'][0]['state'] == 'done'
        and o, 20)
    order, = done['orders']
    assert (order['made'], order['amount']['amount']) == (1, earned)

    paid = eventually(lambda: (p := ok(rest.get(
        '/api/advisors/me/payouts', me.token))['data'])
        and p[0]['state'] == 'paid' and p, 20)
    assert [p['amount']['amount'] for p in paid] == [earned]
    assert [t['amount'] for t in stripe.books('transfer')] == [earned]
    assert me.wallet() == (0, 0)

    body = ok(rest.get('/api/advisors/me/earnings', me.token))
    assert body['data'][-1]['earned']['amount'] == earned
    assert body['total']['paid_out']['amount'] == earned
    assert body['balance']['amount'] == 0
    assert stack.audit()[0] == 0


# N11 --------------------------------------------------------------------------

def test_n11_restored_elsewhere_the_books_are_right(stack):
    """pg_dump into another cluster, of which the audit says what it says of
    this one; and it would see what is not there."""
    talk = Consultation(stack).active()
    eventually(lambda: talk.row()['charged'] > 0, 20)
    talk.end()
    eventually(lambda: talk.row()['settled'])
    here = f'host={stack.var}/run user=postgres'
    there = sql_fixture._private_cluster()
    roles = subprocess.run(['pg_dumpall', '-g', '-d', here], check=True,
                           capture_output=True).stdout
    dump = subprocess.run(['pg_dump', '-C', here + ' dbname=astro'],
                          check=True, capture_output=True).stdout
    done = subprocess.run(['psql', '-q', there], input=roles + dump,
                          capture_output=True, check=False)
    assert b'ERROR' not in done.stderr.replace(
        b'ERROR:  role "postgres" already exists', b''), done.stderr

    def audit():
        done = subprocess.run(
            [os.path.join(BUILD, 'billing_worker'), 'audit', '-o', 'pg='
             + there.replace('dbname=postgres', 'dbname=astro')],
            text=True, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout

    assert audit()[0] == 0, audit()
    subprocess.run(['psql', '-q', there.replace('dbname=postgres',
                                                'dbname=astro'), '-c',
                    'DELETE FROM ledger.transfer WHERE id = (SELECT max(id)'
                    ' FROM ledger.transfer WHERE session_id ='
                    f' {talk.number})'], check=True)
    assert audit()[0] == 1, audit()
