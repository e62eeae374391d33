"""A random life of money straight in the database, and what the books must
say after each step, kept by plain arithmetic that knows no SQL.

Sessions tick through billing.apply() as the worker's do, in numbers of ms that
the test makes up.
"""

import contextlib
import uuid
from fractions import Fraction
from math import floor

import psycopg
import pytest
from psycopg import errors

REFUSED = psycopg.errors.lookup     # by SQLSTATE


class Payment:
    def __init__(self, amount):
        self.amount, self.refunded, self.frozen = amount, 0, 0
        self.promo, self.promo_back = 0, 0
        self.disputes = {}      # reference -> frozen for it, not yet released


class Talk:
    """One session's numbers."""

    def __init__(self, number, client, advisor, rate, bps):
        self.id, self.client, self.advisor = number, client, advisor
        self.rate, self.bps = rate, bps
        self.ms = self.charged = self.fee = self.promo = self.held = 0
        self.credited = self.charge_no = 0
        self.reversed = self.reversed_fee = self.reversed_promo = 0
        self.settled = False


class Client:
    def __init__(self, number):
        self.id = number
        self.balance = self.promo = self.held = self.owed = 0
        self.payments = {}

    def cash(self):
        return self.balance - max(self.held, self.promo)

    def frozen(self):
        return sum(p.frozen for p in self.payments.values())


class Advisor:
    def __init__(self, number, bps):
        self.id, self.bps = number, bps
        self.balance = self.owed = 0
        self.payouts = {}


class Refusal(Exception):
    """What the database must refuse with AS002."""


