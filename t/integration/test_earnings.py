"""What an advisor has earned by period is what the journal says."""

import datetime
import random
import time
import uuid

import pytest

from sql_fixture import call1, refused, sql, web     # noqa: F401

DAY = datetime.timedelta(days=1)
UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 3, 4, 12, tzinfo=UTC)     # a Wednesday


class Books:
    """An advisor's sessions and transfers, made by hand at any instant, and
    what they come to by day."""

    def __init__(self, sql):                         # noqa: F811
        self.sql = sql
        self.client, self.advisor = sql.client(0), sql.advisor()
        self.mine, self.theirs = [
            sql.one("SELECT id FROM ledger.wallet WHERE owner_id = %s", who)
            for who in (self.client, self.advisor)]
        self.house = sql.one("SELECT id FROM ledger.wallet"
                             " WHERE kind = 'clearing'")
        self.conv = sql.one(
            "INSERT INTO consult.conversation (client_id, advisor_id) VALUES"
            " (%s, %s) RETURNING id", self.client, self.advisor)
        self.days = {}

    def add(self, at, **what):
        day = self.days.setdefault(at.astimezone(UTC).date(), {})
        for name, amount in what.items():
            day[name] = day.get(name, 0) + amount

    def talk(self, charges, live=False, late_s=0):
        """charges: (at, amount, fee), in order; late_s: the last one was made
        so long before it was settled."""
        total = sum(c[1] for c in charges)
        fee = sum(c[2] for c in charges)
        session = self.sql.one(
            "INSERT INTO consult.session (conversation_id, client_id,"
            " advisor_id, client_wallet, advisor_wallet, cid, service,"
            " rate_minor, commission_bps, state, state_ms, created_at,"
            " charge_no, charged, fee, credited)"
            " VALUES (%s, %s, %s, %s, %s, %s, 'chat', 6000, 3000, %s, 0, %s,"
            " %s, %s, %s, %s) RETURNING id", self.conv, self.client,
            self.advisor, self.mine, self.theirs, uuid.uuid4(),
            "active" if live else "ended",
            charges[0][0] - datetime.timedelta(seconds=1), len(charges),
            total, fee, 0 if live else total - fee)
        if not live:
            # as the engine does; then as if it had been done at that time
            self.sql.admin("UPDATE consult.session SET settled = true"
                           " WHERE id = %s", session)
            assert self.sql.one("SELECT settled_at FROM consult.session"
                                " WHERE id = %s", session) is not None
            self.sql.admin(
                "UPDATE consult.session SET settled_at = %s WHERE id = %s",
                charges[-1][0] + datetime.timedelta(seconds=late_s), session)
        for n, (at, amount, part) in enumerate(charges, 1):
            self.sql.admin(
                "INSERT INTO ledger.transfer (debit_account, credit_account,"
                " amount, fee, kind, session_id, charge_no, at)"
                " VALUES (%s, %s, %s, %s, 'session', %s, %s, %s)", self.mine,
                self.theirs, amount, part, session, n, at)
            self.add(at, charged=amount, fee=part)
        self.add(charges[0][0], sessions=1)
        return session

    def move(self, kind, at, amount, fee=0, back=False):
        pair = [self.mine if kind in ("gift", "deposit", "reversal")
                else self.house, self.theirs]
        if back:
            pair.reverse()
        self.sql.admin(
            "INSERT INTO ledger.transfer (debit_account, credit_account,"
            " amount, fee, kind, at) VALUES (%s, %s, %s, %s, %s, %s)",
            *pair, amount, fee, kind, at)
        name, sign = {"gift": ("gifts", 1), "deposit": ("deposits", 1),
                      "reversal": ("reversed", -1), "payout": ("paid_out", -1),
                      "payout_return": ("paid_out", -1),
                      "debt": ("recovered", -1), "recovery": ("recovered", -1)
                      }.get(kind, ("other", 1))
        self.add(at, **{name: sign * (-amount if back else amount - fee)})

    def within(self, since, until):
        found = dict.fromkeys(NAMES, 0)
        for day, what in self.days.items():
            if since <= day < until:
                for name, amount in what.items():
                    found[name] += amount
        return found


NAMES = ("sessions", "charged", "fee", "gifts", "deposits", "reversed",
         "other", "paid_out", "recovered")


def asked(web, who, **query):                        # noqa: F811
    said = call1(web, "earnings", who, __import__("json").dumps(query))
    assert said["status"] == 200, said
    return said["body"]


def numbers(line):
    return {name: line[name] if name == "sessions" else line[name]["amount"]
            for name in NAMES}


