"""billing_worker audit names what was altered, whatever it is.

The books hold two sessions of the real worker and every kind of transfer.
Each column that has to do with money is altered by itself, as the database's
superuser, and put back again.
"""

import json
import os
import subprocess

import psycopg
import pytest

from billing_fixture import BINARY, Bench, Redis, Talk
from sql_fixture import sql   # noqa: F401


@pytest.fixture(scope="module")
def redis():
    server = Redis()
    yield server
    server.close()


class Books(Bench):
    """Every kind of transfer, and what its rows are called."""

    def make(self):
        self.worker().ready()
        talk = Talk(self, rate=60000, topup=100000).active()
        other = Talk(self, rate=60000, topup=1000).active()
        self.call("promo", talk.client, 5000, "p1", None)
        talk.ticked(2).end()
        self.settled(talk.id)
        self.settled(other.id, "low_balance")
        assert self.workers[0].stop() == 0

        who, advisor = talk.client, talk.advisor
        assert self.session(talk.id, "promo") > 0
        self.call("topup", who, 1000, "t2")
        self.call("promo", who, 100, "p2", "t2")
        self.call("refund", "t2", 300, "r2")
        self.call("topup", who, 1000, "t3")
        self.call("dispute_freeze", "t3", 400, "f3")
        self.call("dispute_release", "t3", "f3")
        self.call("dispute_freeze", "t3", 100, "f4")
        self.call("gift", who, advisor, 6000, talk.id, "g1")
        self.call("gift", who, advisor, 200, None, "g2")
        self.call("reverse", talk.id, 50, "v1")
        # a booking whose client did not come
        self.rows(
            "WITH b AS (INSERT INTO consult.booking (client_id, advisor_id,"
            " client_wallet, advisor_wallet, service, rate_minor,"
            " commission_bps, start_at, end_at, deposit, held, state,"
            " answer_by, due_at) SELECT s.client_id, s.advisor_id,"
            " s.client_wallet, s.advisor_wallet, 'chat', 6000, 3000, now(),"
            " now() + interval '1 hour', 900, 900, 'confirmed', now(), now()"
            " FROM consult.session s WHERE s.id = %s"
            " RETURNING client_wallet)"
            " UPDATE ledger.wallet w SET held = held + 900 FROM b"
            " WHERE w.id = b.client_wallet", talk.id)
        assert self.call("bookings_due", 9) == (1,)
        self.rows("UPDATE consult.booking SET advisor_came_at = now(),"
                  " start_at = now() - interval '1 day', due_at = now()")
        assert self.call("bookings_due", 9) == (1,)
        self.call("adjust", who, 70, "a1")
        self.call("adjust", advisor, -30, "a2")
        self.payout = self.one(
            "INSERT INTO ledger.payout (advisor_id, wallet_id, day, amount,"
            " currency, vendor, destination, state, reason) VALUES (%s,"
            " (SELECT id FROM ledger.wallet WHERE owner_id = %s), '2025-01-01',"
            " 40, 'INR', 'stripe', 'acct_1', 'failed', 'x') RETURNING id",
            advisor, advisor)
        self.call("payout_take", advisor, 40, f"payout:{self.payout}")
        self.call("payout_return", f"payout:{self.payout}",
                  f"payout:{self.payout}")
        # who has spent it owes it, and pays it back in part
        poor, rich = self.account("client", 0), self.account("advisor")
        self.call("topup", poor, 500, "t5")
        self.call("gift", poor, rich, 450, None, "g5")
        self.call("refund", "t5", 500, "r5")
        self.call("topup", poor, 100, "t6")
        self.pay(poor)
        self.talk = talk
        return self

    def pay(self, who):
        """A payment that came, as a vendor said."""
        self.call("payment_expect", "stripe", "pi_1", who, 700, "INR")
        self.call("payment_expect", "razorpay", "order_1", who, 300, "INR")
        self.rows(
            "INSERT INTO ledger.webhook_inbox (provider, event_id, type, body)"
            " VALUES ('stripe', 'evt_1', 'payment_intent.succeeded', %s)",
            json.dumps({"data": {"object": {
                "object": "payment_intent", "id": "pi_1",
                "amount_received": 700, "currency": "inr"}}}))
        assert self.call("inbox_next")[4] == "applied"

    def call(self, name, *args):
        with psycopg.connect(self.dsn("astro_worker"),
                             autocommit=True) as conn:
            marks = ", ".join(["%s"] * len(args))
            return conn.execute(f"SELECT * FROM billing.{name}({marks})",
                                args).fetchone()

    def transfer(self, kind):
        """One of that kind; of several the one that has the most to alter."""
        return self.one(
            "SELECT id FROM ledger.transfer WHERE kind = %s"
            " ORDER BY promo > 0 DESC, about IS NULL, id LIMIT 1", kind)

    def altered(self, table, where, column, value):
        """What the audit says of it; the row is put back."""
        text = self.one(f"SELECT {column}::text FROM {table} WHERE {where}")
        self.rows(f"UPDATE {table} SET {column} = {value} WHERE {where}")

        try:
            assert text != self.one(f"SELECT {column}::text FROM {table}"
                                    f" WHERE {where}")
            return self.audit()
        finally:
            self.rows(f"UPDATE {table} SET {column} = %s WHERE {where}", text)


