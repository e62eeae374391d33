"""Sessions made in SQL, active and with their money held, that a billing worker
finds as another one left them: for measuring how late it is, with many."""

import threading
import time

from . import people

RATE = 60000                    # minor units a minute: each tick has an amount
MONEY = 10 ** 12
SILENCE_MS = 1000
AHEAD_MS = 60000                # the worker's default
CHUNK = 10000                   # sessions made in one statement

OPEN = '''
    INSERT INTO consult.interval (session_id, account_id, gateway_id,
                                  open_life_ms)
    SELECT s, a, %(gateway)s, %(life)s
      FROM unnest(%(sessions)s::bigint[], %(accounts)s::bigint[]) AS t(s, a)
'''

# Their grids are spread over a tick, as if each had begun when it liked.
BEGUN = '''
    WITH s AS (
        UPDATE consult.session
           SET state = 'active', ver = ver + 1, state_ms = %(start)s,
               active_ms = %(start)s - id * 7919 %% %(spread)s,
               paid_until_ms = %(start)s + %(ahead)s,
               held = rate_minor * %(ahead)s / 60000
         WHERE id = ANY(%(sessions)s)
        RETURNING client_wallet, held)
    UPDATE ledger.wallet w SET held = s.held FROM s WHERE w.id = client_wallet
'''


def boot_s():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Gateway:
    """A gateway that is only a row, its lease renewed as nginx would."""

    def __init__(self, stack):
        self.db = stack.admin()
        self.born = boot_s()
        self.id, self.started_ms = self.db.execute(
            "SELECT * FROM api.gateway_open('bench', 1, %s)",
            (SILENCE_MS,)).fetchone()
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.renew, daemon=True)

    def life(self):
        return int((boot_s() - self.born) * 1000)

    def now(self):
        """This gateway's instant, ms."""
        return self.started_ms + self.life()

    def open(self, pairs):
        """Both parties of each are there; returns since when."""
        with self.lock:
            life = self.life()
            self.db.execute(OPEN, {
                'gateway': self.id, 'life': life,
                'sessions': [p.session for p in pairs for _ in range(2)],
                'accounts': [a for p in pairs
                             for a in (p.client, p.advisor)]})
        return self.started_ms + life

    def renew(self):
        while not self.over.wait(1):
            with self.lock:
                self.db.execute(
                    "SELECT * FROM api.gateway_renew(%s, %s, '{}', '{}', '{}',"
                    " '{}', '{}')", (self.id, self.life()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.db.execute('SELECT * FROM api.gateway_close(%s, %s)',
                        (self.id, self.life()))
        self.db.close()


def live(db, gateway, n, spread_ms, rate=RATE):
    """n of them; the pairs."""
    made = []
    while len(made) < n:
        some = people.pairs(db, min(CHUNK, n - len(made)), rate, MONEY,
                            listed=False)
        with db.transaction():
            db.execute(BEGUN, {'sessions': [p.session for p in some],
                               'start': gateway.open(some),
                               'ahead': AHEAD_MS, 'spread': spread_ms})
        made += some
    db.execute('ANALYZE')
    return made


def over(db):
    """They are taken out of the books by hand: what was left alive would
    tick for ever, and settling so many would be in the next figure's way.
    Both were there all the time: they end with what was billed."""
    db.execute("""
        WITH s AS (
            UPDATE consult.session s
               SET state = 'ended', ver = s.ver + 1, held = 0, settled = true,
                   credited = s.charged - s.fee,
                   end_ms = coalesce(s.billed_ms + (
                       SELECT max(g.started_ms + i.open_life_ms)
                         FROM consult.interval i
                         JOIN consult.gateway g ON g.id = i.gateway_id
                        WHERE i.session_id = s.id), s.state_ms),
                   reason = 'client_ended'
              FROM consult.session o
             WHERE o.id = s.id AND NOT s.settled AND s.state <> 'ended'
            RETURNING s.client_wallet, s.advisor_wallet,
                      s.credited - o.credited AS earned),
        moved AS (
            SELECT client_wallet AS id, 0 AS earned FROM s
             UNION ALL
            SELECT advisor_wallet, sum(earned) FROM s GROUP BY 1)
        UPDATE ledger.wallet w SET held = 0, balance = balance + earned
          FROM moved WHERE w.id = moved.id
        """)
    db.execute('VACUUM (ANALYZE) consult.session, ledger.wallet')


def percentile(values, of):
    """The value that so many of a hundred do not exceed; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(len(ordered) * of / 100))]
