"""billing_worker when gateways die and clocks leap, on a real PostgreSQL and
Redis, with gateways of Python.  As in test_billing_worker.py, at the end of
each test the charges are what was proven and the audit is clean.
"""

import time

import psycopg
import pytest

from billing_fixture import (BINARY, Redis, Talk, bench, empty, eventually,
                             redis)
from sql_fixture import sql     # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


# gateways --------------------------------------------------------------------

def test_a_dead_gateway(bench):
    worker = bench.worker(grace_seconds=2).ready()
    gateways = [bench.gateway(), bench.gateway()]
    talk = Talk(bench, gateways=gateways).active().ticked()
    talk.agw.die()
    bench.until(talk.id, "state = 'reconnecting'", 8)
    assert worker.said("gateway is dead, closing its lease")
    assert bench.one("SELECT closed FROM consult.gateway WHERE id = %s",
                     talk.agw.id)
    assert not bench.rows("SELECT 1 FROM consult.presence WHERE gateway_id = %s",
                          talk.agw.id)
    bench.settled(talk.id, "peer_lost")
    bench.clean()


def test_a_gateway_that_is_slow_is_not_dead(bench):
    bench.worker().ready()
    talk = Talk(bench).active().ticked()
    talk.cgw.frozen = True
    time.sleep(3)
    talk.cgw.frozen = False
    talk.ticked()
    assert not talk.cgw.lost
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_a_dead_gateway_that_is_locked(bench):
    """Its row is somebody's for long: no lease of a shard runs out for it, and
    the next dead gateway need not wait."""
    bench.expected = {"cannot close a gateway's lease"}
    worker = bench.worker().ready()
    dead = [bench.gateway() for _ in range(4)]
    stuck = [gateway.id for gateway in dead[:3]]
    talk = Talk(bench, rate=60000, topup=10**7).active()

    with psycopg.connect(bench.dsn()) as other:
        other.execute("SELECT FROM consult.gateway WHERE id = ANY (%s)"
                      "   FOR UPDATE", (stuck,))

        for gateway in dead:
            gateway.die()

        def seen():
            assert bench.one("SELECT min(expires_at) > clock_timestamp()"
                             "  FROM billing.shard_lease"), "leases ran out"
            return (len(worker.said("cannot close a gateway's lease")) > 4
                    and bench.one("SELECT closed FROM consult.gateway"
                                  " WHERE id = %s", dead[3].id))

        eventually(seen)
        assert not bench.one("SELECT bool_or(closed) FROM consult.gateway"
                             " WHERE id = ANY (%s)", stuck)
        talk.ticked()

    eventually(lambda: bench.one("SELECT bool_and(closed) FROM consult.gateway"
                                 " WHERE id = ANY (%s)", stuck))
    talk.end()
    bench.settled(talk.id)
    bench.clean()


# clocks ----------------------------------------------------------------------

def test_a_lease_made_before_the_clock_was_put_back(bench):
    """An owner that is dead does not keep its shard for an hour."""
    with bench.db.transaction(force_rollback=True):
        bench.rows("UPDATE billing.shard_lease SET owner = 'dead',"
                   " expires_at = clock_timestamp() + CASE shard"
                   " WHEN 1 THEN interval '5 s' ELSE interval '1 h' END"
                   " WHERE shard IN (1, 2)")
        before = bench.one("SELECT epoch FROM billing.shard_lease"
                           " WHERE shard = 2")
        taken = dict(bench.rows("SELECT * FROM billing.lease('next', 3000)"))
        assert 1 not in taken
        assert taken[2] == before + 1
        assert dict(bench.rows("SELECT * FROM billing.lease('next', 3000)")
                    ) == taken


def test_the_clock_leaps_forward(bench):
    """Whoever rings then is not missed at once, but when it is time."""
    bench.expected = {"the database's clock leapt forward, deadlines are put"
                      " off by that"}
    worker = bench.worker(ring_seconds=8).ready()
    since = time.monotonic()
    talk = Talk(bench, accept=False)
    time.sleep(2)               # for some polls of the clock
    bench.rows("CREATE OR REPLACE FUNCTION consult.ms(at timestamptz)"
               " RETURNS bigint LANGUAGE sql STABLE AS"
               " 'SELECT (extract(epoch FROM at) * 1000)::bigint + 7200000'")
    eventually(lambda: [w for w in worker.lines if w["msg"] in bench.expected])
    talk.cgw.nudge(talk.id)
    again = Talk(bench, accept=False)
    bench.until(talk.id, "state = 'ended'")
    assert time.monotonic() - since > 7
    assert bench.session(talk.id, "reason") == "missed"
    bench.settled(again.id, "missed", timeout=20)
    bench.clean()


