"""billing_worker on a real PostgreSQL and Redis, with gateways of Python.

Whatever a test does, at its end every session's charge is compared with the
milliseconds that both parties were there for, and the audit must be clean.
"""

import json
import random
import signal
import subprocess
import time

import psycopg
import pytest

from psycopg.conninfo import make_conninfo

from billing_fixture import (BINARY, SLOW, Proxy, Redis, Talk, bench,
                             boot_ms, empty, eventually, metric, redis)
from sql_fixture import sql     # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


def frames(bench, kind):
    return [body for head, body in bench.listen()
            if head[0] == "U" and body["type"] == kind]


# what a consultation comes to ------------------------------------------------

def test_until_the_money_is_spent(bench):
    bench.worker().ready()
    talk = Talk(bench, topup=200).active()

    ms, charged = bench.settled(talk.id, "low_balance")
    assert (ms, charged) == (2009, 200)
    assert bench.wallet(talk.client) == (0, 0)
    assert bench.wallet(talk.advisor) == (140, 0)
    bench.clean()

    # told in this order, once the books are closed
    said = bench.listen()
    last = max(i for i, (head, body) in enumerate(said)
               if head[0] == "U" and body["type"] == "billing_tick")
    (s_head, snapshot), (u_head, end), (_, wallet) = said[last + 1:last + 4]
    client, advisor, conv = bench.session(
        talk.id, "client_id, advisor_id, conversation_id")

    assert s_head[0] == "S" and s_head[1] == str(talk.id)
    assert s_head[3] == "ended" and snapshot["state"] == "ended"
    assert s_head[5:8] == [str(client), str(advisor), str(conv)]
    assert u_head == ["U", f"{client},{advisor}", str(conv), str(end["seq"])]
    assert end["type"] == "session_end" and end["conv"] == f"c_{conv}"
    assert end["payload"] == {
        "session": f"s_{talk.id}", "reason": "low_balance", "by": None,
        "totals": {"billed_ms": 2009, "charged": 200, "currency": "INR"}}
    assert wallet["payload"] == {"balance": 0, "held": 0, "available": 0}

    ticks = frames(bench, "billing_tick")
    mine = [t["payload"] for t in ticks if "balance" in t["payload"]]
    theirs = [t["payload"] for t in ticks if "earned" in t["payload"]]
    assert mine[-1] == {"session": f"s_{talk.id}", "billed_ms": 2009,
                        "charged": 200, "balance": 0, "left_s": 0}
    assert theirs[-1] == {"session": f"s_{talk.id}", "billed_ms": 2009,
                          "charged": 200, "earned": 140}


def test_the_end_comes_at_once(bench):
    """From the money running out to session_end: 250 ms, 1 s at the most."""
    bench.worker(tick_seconds=3).ready()
    talk = Talk(bench, topup=150).active()
    bench.until(talk.id, "settled")
    paid = bench.session(talk.id, "paid_until_ms")
    late = talk.cgw.now() - paid
    assert late < 1000 * SLOW, late


def test_ended_by_a_party(bench):
    bench.worker().ready()
    gateways = [bench.gateway(), bench.gateway()]
    talk = Talk(bench, topup=100000, rate=77777, gateways=gateways).active()
    talk.ticked(2)
    assert bench.session(talk.id, "held") > 0
    assert talk.end()["status"] == 200

    ms, charged = bench.settled(talk.id, "client_ended")
    assert 1000 < ms < 8000 * SLOW
    assert bench.wallet(talk.client) == (100000 - charged, 0)
    assert bench.wallet(talk.advisor)[0] == charged - charged * 3000 // 10000
    bench.clean()


def test_one_sided_presence_is_free(bench):
    bench.worker().ready()
    talk = Talk(bench).active()
    talk.ticked()
    talk.agw.leave(talk.id, talk.advisor, ago_ms=200)
    bench.until(talk.id, "state = 'reconnecting'")
    time.sleep(1.5)
    assert talk.agw.join(talk.id, talk.advisor)["status"] == 200
    bench.until(talk.id, "state = 'active'")
    talk.ticked(2)
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_the_maximum(bench):
    bench.worker().ready()
    talk = Talk(bench, max_ms=1500).active()
    assert bench.settled(talk.id, "max_reached") == (1500, 150)
    bench.clean()


def test_nothing_to_pay_with(bench):
    bench.worker().ready()
    talk = Talk(bench, topup=0).join()
    assert bench.settled(talk.id, "low_balance") == (0, 0)
    bench.clean()


