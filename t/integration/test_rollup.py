"""Partitions of the journal: made ahead, rolled up when they are old.

The books are two real sessions of partition 0; the numbers of sessions then
jump to the next partition, where one goes on.
"""

import datetime
import signal

import psycopg
import pytest

from billing_fixture import Bench, Redis, Talk, eventually
from sql_fixture import call, sql   # noqa: F401

PART = 1048576


@pytest.fixture(scope="module")
def redis():
    server = Redis()
    yield server
    server.close()


@pytest.fixture(scope="module")
def old(sql, redis):    # noqa: F811
    """Two sessions that were over 100 days ago."""
    bench = Bench(sql, redis)
    bench.worker().ready()
    talks = [Talk(bench, rate=60000).active() for _ in range(2)]

    for talk in talks:
        talk.ticked(2)
        talk.end()

    for talk in talks:
        bench.settled(talk.id)

    bench.one("SELECT setval('consult.session_id_seq', %s)", PART)
    bench.rows("UPDATE consult.session SET ended_at = ended_at"
               " - interval '100 days'")
    # one of them went on over midnight
    bench.rows("UPDATE ledger.transfer SET at = at - interval '1 day'"
               " WHERE session_id = %s AND charge_no < 3", talks[0].id)
    bench.clean()
    bench.close()
    return bench, talks


@pytest.fixture
def bench(sql, redis, old):     # noqa: F811
    copy = Bench(sql, redis, old[0])
    copy.count = 100
    yield copy
    copy.close()


def books(bench, talks):
    """What people and the audit see, but for how long it took."""
    code, said = bench.audit()
    assert code == 0, said
    with psycopg.connect(bench.dsn("astro_web"), autocommit=True) as web:
        lists = [call(web, "wallet_transactions", who, 50, None)
                 for talk in talks for who in (talk.client, talk.advisor)]

    midnight = datetime.datetime.now(datetime.timezone.utc).replace(
        hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + datetime.timedelta(n) for n in range(-2, 3)]

    with psycopg.connect(bench.dsn("astro_worker"), autocommit=True) as conn:
        lists += [conn.execute("SELECT * FROM billing.statement(%s, %s, %s)",
                               (who, since, until)).fetchall()
                  for talk in talks for who in (talk.client, talk.advisor)
                  for since in days for until in days if since < until]

    return said, lists


def young(bench):
    """A session of the next partition, so that the first one is whole."""
    talk = Talk(bench).active()
    assert talk.id > PART
    return talk


def counted(bench):
    """All there is reaches the daily totals."""
    for _ in range(2):      # the second time as far as the first one looked
        assert bench.one("SELECT billing.totals_roll()") is not None


def maintain(bench, days=90):
    """What was rolled up; with days = 0, what was made.  None: somebody keeps
    the journal locked."""
    with psycopg.connect(bench.dsn("astro_worker"), autocommit=True) as conn:
        try:
            return [row for row in conn.execute(
                "SELECT * FROM billing.maintain(%s)", (days,)).fetchall()
                if row[0] == "rolled up" or not days]
        except psycopg.errors.LockNotAvailable:
            return None


def parts(bench):
    return {int(name[10:]) for name, in bench.rows(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c"
        " ON c.oid = i.inhrelid WHERE i.inhparent = 'ledger.transfer'::regclass"
        " AND c.relname LIKE 'transfer\\_s%%'")}


def charges(bench):
    return bench.one("SELECT count(*) FROM ledger.transfer"
                     " WHERE session_id < %s", PART)