class Books:
    """The oracle.  Each movement returns nothing, or raises Refusal and
    changes nothing."""

    def topup(self, client, amount, reference):
        client.payments[reference] = Payment(amount)
        client.balance += amount
        back = max(0, min(client.owed, client.cash()))
        client.balance -= back
        client.owed -= back

    def promo(self, client, amount, payment=None):
        client.balance += amount
        client.promo += amount

        if payment is not None:
            client.payments[payment].promo += amount

    def gift(self, client, advisor, amount, talk=None):
        if client.balance - client.held < amount:
            raise Refusal

        bps = talk.bps if talk else advisor.bps
        client.balance -= amount
        client.promo -= min(client.promo, amount)
        advisor.balance += amount - floor(Fraction(amount * bps, 10000))

    def refund(self, client, payment, amount, dispute=None):
        p = client.payments[payment]

        if p.refunded + amount > p.amount:
            raise Refusal

        if dispute is None:
            thawed = min(p.frozen, amount)
        else:
            thawed = min(p.frozen, p.disputes.pop(dispute))

        p.frozen -= thawed
        client.balance += thawed
        p.refunded += amount
        bonus = floor(Fraction(p.promo * p.refunded, p.amount)) - p.promo_back
        p.promo_back += bonus
        cash = min(amount, client.cash())
        promo = min(bonus, client.promo,
                    client.balance - client.held - cash)
        client.balance -= cash + promo
        client.promo -= promo
        client.owed += amount - cash + bonus - promo

    def freeze(self, client, payment, amount, dispute):
        p = client.payments[payment]

        if p.refunded + p.frozen + amount > p.amount:
            raise Refusal

        amount = min(amount, client.cash())
        client.balance -= amount
        p.frozen += amount

        if amount:
            p.disputes[dispute] = amount

    def release(self, client, payment, dispute):
        p = client.payments[payment]
        thawed = min(p.frozen, p.disputes[dispute])
        client.balance += thawed
        p.frozen -= thawed

        if thawed:
            del p.disputes[dispute]

    def reverse(self, talk, amount):
        if talk.reversed + amount > talk.charged:
            raise Refusal

        self.credit(talk)
        fee = self._part(talk, talk.fee, talk.reversed_fee, amount)
        promo = self._part(talk, talk.promo, talk.reversed_promo, amount)
        talk.reversed += amount
        talk.reversed_fee += fee
        talk.reversed_promo += promo
        assert 0 <= talk.reversed_fee <= talk.fee
        assert 0 <= talk.reversed_promo <= talk.promo
        assert talk.reversed - talk.reversed_fee <= talk.charged - talk.fee
        talk.client.balance += amount
        talk.client.promo += promo
        there = min(amount - fee, talk.advisor.balance)
        talk.advisor.balance -= there
        talk.advisor.owed += amount - fee - there

    @staticmethod
    def _part(talk, part, done, amount):
        """What comes nearest below its share of all that is reversed by now,
        and leaves neither kind short."""
        wished = floor(Fraction(part * (talk.reversed + amount),
                                talk.charged)) - done
        most = min(amount, part - done)
        least = max(0, amount - (talk.charged - part
                                 - (talk.reversed - done)))
        return max(least, min(most, wished))

    def adjust(self, person, amount):
        cash = person.cash() if isinstance(person, Client) else person.balance

        if cash + amount < 0 and amount < 0:
            raise Refusal

        person.balance += amount

    def payout(self, advisor, amount, reference):
        if advisor.balance - min(advisor.owed, advisor.balance) < amount:
            raise Refusal

        back = min(advisor.owed, advisor.balance)
        advisor.owed -= back
        advisor.balance -= back + amount
        advisor.payouts[reference] = amount

    def payout_return(self, advisor, payout):
        if payout not in advisor.payouts:
            raise Refusal

        advisor.balance += advisor.payouts.pop(payout)

    def credit(self, talk):
        advisor = talk.advisor
        advisor.balance += talk.charged - talk.fee - talk.credited
        talk.credited = talk.charged - talk.fee

    def tick(self, talk, ms, ahead, settle=False):
        """What there is money for; returns (amount, fee, held)."""
        client = talk.client
        room = client.balance - client.held + talk.held
        amount = floor(Fraction(talk.rate * (talk.ms + ms), 60000)) \
            - talk.charged

        if amount > room:
            raise Refusal

        held = 0 if settle else min(ahead, room - amount)
        fee = floor(Fraction((talk.charged + amount) * talk.bps, 10000)) \
            - talk.fee
        promo = min(client.promo, amount)
        talk.ms += ms
        talk.charged += amount
        talk.fee += fee
        talk.promo += promo
        talk.charge_no += amount > 0
        client.balance -= amount
        client.promo -= promo
        client.held += held - talk.held
        talk.held = held

        if settle:
            self.credit(talk)
            talk.settled = True

        return amount, fee, held