def test_the_payer_is_no_client(bench):
    bench.worker().ready()
    talk = Talk(bench).active().ticked()
    charged = bench.session(talk.id, "charged")
    bench.rows("UPDATE identity.account SET role = 'admin' WHERE id = %s",
               talk.client)
    assert bench.settled(talk.id, "invalid_user_role")[1] <= charged + 200
    bench.clean()


def test_nobody_answers(bench):
    bench.worker(ring_seconds=1).ready()
    talk = Talk(bench, accept=False)
    bench.settled(talk.id, "missed")
    end, = frames(bench, "session_end")
    assert end["payload"]["totals"]["charged"] == 0


def test_nobody_comes(bench):
    bench.worker(grace_seconds=1).ready()
    talk = Talk(bench)
    assert talk.cgw.join(talk.id, talk.client)["status"] == 200
    bench.settled(talk.id, "peer_lost")
    bench.clean()


# top-ups ---------------------------------------------------------------------

def test_a_top_up_extends(bench):
    """Within 1 s, with no tick in sight."""
    bench.worker(tick_seconds=60, paid_ahead_seconds=100).ready()
    talk = Talk(bench, topup=300).active()
    paid = bench.session(talk.id, "paid_until_ms")
    bench.topup(talk.client, 200)
    talk.cgw.nudge(f"w{bench.session(talk.id, 'client_wallet')}")
    bench.until(talk.id, f"paid_until_ms >= {paid + 1900}", 1)
    assert bench.settled(talk.id, "low_balance") == (5009, 500)
    bench.clean()


def test_a_late_top_up_resumes(bench):
    """The gateways have stopped, the worker is away: money comes, and they
    are called back.  The pause is free, the money buys its whole time."""
    worker = bench.worker().ready()
    talk = Talk(bench, topup=100).active()
    worker.kill()
    eventually(lambda: not talk.cgw.sessions[talk.id]["mine"],
               what="the gateway stops by itself")
    assert bench.session(talk.id, "state") == "active"
    bench.topup(talk.client, 100)
    bench.worker().ready()
    bench.until(talk.id, "state = 'active' AND paid_until_ms > "
                f"{talk.cgw.now() - 500}")
    ms, charged = bench.settled(talk.id, "low_balance")
    assert (ms, charged) == (2009, 200)
    bench.clean()


def test_a_top_up_happens_once(bench):
    who = bench.account("client")
    first = bench.topup(who, 500, "pay-1")
    again = bench.topup(who, 500, "pay-1")
    assert (first[3], again[3]) == (False, True)
    assert first[:3] == again[:3]
    assert bench.wallet(who) == (500, 0)

    other = bench.account("client")

    for args in [(who, 501, "pay-1"), (other, 500, "pay-1"), (who, 0, "x"),
                 (who, -5, "x"), (who, 10**15 + 1, "x"), (who, 5, ""),
                 (999999, 5, "x"), (bench.account("advisor"), 5, "x")]:
        with pytest.raises(Exception, match="top-up|wallet|reference"):
            bench.one("SELECT * FROM billing.topup(%s, %s, %s)", *args)

    assert bench.wallet(who) == (500, 0)
    bench.clean()


def test_warned_once(bench):
    bench.worker(low_seconds=3).ready()
    talk = Talk(bench, topup=400).active()
    bench.settled(talk.id, "low_balance")
    low, = frames(bench, "billing_low")
    assert low["payload"]["session"] == f"s_{talk.id}"
    assert 2 <= low["payload"]["left_s"] <= 3


# death -----------------------------------------------------------------------

def test_killed_in_mid_session(bench):
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000).active().ticked(2)
    worker.kill()
    charged = bench.session(talk.id, "charged")
    started = time.monotonic()
    bench.worker().ready()
    talk.ticked()
    assert time.monotonic() - started < 5 * SLOW
    assert bench.session(talk.id, "charged") > charged
    talk.ticked(2)
    talk.end()
    bench.settled(talk.id, "client_ended")
    bench.clean()


def test_ends_while_it_is_dead(bench):
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000).active().ticked()
    worker.kill()
    talk.end()
    time.sleep(0.5)
    assert not bench.session(talk.id, "settled")
    bench.worker().ready()
    bench.settled(talk.id, "client_ended")
    bench.clean()


