"""Movements of money: each a transfer, once for each reference, and balances
that are the replay of the journal after every step.
"""

import json
import os
import random
import time
import uuid

import psycopg
import pytest
from psycopg import errors

from money_fixture import money                     # noqa: F401
from sql_fixture import ROOT, at_once, call1, migrate, sql, web  # noqa: F401

SERVING = ["astro_web", "astro_worker", "astro_api", "astro_gateway",
           "astro_hello", "astro_admin", "astro_engine"]


# the property ----------------------------------------------------------------

@pytest.mark.parametrize("run", range(3))
def test_random_lives(money, run):                  # noqa: F811
    """Whatever happens in whatever order, the books are what plain arithmetic
    says, after each step."""
    seed = int(os.environ.get("ASTRO_SEED", random.randrange(2**32)))
    print(f"ASTRO_SEED={seed}")
    dice = random.Random(seed + run)

    for _ in range(2):
        money.client()
        money.advisor(dice.choice([0, 1, 3000, 10000]))

    for _ in range(100 * int(os.environ.get("ASTRO_EFFORT", 1))):
        if money.step(dice):
            money.check()

    money.check()
    money.nets()


# what the random lives would rarely meet -------------------------------------

def test_refund_takes_the_exact_split(money):       # noqa: F811
    """1000 came with a bonus of 333: three refunds take 1000 and 333."""
    client = money.client()
    money.call("topup", client.id, 1000, f"p{client.id}")
    money.call("promo", client.id, 333, f"b{client.id}", f"p{client.id}")
    left = []

    for n, amount in enumerate([1, 500, 499]):
        money.call("refund", f"p{client.id}", amount, f"r{client.id}.{n}")
        left.append(money.wallet(client)[1:4])

    assert left == [(999 + 333, 0, 333), (499 + 333 - 166, 0, 333 - 166),
                    (0, 0, 0)]
    money.refused("refund", f"p{client.id}", 1, f"r{client.id}.3")
    money.refused("refund", "nobody's", 1, "x", sqlstate="22023")


def test_a_refund_happens_once(money):              # noqa: F811
    """However often it is told, under one reference."""
    client = money.client()
    money.call("topup", client.id, 1000, f"p{client.id}")
    done = [money.call("refund", f"p{client.id}", 400, f"r{client.id}")
            for _ in range(3)]
    assert [row[3] for row in done] == [False, True, True]
    assert len({row[0] for row in done}) == 1
    assert money.wallet(client)[1] == 600


def test_spent_money_is_a_debt(money):              # noqa: F811
    """The client spent it, the payment is refunded: the wallet is empty, not
    negative, and the next top-up pays the debt."""
    client, advisor = money.client(), money.advisor()
    money.call("topup", client.id, 1000, f"p{client.id}")
    money.call("gift", client.id, advisor.id, 700, None, f"g{client.id}")
    money.call("refund", f"p{client.id}", 1000, f"r{client.id}")
    assert money.wallet(client)[1] == 0
    assert money.wallet(client, "receivable")[1] == -700
    assert money.call("topup", client.id, 500, f"q{client.id}")[2] == 0
    assert money.call("topup", client.id, 500, f"s{client.id}")[2] == 300
    assert money.wallet(client, "receivable")[1] == 0


def test_each_dispute_frees_its_own(money):         # noqa: F811
    """Two disputes of one payment and one that froze nothing: what is won or
    lost of one leaves the other frozen; a refund that names none takes of
    all."""
    client = money.client()
    pay, one, two, none = (f"{x}{client.id}" for x in ("p", "d", "e", "n"))
    money.call("topup", client.id, 1000, pay)
    money.call("dispute_freeze", pay, 300, one)
    money.call("dispute_freeze", pay, 200, two)

    def state():
        return money.wallet(client)[1], money.wallet(client, "frozen")[1]

    assert money.call("dispute_release", pay, none)[4] == 0
    assert money.call("dispute_release", pay, one)[3:] == (False, 300)
    assert money.call("dispute_release", pay, one)[3:] == (True, 300)
    assert state() == (800, 200)

    # another one is lost; nothing was frozen for it
    for dup in (False, True):
        assert money.call("dispute_lost", pay, 250, none)[3:] == (dup, 250)
        assert state() == (550, 200)

    money.call("refund", pay, 150, f"r{client.id}")
    assert state() == (550, 50)
    money.call("dispute_lost", pay, 200, two)
    assert state() == (400, 0)
    assert money.call("dispute_release", pay, two)[4] == 0
    money.refused("dispute_lost", pay, 401, f"x{client.id}")


