"""Ticks that are decided from memory: each way in which memory may be wrong is
refused by the database, by a guard without which it would not be."""

import os
import time

import pytest

from billing_fixture import (BINARY, Talk, bench, empty, eventually, metric,
                             redis)
from sql_fixture import LIVE, call1, sql    # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


def by_heart(worker, what="sessions"):
    """How many ticks were charged so, or refused."""
    return sum(line[what] for line in worker.said("ticked"))


# the guards of billing.tick() ------------------------------------------------

class Tick:
    """A call of billing.tick() for a session that nobody else meters."""

    def __init__(self, bench):
        worker = bench.worker().ready()
        self.bench = bench
        self.talk = Talk(bench, rate=60000).active().ticked(2)
        worker.kill()
        self.source = bench.one(
            "SELECT pg_get_functiondef(oid) FROM pg_proc"
            " WHERE proname = 'tick' AND pronamespace = 'billing'::regnamespace")
        bench.rows("UPDATE billing.shard_lease SET owner = 'me',"
                   " expires_at = 'infinity'")

    def without(self, *guards):
        source = self.source
        for guard in guards:
            assert guard in source, guard
            source = source.replace(guard, "")
        self.bench.db.execute(source)

    def call(self, before=None, shard=0, fence=True, **other):
        """Leaves no trace.  other: added to what is right."""
        bench = self.bench
        row = bench.session(self.talk.id, "ver, rev, charge_no, held,"
                            " billed_ms, paid_until_ms, shard")
        ver, rev, no, held, billed, paid, mine = row
        right = {"vers": ver, "revs": rev, "nos": no, "was": held,
                 "amounts": 10, "fees": 3, "held": held, "billed": billed,
                 "paid": paid}
        args = [[right[k] + other.get(k, 0)] for k in right]

        with bench.db.transaction(force_rollback=True):
            if before:
                bench.rows(before, self.talk.id)

            if fence:
                epoch = bench.one("SELECT epoch FROM billing.shard_lease"
                                  " WHERE shard = %s", (mine + shard) % 256)
                bench.rows("SELECT billing.fence('me', %s::smallint[], %s)",
                           [(mine + shard) % 256], [epoch])

            done, *_ = bench.one(
                "SELECT * FROM billing.tick(%s::bigint[], %s::int[],"
                " %s::int[], %s::int[], %s::bigint[], %s::bigint[],"
                " %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])",
                [self.talk.id], *args)
            return done == [self.talk.id]


WALLET = ("UPDATE ledger.wallet SET {} WHERE id ="
          " (SELECT client_wallet FROM consult.session WHERE id = %s)")

GUARDS = [
    ("AND x.ver = d.ver", {"vers": -1}),
    ("AND x.rev = d.rev", {"revs": -1}),
    ("AND x.charge_no = d.no", {"nos": -1}),
    ("AND x.held = d.was", {"was": -1}),
    ("AND x.state = 'active'", {
        "before": "UPDATE consult.session SET state = 'reconnecting'"
                  " WHERE id = %s"}),
    ("AND x.billed_ms <= d.billed_ms", {"billed": -1}),
    ("AND x.paid_until_ms <= d.paid_until_ms", {"paid": -1}),
    ("AND get_byte(v_fence, x.shard) = 1", {"shard": 1}),
]


def test_every_guard_is_needed(bench):
    tick = Tick(bench)
    assert tick.call()

    for guard, wrong in GUARDS:
        tick.without()
        assert not tick.call(**wrong), guard
        tick.without(guard)
        assert tick.call(**wrong), f"refused without {guard}, too"

    tick.without()
    with pytest.raises(Exception, match="before billing.fence"):
        tick.call(fence=False)

    # a wallet that was spent, seen behind its lock, and by the CHECK
    promo = "AND w.promo = 0"
    money = "AND w.balance - w.held >= p.amount + p.held"
    given = {"before": WALLET.format("promo = 1")}
    spent = {"before": WALLET.format("balance = held + 9")}

    for wrong in (given, spent):
        tick.without()
        with pytest.raises(Exception, match="less than is believed, or promo"):
            tick.call(**wrong)

    tick.without(promo)
    assert tick.call(**given)
    tick.without(money)
    with pytest.raises(Exception, match="wallet_money"):
        tick.call(**spent)

    # nothing of all that is in the books
    tick.without()
    bench.rows("UPDATE billing.shard_lease SET expires_at = '-infinity'")
    bench.worker().ready()
    tick.talk.end()
    bench.settled(tick.talk.id)
    bench.clean()