def test_gateways_stop_without_it(bench):
    """Nobody gets an unpaid second, whatever is dead."""
    worker = bench.worker().ready()
    talk = Talk(bench, topup=100000).active()
    worker.kill()
    eventually(lambda: not talk.cgw.sessions[talk.id]["mine"], 12)
    paid = bench.session(talk.id, "paid_until_ms")
    bench.worker().ready()
    bench.until(talk.id, "state = 'active' AND paid_until_ms > "
                f"{paid + 1000}")
    closes = bench.rows(
        "SELECT g.started_ms + close_life_ms FROM consult.interval i"
        " JOIN consult.gateway g ON g.id = i.gateway_id"
        " WHERE session_id = %s AND close_reason = 'unpaid'", talk.id)
    assert closes == [(paid,), (paid,)]
    talk.ticked()
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_two_workers(bench):
    one = bench.worker().ready()
    two = bench.worker()
    eventually(lambda: two.said("standing by, others hold all shards"))
    talks = [Talk(bench, rate=60000).active() for _ in range(3)]

    for talk in talks:
        talk.ticked()

    one.kill()
    killed = time.monotonic()

    for talk in talks:
        talk.ticked()

    assert time.monotonic() - killed < 5 * SLOW
    assert two.said("ready")

    for talk in talks:
        talk.end()

    for talk in talks:
        bench.settled(talk.id)

    bench.clean()


def test_handed_over_at_once(bench):
    one = bench.worker().ready()
    talk = Talk(bench, rate=60000).active().ticked()
    two = bench.worker()
    eventually(lambda: two.said("standing by, others hold all shards"))
    assert one.stop() == 0, one.lines[-5:]
    two.ready(1.5)
    talk.ticked()
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_stopped_beyond_its_lease(bench):
    """It wakes up believing what is not so any more, with timers overdue."""
    one = bench.worker().ready()
    talks = [Talk(bench, rate=60000).active() for _ in range(3)]
    two = bench.worker()

    for _ in range(2):
        two.lines.clear()
        one.freeze()
        time.sleep(4.2)
        two.ready()
        one.thaw()

        for talk in talks:
            talk.ticked(2)

        one, two = two, one

    for talk in talks:
        talk.end()

    for talk in talks:
        bench.settled(talk.id)

    bench.clean()


def test_the_fence(bench):
    """One who is not the owner writes nothing, by each barrier alone."""
    worker = bench.worker().ready()
    talk = Talk(bench, rate=60000).active().ticked()
    worker.kill()
    shard, ver, no = bench.session(talk.id, "shard, ver, charge_no")
    owner, epoch = bench.one("SELECT owner, epoch FROM billing.shard_lease"
                             " WHERE shard = %s", shard)

    def apply(ver, no, before=None):
        with bench.db.transaction():
            if before:
                bench.rows("SELECT billing.fence(%s, %s::smallint[], %s)",
                           *before)
            return bench.one(
                "SELECT status FROM billing.apply(%s, %s, %s, '{active}',"
                " '{NULL}', '{NULL}', '{1}', %s, %s, '{0}', '{0}', '{0}',"
                " '{f}', '{f}')", [talk.id], [ver], [no], [2**60], [2**50])

    for before in (None, ("nobody", [shard], [epoch]),
                   (owner, [shard], [epoch - 1]),
                   (owner, [shard, 777], [epoch, 1])):
        with pytest.raises(Exception, match="fence|owner|constraint"):
            apply(ver, no, before)

    bench.rows("UPDATE billing.shard_lease SET owner = 'me', expires_at ="
               " 'infinity' WHERE shard IN (%s, %s)", shard, (shard + 1) % 256)
    other = bench.one("SELECT epoch FROM billing.shard_lease"
                      " WHERE shard = %s", (shard + 1) % 256)
    mine = ("me", [shard], [epoch])

    assert apply(ver - 1, no, mine) == "stale"
    assert apply(ver, no - 1, mine) == "stale"
    assert apply(ver, no, ("me", [(shard + 1) % 256], [other])) == "shard"
    assert bench.session(talk.id, "charge_no") == no

    rev, held, active, paid, billed = bench.session(
        talk.id, "rev, held, active_ms, paid_until_ms, billed_ms")

    def warn(rev, was):
        """A decision about no money: nothing else tells a repeat."""
        return bench.one(
            "SELECT status FROM billing.apply(%s, %s, %s, '{active}',"
            " '{NULL}', '{NULL}', %s, %s, %s, '{0}', '{0}', %s, '{t}', '{f}',"
            " %s, %s)", [talk.id], [ver], [no], [active], [paid], [billed],
            [held], [rev], [was])

    with bench.db.transaction(force_rollback=True):
        bench.rows("SELECT billing.fence(%s, %s::smallint[], %s)", *mine)
        assert warn(rev - 1, held) == "stale"
        assert warn(rev, held - 1) == "stale"
        assert warn(rev, held) == "done"
        assert warn(rev, held) == "stale"
        assert bench.session(talk.id, "ver, rev, low_sent") == (
            ver, rev + 1, True)

    bench.rows("UPDATE billing.shard_lease SET expires_at = '-infinity'")
    bench.worker().ready()
    talk.end()
    bench.settled(talk.id)
    bench.clean()