def test_what_is_held_is_nobody_elses(money):       # noqa: F811
    """A hold of 600 of 1000: a gift, a refund, a freeze and an adjustment get
    at the other 400."""
    client, advisor = money.client(), money.advisor()
    money.books.topup(client, 1000, f"p{client.id}")
    money.call("topup", client.id, 1000, f"p{client.id}")
    money.tick(money.talk(client, advisor), 0, 600)
    assert money.wallet(client)[2] == 600
    money.refused("gift", client.id, advisor.id, 401, None, f"g{client.id}")
    money.refused("adjust", client.id, -401, f"a{client.id}")
    frozen = money.call("dispute_freeze", f"p{client.id}", 1000,
                        f"f{client.id}")
    assert frozen[4] == 400
    money.refused("gift", client.id, advisor.id, 1, None, f"g{client.id}")
    money.call("refund", f"p{client.id}", 1000, f"r{client.id}")
    assert money.wallet(client)[1:3] == (600, 600)
    assert money.wallet(client, "frozen")[1] == 0
    assert money.wallet(client, "receivable")[1] == -600


def test_promo_goes_before_cash(money):             # noqa: F811
    """In one batch, three sessions of one wallet: the first ones by id have
    it, and no paisa of it is spent twice."""
    client, advisor = money.client(), money.advisor()
    money.books.topup(client, 5000, f"p{client.id}")
    money.call("topup", client.id, 5000, f"p{client.id}")
    money.books.promo(client, 250)
    money.call("promo", client.id, 250, f"b{client.id}")
    talks = [money.talk(client, advisor, 60000) for _ in range(3)]
    rows = []

    for talk in talks:
        amount, fee, held = money.books.tick(talk, 100, 0)
        rows.append((talk.id, 0, 100, amount, fee, held, False))

    done = money.apply(rows[::-1])
    assert set(done.values()) == {"done"}
    assert [t.promo for t in talks] == [100, 100, 50]
    money.check()
    assert money.wallet(client)[3] == 0

    # the advisor is paid in full
    assert sum(t.charged - t.fee for t in talks) == 210


def test_reversal_after_the_payout(money):          # noqa: F811
    """The advisor was paid out: what is taken back is owed, and later earnings
    pay it before the next payout."""
    client, advisor = money.client(), money.advisor()
    money.books.topup(client, 10000, f"p{client.id}")
    money.call("topup", client.id, 10000, f"p{client.id}")
    talk = money.talk(client, advisor, 60000)
    money.tick(talk, 1000, 0, settle=True)
    money.call("payout_take", advisor.id, 700, f"o{advisor.id}")
    money.call("reverse", talk.id, 1000, f"v{talk.id}")
    assert money.wallet(advisor)[1] == 0
    assert money.wallet(advisor, "receivable")[1] == -700
    assert money.wallet(client)[1] == 10000
    money.call("gift", client.id, advisor.id, 2000, None, f"g{client.id}")
    money.refused("payout_take", advisor.id, 701, f"o{advisor.id}.2")
    money.call("payout_take", advisor.id, 700, f"o{advisor.id}.3")
    assert money.wallet(advisor)[1] == 0
    assert money.wallet(advisor, "receivable")[1] == 0


def test_a_reference_is_for_one_thing(money):       # noqa: F811
    one, other, advisor = money.client(), money.client(), money.advisor()
    ref = uuid.uuid4().hex
    money.call("topup", one.id, 500, ref)
    money.call("gift", one.id, advisor.id, 100, None, ref)
    assert money.call("gift", one.id, advisor.id, 100, None, ref)[3] is True

    for wrong in [("topup", one.id, 501, ref), ("topup", other.id, 500, ref),
                  ("gift", one.id, advisor.id, 99, None, ref),
                  ("gift", one.id, one.id, 100, None, uuid.uuid4().hex),
                  ("gift", advisor.id, advisor.id, 1, None, "x"),
                  ("topup", advisor.id, 1, "x"), ("topup", one.id, 0, "x"),
                  ("topup", one.id, 1, ""), ("topup", one.id, 1, None),
                  ("topup", one.id, None, "x"), ("adjust", one.id, 0, "x"),
                  ("topup", one.id, 10**15 + 1, "x"),
                  ("promo", other.id, 1, "x", ref), ("reverse", 0, 1, "x"),
                  ("payout_return", ref, "x"),
                  ("gift", one.id, advisor.id, 1, 0, "x")]:
        money.refused(*wrong, sqlstate="22023")

    assert money.wallet(one)[1] == 400 and money.wallet(other)[1] == 0