def check(books, web, by, since, until):             # noqa: F811
    body = asked(web, books.advisor, by=by, **{"from": str(since),
                                               "to": str(until)})
    at = datetime.date.fromisoformat(body["from"])
    end = datetime.date.fromisoformat(body["to"])
    assert at <= since and until <= end

    for line in body["data"]:
        begin, to = (datetime.date.fromisoformat(line[k])
                     for k in ("from", "to"))
        assert begin == at
        at = to
        want = books.within(begin, to)
        assert numbers(line) == want, (by, line)
        assert line["earned"]["amount"] == (
            want["charged"] - want["fee"] + want["gifts"] + want["deposits"]
            - want["reversed"] + want["other"])

    assert at == end
    assert numbers(body["total"]) == books.within(
        datetime.date.fromisoformat(body["from"]), end)
    return body


def test_h8_earnings_by_period_are_the_ledgers(sql, web):    # noqa: F811
    books = Books(sql)
    seed = random.getrandbits(32)
    print("seed", seed)
    rng = random.Random(seed)

    for n in range(40):
        at = NOON + rng.uniform(-70, 70) * DAY
        step = rng.choice([DAY / 5760, DAY / 3, DAY * 2])
        books.talk([(at + i * step, rng.randrange(100, 9000),
                     rng.randrange(100))
                    for i in range(rng.randrange(1, 5))])

    # over midnight by a moment, and settled at last in another month
    edge = NOON.replace(hour=0)
    books.talk([(edge - DAY / 86400, 700, 7), (edge, 60, 6)])
    books.talk([(edge - DAY / 86400 / 100, 5000, 50)], late_s=86400 * 40)
    # charged in the very moment after it was settled, on the next day
    books.talk([(edge, 11, 1)], late_s=-0.01)
    books.talk([(NOON, 400, 100), (NOON + DAY, 300, 50)], live=True)

    for kind in ("gift", "deposit", "adjustment", "payout_return", "debt"):
        books.move(kind, NOON + rng.uniform(-60, 60) * DAY,
                   rng.randrange(50, 900), 20 if kind == "gift" else 0)
    for kind in ("reversal", "payout", "recovery", "adjustment"):
        books.move(kind, NOON + rng.uniform(-60, 60) * DAY,
                   rng.randrange(50, 900), back=True)

    first, last = (NOON.date() + n * DAY for n in (-80, 90))
    for by in ("day", "week", "month"):
        body = check(books, web, by, first, last)
        check(books, web, by, NOON.date(), NOON.date() + DAY)
        check(books, web, by, first + 20 * DAY, last - 33 * DAY)
    assert body["time_zone"] == "UTC" and body["by"] == "month"

    # all of it, and what it has changed the account by
    total = body["total"]
    journal = sql.one(
        "SELECT coalesce(sum(CASE WHEN credit_account = %s THEN amount - fee"
        " ELSE - amount END), 0) FROM ledger.transfer"
        " WHERE %s IN (debit_account, credit_account)", books.theirs,
        books.theirs)
    assert total["earned"]["amount"] - total["paid_out"]["amount"] \
        - total["recovered"]["amount"] == journal


def test_h8_charges_that_were_rolled_up(sql, web):   # noqa: F811
    """Of old sessions the journal has sums by day (UTC) alone."""
    books = Books(sql)
    one = books.talk([(NOON, 900, 90), (NOON + DAY / 96, 800, 80)])
    two = books.talk([(NOON, 500, 50), (NOON + DAY, 400, 40)])
    for session in (one, two):
        sql.admin(
            "INSERT INTO ledger.session_rollup SELECT session_id,"
            " min(debit_account), min(credit_account), sum(amount), sum(fee),"
            " 0, min(id), max(id), min(at), max(at), count(*)"
            " FROM ledger.transfer WHERE session_id = %s GROUP BY 1", session)
    sql.admin("INSERT INTO ledger.session_day_rollup SELECT session_id,"
              " at::date, min(at), sum(amount), sum(fee), 0"
              " FROM ledger.transfer WHERE session_id = %s GROUP BY 1, 2", two)
    sql.admin("DELETE FROM ledger.transfer WHERE session_id = ANY(%s)",
              [one, two])
    # of the time before settled_at was noted
    sql.admin("UPDATE consult.session SET settled_at = NULL"
              " WHERE id = ANY(%s)", [one, two])
    try:
        check(books, web, "day", NOON.date() - DAY, NOON.date() + 3 * DAY)
    finally:
        sql.admin("DELETE FROM ledger.session_rollup; DELETE FROM"
                  " ledger.session_day_rollup")


