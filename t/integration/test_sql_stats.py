"""The roll-up of figures against SQL over the tables that it is of."""

import csv
import datetime
import io
import json
import random

import psycopg
import pytest

from sql_fixture import ROOT, call1, migrate, sql       # noqa: F401

DAYS = 40

# what each figure means: of one day, by the rows themselves
MEANT = '''
    SELECT to_jsonb(x) FROM (SELECT
      (SELECT count(*) FROM identity.account a WHERE a.role = 'client'
          AND (a.created_at AT TIME ZONE 'UTC')::date = %(day)s) AS clients,
      (SELECT count(*) FROM identity.account a WHERE a.role = 'advisor'
          AND (a.created_at AT TIME ZONE 'UTC')::date = %(day)s) AS advisors,
      (SELECT count(*) FROM identity.account a WHERE a.role = 'client'
          AND (a.created_at AT TIME ZONE 'UTC')::date = %(day)s
          AND EXISTS (SELECT FROM consult.session s WHERE s.client_id = a.id
                         AND s.settled AND s.charged > 0)) AS converted,
      count(*) AS sessions,
      count(*) FILTER (WHERE s.accepted_at IS NOT NULL OR s.billed_ms > 0)
          AS answered,
      count(*) FILTER (WHERE s.billed_ms > 0) AS completed,
      coalesce(sum(s.billed_ms), 0) AS billed_ms,
      coalesce(sum(s.charged), 0) AS charged, coalesce(sum(s.fee), 0) AS fee
        FROM consult.session s WHERE s.settled
         AND (s.ended_at AT TIME ZONE 'UTC')::date = %(day)s) x
'''