# the journal -----------------------------------------------------------------

def test_nobody_rewrites_the_journal(sql):          # noqa: F811
    """By any role that serves, by the table's name or a partition's."""
    tables = ["ledger.transfer"] + [
        t for t, in sql.admin("SELECT inhrelid::regclass::text FROM"
                              " pg_inherits WHERE inhparent ="
                              " 'ledger.transfer'::regclass")]
    assert len(tables) > 5

    for role in SERVING:
        with psycopg.connect(sql.dsn(), autocommit=True) as conn:
            conn.execute(f"SET ROLE {role}")

            for table in tables:
                for query in [f"UPDATE {table} SET amount = 1",
                              f"DELETE FROM {table}", f"TRUNCATE {table}",
                              f"ALTER TABLE {table} NO FORCE ROW LEVEL"
                              " SECURITY", f"DROP TABLE {table}"]:
                    with pytest.raises(errors.InsufficientPrivilege):
                        conn.execute(query)


def test_a_charge_has_its_partition(sql):           # noqa: F811
    """Four are made ahead, and what has none is refused: a charge is never
    where nobody looks."""
    first, last = sql.one(
        "SELECT min(n), max(n) FROM (SELECT substring(inhrelid::regclass::text"
        " FROM 'transfer_s([0-9]+)')::int AS n FROM pg_inherits WHERE"
        " inhparent = 'ledger.transfer'::regclass) x WHERE n IS NOT NULL")
    assert first == 0 and last >= 4
    charge = ("INSERT INTO ledger.transfer (debit_account, credit_account,"
              " amount, kind, session_id, charge_no) VALUES (1, 2, 1,"
              " 'session', %s, 1) RETURNING tableoid::regclass::text")
    far = (last + 1) * 2**20 - 1
    assert sql.one(charge, far) == f"ledger.transfer_s{last:06}"

    with pytest.raises(errors.CheckViolation):
        sql.one(charge, far + 1)

    with pytest.raises(errors.UniqueViolation):
        sql.one(charge, far)

    sql.admin("DELETE FROM ledger.transfer WHERE session_id = %s", far)


def test_a_journal_of_before_is_taken_over(sql, tmp_path):  # noqa: F811
    """The rows of version 4, to the last column, also by a migrating role that
    the policies hold for."""
    folder = tmp_path / "sql"
    (folder / "migrations").mkdir(parents=True)
    (folder / "functions").symlink_to(ROOT / "sql" / "functions")
    name = sql.new_database()

    with psycopg.connect(sql.dsn(name=name), autocommit=True) as conn:
        files = sorted((ROOT / "sql" / "migrations").glob("*.sql"))

        for file in files[:4]:
            conn.execute(file.read_text())

        conn.execute("""
            INSERT INTO identity.account (email, name, role, password_hash)
            VALUES ('a', 'a', 'client', 'h'), ('b', 'b', 'advisor', 'h');
            INSERT INTO ledger.wallet (owner_id, kind, balance)
            VALUES (1, 'client', 400), (2, 'advisor', 0);
            INSERT INTO ledger.transfer (debit_account, credit_account,
                        amount, kind, reference)
            VALUES (1, 2, 1000, 'topup', 'r');
            INSERT INTO consult.conversation (client_id, advisor_id)
            VALUES (1, 2);
            INSERT INTO consult.session (conversation_id, client_id,
                advisor_id, client_wallet, advisor_wallet, cid, service,
                rate_minor, commission_bps, state, state_ms, charged)
            SELECT 1, 1, 2, 2, 3, gen_random_uuid(), 'chat', 60, 0, 'ended',
                   0, 6 FROM generate_series(1, 100);
            INSERT INTO ledger.transfer (debit_account, credit_account,
                        amount, fee, kind, session_id, charge_no, reference)
            SELECT 2, 3, 1, 0, 'session', s, n, n * 1000
              FROM generate_series(1, 100) s, generate_series(1, 6) n;
            """)
        before = conn.execute(
            "SELECT id, debit_account, credit_account, amount, fee, kind,"
            " session_id, charge_no, at, reference FROM ledger.transfer"
            " ORDER BY id").fetchall()

        for file in files[4:]:
            conn.execute(file.read_text())

        after = conn.execute(
            "SELECT id, debit_account, credit_account, amount, fee, kind,"
            " session_id, charge_no, at, coalesce(reference, billed_ms::text)"
            " FROM ledger.transfer ORDER BY id").fetchall()
        assert len(before) == 601 and before == after
        assert conn.execute("SELECT nextval('ledger.transfer_id_seq')"
                            ).fetchone() == (602,)

    sql.drop_database(name)


