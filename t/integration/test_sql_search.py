"""The list of advisors against a search by hand, over random filters.

2,500 advisors: more than the search walks through before it gathers the few
that match, so that both ways of it are taken.
"""

import json
import random

import psycopg
import pytest

from sql_fixture import call1, migrate, sql             # noqa: F401

SPECIALTIES = [f's{n}' for n in range(12)]
LANGUAGES = ['en', 'hi', 'ta', 'te', 'sv']

CROWD = '''
    SET LOCAL session_replication_role = replica;

    INSERT INTO identity.account (email, name, role, password_hash, blocked)
    SELECT i || '@crowd.test', left(md5(i::text), 5), 'advisor', '!',
           i % 31 = 0
      FROM generate_series(1, 2500) i;

    INSERT INTO identity.advisor (account_id, headline, bio, specialties,
        languages, rate_chat_minor, rate_audio_minor, rate_video_minor,
        rating_count, rating_sum, approved_at, away)
    SELECT a.id, '', '',
           ARRAY(SELECT 's' || floor(12 * power(random(), 3))
                   FROM generate_series(1, 1 + a.id::int % 3)),
           ARRAY(SELECT ('{en,hi,ta,te,sv}'::text[])
                        [1 + floor(5 * power(random(), 2))::int]
                   FROM generate_series(1, 1 + a.id::int % 2)),
           100 + (random() * 400)::int,
           CASE WHEN random() < 0.6 THEN 100 + (random() * 900)::int END,
           CASE WHEN random() < 0.3 THEN 100 + (random() * 900)::int END,
           a.id % 9, least(5 * (a.id % 9),
                           ((a.id % 9) * (1 + 4 * random()))::int + 1),
           CASE WHEN a.id % 37 > 0 THEN now() END, a.id % 5 = 0
      FROM identity.account a;

    INSERT INTO identity.listing (account_id, born, name_key, specialties,
        languages, chat, audio, video, price, rating, rank)
    SELECT v.account_id, 1, v.name_key, v.specialties, v.languages, v.chat,
           v.audio, v.video, v.price, v.rating, v.rank
      FROM identity.listable v;

    INSERT INTO consult.gateway (node, pid, started_ms, silence_ms,
                                 renewed_at)
    VALUES ('a', 1, 0, 0, '2100-01-01'), ('b', 1, 0, 0, '2100-01-01'),
           ('dead', 1, 0, 0, '2000-01-01');
    INSERT INTO consult.presence (account_id, gateway_id)
    SELECT a.id, g.id FROM identity.account a
      JOIN consult.gateway g ON g.id % 3 = a.id % 3 OR a.id % 7 = 0
     WHERE a.id % 4 = 1;
    INSERT INTO consult.advisor_here (account_id)
    SELECT DISTINCT p.account_id FROM consult.presence p
    UNION SELECT a.id FROM identity.account a WHERE a.id % 50 = 3;
'''