class Books:
    """A database of its own; here: {(day, account)} as the test made them."""

    def __init__(self, sql):                            # noqa: F811
        self.chance = random.Random(30)
        name = sql.new_database()
        migrate(sql.dsn(name=name))
        self.db, self.web, self.worker = (
            psycopg.connect(sql.dsn(user, name), autocommit=True)
            for user in (None, 'astro_web', 'astro_worker'))
        self.now = datetime.datetime.now(datetime.timezone.utc)
        self.today = self.now.date()
        self.here = set()
        self.joined = {}

    def one(self, query, *args):
        row, = self.db.execute(query, args).fetchall()
        return row[0]

    def day(self, age):
        return self.today - datetime.timedelta(age)

    def at(self, age):
        """Some time of that day; of today it has been."""
        at = datetime.datetime.combine(
            self.day(age), datetime.time(0), datetime.timezone.utc)
        return min(at + datetime.timedelta(seconds=self.chance.randrange(
            86400)), self.now)

    def account(self, role, age):
        who = self.one('INSERT INTO identity.account (email, name, role,'
                       " password_hash, created_at) VALUES (%s, 'x', %s, 'h',"
                       ' %s) RETURNING id',
                       f'{role}{len(self.joined)}@sql.test', role,
                       self.at(age))
        self.db.execute('INSERT INTO ledger.wallet (owner_id, kind, balance)'
                        " VALUES (%s, %s, %s)", (who, role, 1000)
                        ) if role != 'admin' else None
        self.joined[who] = self.day(age)
        return who

    def came(self, who, age):
        """By a queue of which the time is ours to say."""
        self.db.execute("INSERT INTO stats.fresh (what, about, at)"
                        " VALUES ('h', %s, %s)", (who, self.at(age)))
        self.here.add((self.day(age), who))

    def session(self, client, advisor, age, ms, answered=True):
        """One that began and ended on that day."""
        at = self.at(age)
        conv = self.one('INSERT INTO consult.conversation AS c (client_id,'
                        ' advisor_id) VALUES (%s, %s) ON CONFLICT (client_id,'
                        ' advisor_id) DO UPDATE SET head = c.head'
                        ' RETURNING id', client, advisor)
        wallets = [self.one('SELECT id FROM ledger.wallet WHERE owner_id = %s',
                            who) for who in (client, advisor)]
        return self.one(
            'INSERT INTO consult.session (conversation_id, client_id,'
            ' advisor_id, client_wallet, advisor_wallet, cid, service,'
            ' rate_minor, commission_bps, state, state_ms, created_at,'
            ' ended_at, accepted_at, billed_ms, charged, fee, credited)'
            ' VALUES (%s, %s, %s, %s, %s, gen_random_uuid(),'
            " 'chat', 6000, 3000, 'ended', 0, %s, %s, %s, %s, %s, %s, %s)"
            ' RETURNING id', conv, client, advisor, *wallets, at, at,
            at if answered else None, ms, ms // 10, ms // 100,
            ms // 10 - ms // 100)

    def settle(self, *sessions):
        self.db.execute('UPDATE consult.session SET settled = true'
                        ' WHERE id = ANY(%s)', (list(sessions),))

    def roll(self):
        while self.worker.execute('SELECT billing.stats_roll()'
                                  ).fetchone()[0] is not None:
            pass

    def days(self):
        return {row['day']: row for row in self.rows(
            'SELECT to_jsonb(d) FROM stats.day d')}

    def rows(self, query):
        return [row for row, in self.db.execute(query).fetchall()]

    def same(self):
        """All days are as the rows say, and as who was here says."""
        days = self.days()
        # who starts a session is here
        here = self.here | set(self.db.execute(
            "SELECT (created_at AT TIME ZONE 'UTC')::date, client_id"
            ' FROM consult.session').fetchall())
        last = {}
        for d, who in here:
            last[who] = max(d, last.get(who, d))
        cohorts = dict(((age, joined), n) for age, joined, n in
                       self.db.execute('SELECT * FROM stats.cohort'))
        for age in range(DAYS):
            day = self.day(age)
            meant, = self.db.execute(MEANT, {'day': day}).fetchone()
            got = days.get(str(day), dict.fromkeys(
                [*meant, 'active', 'last_here'], 0))
            meant['active'] = len([1 for d, _ in here if d == day])
            meant['last_here'] = list(last.values()).count(day)
            assert {k: got[k] for k in meant} == meant, day
            for n in (1, 7, 30):
                assert cohorts.get((n, day), 0) == len([1 for d, who in here if
                    self.joined[who] == day and (d - day).days == n]), (day, n)
        assert self.one('SELECT count(*) FROM stats.fresh') == 0


def crowd(books, sessions=60):
    """Some of everything over the last days."""
    chance = books.chance
    clients = [books.account('client', chance.randrange(DAYS))
               for _ in range(20)]
    advisors = [books.account('advisor', DAYS - 1) for _ in range(4)]
    made = [books.session(chance.choice(clients), chance.choice(advisors),
                          chance.randrange(DAYS),
                          chance.choice([0, 0, 60000, 90000]),
                          chance.random() < 0.7) for _ in range(sessions)]
    return clients, advisors, made


@pytest.fixture(scope='module')
def books(sql):                                         # noqa: F811
    return Books(sql)


def test_l1_n3_days_are_what_the_rows_say(books):
    """Rolled in pieces, between which more happens."""
    clients, advisors, made = crowd(books)
    while made:
        books.settle(*(made.pop() for _ in range(min(7, len(made)))))
        who = books.chance.choice(clients + advisors)
        for _ in range(5):
            age = books.chance.randrange((books.today
                                          - books.joined[who]).days + 1)
            books.came(who, age)
            books.came(who, age)            # once a day counts once
        if books.chance.random() < 0.5:
            books.roll()
    books.roll()
    assert books.one('SELECT count(*) FROM stats.active_day') > 60
    books.same()
    before = books.days()
    books.roll()
    assert books.days() == before


def test_n3_advisors_by_day_add_up_to_the_days(books):
    assert books.rows('''
        SELECT to_jsonb(x) FROM (
            SELECT day, sum(sessions) AS s, sum(answered) AS a,
                   sum(completed) AS c, sum(charged) AS m, sum(fee) AS f
              FROM stats.advisor_day GROUP BY day
            EXCEPT SELECT day, sessions, answered, completed, charged, fee
              FROM stats.day) x''') == []
    assert books.one('SELECT count(DISTINCT advisor_id)'
                     ' FROM stats.advisor_day') == 4


def test_l1_what_was_there_before_is_counted_once(sql):    # noqa: F811
    """By the migration on a database in which much has happened; some
    sessions are still to be settled then."""
    books = Books(sql)
    books.db.execute('DROP SCHEMA stats CASCADE;'
                     'DROP INDEX ledger.payment_activity;'
                     'DROP POLICY admin_activity ON ledger.wallet;'
                     'DROP POLICY admin_activity ON consult.session;'
                     'DROP POLICY admin_activity ON consult.booking')
    *_, made = crowd(books)
    books.settle(*made[:40])
    with books.db.transaction():
        books.db.execute((ROOT / 'sql/migrations/0030_stats.sql').read_text())
    books.settle(*made[40:50])
    books.roll()
    assert 40 < sum(d['sessions'] for d in books.days().values()) + 1
    books.same()
    books.settle(*made[50:])
    books.roll()
    books.same()


KEPT = '''
    SELECT jsonb_object_agg(x.name, x.value) FROM (VALUES
        ('gross', (SELECT sum(amount) FROM t WHERE kind IN
                   ('session', 'gift', 'deposit'))),
        ('fees', (SELECT sum(fee) FROM t)),
        ('given_back', (SELECT sum(amount) FROM t WHERE kind
                        = 'reversal_fee')),
        ('net', (SELECT sum(fee) - sum(amount) FILTER (WHERE kind
                 = 'reversal_fee') FROM t)),
        ('topups', (SELECT sum(amount) FROM t WHERE kind = 'topup')),
        ('refunds', (SELECT sum(amount) FROM t WHERE kind = 'refund')),
        ('promo', (SELECT sum(CASE kind WHEN 'promo' THEN amount
                   WHEN 'promo_back' THEN -amount END) FROM t)),
        ('payouts', (SELECT sum(CASE kind WHEN 'payout' THEN amount
                     WHEN 'payout_return' THEN -amount END) FROM t)))
        AS x(name, value)
'''
KINDS = ('gift', 'deposit', 'topup', 'refund', 'reversal', 'reversal_fee',
         'promo', 'promo_back', 'payout', 'payout_return', 'adjustment')


def test_l1_revenue_is_what_the_ledger_says(books):
    chance = books.chance
    admin = books.account('admin', 3)
    sessions = [row for row, in books.db.execute(
        'SELECT id FROM consult.session ORDER BY id')]
    for n, (kind, age) in enumerate([(k, a) for k in KINDS for a in
                                     (0, 3, 6, 20, 35)] * 2):
        amount = chance.randrange(10, 1000)
        fee = chance.randrange(amount) if kind in ('gift', 'deposit') else 0
        books.db.execute(
            'INSERT INTO ledger.transfer (debit_account, credit_account,'
            ' amount, fee, kind, at, reference) VALUES (1, 2, %s, %s, %s, %s,'
            ' %s)', (amount, fee, kind, books.at(age), f'r{n}'))
    for n, session in enumerate(sessions):
        books.db.execute(
            'INSERT INTO ledger.transfer (debit_account, credit_account,'
            ' amount, fee, kind, session_id, charge_no, at) VALUES (1, 2, %s,'
            " %s, 'session', %s, 1, %s)",
            (n + 9, n, session, books.at(chance.randrange(DAYS))))
    for _ in range(2):
        books.worker.execute('SELECT billing.totals_roll()')
    # what is of now is looked at twice a minute
    books.db.execute('UPDATE stats.mark SET now_at = NULL')
    books.roll()

    days = [(books.today - datetime.timedelta(n)) for n in (0, 6, 29, 99)]
    for query, since, till in (
            ({'period': 'today'}, days[0], days[0]),
            ({'period': '7d'}, days[1], days[0]),
            ({'period': '30d'}, days[2], days[0]),
            ({}, days[3], days[0]),
            ({'from': str(days[2]), 'to': str(days[1])}, days[2], days[1])):
        got = call1(books.web, 'admin_stats', admin, json.dumps(query))
        assert got['status'] == 200, got
        got = got['body']
        meant, = books.db.execute(
            'WITH t AS (SELECT * FROM ledger.transfer WHERE (at AT TIME ZONE'
            f" 'UTC')::date BETWEEN %s AND %s) {KEPT}", (since, till)
            ).fetchone()
        assert {k: v['amount'] for k, v in got['revenue'].items()} == meant
        ended, completed, ms = books.db.execute(
            'SELECT count(*), count(*) FILTER (WHERE billed_ms > 0),'
            ' sum(billed_ms)::bigint FROM consult.session WHERE settled AND'
            " (ended_at AT TIME ZONE 'UTC')::date BETWEEN %s AND %s",
            (since, till)).fetchone()
        assert (got['sessions']['ended'], got['sessions']['completed'],
                got['sessions']['minutes']) == (ended, completed,
                                                (ms or 0) // 60000)
        assert got['sessions']['completion_rate'] == (
            round(completed / ended, 4) if ended else None)
        assert got['users']['new'] == len(
            [1 for day in books.joined.values() if since <= day <= till])
        assert got['users']['active'] == books.one(
            'SELECT count(DISTINCT account_id) FROM stats.active_day'
            ' WHERE day BETWEEN %s AND %s', since, till)
        assert got['users']['total'] == len(books.joined)
        assert got['payouts_due']['amount']['amount'] == books.one(
            "SELECT sum(balance)::bigint FROM ledger.wallet"
            " WHERE kind = 'advisor'") + books.one(
            'SELECT coalesce(sum(charged - fee - credited), 0)::bigint'
            ' FROM consult.session WHERE NOT settled')
        # of those who joined a week before the last day, or earlier
        old = {who for who, day in books.joined.items() if since <= day
               <= min(till, books.today - datetime.timedelta(7))}
        kept = len([who for who in old if books.one(
            'SELECT count(*) FROM stats.active_day WHERE account_id = %s'
            ' AND day = %s', who,
            books.joined[who] + datetime.timedelta(7))])
        assert got['retention']['d7'] == (round(kept / len(old), 4)
                                          if old else None)


def test_n12_rows_by_day_and_as_csv(books):
    admin, = books.db.execute("SELECT min(id) FROM identity.account"
                              " WHERE role = 'admin'").fetchone()
    books.db.execute('UPDATE identity.account SET name = %s WHERE id IN'
                     ' (SELECT advisor_id FROM stats.advisor_day)',
                     ('=1+"1"',))

    def rows(**query):
        got = call1(books.web, 'admin_analytics', admin, json.dumps(query))
        again = call1(books.web, 'admin_analytics', admin,
                      json.dumps({**query, 'format': 'csv'}))['text_csv']
        table = list(csv.DictReader(io.StringIO(again, newline='')))
        assert again.endswith('\r\n') and got['text_csv'] is None
        data = got['body']['data']
        assert [{k: str(v) for k, v in row.items()} for row in data] == [
            {k: v.lstrip("'") for k, v in row.items()} for row in table]
        return data, table

    data, _ = rows(**{'from': str(books.day(29)), 'to': str(books.day(3))})
    assert [row['day'] for row in data] == [str(books.day(n))
                                            for n in range(29, 2, -1)]
    got = call1(books.web, 'admin_stats', admin, json.dumps(
        {'from': str(books.day(29)), 'to': str(books.day(3))}))['body']
    for key, whole in (('gross', got['revenue']['gross']['amount']),
                       ('fees', got['revenue']['fees']['amount']),
                       ('payouts', got['revenue']['payouts']['amount']),
                       ('sessions', got['sessions']['ended']),
                       ('completed', got['sessions']['completed'])):
        assert sum(row[key] for row in data) == whole

    data, table = rows(report='advisors', period='30d')
    assert 1 < len(data) <= 4
    assert table[0]['name'] == '\'=1+"1"'        # no formula
    assert [row['charged'] for row in data] == sorted(
        (row['charged'] for row in data), reverse=True)


def test_n3_gauges_are_of_the_last_thirty_days(books):
    found = {(name, labels): value for name, labels, value in
             books.worker.execute('SELECT * FROM billing.gauges()')}
    admin = books.one("SELECT min(id) FROM identity.account"
                      " WHERE role = 'admin'")
    got = call1(books.web, 'admin_stats', admin, '{"period": "30d"}')['body']
    day = call1(books.web, 'admin_stats', admin,
                '{"period": "today"}')['body']
    assert found['business_sessions', 'state="live"'] == 0
    assert found['business_users', 'active="day"'] == day['users']['active']
    assert found['business_users', 'active="month"'] == got['users']['active']
    assert found['business_rate', 'of="completed"'] == \
        got['sessions']['completed'] * 10000 // got['sessions']['ended']
    assert found['business_revenue', 'days="30"'] == \
        got['revenue']['net']['amount']
    assert found['business_revenue', 'days="1"'] == \
        day['revenue']['net']['amount']
    assert found['business_due', ''] == got['payouts_due']['amount']['amount']