@pytest.fixture(scope="module")
def books(sql, redis):  # noqa: F811
    made = Books(sql, redis).make()
    made.clean()
    yield made
    made.clean()
    made.close()


KINDS = ["topup", "promo", "promo_back", "gift", "refund", "freeze", "release",
         "reversal", "reversal_fee", "payout", "payout_return", "debt",
         "recovery", "adjustment", "session", "deposit"]


def test_every_kind_is_there(books):
    kinds = {kind for kind, in books.rows("SELECT DISTINCT kind"
                                          " FROM ledger.transfer")}
    assert kinds == set(KINDS)
    assert kinds == set(books.one(
        "SELECT regexp_matches(pg_get_constraintdef(oid), '\\[(.*)\\]')"
        " FROM pg_constraint WHERE conname = 'transfer_kind'"
        " AND conrelid = 'ledger.transfer'::regclass")[0]
        .replace("::text", "").replace("'", "").split(", "))


@pytest.mark.parametrize("column, value", [
    ("amount", "amount + 7"), ("fee", "CASE fee WHEN 0 THEN 1 ELSE fee - 1 END"),
    ("promo", "CASE promo WHEN 0 THEN 1 ELSE promo - 1 END"),
    ("debit_account", "{stranger}"), ("credit_account", "{stranger}"),
])
@pytest.mark.parametrize("kind", KINDS)
def test_a_transfer(books, kind, column, value):
    """Named itself, as the one that is wrong or as one that may be."""
    number = books.transfer(kind)
    stranger = books.one("SELECT max(client_wallet) FROM consult.session")
    code, said = books.altered("ledger.transfer", f"id = {number}", column,
                               value.format(stranger=stranger))
    assert code == 1, said
    assert f"transfer {number} " in said or f"transfer {number}:" in said, said


@pytest.mark.parametrize("column, value", [
    ("charge_no", "99"), ("billed_ms", "billed_ms + 500"),
    ("billed_ms", "NULL"), ("billed_ms", "1"), ("session_id", "999"),
])
def test_a_charge(books, column, value):
    number = books.transfer("session")
    code, said = books.altered("ledger.transfer", f"id = {number}", column,
                               value)
    assert code == 1, said
    assert f"transfer {number} " in said or f"transfer {number}:" in said, said


@pytest.mark.parametrize("column, value", [
    ("charged", "charged - 1"), ("commission_bps", "0"),
    ("client_wallet", "advisor_wallet"), ("client_id", "advisor_id"),
])
def test_a_booking(books, column, value):
    code, said = books.altered("consult.booking", "charged > 0", column, value)
    assert code == 1 and " booking " in said, said


@pytest.mark.parametrize("kind, about", [
    ("refund", "1"), ("promo_back", "NULL"), ("freeze", "NULL"),
    ("release", "NULL"), ("reversal", "999"), ("reversal_fee", "NULL"),
    ("payout_return", "1"), ("gift", "999"), ("promo", "999"),
    ("deposit", "999"),
])
def test_what_it_is_about(books, kind, about):
    number = books.one("SELECT max(id) FROM ledger.transfer WHERE kind = %s"
                       " AND about IS NOT NULL", kind)
    code, said = books.altered("ledger.transfer", f"id = {number}", "about",
                               about)
    assert code == 1 and f"transfer {number}" in said, said


@pytest.mark.parametrize("column", ["balance", "held", "promo"])
@pytest.mark.parametrize("kind", ["client", "advisor", "receivable", "frozen",
                                  "clearing", "platform"])