def test_whatever_moves_an_interval_is_counted(bench):
    """By anybody, in any way: functions, and a hand in psql."""
    gateways = [bench.gateway(), bench.gateway()]
    talk = Talk(bench, gateways=gateways)

    def rev():
        return bench.session(talk.id, "rev")

    def moves(what):
        before = rev()
        what()
        assert rev() > before

    def second():
        with gateways[1].lock:
            row = call1(gateways[1].conn, "session_join", talk.client,
                        talk.id, gateways[1].id, gateways[1].life(), LIVE)
            assert row["status"] == 200
            return row["interval_id"]

    moves(talk.join)
    moves(second)
    ver = bench.session(talk.id, "ver")
    moves(lambda: bench.rows(
        "SELECT * FROM api.gateway_renew(%s, %s, %s, %s, '{last}', '{}', '{}')",
        gateways[1].id, gateways[1].life(),
        [bench.one("SELECT max(id) FROM consult.interval"
                   " WHERE session_id = %s", talk.id)],
        [gateways[1].life()]))

    # the party is still there, so nobody is told; the engine must know
    assert bench.session(talk.id, "ver") == ver

    moves(second)
    moves(lambda: bench.rows(
        "UPDATE consult.interval SET close_life_ms = %s"
        " WHERE session_id = %s AND close_life_ms IS NULL"
        "   AND id = (SELECT max(id) FROM consult.interval)",
        gateways[1].life() + 1000, talk.id))
    moves(lambda: bench.rows(
        "DELETE FROM consult.interval WHERE session_id = %s", talk.id))
    moves(lambda: bench.rows("UPDATE identity.account SET role = 'admin'"
                             " WHERE id = %s", talk.client))


# what a worker does with it --------------------------------------------------

def test_charged_by_heart(bench):
    """And not once another way, when nothing happens."""
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000, topup=10**7).active().ticked(5)
    assert by_heart(worker) >= 4
    assert by_heart(worker, "refused") == 0
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def refused(bench, worker, talk, what):
    """What nobody told the worker of is refused once, and then known."""
    talk.ticked(2)
    before = by_heart(worker, "refused")
    what()
    eventually(lambda: by_heart(worker, "refused") > before
               or len(worker.said("ticks failed")) > 0, what="a refusal")
    return before


def test_an_interval_closes_between(bench):
    """A party is there twice, and no longer: to nobody's notice but rev's.
    The scan, which would find it first, has nothing to look for: its sums are
    made to agree."""
    gateways = [bench.gateway(), bench.gateway()]
    bench.rows("CREATE OR REPLACE FUNCTION billing.scan3(shards smallint[],"
               " counts int[], sums bigint[]) RETURNS TABLE (id bigint,"
               " ver int, rev int, shard smallint, client_wallet bigint,"
               " active boolean)"
               " LANGUAGE sql SECURITY DEFINER AS 'SELECT id, ver, 0, shard,"
               " client_wallet, true FROM consult.session WHERE NOT settled'")
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000, topup=10**7, gateways=gateways).active()

    with gateways[1].lock:
        row = call1(gateways[1].conn, "session_join", talk.client, talk.id,
                    gateways[1].id, gateways[1].life(), LIVE)

    refused(bench, worker, talk, lambda: bench.rows(
        "SELECT * FROM api.gateway_renew(%s, %s, %s, %s, '{last}', '{}', '{}')",
        gateways[1].id, gateways[1].life(), [row["interval_id"]],
        [gateways[1].life()]))

    # and goes on by heart
    before = by_heart(worker)
    talk.ticked(3)
    assert by_heart(worker) > before
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_promo_appears_between(bench):
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000, topup=10**7).active()
    refused(bench, worker, talk, lambda: bench.rows(
        "SELECT * FROM billing.promo(%s, 2500, 'between')", talk.client))
    talk.ticked(4)
    assert bench.session(talk.id, "promo") == 2500
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_the_wallet_is_spent_between(bench):
    """All that is available goes elsewhere; what is held does not."""
    worker = bench.worker(paid_ahead_seconds=5).ready()
    talk = Talk(bench, rate=60000, topup=30000).active()

    def spend():
        with bench.db.transaction():
            balance, held = bench.one(
                "SELECT balance, held FROM ledger.wallet WHERE owner_id = %s"
                "   FOR UPDATE", talk.client)
            bench.rows("SELECT * FROM billing.gift(%s, %s, %s, %s, 'g')",
                       talk.client, talk.advisor, balance - held, talk.id)

    refused(bench, worker, talk, spend)
    bench.settled(talk.id, "low_balance", timeout=20)
    assert bench.wallet(talk.client) == (0, 0)
    bench.clean()