# books that are wrong --------------------------------------------------------

def test_a_session_that_contradicts_itself(bench, tmp_path):
    """Told once, counted, and read less and less often, not at each scan; until
    it is well again."""
    bench.expected = {"the books of a session contradict each other, it is"
                      " left alone: run the audit"}
    place = tmp_path / "metrics.sock"
    worker = bench.worker(paid_ahead_seconds=30,
                          metrics_listen=f"unix:{place}").ready()
    wrong, well = (Talk(bench, rate=60000, topup=10**7).active().ticked()
                   for _ in range(2))
    since = time.monotonic()
    bench.rows("INSERT INTO consult.segment (session_id, no, from_ms, service,"
               " rate_minor) SELECT %s, no, 9 - no, 'audio', 60000"
               "  FROM generate_series(2, 3) no", wrong.id)
    change = "UPDATE consult.session SET segments = %s, ver = ver + 1" \
             " WHERE id = %s"
    bench.rows(change, 2, wrong.id)
    eventually(lambda: metric(place, "facts_refused_total") >= 3)
    well.ticked(3)
    time.sleep(max(0, since + 9 - time.monotonic()))

    # at once, after 1, 2, 4 s; and once for the tick that found out
    assert metric(place, "facts_refused_total") <= 6
    said = [line for line in worker.lines if line["msg"] in bench.expected]
    assert [(line["session"], line["why"]) for line in said] == [
        (wrong.id, "they cannot be read")]

    bench.rows("DELETE FROM consult.segment")
    bench.rows(change, 0, wrong.id)

    for talk in (wrong, well):
        talk.ticked()
        talk.end()

    for talk in (wrong, well):
        bench.settled(talk.id)

    bench.clean()


# several sessions on one wallet ----------------------------------------------

def test_the_last_slice_is_split_by_rate(bench):
    """900 for two who would hold 6000 and 12000: 300 and 600, which last as
    long."""
    gateway = bench.gateway()
    talks = [Talk(bench, topup=900, rate=6000, gateways=[gateway]),
             Talk(bench, topup=0, rate=12000, gateways=[gateway])]
    first = talks[0]
    talks[1].paid_by(first)

    for talk in talks:
        talk.join()

    bench.worker(paid_ahead_seconds=60).ready()

    for talk in talks:
        bench.until(talk.id, "state <> 'connecting'")

    assert [bench.session(t.id, "charged + held") for t in talks] == [300, 600]

    for talk in talks:
        bench.settled(talk.id, "low_balance")

    assert bench.wallet(first.client) == (0, 0)
    bench.clean()


# the servers around it -------------------------------------------------------

def test_without_redis(bench):
    """Slower, and to the same minor unit."""
    bench.worker(redis="").ready()
    gateway = bench.gateway()
    gateway.deaf = True
    talk = Talk(bench, topup=200, gateways=[gateway]).active()
    assert bench.settled(talk.id, "low_balance") == (2009, 200)
    bench.clean()


def test_redis_goes_and_comes(bench):
    worker = bench.worker().ready()
    eventually(lambda: len(worker.said("redis connected")) == 2)
    talk = Talk(bench, rate=60000).active().ticked()
    bench.redis.stop()
    talk.ticked(2)
    assert len(worker.said("redis connection lost")) == 2
    bench.redis.start()
    eventually(lambda: len(worker.said("redis connected")) == 4)
    talk.ticked()
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_the_database_hangs_up(bench):
    """Its backends are killed under it, at any moment."""
    worker = bench.worker().ready()
    talk = Talk(bench, rate=600000, topup=10**7).active()
    rng = random.Random(1)

    for _ in range(25):
        time.sleep(rng.uniform(0, 0.3))
        bench.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE usename = 'astro_worker' AND datname = %s",
                   bench.name)

    talk.ticked(2)
    assert worker.process.poll() is None
    talk.end()
    bench.settled(talk.id)
    bench.clean()