def test_what_begins_after_a_leap_is_as_before(bench):
    """The gateways' clocks do not leap: what they say of later states is two
    hours behind the database, and none of it is over for that."""
    bench.expected = {"the database's clock leapt forward, deadlines are put"
                      " off by that"}
    worker = bench.worker(grace_seconds=8, grace_total_seconds=0).ready()
    gateway = bench.gateway()
    Talk(bench, gateways=[gateway]).active().ticked()
    bench.rows("CREATE OR REPLACE FUNCTION consult.ms(at timestamptz)"
               " RETURNS bigint LANGUAGE sql STABLE AS"
               " 'SELECT (extract(epoch FROM at) * 1000)::bigint + 7200000'")
    eventually(lambda: [w for w in worker.lines if w["msg"] in bench.expected])
    talk = Talk(bench, gateways=[gateway])
    lost = Talk(bench, gateways=[gateway])
    since = time.monotonic()
    time.sleep(2)
    assert bench.session(talk.id, "state") == "accepted"
    talk.active().ticked()
    gateway.leave(talk.id, talk.client)
    bench.until(talk.id, "state = 'reconnecting'")
    time.sleep(2)
    gateway.join(talk.id, talk.client)
    talk.ticked()
    talk.end()
    bench.settled(talk.id)

    # but when it is time, it is
    bench.settled(lost.id, "peer_lost", timeout=20)
    assert time.monotonic() - since > 7
    bench.clean()


def test_shards_are_taken_the_moment_their_lease_ends(bench):
    """Not up to a second later, when it is time to renew one's own: the owner
    is dead, and its sessions wait.  All of it in the database's time."""
    bench.worker().ready()

    def late():
        """ms from the end of a dead owner's lease to its new one."""
        asked = bench.one("UPDATE billing.shard_lease l SET owner = 'dead',"
                          " expires_at = x.expires_at - interval '0.95 s'"
                          "  FROM billing.shard_lease x"
                          " WHERE l.shard = 7 AND x.shard = 8"
                          " RETURNING l.expires_at")
        eventually(lambda: bench.one("SELECT owner <> 'dead'"
                                     "  FROM billing.shard_lease"
                                     " WHERE shard = 7"))
        return bench.one("SELECT extract(epoch FROM expires_at - %s) * 1000"
                         " - 3000 FROM billing.shard_lease WHERE shard = 7",
                         asked)

    # what others renew in time ends later than one's own next turn
    assert bench.one("SELECT billing.lease_next('nobody')") > 1500
    found = []
    while len(found) < 6 and min(found, default=1000) > 400:
        found.append(late())
    assert min(found) < 400, found


def test_when_the_next_lease_ends(bench):
    with bench.db.transaction(force_rollback=True):
        def ends():
            return bench.one("SELECT billing.lease_next('me')")

        bench.rows("UPDATE billing.shard_lease SET owner = 'me',"
                   " expires_at = clock_timestamp() + interval '3 s'")
        assert ends() is None
        bench.rows("UPDATE billing.shard_lease SET owner = 'other',"
                   " expires_at = clock_timestamp() + interval '50 s' * shard"
                   " WHERE shard IN (1, 2)")
        assert 10000 < ends() <= 50001
        bench.rows("UPDATE billing.shard_lease SET owner = NULL,"
                   " expires_at = '-infinity' WHERE shard = 3")
        assert ends() == 0


def test_stopped_in_the_middle_of_a_batch(bench):
    """The fence is passed, the rest was never sent, and the connection lives:
    the shard is locked until whoever takes it over ends that."""
    said = "ended transactions of a worker that is lost"
    bench.expected = {said}
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000).active().ticked()
    shard, = bench.rows("UPDATE billing.shard_lease l SET owner = 'stopped',"
                        " epoch = epoch + 1,"
                        " expires_at = clock_timestamp() + interval '3 s'"
                        "  FROM consult.session s"
                        " WHERE s.id = %s AND l.shard = s.shard"
                        " RETURNING l.shard, l.epoch", talk.id)

    with psycopg.connect(bench.dsn("astro_worker"), autocommit=True) as conn:
        stopped = conn.pgconn
        stopped.enter_pipeline_mode()
        stopped.send_query_params(
            b"SELECT billing.fence('stopped', $1::smallint[], $2::bigint[])",
            [b"{%d}" % shard[0], b"{%d}" % shard[1]])
        stopped.send_flush_request()
        stopped.flush()
        eventually(lambda: worker.said(said))
        talk.ticked(2)
        assert bench.one("SELECT epoch FROM billing.shard_lease"
                         " WHERE shard = %s", shard[0]) == shard[1] + 1

    talk.end()
    bench.settled(talk.id)
    bench.clean()