def test_a_wallet(books, kind, column):
    number = books.one("SELECT id FROM ledger.wallet WHERE kind = %s"
                       " ORDER BY balance DESC LIMIT 1", kind)
    try:
        code, said = books.altered("ledger.wallet", f"id = {number}", column,
                                   f"{column} + 1")
    except psycopg.errors.CheckViolation:
        # the database itself knows better
        assert column != "balance" and kind != "client"
        return

    assert code == 1 and f"wallet {number}: " in said, said


@pytest.mark.parametrize("column, value", [
    ("rate_minor", "rate_minor + 1000"), ("commission_bps", "2000"),
    ("billed_ms", "billed_ms + 20"), ("billed_ms", "billed_ms - 20"),
    ("promo", "promo - 1"), ("charge_no", "charge_no + 1"),
    ("charge_no", "charge_no - 1"), ("end_ms", "end_ms - 100"),
    ("paid_until_ms", "active_ms + 5"), ("paid_until_ms", "NULL"),
    ("max_ms", "5"), ("client_wallet", "1"), ("advisor_wallet", "1"),
    ("client_id", "advisor_id"), ("whole_minute", "true"),
    ("min_minor", "1000000"), ("free_ms", "1000"), ("max_minor", "10"),
    ("segments", "1"),
])
def test_a_session(books, column, value):
    session = books.talk.id
    code, said = books.altered("consult.session", f"id = {session}", column,
                               value)
    assert code == 1, said
    assert f"session {session}: " in said or f"(session {session}," in said


def test_sums_of_a_session(books):
    """The columns that the database keeps equal, altered together."""
    session = books.talk.id

    for more, back in [("charged = charged + 1, credited = credited + 1",
                        "charged = charged - 1, credited = credited - 1"),
                       ("fee = fee + 1, credited = credited - 1",
                        "fee = fee - 1, credited = credited + 1")]:
        books.rows(f"UPDATE consult.session SET {more} WHERE id = {session}")
        code, said = books.audit()
        books.rows(f"UPDATE consult.session SET {back} WHERE id = {session}")
        assert code == 1 and f"session {session}: " in said, said


@pytest.mark.parametrize("column, value", [
    ("open_life_ms", "close_life_ms"), ("close_life_ms", "open_life_ms"),
    ("account_id", "1000"), ("session_id", "{other}"),
])
def test_an_interval(books, column, value):
    session = books.talk.id
    number, = books.rows("SELECT min(id) FROM consult.interval"
                         " WHERE session_id = %s", session)[0]
    other = books.one("SELECT max(id) FROM consult.session")
    code, said = books.altered("consult.interval", f"id = {number}", column,
                               value.format(other=other))
    assert code == 1, said
    assert f"session {session}: " in said, said


def test_the_clock_of_a_gateway(books):
    number, = books.rows("SELECT min(gateway_id) FROM consult.interval"
                         " WHERE session_id = %s", books.talk.id)[0]
    code, said = books.altered("consult.gateway", f"id = {number}",
                               "started_ms", "started_ms + 1000000")
    assert code == 1 and f"session {books.talk.id}: " in said, said


@pytest.mark.parametrize("column, value", [
    ("amount", "41"), ("wallet_id", "1"), ("state", "'pending'"),
])
def test_a_payout(books, column, value):
    code, said = books.altered("ledger.payout", f"id = {books.payout}", column,
                               value)
    assert code == 1 and f"payout {books.payout} " in said, said


PAYMENTS = "ledger.payment"
TOPUP = "kind = 'topup' AND reference = 'stripe:pi_1'"
PAYMENT = "payment_id = 'pi_1'"