# many at once ----------------------------------------------------------------

def test_many_at_once_on_one_wallet(money, sql):    # noqa: F811
    """Gifts, top-ups, refunds, freezes and reversals by many connections,
    while twenty sessions of the wallet tick: nothing is refused that should
    not be, nothing deadlocks, and the books add up."""
    client, advisors = money.client(), [money.advisor() for _ in range(3)]
    money.books.topup(client, 200000, f"p{client.id}")
    money.call("topup", client.id, 200000, f"p{client.id}")
    talks = [money.talk(client, advisors[i % 3], 6000 + i)
             for i in range(20)]
    until = time.monotonic() + 3
    ticks = [0]

    def tick(dice):
        """As the worker does it: reads, decides, writes; 'funds' and 'stale'
        mean another round."""
        some = sorted(dice.sample(range(20), 10))

        with psycopg.connect(sql.dsn("astro_worker"),
                             autocommit=True) as conn:
            rows = decide(dice, [talks[i] for i in some])
            done = money.apply(rows, conn)
            ticks[0] += list(done.values()).count("done")

    def decide(dice, some):
        state = {r[0]: r[1:] for r in admin(
            "SELECT id, charge_no, billed_ms, charged, fee FROM"
            " consult.session WHERE id = ANY(%s) AND NOT settled",
            [t.id for t in some])}
        rows = []

        for talk in [t for t in some if t.id in state]:
            settle = talk in talks[10:] and dice.random() < .1
            number, ms, charged, fee = state[talk.id]
            ms += 500
            amount = talk.rate * ms // 60000 - charged
            rows.append((talk.id, number, ms, amount, (charged + amount)
                         * talk.bps // 10000 - fee, 0 if settle else 50,
                         settle))

        return rows

    def admin(query, *args):
        with psycopg.connect(sql.dsn(), autocommit=True) as conn:
            return conn.execute(query, args).fetchall()

    disputes = []

    def move(dice, conn):
        ref, n = uuid.uuid4().hex, dice.randint(1, 900)
        old = dice.choice(disputes or [ref])
        name, *args = dice.choice([
            ("topup", client.id, n, ref),
            ("promo", client.id, n, ref, None),
            ("gift", client.id, dice.choice(advisors).id, n, None, ref),
            ("refund", f"p{client.id}", n, ref),
            ("dispute_freeze", f"p{client.id}", n, ref),
            ("dispute_release", f"p{client.id}", old),
            ("dispute_lost", f"p{client.id}", 50, old),
            ("adjust", client.id, -n, ref),
            ("reverse", dice.choice(talks).id, n % 9 + 1, ref),
            ("payout_take", dice.choice(advisors).id, n, ref),
            ("credit", list(range(256)))])
        marks = ", ".join(["%s"] * len(args))

        if name == "dispute_freeze":
            disputes.append(ref)

        try:
            conn.execute(f"SELECT * FROM billing.{name}({marks})", args)
        except psycopg.Error as error:
            assert error.sqlstate == "AS002", error

    def work(i, barrier):
        dice = random.Random(i)
        barrier.wait()

        with psycopg.connect(sql.dsn("astro_worker"),
                             autocommit=True) as conn:
            while time.monotonic() < until:
                if i == 7:
                    money.replay()      # at any instant, not just at the end
                elif i < 2:
                    tick(dice)
                else:
                    move(dice, conn)

    at_once(work, 8)
    assert ticks[0] > 20

    # the oracle was not there: the journal alone must explain everything
    for talk in talks:
        talk.ms, talk.charged, talk.fee, talk.held = sql.one(
            "SELECT billed_ms, charged, fee, held FROM consult.session"
            " WHERE id = %s", talk.id)
        assert talk.charged == talk.rate * talk.ms // 60000
        assert talk.fee == talk.charged * talk.bps // 10000

    assert money.wallet(client)[2] == sum(t.held for t in talks)
    money.replay()


# by day and kind -------------------------------------------------------------

