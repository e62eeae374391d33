"""What people notice of a billing worker: money that comes in time, warnings,
and another worker that goes on where one was lost."""

import time

import pytest

from billing_fixture import (BINARY, SLOW, Proxy, Redis, Talk, bench, empty,
                             eventually, redis)
from psycopg.conninfo import make_conninfo
from sql_fixture import sql     # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


def lows(bench):
    return [body["payload"] for head, body in bench.listen()
            if head[0] == "U" and body["type"] == "billing_low"]


def unpaid(bench, talk):
    """How often the gateways cut somebody off."""
    return bench.one("SELECT count(*) FROM consult.interval"
                     " WHERE session_id = %s AND close_reason = 'unpaid'",
                     talk.id)


# money in time ---------------------------------------------------------------

def test_a_top_up_that_nobody_told_of(bench):
    """No Redis, no nudge, no tick in sight: it is found long before the money
    that was held is spent, and the gateways never stop."""
    bench.worker(redis="", tick_seconds=60, paid_ahead_seconds=100).ready()
    talk = Talk(bench, topup=700).active()
    paid = bench.session(talk.id, "paid_until_ms")
    bench.topup(talk.client, 300)
    told = time.monotonic()
    bench.until(talk.id, f"paid_until_ms >= {paid + 2900}", 5)
    assert time.monotonic() - told < 1.5 * SLOW + 1
    # again, by less than what a second costs
    bench.topup(talk.client, 60)
    bench.until(talk.id, f"paid_until_ms >= {paid + 3500}", 5)
    assert unpaid(bench, talk) == 0
    talk.end()
    bench.settled(talk.id, "client_ended")
    bench.clean()


def test_money_that_is_held_is_not_asked_for_for_ever(bench):
    """Nothing new in the wallet is no reason to look at a session."""
    bench.worker(redis="", tick_seconds=60, paid_ahead_seconds=100).ready()
    talk = Talk(bench, topup=77777, rate=777777).active()
    time.sleep(2.5)
    assert bench.session(talk.id, "charge_no") == 0
    talk.end()
    bench.settled(talk.id, "client_ended")
    bench.clean()


def test_warned_at_each_crossing(bench):
    """Once on the way down, and again after a top-up and another way down."""
    bench.worker(low_seconds=1).ready()
    talk = Talk(bench, topup=150).active()
    eventually(lambda: len(lows(bench)) == 1, what="the first warning")
    bench.topup(talk.client, 900)
    talk.cgw.nudge(f"w{bench.session(talk.id, 'client_wallet')}")
    talk.ticked(1)
    assert len(lows(bench)) == 1
    eventually(lambda: len(lows(bench)) == 2, what="the second warning")
    bench.settled(talk.id, "low_balance")
    said = lows(bench)
    assert len(said) == 2
    assert all(s["session"] == f"s_{talk.id}" and s["left_s"] <= 1
               for s in said)
    bench.clean()


# absence ---------------------------------------------------------------------

def test_coming_and_going_has_an_end(bench):
    """Each absence is short, and nobody pays for any; all of them together are
    the session's, and then it ends."""
    bench.worker(grace_seconds=30, grace_total_seconds=2).ready()
    talk = Talk(bench).active()
    for _ in range(20):
        time.sleep(0.2)
        talk.agw.leave(talk.id, talk.advisor)
        bench.until(talk.id, "state <> 'active'")
        time.sleep(0.4)
        if talk.agw.join(talk.id, talk.advisor)["status"] != 200:
            break
        bench.until(talk.id, "state IN ('active', 'ended')")
    bench.settled(talk.id, "peer_lost")
    bench.clean()


# many workers ----------------------------------------------------------------

def through(bench, proxy):
    """The worker's way to the database leads through the proxy."""
    return make_conninfo(bench.dsn("astro_worker"), host=proxy.home)


def test_cut_off_from_the_database(bench):
    """One of three reaches nothing any more, and nobody tells it: another one
    goes on within 5 s, and what it believes when the network is back harms
    nothing."""
    proxy = Proxy(bench)
    one = bench.worker(pg=through(bench, proxy)).ready()
    others = [bench.worker() for _ in range(2)]
    for other in others:
        eventually(lambda o=other: o.said(
            "standing by, others hold all shards"))
    talks = [Talk(bench, rate=60000).active() for _ in range(3)]
    for talk in talks:
        talk.ticked()

    proxy.dark = True
    cut = time.monotonic()
    for talk in talks:
        talk.ticked()
    assert time.monotonic() - cut < 5 * SLOW
    assert any(other.said("ready") for other in others)

    proxy.dark = False
    for talk in talks:
        talk.ticked()
        talk.end()
    for talk in talks:
        bench.settled(talk.id, "client_ended")
    bench.clean()
    one.stop()
    proxy.close()