class Crowd:
    """Everybody, as the rows say: no function of ours is asked."""

    def __init__(self, sql):                            # noqa: F811
        name = sql.new_database()
        migrate(sql.dsn(name=name))
        self.web, self.admin = (
            psycopg.connect(sql.dsn(user, name), autocommit=True)
            for user in ('astro_web', None))
        with self.admin.transaction():
            self.admin.execute('SELECT setseed(0.25)')
            for part in CROWD.split(';\n'):
                if part.strip():
                    self.admin.execute(part)
        self.admin.execute('ANALYZE')
        names = ('id name specialties languages chat audio video count sum'
                 ' away online').split()
        self.people = [dict(zip(names, row)) for row in self.admin.execute('''
            SELECT a.id, a.name, d.specialties, d.languages,
                   d.rate_chat_minor, d.rate_audio_minor, d.rate_video_minor,
                   d.rating_count, d.rating_sum, d.away, count(g.id) > 0
              FROM identity.account a
              JOIN identity.advisor d ON d.account_id = a.id
              LEFT JOIN consult.presence p ON p.account_id = a.id
              LEFT JOIN consult.gateway g ON g.id = p.gateway_id
                        AND g.node <> 'dead'
             WHERE NOT a.blocked AND d.approved_at IS NOT NULL
             GROUP BY a.id, d.account_id''')]
        self.online = {who['id'] for who in self.people
                       if who['online'] and not who['away']}

    def wanted(self, query):
        """The ids, in their order."""
        service = query.get('service')
        sort = query.get('sort', 'id')

        def price(who):
            rates = [who[service]] if service else \
                [who[s] for s in ('chat', 'audio', 'video')]
            return min((r for r in rates if r is not None), default=None)

        def stars(who):
            return 1000 * who['sum'] // who['count'] if who['count'] else 0

        def fits(who):
            return not (
                'specialty' in query
                and query['specialty'] not in who['specialties']
                or 'language' in query
                and query['language'] not in who['languages']
                or price(who) is None
                or 'price_min' in query
                and price(who) < int(query['price_min'])
                or 'price_max' in query
                and price(who) > int(query['price_max'])
                or 'rating' in query
                and stars(who) < 1000 * float(query['rating'])
                or 'q' in query
                and not who['name'].startswith(query['q'])
                or 'online' in query
                and (who['id'] in self.online) != (query['online'] == 'true'))

        key = {'id': lambda w: w['id'], 'newest': lambda w: w['id'],
               'name': lambda w: (w['name'], w['id']),
               'rating': lambda w: (stars(w), w['count'], w['id']),
               'price': lambda w: (price(w), w['id']),
               '-price': lambda w: (price(w), w['id'])}[sort]
        return [who['id'] for who in
                sorted(filter(fits, self.people), key=key,
                       reverse=sort in ('newest', 'rating', '-price'))]

    def found(self, query, pages=3, cap=20):
        ids, cursor = [], ''
        for _ in range(pages):
            answer = call1(self.web, 'advisors', 1, json.dumps(query), cap,
                           cursor)
            assert answer['status'] == 200, answer
            for who in answer['body']['data']:
                ids.append(int(who['id'][2:]))
                assert who['online'] == (ids[-1] in self.online)
            cursor = answer['body']['next_cursor']
            if cursor is None:
                break
        return ids, cursor is not None


@pytest.fixture(scope='module')
def crowd(sql):                                         # noqa: F811
    return Crowd(sql)


def some_query(chance):
    query = {}
    for key, of_ten, value in (
            ('specialty', 4, lambda: chance.choice(SPECIALTIES)),
            ('language', 2, lambda: chance.choice(LANGUAGES)),
            ('service', 3, lambda: chance.choice(['chat', 'audio', 'video'])),
            ('price_min', 2, lambda: str(chance.randrange(100, 400))),
            ('price_max', 2, lambda: str(chance.randrange(150, 900))),
            ('rating', 3, lambda: chance.choice(['0.5', '2', '3.5', '4.8'])),
            ('online', 6, lambda: chance.choice(['true', 'true', 'false'])),
            ('q', 1, lambda: chance.choice('0123456789abcdef')),
            ('sort', 8, lambda: chance.choice(['price', '-price', 'rating',
                                               'name', 'newest']))):
        if chance.random() * 10 < of_ten:
            query[key] = value()
    return query


@pytest.mark.parametrize('many', [False, True])
def test_b5_search_is_what_looking_at_everybody_finds(crowd, many):
    """many: so many may be online that they are not looked up one by one."""
    if many:
        crowd.admin.execute('INSERT INTO consult.advisor_here (account_id)'
                            ' SELECT generate_series(100000, 103100)')
    chance = random.Random(5 + many)
    some = 0
    for query in [{}, {'online': 'true'}, {'online': 'false'},
                  {'online': 'true', 'sort': 'name', 'specialty': 's11'},
                  *(some_query(chance) for _ in range(150))]:
        wanted = crowd.wanted(query)
        assert crowd.found(query) == (wanted[:60], len(wanted) > 60), query
        some += bool(wanted)
    assert some > 100