def totals(sql):                                    # noqa: F811
    return sorted(sql.admin(
        "SELECT kind, sum(transfers)::int, sum(amount), sum(fee), sum(promo)"
        " FROM ledger.daily GROUP BY kind"))


def journal(sql):                                   # noqa: F811
    return sorted(sql.admin(
        "SELECT kind, count(*), sum(amount), sum(fee), sum(promo) FROM"
        " ledger.transfer GROUP BY kind"))


def test_totals_count_each_once(money, sql):        # noqa: F811
    """While others write, in transactions that end in another order than they
    began, and while two roll up at once."""
    clients = [money.client() for _ in range(4)]
    until = time.monotonic() + 2

    def work(i, barrier):
        dice = random.Random(i)
        barrier.wait()

        with psycopg.connect(sql.dsn("astro_worker"),
                             autocommit=True) as conn:
            while time.monotonic() < until:
                if i < 2:
                    conn.execute("SELECT billing.totals_roll()")
                    time.sleep(.01)
                    continue

                with conn.transaction():
                    conn.execute(
                        "SELECT billing.topup(%s, %s, %s)",
                        (clients[i - 2].id, dice.randint(1, 99),
                         uuid.uuid4().hex))
                    time.sleep(dice.random() * .03)

    at_once(work, 6)
    rolled = sql.one("SELECT sum(transfers) FROM ledger.daily")
    assert rolled > 20

    # the first goes up to what was safe before, the second to the end
    for _ in range(2):
        money.call("totals_roll")

    assert totals(sql) == journal(sql)
    assert money.call("totals_roll") == (0,)
    told = money.conn.execute("SELECT * FROM billing.totals()").fetchall()
    assert sorted(told) == totals(sql)


def test_live_sessions_are_credited_in_turn(money, sql):    # noqa: F811
    """Each shard once in a while, whoever asks."""
    client, advisor = money.client(), money.advisor()
    money.books.topup(client, 9000, f"p{client.id}")
    money.call("topup", client.id, 9000, f"p{client.id}")
    money.tick(money.talk(client, advisor, 60000), 1000, 0)
    assert money.wallet(advisor)[1] == 0
    sql.admin("UPDATE billing.credit_turn SET at = '-infinity'")
    done = []

    while money.call("credit_next", 600) != (None,):
        done.append(1)

    assert len(done) == 256
    assert money.wallet(advisor)[1] == 700
    money.tick(money.talks[0], 1000, 0)
    assert money.call("credit_next", 600) == (None,)
    assert money.wallet(advisor)[1] == 700


def test_a_payment_whose_charge_was_not_kept(money, sql):   # noqa: F811
    """Credited by functions of before 0013, while or after it was applied:
    which of the order's payments it was is still in the inbox."""
    client = money.client()
    order, first, second = (f"{x}_{uuid.uuid4().hex}"
                            for x in ("order", "pay", "pay"))
    db = psycopg.connect(sql.dsn(), autocommit=True)

    def says(kind, pay, **more):
        said = {"event": kind, "nonce": uuid.uuid4().hex, "payload": {
            "payment": {"entity": {"id": pay, "amount": 1000,
                                   "currency": "INR", "order_id": order}},
            **more}}
        db.execute("INSERT INTO ledger.webhook_inbox (provider, event_id,"
                   " type, body) VALUES ('razorpay', %s, %s, %s)",
                   (said["nonce"], kind, json.dumps(said)))
        while db.execute("SELECT * FROM billing.inbox_next()").fetchall():
            pass
        return db.execute("SELECT state FROM ledger.webhook_inbox"
                          " WHERE event_id = %s",
                          (said["nonce"],)).fetchone()[0]

    db.execute("SELECT billing.payment_expect('razorpay', %s, %s, 1000,"
               " 'INR')", (order, client.id))
    assert says("payment.captured", first) == "applied"

    for event, state in (
            (("payment.captured", first), "ignored"),
            (("payment.captured", second), "applied"),
            (("refund.processed", first), "applied")):
        db.execute("UPDATE ledger.payment SET charge = NULL"
                   " WHERE payment_id = %s", (order,))
        more = {"refund": {"entity": {
            "id": f"rfnd_{uuid.uuid4().hex}", "amount": 400,
            "currency": "INR", "payment_id": event[1]}}
                } if event[0].startswith("refund") else {}
        assert says(*event, **more) == state, event

    assert money.wallet(client)[1] == 1600
    db.close()
