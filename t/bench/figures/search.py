"""GET /api/advisors over 100,000 advisors: filters, sorts, pages.

2,000 of them are online.  What each page answered at first is what it has to
answer all the time, and no two pages of a walk have an advisor in common.
"""

import json
import urllib.parse
import urllib.request

from . import people, rest, table
from .common import TROUBLE, Skip, reason
from .rest import OursRest

ADVISORS = 100000
CONNECTIONS = 2
PAGES = 3

# as browsers of such lists ask; the last ones match few, or nobody
QUERIES = (
    '', 'sort=rating', 'sort=price', 'sort=-price&service=video', 'sort=name',
    'sort=newest', 'specialty=s1&sort=rating', 'specialty=s40&sort=price',
    'language=sv&sort=rating', 'online=true', 'online=true&sort=rating',
    'online=true&specialty=s3&sort=price', 'online=false&sort=rating',
    'online=true&service=video&price_max=5000&sort=rating',
    'service=chat&price_min=3000&price_max=3100&sort=rating',
    'price_max=600&rating=4.5&sort=newest', 'rating=5&sort=price',
    'specialty=s2&language=en&service=chat&rating=4.5&sort=price',
    'q=a&sort=rating', 'q=zz&sort=price', 'language=xx',
    'specialty=s30&language=sv&sort=name',
)

# Without the triggers, which would number each: the list is made in one piece,
# as of its first change.
CROWD = '''
    SET LOCAL session_replication_role = replica;
    SELECT setseed(0.5);

    CREATE TEMPORARY TABLE crowd ON COMMIT DROP AS
    WITH a AS (
        INSERT INTO identity.account (email, name, role, password_hash)
        SELECT 'crowd-' || i || '@bench.test',
               initcap(left(md5(i::text), 6)) || ' '
               || initcap(left(md5((i * 7)::text), 7)), 'advisor', '!'
          FROM generate_series(1, {n}) i
        RETURNING id)
    SELECT id FROM a;

    INSERT INTO identity.advisor (account_id, headline, bio, specialties,
        languages, experience, rate_chat_minor, rate_audio_minor,
        rate_video_minor, rating_count, rating_sum)
    SELECT r.id, 'Advisor ' || r.id, repeat('word ', 40),
           ARRAY(SELECT 's' || 1 + floor(40 * power(random(), 3))::int
                   FROM generate_series(1, 1 + r.id::int % 3)),
           ARRAY(SELECT ('{{en,hi,ta,te,bn,mr,gu,pa,kn,ml,fr,de,es,it,sv}}'
                         ::text[])[1 + floor(15 * power(random(), 2.5))::int]
                   FROM generate_series(1, 1 + r.id::int % 2)),
           r.id % 30, 500 + (random() * 9500)::int,
           CASE WHEN random() < 0.8 THEN 800 + (random() * 15000)::int END,
           CASE WHEN random() < 0.5 THEN 1000 + (random() * 25000)::int END,
           r.n, least(5 * r.n, round(r.n * (3.5 + 1.5 * random())))
      FROM (SELECT id, floor(200 * power(random(), 4))::int AS n
              FROM crowd) r;

    INSERT INTO identity.listing (account_id, born, name_key, specialties,
        languages, chat, audio, video, price, rating, rank)
    SELECT v.account_id, 1, v.name_key, v.specialties, v.languages, v.chat,
           v.audio, v.video, v.price, v.rating, v.rank
      FROM identity.listable v
     WHERE v.account_id >= (SELECT min(id) FROM crowd);

    INSERT INTO consult.gateway (node, pid, started_ms, silence_ms, renewed_at)
    VALUES ('crowd', 1, 0, 0, '2100-01-01');
    INSERT INTO consult.presence (account_id, gateway_id)
    SELECT c.id, (SELECT max(g.id) FROM consult.gateway g WHERE node = 'crowd')
      FROM crowd c WHERE c.id % 50 = 0;
    INSERT INTO consult.advisor_here (account_id)
    SELECT c.id FROM crowd c WHERE c.id % 50 = 0;
'''


class Search(OursRest):
    name = 'ours'

    def __init__(self, stack):
        super().__init__(stack)
        self.requests = []

    def start(self):
        if self.requests:
            return
        self.stack.need('migrate', 'nginx')
        # it sweeps who has no socket, and the crowd has none
        self.stack.stop('worker')
        with self.stack.admin() as db:
            with db.transaction():
                # those of the parts before would go offline meanwhile
                db.execute('DELETE FROM consult.presence')
                db.execute('SET LOCAL enable_nestloop = off')
                for part in CROWD.format(n=ADVISORS).split(';\n'):
                    if part.strip():
                        db.execute(part)
                (client,), _ = people.accounts(db, 'client', 1)
            db.execute('VACUUM ANALYZE')
        token = self.stack.token(client, 'client')
        for query in QUERIES:
            self.walk(query, token)

    def walk(self, query, token):
        """The first pages of it, and what is first on each."""
        seen, cursor = set(), ''
        for _ in range(PAGES):
            path = '/api/advisors?limit=20'
            path += '&' + query if query else ''
            path += '&cursor=' + urllib.parse.quote(cursor) if cursor else ''
            request = urllib.request.Request(
                f'http://127.0.0.1:{self.port}{path}',
                headers={'Authorization': f'Bearer {token}'})
            with urllib.request.urlopen(request, timeout=30) as answer:
                page = json.load(answer)
            ids = [advisor['id'] for advisor in page['data']]
            if seen & set(ids) or len(ids) != len(set(ids)):
                raise Skip(f'{path}: somebody is on two pages')
            seen |= set(ids)
            self.requests.append((path, token, '{"data":[{"id":"%s",' % ids[0]
                                  if ids else '{"data":[],'))
            cursor = page['next_cursor']
            if cursor is None:
                break


def measure(bench):
    found = table.Series()
    for server in bench.servers(Search(bench.stack)):
        try:
            server.start()
            for _ in range(bench.rounds):
                one = rest.load(bench, server, server.port, server.requests,
                                CONNECTIONS)
                if one['errors']:
                    raise Skip(f"{one['errors']:.0f} wrong answers; "
                               + one['said'])
                found.add(one)
        except TROUBLE as e:
            found.why = reason(e)

    rows = [['ours', found.spread('rate'), table.short(found.middle('p50_us')),
             found.spread('p99_us'), table.short(found.middle('max_us'))]]
    table.show(f'Search: {len(QUERIES)} queries, up to {PAGES} pages of 20 of '
               f'each, among {ADVISORS} advisors, {CONNECTIONS} connections, '
               f'{bench.how()}',
               ['', 'pages/s', 'p50 us', 'p99 us', 'max us'],
               rows if found.results else table.failures({'ours': found}))

    p99 = found.middle('p99_us')
    bench.goals.at_most(f'search of {ADVISORS} advisors, p99 ms',
                        p99 and p99 / 1000, 20)
    return {'ours': found}