def test_h8_sessions_of_before_are_dated(sql, web):  # noqa: F811
    """A few at a time, by their last charge; what is live or has it, is left
    alone."""
    books = Books(sql)
    days = [NOON + i * DAY for i in range(4)]
    ids = [books.talk([(day, 500, 50), (day + DAY / 24, 400, 40)])
           for day in days]
    live = books.talk([(NOON, 700, 70)], live=True)
    sql.admin("UPDATE consult.session SET settled_at = NULL, created_at ="
              " %s WHERE id = ANY(%s)", NOON - DAY, ids[:3])
    sql.admin("UPDATE consult.settled_walk SET after = %s, until = %s",
              ids[0] - 1, live)

    def dated():
        return [row[0] for row in sql.admin(
            "SELECT settled_at FROM consult.session WHERE id = ANY(%s)"
            " ORDER BY id", [*ids, live])]

    want = [day + DAY / 24 for day in days] + [None]
    assert dated() == [None] * 3 + want[3:]
    assert sql.one("SELECT billing.settled_fill(2)") is True
    assert dated() == want[:2] + [None] + want[3:]
    assert sql.admin("SELECT * FROM billing.maintain(0)") is not None
    assert dated() == want
    # one more look finds that there are none
    sql.admin("SELECT * FROM billing.maintain(0)")
    assert sql.one("SELECT billing.settled_fill(2)") is False


def test_h8_what_is_asked_for(sql, web):             # noqa: F811
    books = Books(sql)
    today = sql.one("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
    for by, count in (("day", 30), ("week", 12), ("month", 12)):
        body = asked(web, books.advisor, by=by)
        assert len(body["data"]) == count
        assert body["data"][-1]["from"] <= str(today) < body["to"]
    assert asked(web, books.advisor)["by"] == "day"
    assert len(asked(web, books.advisor, **{
        "from": "2025-01-01", "to": "2026-02-05"})["data"]) == 400

    for query, field in (({"by": "year"}, "/by"), ({"from": "x"}, "/from"),
                         ({"from": "2026-02-02", "to": "2026-02-02"}, "/to"),
                         ({"from": "2024-01-01", "to": "2026-01-01"},
                          "/from")):
        with pytest.raises(Exception) as caught:
            asked(web, books.advisor, **query)
        assert caught.value.diag.message_hint == field


def test_h8_payouts_by_cursor(sql, web):             # noqa: F811
    books, other = Books(sql), Books(sql)
    for who in (books, other):
        sql.admin(
            "INSERT INTO ledger.payout (advisor_id, wallet_id, day, amount,"
            " currency, vendor, destination, state, reason, vendor_id)"
            " SELECT %s, %s, date '2026-01-01' + n, 1000 + n, 'INR', 'stripe',"
            " 'acct_1', CASE WHEN n %% 2 = 0 THEN 'paid' ELSE 'failed' END,"
            " CASE WHEN n %% 2 = 1 THEN 'a \"no\"' END,"
            " CASE WHEN n %% 2 = 0 THEN 'tr_' || %s || '_' || n END"
            "  FROM generate_series(0, 6) n", who.advisor, who.theirs,
            who.advisor)
    found, cursor = [], None
    while True:
        said = call1(web, "payouts", books.advisor, 3, cursor)["body"]
        found += said["data"]
        cursor = said["next_cursor"]
        if cursor is None:
            break
        assert len(said["data"]) == 3
    assert [(x["date"], x["amount"]["amount"], x["state"], x["reason"])
            for x in found] == [
        (f"2026-01-0{n + 1}", 1000 + n, "failed" if n % 2 else "paid",
         'a "no"' if n % 2 else None) for n in range(6, -1, -1)]


def test_h8_a_hundred_thousand_sessions(sql, web):   # noqa: F811
    """Nothing is looked at charge by charge that need not be: a year of them
    in a second, with slack for a busy machine."""
    many = 20000
    books = Books(sql)
    sql.admin(
        "INSERT INTO consult.session (conversation_id, client_id, advisor_id,"
        " client_wallet, advisor_wallet, cid, service, rate_minor,"
        " commission_bps, state, state_ms, created_at, settled_at, settled,"
        " charge_no, charged, fee, credited)"
        " SELECT %s, %s, %s, %s, %s, gen_random_uuid(), 'chat', 6000, 3000,"
        " 'ended', 0, x.at, x.at + interval '5 minutes', true, 1, 100, 30, 70"
        " FROM (SELECT %s::timestamptz + n * interval '23 minutes' AS at"
        "         FROM generate_series(1, %s) n) x", books.conv, books.client,
        books.advisor, books.mine, books.theirs, NOON, many)
    sql.admin("ANALYZE consult.session")
    began = time.monotonic()
    body = asked(web, books.advisor, by="month",
                 **{"from": "2026-03-01", "to": "2027-03-01"})
    took = time.monotonic() - began
    print(f"{many} sessions: {took * 1000:.0f} ms")
    # those few over midnight have no charges here
    assert 0.95 * many < body["total"]["sessions"] <= many
    assert took < 10
    sql.admin("DELETE FROM consult.session WHERE advisor_wallet = %s",
              books.theirs)
