"""Statements: opening + movements = closing, to the minor unit, whatever the
account has lived through and wherever the period is cut.
"""

import csv
import datetime
import io
import json
import os
import random
import subprocess

import pytest

from billing_fixture import BINARY
from money_fixture import Client, money              # noqa: F401
from sql_fixture import sql                          # noqa: F401


def visible(money, person):                          # noqa: F811
    """What its owner sees, by the oracle."""
    if isinstance(person, Client):
        return person.balance

    return person.balance + sum(t.charged - t.fee - t.credited
                                for t in money.talks if t.advisor is person)


def live(money, dice, steps):                        # noqa: F811
    """A random history; [(instant, {person's id: what was visible})]."""
    seen = []

    for _ in range(2):
        money.client()
        money.advisor(dice.choice([0, 3000, 10000]))

    for _ in range(steps):
        if dice.random() < .3:
            seen.append((money.sql.one("SELECT clock_timestamp()"),
                         {p.id: visible(money, p)
                          for p in money.clients + money.advisors}))

        money.step(dice, dice.choice([None, None, "tick"]))

    money.check()
    seen.append((money.sql.one("SELECT clock_timestamp()"),
                 {p.id: visible(money, p)
                  for p in money.clients + money.advisors}))
    return seen


@pytest.mark.parametrize("run", range(2))
def test_random_histories(money, run):               # noqa: F811
    """Cut anywhere, also in the middle of sessions: the balances are those
    that the owner saw at these instants."""
    seed = int(os.environ.get("ASTRO_SEED", random.randrange(2**32)))
    print(f"ASTRO_SEED={seed}")
    dice = random.Random(seed + run)
    seen = live(money, dice, 120 * int(os.environ.get("ASTRO_EFFORT", 1)))
    across = 0

    for _ in range(15):
        (since, before), (until, after) = sorted(
            dice.sample(seen, 2), key=lambda s: s[0])

        for person in money.clients + money.advisors:
            opening, *moves, closing = money.conn.execute(
                "SELECT * FROM billing.statement(%s, %s, %s)",
                (person.id, since, until)).fetchall()
            assert opening[0] == "opening" and closing[0] == "closing"
            assert opening[8] == before[person.id]
            assert closing[8] == after[person.id]
            balance = opening[8]

            for part, at, _, kind, _, amount, fee, promo, left in moves:
                assert part == "movement" and since <= at < until
                assert fee >= 0 and promo >= 0 and amount
                balance += amount
                assert balance == left
                across += kind == "session" and at == since

            assert balance == closing[8]
            assert [m[1] for m in moves] == sorted(m[1] for m in moves)
            names = [m[2] for m in moves]
            assert len(set(names)) == len(names)

    # how many sessions were charged on both sides of a cut
    print(f"across={across}")


def command(money, person, since, until, form):      # noqa: F811
    return subprocess.run(
        [BINARY, "statement", "-o", f"pg={money.sql.dsn('astro_worker')}",
         "--account", f"u_{person.id}", "--from", str(since), "--to",
         str(until), f"--format={form}"], capture_output=True, text=True,
        check=False)


def test_the_command(money):                         # noqa: F811
    """Two days of a history, as both formats; the second goes on where the
    first ended."""
    live(money, random.Random(1), 100)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    ids = [w for w, in money.sql.admin(
        "SELECT id FROM ledger.wallet WHERE owner_id = ANY(%s)",
        money.people())]
    middle = money.sql.one(
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) FROM"
        " ledger.transfer WHERE debit_account = ANY(%s)", ids)
    money.sql.admin(
        "UPDATE ledger.transfer SET at = at - interval '40 days' WHERE id <="
        " %s AND (debit_account = ANY(%s) OR credit_account = ANY(%s))",
        middle, ids, ids)
    # tests of other days have nothing to do with a midnight that passes
    first, last = today - datetime.timedelta(41), today
    cut = today - datetime.timedelta(20)
    moved = 0

    for person in money.clients + money.advisors:
        whole = json.loads(command(money, person, first, last, "json").stdout)
        one, two = (
            json.loads(command(money, person, *days, "json").stdout)
            for days in [(first, cut),
                         (cut + datetime.timedelta(1),
                          last + datetime.timedelta(1))])
        assert whole["account"] == f"u_{person.id}"
        assert whole["currency"] == "INR"
        assert whole["opening"] == one["opening"] == 0
        assert one["closing"] == two["opening"]
        assert whole["closing"] == two["closing"] == visible(money, person)
        moved += len(one["movements"]) and len(two["movements"])
        assert sum(m["amount"] for m in one["movements"]) == one["closing"]

        done = command(money, person, first, last, "csv")
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
        assert rows[0]["kind"] == "opening" and rows[-1]["kind"] == "closing"
        assert int(rows[-1]["balance"]) == whole["closing"]
        assert [(r["id"], int(r["amount"]), int(r["balance"]))
                for r in rows[1:-1]] == [
            (m["id"], m["amount"], m["balance"]) for m in whole["movements"]]

    assert moved, "nobody in both halves"


def test_books_that_are_wrong(money):                # noqa: F811
    """A wallet that was altered, or a transfer that is gone: said, with a
    status of its own."""
    live(money, random.Random(2), 60)
    person = money.clients[0]
    day = datetime.date(2001, 1, 1)
    tomorrow = datetime.date.today() + datetime.timedelta(2)
    assert command(money, person, day, tomorrow, "csv").returncode == 0
    money.sql.admin("UPDATE ledger.wallet SET balance = balance + 1 WHERE"
                    " owner_id = %s AND kind = 'client'", person.id)
    done = command(money, person, day, tomorrow, "csv")
    assert done.returncode == 1 and "audit" in done.stderr


@pytest.mark.parametrize("args, names", [
    ([], "--account"),
    (["--account", "1"], "--from"),
    (["--account", "0", "--from", "2026-01-01", "--to", "2026-01-31"],
     "account 0 has no statements"),
    (["--account", "u_x", "--from", "2026-01-01", "--to", "2026-01-31"],
     '"x"'),
    (["--account", "1", "--from", "2026-01-32", "--to", "2026-02-01",
      "--format", "pdf"], "csv or json"),
])
def test_wrong_use(sql, args, names):                # noqa: F811
    done = subprocess.run([BINARY, "statement", "-o",
                           f"pg={sql.dsn('astro_worker')}", *args],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert names in done.stderr and not done.stdout