def test_two_of_one_wallet_want_more_than_it_has(bench):
    """Each could be paid alone.  That nobody else is held up by it: who is
    proposed to the database is who the wallet can pay with the others."""
    gateway = bench.gateway()
    talks = [Talk(bench, rate=60000, topup=n, gateways=[gateway])
             for n in (17500, 0)]
    talks[1].paid_by(talks[0])

    for talk in talks:
        talk.join()

    worker = bench.worker(backends=1).ready()

    for talk in talks:
        bench.until(talk.id, "state <> 'connecting'")

    # their ticks are due together
    bench.rows("UPDATE consult.session SET ver = ver + 1, active_ms ="
               " (SELECT max(active_ms) FROM consult.session)")

    for talk in talks:
        bench.settled(talk.id, "low_balance", timeout=30)

    assert by_heart(worker) > 2

    # alone: the other one was charged the slow way at that moment
    assert not [line for line in worker.said("ticks failed")
                if line["sessions"] > 1]
    assert bench.wallet(talks[0].client) == (0, 0)
    bench.clean()


def test_one_that_cannot_pay_is_found(bench, tmp_path):
    """A batch that is refused for its wallet goes by heart in halves, until
    that one is alone: no other is charged the slow way for it."""
    place = tmp_path / "metrics.sock"
    worker = bench.worker(backends=1, paid_ahead_seconds=30,
                          metrics_listen=f"unix:{place}").ready()
    gateway = bench.gateway()
    talks = [Talk(bench, rate=60000, topup=10**7, gateways=[gateway]).active()
             for _ in range(7)]
    culprit = talks[0]

    for talk in talks:
        talk.ticked(2)

    source = bench.one(
        "SELECT pg_get_functiondef(oid) FROM pg_proc"
        " WHERE proname = 'tick' AND pronamespace = 'billing'::regnamespace")
    first = "    v_shards := nullif("
    assert first in source
    bench.db.execute(source.replace(first, f"""
    IF {culprit.id} = ANY(tick.ids) THEN
        RAISE EXCEPTION 'planted' USING ERRCODE = 'AS003';
    END IF;
{first}"""))

    slow = metric(place, 'ticks_total{path="slow"}')
    alone = culprit.ticks()

    # all are overdue, and go into one batch
    worker.freeze()
    time.sleep(1.5)
    before = [talk.ticks() for talk in talks]
    worker.thaw()

    for talk, no in zip(talks, before):
        bench.until(talk.id, f"charge_no >= {no + 2}")

    sizes = [line["sessions"] for line in worker.said("ticks failed")]
    assert max(sizes) > 1 and 1 in sizes
    slow = metric(place, 'ticks_total{path="slow"}') - slow
    assert slow <= culprit.ticks() - alone

    bench.db.execute(source)
    talks[0].ticked()

    for talk in talks:
        talk.end()

    for talk in talks:
        bench.settled(talk.id)

    bench.clean()


@pytest.mark.skipif(not os.environ.get("ASTRO_SOAK"),
                    reason="a minute and a half: `make soak` runs it")
def test_very_many_are_given_promo(bench):
    """No tick by heart takes promo, and nobody has told the worker: it does
    not find each of them by itself."""
    worker = bench.worker(backends=1, paid_ahead_seconds=30).ready()
    gateway = bench.gateway()
    talks = [Talk(bench, rate=60000, topup=10**7, gateways=[gateway])
             for _ in range(40)]
    for talk in talks:
        talk.join()
    for talk in talks:
        bench.until(talk.id, "state = 'active'")

    # all are due together
    bench.rows("UPDATE consult.session SET ver = ver + 1, active_ms ="
               " (SELECT max(active_ms) FROM consult.session)")
    for talk in talks:
        talk.ticked(2)

    refused_before = len(worker.said("ticks failed"))
    bench.rows("SELECT billing.promo(client_id, 500, 'p' || id)"
               " FROM consult.session ORDER BY id")
    for talk in talks:
        bench.until(talk.id, "promo > 0")

    sizes = [line["sessions"]
             for line in worker.said("ticks failed")[refused_before:]]
    assert 0 < len(sizes) <= 30, sizes
    for talk in talks:
        talk.end()
    for talk in talks:
        bench.settled(talk.id)
    bench.clean()