def test_partitions_are_made_ahead(bench):
    bench.one("SELECT setval('consult.session_id_seq', %s)", 7 * PART)
    bench.worker(rollup_after_days=0).ready()
    assert parts(bench) == {0, 1, 2, 3, 4}
    with pytest.raises(psycopg.errors.CheckViolation):
        bench.rows("INSERT INTO ledger.transfer (debit_account,"
                   " credit_account, amount, kind, session_id, charge_no)"
                   " VALUES (1, 2, 3, 'session', %s, 1)", 7 * PART + 1)
    worker = bench.workers[0]
    talk = Talk(bench)
    # the worker's own first call may be at it
    eventually(lambda: maintain(bench, 0) == [] and 11 in parts(bench))
    assert parts(bench) == {0, 1, 2, 3, 4, 7, 8, 9, 10, 11}
    # as the others: one index, nothing for who has no policy
    assert len(set(bench.rows(
        "SELECT relrowsecurity, relforcerowsecurity, relowner, relhasindex,"
        " (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid),"
        " (SELECT count(*) FROM pg_constraint x WHERE x.conrelid = c.oid),"
        " coalesce(reloptions::text, '') FROM pg_class c WHERE c.relname LIKE"
        " 'transfer\\_s%%' AND c.relkind = 'r'"))) == 1
    talk.active().ticked(2).end()
    bench.settled(talk.id)
    assert not worker.said("maintenance failed")
    bench.clean()