class Money:
    """The database's side: people and sessions of one test, and the rows that
    they have."""

    def __init__(self, sql):
        self.sql, self.books = sql, Books()
        self.clients, self.advisors, self.talks = [], [], []
        self.conn = psycopg.connect(sql.dsn("astro_worker"), autocommit=True)
        self.conn.execute("SELECT billing.lease('money', 3600000)")
        self.epoch = sql.one("SELECT min(epoch) FROM billing.shard_lease"
                             " WHERE owner = 'money'")

    def close(self):
        self.conn.execute("SELECT billing.release('money')")
        self.conn.close()

    def client(self):
        self.clients.append(Client(self.sql.client(0)))
        return self.clients[-1]

    def advisor(self, bps=3000):
        self.advisors.append(Advisor(self.sql.advisor(bps=bps), bps))
        return self.advisors[-1]

    def wallet(self, person, kind=None):
        """(id, balance, held, promo); zeroes if there is none."""
        kind = kind or ("client" if isinstance(person, Client) else "advisor")
        rows = self.sql.admin(
            "SELECT id, balance, held, promo FROM ledger.wallet"
            " WHERE owner_id = %s AND kind = %s", person.id, kind)
        return rows[0] if rows else (None, 0, 0, 0)

    def call(self, name, *args):
        """The row of a movement, as the worker may call it."""
        marks = ", ".join(["%s"] * len(args))
        return self.conn.execute(f"SELECT * FROM billing.{name}({marks})",
                                 args).fetchone()

    def refused(self, name, *args, sqlstate="AS002"):
        with pytest.raises(psycopg.Error) as error:
            self.call(name, *args)

        assert error.value.sqlstate == sqlstate, error.value

    def talk(self, client, advisor, rate=6000):
        """A session that any number of may be of one client at a time: its
        row says ended, not settled; to the books that is all the same."""
        conv = self.sql.one(
            "INSERT INTO consult.conversation (client_id, advisor_id) VALUES"
            " (%s, %s) ON CONFLICT (client_id, advisor_id) DO UPDATE SET head"
            " = consult.conversation.head RETURNING id", client.id,
            advisor.id)
        number = self.sql.one(
            "INSERT INTO consult.session (conversation_id, client_id,"
            " advisor_id, client_wallet, advisor_wallet, cid, service,"
            " rate_minor, commission_bps, state, state_ms) VALUES (%s, %s, %s,"
            " %s, %s, gen_random_uuid(), 'chat', %s, %s, 'ended', 0)"
            " RETURNING id", conv, client.id, advisor.id,
            self.wallet(client)[0], self.wallet(advisor)[0], rate,
            advisor.bps)
        self.talks.append(Talk(number, client, advisor, rate, advisor.bps))
        return self.talks[-1]

    def apply(self, rows, conn=None):
        """Carries decisions out: (session, charge_no, ms, amount, fee, held,
        settle) of each.  Returns {session: status}."""
        conn = conn or self.conn
        ids, numbers, ms, amounts, fees, held, settle = map(list, zip(*rows))
        n = len(rows)

        with conn.transaction():
            shards = [s for s, in self.sql.admin(
                "SELECT DISTINCT shard FROM consult.session WHERE id ="
                " ANY(%s)", ids)]
            epochs = [e for e, in self.sql.admin(
                "SELECT epoch FROM billing.shard_lease WHERE shard = ANY(%s)"
                " ORDER BY shard", sorted(shards))]
            conn.execute("SELECT billing.fence('money', %s, %s)",
                         (sorted(shards), epochs))
            # a version is not what these tests are about
            vers = dict(self.sql.admin("SELECT id, ver FROM consult.session"
                                       " WHERE id = ANY(%s)", ids))
            done = conn.execute(
                "SELECT id, status FROM billing.apply(%s, %s::int[],"
                " %s::int[], %s::text[], %s::text[], %s::bigint[],"
                " %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],"
                " %s::bigint[], %s::bigint[], %s::boolean[], %s::boolean[])",
                (ids, [vers[i] for i in ids], numbers, ["ended"] * n,
                 ["x"] * n, [1] * n, [1] * n, [1] * n, ms, amounts, fees,
                 held, [False] * n, settle)).fetchall()

        return dict(done)

    def tick(self, talk, ms, ahead, settle=False):
        number = talk.charge_no
        amount, fee, held = self.books.tick(talk, ms, ahead, settle)
        done = self.apply([(talk.id, number, talk.ms, amount, fee, held,
                            settle)])
        assert done == {talk.id: "done"}

    def check(self):
        """Every balance is what the oracle says and what the journal comes
        to."""
        rows = {(owner, kind): rest for owner, kind, *rest in self.sql.admin(
            "SELECT owner_id, kind, balance, held, promo FROM ledger.wallet"
            " WHERE owner_id = ANY(%s)", self.people())}

        for person in self.clients:
            assert rows[person.id, "client"] == [
                person.balance, person.held, person.promo], person.id
            assert rows.get((person.id, "frozen"), [0])[0] == person.frozen()

        for person in self.advisors:
            assert rows[person.id, "advisor"] == [person.balance, 0, 0]

        for person in self.clients + self.advisors:
            debt = rows.get((person.id, "receivable"), [0])[0]
            assert debt == - person.owed, person.id

        told = {t.id: (t.charge_no, t.ms, t.charged, t.fee, t.promo, t.held,
                       t.credited, t.settled) for t in self.talks}
        assert told == {row[0]: row[1:] for row in self.sql.admin(
            "SELECT id, charge_no, billed_ms, charged, fee, promo, held,"
            " credited, settled FROM consult.session WHERE id = ANY(%s)",
            list(told))}
        self.replay()

    def people(self):
        return [p.id for p in self.clients + self.advisors]

    def replay(self):
        """Wallets and sessions against the journal alone."""
        wrong = self.sql.admin(
            """
            WITH mine AS (
                SELECT * FROM ledger.wallet WHERE owner_id = ANY(%s)),
            side AS (
                SELECT debit_account AS wallet, - amount AS amount,
                       - promo AS promo FROM ledger.transfer
                 UNION ALL
                SELECT credit_account, amount - fee, promo
                  FROM ledger.transfer
                 UNION ALL
                SELECT advisor_wallet, - (charged - fee - credited), 0
                  FROM consult.session),
            sums AS (
                SELECT wallet, sum(amount) AS amount, sum(promo) AS promo
                  FROM side WHERE wallet IN (SELECT id FROM mine)
                 GROUP BY wallet)
            SELECT m.*, s.* FROM mine m LEFT JOIN sums s ON s.wallet = m.id
             WHERE m.balance <> coalesce(s.amount, 0)
                OR m.kind = 'client' AND m.promo <> coalesce(s.promo, 0)
                OR m.held <> (SELECT coalesce(sum(x.held), 0)
                                FROM consult.session x
                               WHERE x.client_wallet = m.id)
            """, self.people())
        assert not wrong

        wrong = self.sql.admin(
            """
            SELECT s.id, s.charge_no, s.charged, s.fee, s.promo, t.*
              FROM consult.session s
             CROSS JOIN LATERAL (
                   SELECT count(*) AS n, coalesce(min(charge_no), 1) AS low,
                          coalesce(max(charge_no), 0) AS high,
                          coalesce(sum(amount), 0) AS amount,
                          coalesce(sum(fee), 0) AS fee,
                          coalesce(sum(promo), 0) AS promo
                     FROM ledger.transfer x WHERE x.session_id = s.id) t
             WHERE s.id = ANY(%s)
               AND (s.charge_no, s.charge_no, 1, s.charged, s.fee, s.promo)
                   <> (t.n, t.high, t.low, t.amount, t.fee, t.promo)
            """, [t.id for t in self.talks])
        assert not wrong

    def nets(self):
        """What came from outside and from the platform is what people have,
        and what the platform has kept."""
        ids = [w for w, in self.sql.admin(
            "SELECT id FROM ledger.wallet WHERE owner_id = ANY(%s)",
            [p.id for p in self.clients + self.advisors])]
        outside = self.sql.one(
            "SELECT coalesce(sum(CASE WHEN d.owner_id IS NULL THEN t.amount"
            " ELSE 0 END) - sum(CASE WHEN c.owner_id IS NULL THEN t.amount"
            " ELSE 0 END) - sum(t.fee), 0) FROM ledger.transfer t"
            " JOIN ledger.wallet d ON d.id = t.debit_account"
            " JOIN ledger.wallet c ON c.id = t.credit_account"
            " WHERE t.debit_account = ANY(%s) OR t.credit_account = ANY(%s)",
            ids, ids)
        have = sum(p.balance - p.owed for p in self.clients + self.advisors)
        have += sum(c.frozen() for c in self.clients)
        have += sum(t.charged - t.fee - t.credited for t in self.talks)
        assert outside == have

    def step(self, dice, what=None):
        """One random movement (or this one), right or wrong, in both; True if
        it was done."""
        client, advisor = dice.choice(self.clients), dice.choice(self.advisors)
        talk = dice.choice(self.talks) if self.talks else None
        reference = uuid.uuid4().hex
        amount = dice.choice([1, dice.randint(1, 99), dice.randint(1, 9999)])
        payment = dice.choice(list(client.payments) or [None])
        books = self.books
        what = what or dice.choice([
            "topup", "topup", "promo", "gift", "refund", "freeze", "freeze",
            "release", "lost", "reverse", "reverse", "adjust", "payout",
            "payout_return", "tick", "tick", "tick", "settle", "talk", "credit"])

        if what == "talk" or (what in ("tick", "settle", "reverse", "credit")
                              and talk is None):
            self.talk(client, advisor, dice.choice([1, 59, 6000, 60001]))
            return True

        if what in ("refund", "freeze", "release", "lost") and payment is None:
            return False

        if what in ("release", "lost"):
            dispute = dice.choice(list(client.payments[payment].disputes)
                                  or [None])

            if dispute is None:
                return False

        if what in ("tick", "settle"):
            if talk.settled:
                return False

            with contextlib.suppress(Refusal):
                self.tick(talk, dice.randint(0, 90000), dice.randint(0, 5000),
                          what == "settle")
                return True

            return False

        if what == "credit":
            live = [t for t in self.talks if not t.settled]
            shards = [s for s, in self.sql.admin(
                "SELECT DISTINCT shard FROM consult.session WHERE id ="
                " ANY(%s)", [t.id for t in live])]
            self.call("credit", shards)

            for one in live:
                books.credit(one)

            return True

        if what == "reverse" and talk.charged:
            amount = dice.choice([amount, talk.charged - talk.reversed,
                                  dice.randint(1, talk.charged)])

            if amount < 1:
                return False

        payout = dice.choice(list(advisor.payouts) or [None])

        if what == "payout_return" and payout is None:
            return False

        if what == "adjust":
            person = dice.choice([client, advisor])
            amount = dice.choice([amount, -amount])

        if talk and (dice.random() < .5 or talk.client is not client
                     or talk.advisor is not advisor):
            inside = None
        else:
            inside = talk

        bonus = payment if dice.random() < .5 else None
        mine, theirs = {
            "topup": lambda: (
                lambda: books.topup(client, amount, reference),
                ("topup", client.id, amount, reference)),
            "promo": lambda: (
                lambda: books.promo(client, amount, bonus),
                ("promo", client.id, amount, reference, bonus)),
            "gift": lambda: (
                lambda: books.gift(client, advisor, amount, inside),
                ("gift", client.id, advisor.id, amount,
                 inside and inside.id, reference)),
            "refund": lambda: (
                lambda: books.refund(client, payment, amount),
                ("refund", payment, amount, reference)),
            "freeze": lambda: (
                lambda: books.freeze(client, payment, amount, reference),
                ("dispute_freeze", payment, amount, reference)),
            "release": lambda: (
                lambda: books.release(client, payment, dispute),
                ("dispute_release", payment, dispute)),
            "lost": lambda: (
                lambda: books.refund(client, payment, amount, dispute),
                ("dispute_lost", payment, amount, dispute)),
            "reverse": lambda: (
                lambda: books.reverse(talk, amount),
                ("reverse", talk.id, amount, reference)),
            "adjust": lambda: (
                lambda: books.adjust(person, amount),
                ("adjust", person.id, amount, reference)),
            "payout": lambda: (
                lambda: books.payout(advisor, amount, reference),
                ("payout_take", advisor.id, amount, reference)),
            "payout_return": lambda: (
                lambda: books.payout_return(advisor, payout),
                ("payout_return", payout, reference)),
        }[what]()

        try:
            mine()
        except Refusal:
            self.refused(*theirs)
            return False

        first = self.call(*theirs)
        assert first[3] is False or first[0] is None

        if first[0] is not None and dice.random() < .3:
            again = self.call(*theirs)
            assert again[:2] == first[:2] and again[3] is True
            assert again[2] == first[2] and again[4:] == first[4:]

        return True


@pytest.fixture
def money(sql):
    one = Money(sql)
    yield one
    one.close()


__all__ = ["Books", "Money", "Refusal", "errors", "money"]
