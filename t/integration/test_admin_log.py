"""The log of what admins do: a row for each act, which nobody changes, and a
chain that shows it if somebody did."""

import concurrent.futures
import hashlib
import json
import re
import uuid

import psycopg
import pytest

from astro.consult import Consultation
from astro.routes import OURS, called
from test_http import problem

ZEROS = bytes(32)


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json


@pytest.fixture(scope='module')
def boss(shared):
    return shared.person('admin')


def log(stack, who, query=''):
    return ok(stack.rest.get(f'/api/admin/log{query}', who.token))


def last(stack):
    with stack.db() as db:
        return db.execute('SELECT no FROM consult.admin_clock').fetchone()[0]


def acts_since(stack, who, no):
    page = log(stack, who, '?limit=200')['data']
    return [a for a in reversed(page) if a['no'] > no]


def someone():
    return f'{uuid.uuid4().hex}@example.com'


def test_l6_each_admin_act_is_logged(stack, rest, boss):
    """What was done, to whom and why; of what was refused nothing."""
    talk = Consultation(stack).active()
    talk.end()
    ok(rest.post(f'/api/sessions/{talk.id}/review', {'rating': 1, 'text': 'x'},
                 talk.client.token), 201)
    password, email, slug = 'a long password', someone(), uuid.uuid4().hex
    made = {}

    def acts():
        yield ('advisor_create', 'POST', '/api/admin/advisors',
               {'email': email, 'password': password, 'name': 'Ravi',
                'rates': {'chat': 500}}, {})
        yield ('advisor_approve', 'PUT',
               f"/api/admin/advisors/{made['id']}/approval",
               {'approved': False}, {'approved': False})
        yield ('review_hide', 'PUT',
               f'/api/sessions/{talk.id}/review/hidden',
               {'hidden': True, 'reason': 'rude'},
               {'hidden': True, 'reason': 'rude'})
        yield ('specialty_create', 'POST', '/api/specialties',
               {'slug': slug, 'name': 'Runes'},
               {'slug': slug, 'name': 'Runes'})
        yield ('specialty_edit', 'PUT', f"/api/specialties/{made['id']}",
               {'name': 'Rune stones'}, {'name': 'Rune stones'})
        yield ('specialty_delete', 'DELETE',
               f"/api/specialties/{made['id']}", None, {'slug': slug})

    for act, method, path, body, detail in acts():
        before = last(stack)
        refused = stack.person('advisor')
        problem(rest.call(method, path, body, refused.token), 403, 'forbidden')
        assert last(stack) == before
        answer = rest.call(method, path, body, boss.token)
        assert answer.status in (200, 201, 204), answer
        if answer.status == 201:
            made.update(answer.json)
        row, = acts_since(stack, boss, before)
        assert (row['act'], row['admin'], row['detail']) == (
            act, boss.id, detail)
        assert row['about'] == (talk.id if act == 'review_hide'
                                else made['id'])

    # refused by the rules, after everything else was right
    before = last(stack)
    problem(rest.post('/api/admin/advisors', {
        'email': email, 'password': password, 'name': 'Ravi'}, boss.token),
        409, 'conflict')
    assert last(stack) == before
    with stack.db() as db:
        said = db.execute('SELECT string_agg(l::text, %s)'
                          ' FROM consult.admin_log l', ('\n',)).fetchone()[0]
    assert not re.search(rf'{password}|{email}|scrypt|argon', said)


def test_l6_every_admin_route_that_writes_is_logged(stack):
    """By the table of routes and what the database says of its functions:
    whoever adds one finds out here."""
    with stack.db() as db:
        source = {}
        for schema, name, text in db.execute(
                'SELECT n.nspname, p.proname, p.prosrc FROM pg_proc p'
                ' JOIN pg_namespace n ON n.oid = p.pronamespace'
                " WHERE n.nspname IN ('api', 'consult', 'billing')"):
            source.setdefault(f'{schema}.{name}', []).append(text)

    def logs(name, seen):
        if name == 'consult.admin_act':
            return True
        if name in seen or name not in source:
            return False
        seen.add(name)
        return any(logs(other, seen) for text in source[name] for other in
                   re.findall(r'\b((?:api|consult|billing)\.\w+)\(', text))

    writes = [r for r in OURS if r.roles == {'admin'} and r.method != 'GET']
    assert len(writes) >= 6
    silent = [called(r) for r in writes if not logs(f'api.{r.function}',
                                                    set())]
    assert not silent, f'no row of the log is made by {silent}'


def test_l6_the_log_by_pages(stack, rest, boss):
    other = stack.person('admin')
    who = [stack.person('client') for _ in range(3)]
    with stack.db() as db:
        for n in range(9):
            db.execute('SELECT consult.admin_act(%s, %s, %s, %s)',
                       ((boss if n % 2 else other).number,
                        'test_odd' if n % 3 else 'test_third',
                        who[n % 3].id, json.dumps({'n': n})))
    for query, wanted in (
            (f'about={who[1].id}', [7, 4, 1]), (f'admin={other.id}',
                                                [8, 6, 4, 2, 0]),
            (f'admin={boss.id}&act=test_third', [3])):
        rows, cursor = [], ''
        while cursor is not None:
            page = log(stack, boss, f'?limit=2&{query}{cursor}')
            assert len(page['data']) <= 2
            rows += page['data']
            cursor = page['next_cursor'] and f"&cursor={page['next_cursor']}"
        assert [r['detail']['n'] for r in rows][:len(wanted)] == wanted
        assert len(rows) == len(wanted)
    at = log(stack, boss, f'?about={who[0].id}&limit=1')['data'][0]['at']
    assert log(stack, boss, f"?about={who[0].id}&to={at}")['data'] != []
    assert {r['detail']['n'] for r in
            log(stack, boss, f'?about={who[0].id}&from={at}')['data']} == {6}
    for query, field in (('admin=x', '/admin'), ('from=x', '/from'),
                         ('cursor=x', '/cursor')):
        said = problem(rest.get(f'/api/admin/log?{query}', boss.token), 400,
                       'bad_request')
        assert said['errors'][0]['pointer'] == field
    problem(rest.get('/api/admin/log', who[0].token), 403, 'forbidden')