def test_rolled_up_and_the_same_as_before(bench, old):
    """Also with workers and servers killed in the middle of it, and nobody
    waits for it."""
    talks = old[1]
    bench.worker(rollup_after_days=0).ready()
    live = young(bench)
    live.end()
    bench.settled(live.id)
    before, was = books(bench, talks), charges(bench)
    assert was >= 4
    counted(bench)

    # somebody reads the journal for long: it cannot be dropped
    reader = psycopg.connect(bench.dsn())
    reader.execute("LOCK TABLE ONLY ledger.transfer IN ACCESS SHARE MODE")
    doomed = bench.worker(rollup_after_days=90)

    def waiting():
        return bench.rows("SELECT pid FROM pg_stat_activity WHERE"
                          " datname = %s AND application_name ="
                          " 'billing_worker maintenance' AND"
                          " wait_event = 'PgSleep'", bench.name)

    pid, = eventually(waiting, 100)[0]
    other = Talk(bench).active().ticked(2)
    doomed.process.send_signal(signal.SIGKILL)
    doomed.process.wait()
    bench.one("SELECT pg_terminate_backend(%s)", pid)
    eventually(lambda: not bench.rows(
        "SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))
    reader.close()
    other.end()
    bench.settled(other.id)
    assert charges(bench) == was and 0 in parts(bench)
    assert bench.one("SELECT count(*) FROM ledger.session_rollup") == 0
    assert books(bench, talks)[1] == before[1]

    before = books(bench, talks)
    worker = bench.worker(rollup_after_days=90)
    # whoever finds another one at it comes again in a minute
    done = eventually(lambda: worker.said("charges rolled up"), 100)
    assert [(d["part"], d["transfers"]) for d in done] == [(0, was)]
    assert parts(bench) == {1, 2, 3, 4, 5}
    assert charges(bench) == 0
    assert books(bench, talks) == before
    assert bench.one("SELECT sum(transfers) FROM ledger.day_rollup") == was
    assert bench.one("SELECT sum(amount), sum(fee) FROM ledger.day_rollup") \
        == bench.one("SELECT sum(charged), sum(fee) FROM consult.session"
                     " WHERE id < %s", PART)
    assert maintain(bench) == []


@pytest.mark.parametrize("change, names", [
    ("UPDATE ledger.session_rollup SET amount = amount + 1 WHERE session_id ="
     " {id}", "session {id}: charged is"),
    ("UPDATE ledger.session_rollup SET fee = fee + 1 WHERE session_id = {id}",
     "session {id}: fee is"),
    ("UPDATE ledger.session_rollup SET promo = promo + 1 WHERE session_id ="
     " {id}", "session {id}: promo is"),
    ("UPDATE ledger.session_rollup SET charges = charges + 1 WHERE session_id"
     " = {id}", "session {id}: {more} charges were rolled up"),
    ("UPDATE ledger.session_rollup SET debit_account = 1 WHERE session_id ="
     " {id}", "session {id}: was rolled up as"),
    ("UPDATE ledger.session_rollup SET credit_account = 1 WHERE session_id ="
     " {id}", "session {id}: was rolled up as"),
    ("UPDATE ledger.session_rollup SET session_id = 77 WHERE session_id ="
     " {id}", "session 77: was rolled up, and there is no such session"),
    ("DELETE FROM ledger.session_rollup WHERE session_id = {id}",
     "session {id}: charges 1 to {no}: their transfers are missing"),
    ("UPDATE ledger.day_rollup SET amount = amount + 1",
     "partition 0: "),
    ("UPDATE ledger.day_rollup SET fee = fee + 1", "partition 0: "),
    ("UPDATE ledger.day_rollup SET promo = promo + 1", "partition 0: "),
    ("UPDATE ledger.day_rollup SET transfers = transfers + 1",
     "partition 0: "),
    ("UPDATE ledger.session_day_rollup SET amount = amount + 1",
     "session {id}: on its days"),
    ("UPDATE ledger.session_day_rollup SET fee = fee + 1",
     "session {id}: on its days"),
    ("UPDATE ledger.session_day_rollup SET promo = promo + 1",
     "session {id}: on its days"),
    ("DELETE FROM ledger.session_day_rollup", "session {id}: on its days"),
    ("UPDATE ledger.part_rollup SET amount = amount + 1", "partition 0: "),
    ("DELETE FROM ledger.part_rollup", "partition 0: "),
])
def test_audit_names_what_was_altered(rolled, change, names):
    bench, talk = rolled
    no = bench.session(talk.id, "charge_no")
    known = {"id": talk.id, "no": no, "more": no + 1}
    bench.rows("BEGIN")
    undo = [(table, bench.rows(f"SELECT to_jsonb(t)::text FROM {table} t"))
            for table in ("ledger.session_rollup", "ledger.day_rollup",
                          "ledger.session_day_rollup", "ledger.part_rollup")]
    bench.rows("COMMIT")

    try:
        bench.rows(change.format(**known))
        code, said = bench.audit()
        assert code == 1, said
        assert names.format(**known) in said, said
    finally:
        for table, rows in undo:
            bench.rows(f"DELETE FROM {table}")
            for row, in rows:
                bench.rows(f"INSERT INTO {table} SELECT * FROM"
                           f" jsonb_populate_record(NULL::{table},"
                           f" %s::jsonb)", row)

    bench.clean()


@pytest.fixture(scope="module")
def rolled(sql, redis, old):    # noqa: F811
    bench = Bench(sql, redis, old[0])
    bench.count = 100
    bench.worker(rollup_after_days=0).ready()
    live = young(bench)
    live.end()
    bench.settled(live.id)
    assert bench.workers[0].stop() == 0
    counted(bench)
    assert [row[:2] for row in maintain(bench)] == [("rolled up", 0)]
    bench.clean()
    yield bench, old[1][0]
    bench.close()


def test_what_is_not_settled_or_right_stays(bench, old):
    session = old[1][0].id
    bench.worker(rollup_after_days=0).ready()
    live = young(bench)
    live.end()
    bench.settled(live.id)
    assert bench.workers[0].stop() == 0     # it would settle

    def changed(change, undo):
        bench.rows(change, session)
        try:
            return maintain(bench)
        finally:
            bench.rows(undo, session)
            assert bench.one("SELECT count(*) FROM ledger.session_rollup") == 0
            bench.clean()

    assert changed("UPDATE consult.session SET settled = false WHERE id = %s",
                   "UPDATE consult.session SET settled = true WHERE id = %s"
                   ) == []
    assert changed("UPDATE consult.session SET ended_at = ended_at +"
                   " interval '80 days' WHERE id = %s",
                   "UPDATE consult.session SET ended_at = ended_at -"
                   " interval '80 days' WHERE id = %s") == []
    assert maintain(bench, 200) == []
    assert {row[0] for row in maintain(bench, 0)} <= {"made"}

    counted(bench)
    bench.rows("CREATE TABLE kept AS SELECT * FROM ledger.transfer")

    for change in ("amount = amount + 1", "fee = fee - 1",
                   "debit_account = 1", "credit_account = 1",
                   "charge_no = 99"):
        with pytest.raises(psycopg.DatabaseError) as said:
            changed(f"UPDATE ledger.transfer SET {change}"
                    " WHERE session_id = %s AND charge_no = 1",
                    "UPDATE ledger.transfer t SET amount = o.amount,"
                    " fee = o.fee, debit_account = o.debit_account,"
                    " credit_account = o.credit_account,"
                    " charge_no = o.charge_no FROM kept o"
                    " WHERE o.id = t.id AND t.session_id = %s")
        assert said.value.sqlstate == "AS002"


def test_not_before_the_daily_totals_have_it(bench):
    """What is gone cannot be counted any more."""
    bench.worker(rollup_after_days=0).ready()
    live = young(bench)
    live.end()
    bench.settled(live.id)
    assert bench.workers[0].stop() == 0
    assert bench.one("SELECT rolled_id < (SELECT max(id) FROM ledger.transfer"
                     " WHERE session_id < %s) FROM ledger.daily_mark", PART)
    assert maintain(bench) == [] and 0 in parts(bench)
    with psycopg.connect(bench.dsn(), autocommit=True) as conn:
        conn.execute("SET ROLE astro_engine")
        with pytest.raises(psycopg.DatabaseError) as said:
            conn.execute("SELECT billing.roll_up(0)")
        assert said.value.sqlstate == "AS002"

    counted(bench)
    assert [row[:2] for row in maintain(bench)] == [("rolled up", 0)]
    assert bench.one("SELECT sum(amount), sum(fee) FROM ledger.daily"
                     " WHERE kind = 'session'") \
        == bench.one("SELECT sum(charged), sum(fee) FROM consult.session")
    bench.clean()


def test_an_audit_and_a_roll_up_keep_apart(bench):
    bench.worker(rollup_after_days=0).ready()
    live = young(bench)
    live.end()
    bench.settled(live.id)
    counted(bench)

    with psycopg.connect(bench.dsn("astro_worker")) as audit:
        audit.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert audit.execute("SELECT billing.audit_begin()").fetchone() == (1,)
        assert maintain(bench) == []
        audit.rollback()

        # one that took its snapshot before, and came to the lock after
        with psycopg.connect(bench.dsn("astro_worker")) as late:
            late.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            late.execute("SELECT count(*) FROM pg_class")
            assert [row[:2] for row in maintain(bench)] == [("rolled up", 0)]
            assert late.execute("SELECT billing.audit_begin()").fetchone() \
                == (0,)

        with psycopg.connect(bench.dsn()) as keeper:
            keeper.execute("SELECT pg_advisory_xact_lock(2, 1)")
            assert audit.execute("SELECT billing.audit_begin()").fetchone() \
                == (0,)

    bench.clean()


@pytest.mark.parametrize("query", [
    "SELECT billing.roll_up(0)", "SELECT ledger.part_drop(0)",
    "SELECT ledger.part_make(9)", "DELETE FROM ledger.session_rollup",
    "SELECT * FROM ledger.part_rollup", "DROP TABLE ledger.transfer_s000000",
])
@pytest.mark.parametrize("role", ["astro_worker", "astro_web"])
def test_nobody_else_may(sql, query, role):    # noqa: F811
    with sql.connect(role) as conn, \
            pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(query)


def test_a_drop_looks_itself(sql):  # noqa: F811
    """Even the engine cannot drop what was not rolled up just now."""
    with psycopg.connect(sql.dsn(), autocommit=True) as conn:
        conn.execute("SET ROLE astro_engine")
        with pytest.raises(psycopg.DatabaseError) as said:
            conn.execute("SELECT ledger.part_drop(0)")
        assert said.value.sqlstate == "AS002"