def test_the_answer_is_lost(bench):
    """Committed, but nobody said so; then not committed, and nobody said so."""
    proxy = Proxy(bench)
    worker = bench.worker(pg=make_conninfo(bench.dsn("astro_worker"),
                                           host=proxy.home)).ready()
    talk = Talk(bench, rate=600000, topup=10**7).active().ticked()

    for _ in range(4):
        proxy.mute_after = b"\0tick\0"
        talk.ticked()
        assert proxy.mute
        proxy.cut()
        talk.ticked(2)

    with bench.db.transaction():
        bench.rows("SELECT FROM ledger.wallet WHERE owner_id = %s FOR UPDATE",
                   talk.client)

        with psycopg.connect(bench.dsn(), autocommit=True) as other:
            eventually(lambda: other.execute(
                "SELECT FROM pg_stat_activity WHERE usename = 'astro_worker'"
                " AND datname = %s AND wait_event_type = 'Lock'",
                (bench.name,)).fetchall())

        proxy.cut()

    talk.ticked(2)
    assert len(worker.said("database connection lost")) >= 5
    assert not bench.rows("SELECT id FROM consult.interval"
                          " WHERE close_reason IS NOT NULL")
    talk.end()
    bench.settled(talk.id)
    bench.clean()
    worker.stop()
    proxy.close()


def test_a_locked_wallet_stops_nobody_else(bench):
    """And nobody hears of what is not committed."""
    bench.expected = {"batch failed"}
    worker = bench.worker().ready()
    stuck, free = (Talk(bench, rate=60000).active() for _ in range(2))

    with bench.db.transaction():
        bench.rows("SELECT FROM ledger.wallet WHERE owner_id = %s FOR UPDATE",
                   stuck.client)
        bench.listen()
        bench.heard.clear()

        # both are overdue, and go into one batch
        worker.freeze()
        time.sleep(1.3)
        worker.thaw()
        with psycopg.connect(bench.dsn(), autocommit=True) as other:
            deadline = time.monotonic() + 12 * SLOW
            no, = other.execute("SELECT charge_no FROM consult.session"
                                " WHERE id = %s", (free.id,)).fetchone()
            while True:
                now, = other.execute("SELECT charge_no FROM consult.session"
                                     " WHERE id = %s", (free.id,)).fetchone()
                if now >= no + 2:
                    break
                assert time.monotonic() < deadline
                time.sleep(0.05)

        of = {body["payload"]["session"] for body in
              frames(bench, "billing_tick")}
        assert of == {f"s_{free.id}"}

    stuck.ticked()

    for talk in (stuck, free):
        talk.end()

    for talk in (stuck, free):
        bench.settled(talk.id)

    bench.clean()


# all of it at once -----------------------------------------------------------

def test_random_histories(bench):
    """Many sessions, in which everything goes wrong; three workers that are
    killed all the time."""
    seed = random.randrange(10**9)
    print("seed", seed)
    rng = random.Random(seed)
    gateways = [bench.gateway() for _ in range(3)]
    talks = [Talk(bench, topup=rng.choice([60, 200, 500, 100000]),
                  rate=rng.choice([1000, 6000, 77777]),
                  bps=rng.choice([0, 3000, 9999]),
                  max_ms=rng.choice([None, None, 4000]),
                  gateways=[rng.choice(gateways), rng.choice(gateways)])
             for _ in range(12)]
    workers = [bench.worker(), bench.worker()]

    for talk in talks:
        talk.join()

    until = time.monotonic() + 15

    while time.monotonic() < until:
        time.sleep(rng.uniform(0, 0.4))
        talk = rng.choice(talks)
        kind = rng.randrange(12)

        if kind < 4:
            gateway, who = rng.choice([(talk.cgw, talk.client),
                                       (talk.agw, talk.advisor)])
            if who in gateway.sessions[talk.id]["mine"]:
                gateway.leave(talk.id, who, ago_ms=rng.choice([0, 0, 300]))
            elif who not in gateway.sessions[talk.id]["cut"]:
                gateway.join(talk.id, who)

        elif kind < 6:
            bench.topup(talk.client, rng.randrange(1, 300))

        elif kind == 6:
            worker = rng.choice(workers)
            worker.kill()
            workers[workers.index(worker)] = bench.worker()

        elif kind == 7:
            bench.rows("SELECT pg_terminate_backend(pid) FROM"
                       " pg_stat_activity WHERE usename = 'astro_worker'"
                       " AND datname = %s", bench.name)

        elif kind == 8:
            bench.redis.client.flushall()

        elif kind == 9:
            talk.end()

        elif kind == 10:
            code, said = bench.audit()
            assert code == 0, said

    for talk in talks:
        talk.end()

    for talk in talks:
        bench.settled(talk.id, timeout=20)

    assert sum(bench.session(t.id, "charge_no") for t in talks) > 5
    # some of them by heart
    assert sum(line["sessions"] for worker in bench.workers
               for line in worker.said("ticked")) > 0
    bench.clean()