@pytest.mark.parametrize("table, where, column, value, said", [
    ("ledger.transfer", TOPUP, "amount", "amount - 1", "of 699 to wallet"),
    ("ledger.transfer", TOPUP, "credit_account", "{stranger}",
     "to wallet {stranger}"),
    ("ledger.transfer", TOPUP, "reference", "'stripe:pi_2'", "no top-up"),
    ("ledger.transfer", TOPUP, "reference", "'stripe:pi_2'",
     "for payment stripe:pi_2, which is unknown"),
    ("ledger.transfer", TOPUP, "reference", "'razorpay:order_1'",
     "payment razorpay:order_1 of 300"),
    ("ledger.transfer", "kind = 'topup' AND reference = 't2'", "reference",
     "'razorpay:order_2'", "razorpay:order_2, which is unknown"),
    (PAYMENTS, PAYMENT, "amount", "amount + 1", "of 701 to"),
    (PAYMENTS, PAYMENT, "came_amount", "701", "701 came"),
    (PAYMENTS, PAYMENT, "payment_id", "'pi_3'", "pi_1, which is unknown"),
    (PAYMENTS, PAYMENT, "provider", "'razorpay'", "razorpay:pi_1"),
    (PAYMENTS, PAYMENT, "owner_id", "1", "payment stripe:pi_1 of 700"),
    (PAYMENTS, PAYMENT, "transfer_id", "1", "its transfer is 1;"),
    (PAYMENTS, PAYMENT, "transfer_id", "NULL, status = 'failed'",
     "is failed"),
    (PAYMENTS, PAYMENT, "transfer_id", "NULL, status = 'failed'",
     "event evt_1 of stripe was applied"),
])
def test_a_payment(books, table, where, column, value, said):
    number, stranger = books.one(
        "SELECT t.id, (SELECT max(client_wallet) FROM consult.session)"
        f" FROM ledger.transfer t WHERE {where}") if where == TOPUP else \
        (0, 0)
    back = "" if "status" not in value else ", status = 'paid'"
    value = value.format(stranger=stranger)
    key, = books.rows(f"SELECT id, {column}::text FROM {table}"
                      f" WHERE {where}")
    books.rows(f"UPDATE {table} SET {column} = {value} WHERE id = {key[0]}")

    try:
        code, told = books.audit()
    finally:
        books.rows(f"UPDATE {table} SET {column} = %s{back}"
                   f" WHERE id = {key[0]}", key[1])

    assert code == 1 and said.format(stranger=stranger) in told, told
    assert number == 0 or f"transfer {number}" in told, told


def test_a_payment_without_its_top_up(books):
    """What the vendor has, and the ledger never got."""
    number = books.one(f"SELECT id FROM ledger.transfer WHERE {TOPUP}")
    books.rows("CREATE TABLE kept AS SELECT * FROM ledger.transfer"
               " WHERE id = %s", number)
    books.rows("DELETE FROM ledger.transfer WHERE id = %s", number)

    try:
        code, said = books.audit()
    finally:
        books.rows("INSERT INTO ledger.transfer SELECT * FROM kept")
        books.rows("DROP TABLE kept")

    assert code == 1 and "there is no top-up" in said, said
    assert f"transfer {number}" in said, said


@pytest.mark.parametrize("kind", KINDS)
def test_a_transfer_removed(books, kind):
    number = books.transfer(kind)
    books.rows("CREATE TABLE kept AS SELECT * FROM ledger.transfer"
               " WHERE id = %s", number)
    books.rows("DELETE FROM ledger.transfer WHERE id = %s", number)

    try:
        code, said = books.audit()
    finally:
        books.rows("INSERT INTO ledger.transfer SELECT * FROM kept")
        books.rows("DROP TABLE kept")

    assert code == 1, said
    assert "missing" in said or f"payout {books.payout} " in said, said


def test_json(books):
    def told():
        done = subprocess.run(
            [BINARY, "audit", "--json", "--progress", "-o",
             f"pg={books.dsn('astro_worker')}"], text=True,
            capture_output=True, check=False)
        return done.returncode, [json.loads(line)
                                 for line in done.stdout.splitlines()]

    code, lines = told()
    assert code == 0 and len(lines) == 1
    assert lines[0]["violations"] == 0 and lines[0]["sessions"] == 2
    assert lines[0]["transfers"] == books.one("SELECT count(*)"
                                              " FROM ledger.transfer")
    assert lines[0]["topped_up"] + lines[0]["granted"] == \
        lines[0]["people"] + lines[0]["fees"] + lines[0]["paid_out"]

    number = books.transfer("session")
    books.rows("UPDATE ledger.transfer SET amount = amount + 1 WHERE id = %s",
               number)
    code, lines = told()
    books.rows("UPDATE ledger.transfer SET amount = amount - 1 WHERE id = %s",
               number)
    assert code == 1
    named = [line for line in lines if line.get("transfer") == number]
    assert named[0]["violation"] == "row" and named[0]["do"]
    assert lines[-1]["violations"] == len(lines) - 1


def test_nobody_takes_what_it_says(books):
    """A full disk, or a reader who has gone, is no proof."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [BINARY, "audit", "-o", f"pg={books.dsn('astro_worker')}"],
            stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2 and b"cannot write" in done.stderr


def test_any_number(books):
    """What was tampered with may be as large as a column takes."""
    for kind in ("topup", "gift", "session"):
        number = books.transfer(kind)
        code, said = books.altered("ledger.transfer", f"id = {number}",
                                   "amount", str(2**63 - 1))
        assert code == 1 and f"transfer {number}" in said, said

    assert os.path.exists(BINARY)