def test_l6_many_admins_make_one_chain(stack, boss):
    """Rehashed here, by what the manual says, from whatever order they came
    in; without a gap."""
    before = last(stack)

    def act(n):
        with stack.db() as db:
            db.execute("SELECT consult.admin_act(%s, 'test_crowd', '', %s)",
                       (boss.number, json.dumps({'n': n, 'é': [None, 1.50]})))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(24)))
    assert last(stack) == before + 24
    with stack.db() as db:
        rows = db.execute(
            'SELECT no, (extract(epoch FROM at) * 1000000)::bigint, admin_id,'
            ' to_jsonb(act)::text, to_jsonb(about)::text, detail::text, hash'
            ' FROM consult.admin_log ORDER BY no').fetchall()
    assert [r[0] for r in rows] == list(range(1, len(rows) + 1))
    head = ZEROS
    for *said, hash_ in rows:
        text = '[' + ', '.join(map(str, said)) + ']'
        head = hashlib.sha256(head + text.encode()).digest()
        assert head == hash_, said
    assert log(stack, boss, '?limit=1')['data'][0]['hash'] == head.hex()


@pytest.mark.parametrize('role', ['astro_api', 'astro_admin', 'astro_engine',
                                  'astro_gateway', 'astro_web',
                                  'astro_worker', 'astro_owner', 'postgres'])
def test_l6_nobody_changes_what_is_written(stack, boss, role):
    """Those who serve have no right to; whom the tables belong to is stopped
    by a trigger."""
    with stack.db() as db:
        db.execute("SELECT consult.admin_act(%s, 'test_kept', '', '{}')",
                   (boss.number,))
        for order in ("UPDATE consult.admin_log SET about = 'x'",
                      'DELETE FROM consult.admin_log',
                      'TRUNCATE consult.admin_log'):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f'SET ROLE {role}; {order}')
            db.execute('RESET ROLE')
        if role not in ('astro_admin', 'astro_owner', 'postgres'):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f'SET ROLE {role}; UPDATE consult.admin_clock'
                           ' SET no = 0')
            db.execute('RESET ROLE')


def test_l6_only_admins_act_and_nothing_secret_is_kept(stack, boss):
    with stack.db() as db:
        for who in (stack.person('client').number, 10 ** 12):
            with pytest.raises(psycopg.Error, match='only for admins'):
                db.execute("SELECT consult.admin_act(%s, 'test_x', '', '{}')",
                           (who,))
        for name in ('password', 'new_password', 'token', 'Secret', 'otp',
                     'password_hash', 'message'):
            for detail in ({name: 'x'}, {'a': [{'b': {name: 'x'}}]}):
                with pytest.raises(psycopg.Error, match='no log may have'):
                    db.execute("SELECT consult.admin_act(%s, 'test_x', '',"
                               ' %s)', (boss.number, json.dumps(detail)))
        # as astro_admin without an admin who calls, there is nothing to see
        db.execute('SET ROLE astro_admin')
        assert db.execute('SELECT count(*) FROM consult.admin_log'
                          ).fetchone() == (0,)


def test_l6_the_audit_names_the_first_broken_row(stack, boss):
    """Whatever was changed, by somebody who could take the triggers away."""
    with stack.db() as db:
        for n in range(6):
            db.execute("SELECT consult.admin_act(%s, 'test_chain', 'u_1',"
                       " %s)", (boss.number, json.dumps({'n': n})))
        end = last(stack)
        for order, no in (
                ("UPDATE consult.admin_log SET detail = '{}' WHERE no = {no}",
                 end - 3),
                ("UPDATE consult.admin_log SET about = 'u_2' WHERE no >= {no}",
                 end - 4),
                ('UPDATE consult.admin_log SET at = at + interval'
                 " '1 microsecond' WHERE no = {no}", end),
                ('UPDATE consult.admin_log l SET hash = sha256(hash)'
                 ' WHERE no = {no}', end - 1),
                ('DELETE FROM consult.admin_log WHERE no = {no}', end - 2),
                ('DELETE FROM consult.admin_log WHERE no > {no}', end - 1),
                # one who knows how the hash is made, and forgot the next
                ("UPDATE consult.admin_log l SET about = 'u_3', hash ="
                 ' consult.admin_hash((SELECT p.hash FROM consult.admin_log p'
                 ' WHERE p.no = l.no - 1), (l.no, l.at, l.admin_id, l.act,'
                 " 'u_3', l.detail, NULL)::consult.admin_log)"
                 ' WHERE no = {no} - 1', end - 1)):
            assert stack.audit()[0] == 0
            db.execute('CREATE TEMP TABLE kept AS TABLE consult.admin_log')
            db.execute("SET session_replication_role = 'replica'")
            try:
                assert db.execute(order.replace('{no}', str(no))).rowcount
                code, said = stack.audit()
            finally:
                db.execute('DELETE FROM consult.admin_log')
                db.execute('INSERT INTO consult.admin_log TABLE kept')
                db.execute('DROP TABLE kept')
                db.execute('RESET session_replication_role')
            assert code == 1, said
            found = re.findall(r'\b(?:act|is) (\d+)', said)
            assert found[0] == str(no), (order, said)
    assert stack.audit()[0] == 0