# the audit: see test_audit_books.py, too ---------------------------------------

def test_audit_in_mid_session(bench):
    bench.worker().ready()
    talks = [Talk(bench, rate=60000).active() for _ in range(2)]

    for _ in range(10):
        bench.clean()
        time.sleep(0.1)

    for talk in talks:
        talk.end()

    for talk in talks:
        bench.settled(talk.id)


def test_audit_cannot_look():
    done = subprocess.run([BINARY, "audit", "-o", "pg=host=/nowhere"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "/nowhere" in done.stderr


# the command line ------------------------------------------------------------

@pytest.mark.parametrize("args, names", [
    ([], "usage"),
    (["walk"], '"walk"'),
    (["run"], '"pg"'),
    (["run", "-o", "pg=x", "-o", "tick_secs=1"], '"tick_secs"'),
    (["run", "-o", "pg=x", "-o", "tick_seconds=0"], "tick_seconds"),
    (["run", "-o", "pg=x", "-o", "tick_seconds=1.5"], "tick_seconds"),
    (["run", "-o", "pg=x", "-o", "tick_seconds=99999999999999999999"],
     "tick_seconds"),
    (["run", "-o", "pg=x", "-o", "low_seconds=-1"], "low_seconds"),
    (["run", "-o", "pg=x", "-o", "paid_ahead_seconds=15"],
     "paid_ahead_seconds"),
    (["run", "-o", "pg=x", "-o", "redis=nowhere"], "redis"),
    (["run", "-o", "pg=x", "-o", "log_level=loud"], "log_level"),
    (["run", "-o", "pg"], "key = value"),
    (["run", "--config", "/nonexistent/file"], "/nonexistent/file"),
])
def test_wrong_use(args, names):
    done = subprocess.run([BINARY, *args], capture_output=True, text=True,
                          check=False, timeout=10)
    assert done.returncode == 2
    assert names in done.stderr


def test_a_wrong_line_is_named(tmp_path):
    file = tmp_path / "c.conf"
    file.write_text("# fine\npg = host=/x\n\ntick_seconds = often\n")
    done = subprocess.run([BINARY, "audit", "--config", file],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{file}:4: tick_seconds" in done.stderr


def test_help():
    done = subprocess.run([BINARY, "--help"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0
    assert "paid_ahead_seconds" in done.stdout


def test_hup_reads_the_file_again(bench, tmp_path):
    file = tmp_path / "c.conf"
    file.write_text("tick_seconds = 1\nring_seconds = 300\n")
    worker = bench.worker().ready()
    worker.stop()
    process = subprocess.Popen(
        [BINARY, "run", "--config", file, "-o",
         f"pg={bench.dsn('astro_worker')}"], stderr=subprocess.PIPE, text=True)

    def until(msg):
        for line in process.stderr:
            if json.loads(line)["msg"] == msg:
                return
        raise AssertionError(msg)

    try:
        until("ready")
        talk = Talk(bench, accept=False)
        file.write_text("tick_seconds = wrong\n")
        process.send_signal(signal.SIGHUP)
        until("configuration not taken")
        file.write_text("tick_seconds = 1\nring_seconds = 1\n")
        process.send_signal(signal.SIGHUP)
        until("configuration taken")
        talk.cgw.nudge(talk.id)
        time.sleep(1)
        bench.rows("UPDATE consult.session SET ver = ver + 1 WHERE id = %s",
                   talk.id)
        bench.settled(talk.id, "missed")
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_waits_for_a_database(bench):
    worker = bench.worker(pg="host=/nonexistent dbname=x")
    eventually(lambda: worker.said("database connection lost"))
    before = boot_ms()
    assert worker.stop() == 0
    assert boot_ms() - before < 2000 * SLOW
