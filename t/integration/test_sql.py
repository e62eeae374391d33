"""SQL alone: migrations, who may what, and the functions behind REST."""

import json
import os
import re
import shutil
import subprocess
import uuid

import psycopg
import pytest
from psycopg import errors

from sql_fixture import (MIGRATE, ROOT, at_once, call, call1, make_session,
                         migrate, sql, web)

SERVING = ["astro_web", "astro_worker", "astro_api", "astro_gateway",
           "astro_hello", "astro_signer", "astro_group", "astro_admin",
           "astro_private", "astro_engine"]
SIGNATURES = {
    "register(text, text, text)": "astro_api",
    "credentials(text)": "astro_api",
    "me(bigint)": "astro_api",
    "advisors(bigint, integer, text)": "astro_api",
    "advisor(bigint, bigint)": "astro_api",
    "wallet(bigint)": "astro_api",
    "wallet_group(bigint[])": "astro_group",
    "wallet_transactions(bigint, integer, text)": "astro_api",
    "session(bigint, bigint)": "astro_api",
    "messages(bigint, bigint, integer, text)": "astro_api",
    "hello(bigint, bigint, bigint[])": "astro_hello",
    "hello_batch(bigint[], bigint, integer[], bigint[])": "astro_hello",
    "sync(bigint, bigint, bigint, integer)": "astro_api",
    "session_start(bigint, bigint, text, uuid, bigint, bigint, boolean)":
        "astro_api",
    "session_apply(bigint, bigint, text, text[], text, text[], text, bigint,"
    " bigint)": "astro_api",
    "session_join(bigint, bigint, bigint, bigint, text[])": "astro_api",
    "gateway_open(text, integer, integer)": "astro_gateway",
    "gateway_renew(bigint, bigint, bigint[], bigint[], text[], bigint[],"
    " integer[])": "astro_gateway",
    "gateway_close(bigint, bigint)": "astro_gateway",
    "gateway_intervals(bigint, bigint[])": "astro_gateway",
    "presence(bigint, bigint[], bigint[])": "astro_gateway",
    "presence_left(bigint, bigint[], bigint[])": "astro_gateway",
    "presence_of(bigint[], bigint, bigint)": "astro_gateway",
    "chat_batch(bigint[], bigint[], text[], uuid[], text[], text[])":
        "astro_gateway",
}


# migrations ------------------------------------------------------------------

def test_migrate_twice(sql):
    assert "applied 0001_schema" in sql.first.stdout
    assert "applied" not in sql.second.stdout
    assert sql.one("SELECT count(*) FROM migration.astro_migration") == len(
        list((ROOT / "sql" / "migrations").glob("*.sql")))


@pytest.fixture
def copied(sql, tmp_path):
    """A copy of sql/ that may be edited, and an empty database for it."""
    copy = tmp_path / "sql"
    shutil.copytree(ROOT / "sql", copy)
    name = sql.new_database()
    yield copy, sql.dsn(name=name)
    sql.drop_database(name)


def test_what_was_credited_before_is_known_by_its_charge(copied):
    """0013 finds in the inbox which payment of an order was credited."""
    copy, dsn = copied
    last = copy / "migrations" / "0013_charge.sql"
    text = last.read_text()
    for newer in list((copy / "migrations").iterdir()):
        if newer.name >= last.name:
            newer.unlink()
    # as of then: what came later has no tables here
    for file in (copy / "functions").iterdir():
        file.write_text("")
    migrate(dsn, copy)

    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO identity.account (email, name, role, password_hash)"
            " VALUES ('a@x.test', 'a', 'client', 'h')")
        conn.execute(
            "INSERT INTO ledger.payment (provider, payment_id, owner_id,"
            " amount, currency, status, transfer_id) SELECT v.p, v.i, a.id, 7,"
            " 'INR', v.s, v.t FROM identity.account a, (VALUES"
            " ('razorpay', 'order_1', 'paid', 1), ('stripe', 'pi_1', 'paid',"
            " 2), ('stripe', 'pi_2', 'expected', NULL)) v (p, i, s, t)")
        conn.execute(
            "INSERT INTO ledger.webhook_inbox (provider, event_id, type, body,"
            " state, kind, payment_id) VALUES"
            " ('razorpay', '1', 'x', '{\"payload\": {\"payment\":"
            " {\"entity\": {\"id\": \"pay_1\"}}}}', 'applied', 'paid',"
            " 'order_1'), ('stripe', '2', 'x', '{\"data\": {\"object\":"
            " {\"latest_charge\": \"ch_1\"}}}', 'applied', 'paid',"
            " 'pi_1'), ('razorpay', '3', 'x', '{\"payload\": {\"payment\":"
            " {\"entity\": {\"id\": \"pay_2\"}}}}', 'ignored', 'paid',"
            " 'order_1'), ('stripe', '4', 'x', 'none', 'parked', 'paid',"
            " 'pi_2')")
        last.write_text(text)
        migrate(dsn, copy)
        assert conn.execute("SELECT charge FROM ledger.payment ORDER BY id"
                            ).fetchall() == [("pay_1",), ("ch_1",), (None,)]


def test_migrate_refuses(copied):
    copy, dsn = copied
    migrate(dsn, copy)
    more = copy / "migrations" / "0102_more.sql"

    more.write_text("CREATE TABLE consult.more ();\nSELECT 1 / 0;\n")
    failed = migrate(dsn, copy, check=False)
    assert failed.returncode == 3 and "division by zero" in failed.stderr

    more.write_text("CREATE TABLE consult.more ();\n")
    assert "applied 0102_more" in migrate(dsn, copy).stdout

    more.write_text("CREATE TABLE consult.more (edited int);\n")
    failed = migrate(dsn, copy, check=False)
    assert failed.returncode == 3 and "0102_more was edited" in failed.stderr

    more.unlink()
    failed = migrate(dsn, copy, check=False)
    assert failed.returncode == 3 and "older than" in failed.stderr

    more.write_text("CREATE TABLE consult.more ();\n")
    late = copy / "migrations" / "0101_late.sql"
    late.write_text("SELECT 1;\n")
    failed = migrate(dsn, copy, check=False)
    assert failed.returncode == 3 and "0101_late" in failed.stderr

    late.rename(copy / "migrations" / "0102_twin.sql")
    failed = migrate(dsn, copy, check=False)
    assert failed.returncode == 1 and "two migrations" in failed.stderr


def test_migrations_leave_the_functions_of_before(sql):
    """Between a migration and the functions after it the version before goes
    on: what it calls acts as whom it did."""
    dsn = sql.dsn(name=sql.new_database())
    first, *rest = sorted((ROOT / "sql" / "migrations").glob("*.sql"))

    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(first.read_text())
        conn.execute("""
            SET ROLE astro_api;
            CREATE FUNCTION api.hello(caller bigint, gateway bigint,
                convs bigint[])
            RETURNS TABLE (kind text, id bigint, num bigint, doc text)
            LANGUAGE sql SECURITY DEFINER AS $$
                SELECT a.email, a.id, NULL::bigint, NULL::text
                  FROM identity.account a WHERE a.id = hello.caller $$;
            GRANT EXECUTE ON FUNCTION api.hello(bigint, bigint, bigint[])
               TO astro_web;
            RESET ROLE""")
        for migration in rest:
            conn.execute(migration.read_text())
            conn.execute("SET ROLE astro_web")
            conn.execute("SELECT * FROM api.hello(1, 1, '{}')")
            conn.execute("RESET ROLE")


def test_migrate_two_at_once(copied):
    copy, dsn = copied
    (copy / "migrations" / "0102_slow.sql").write_text(
        "SELECT pg_sleep(0.5);\nCREATE TABLE consult.slow ();\n")

    def run(_, barrier):
        barrier.wait()
        return migrate(dsn, copy)

    done = at_once(run, 3)
    assert sum("applied 0102_slow" in d.stdout for d in done) == 1
    assert sum("waiting" in d.stdout for d in done) == 2


def test_migrate_gives_way(copied):
    """Somebody reads a table for long: nobody else waits behind us."""
    copy, dsn = copied
    migrate(dsn, copy)
    (copy / "migrations" / "9001_alter.sql").write_text(
        "ALTER TABLE identity.account ADD COLUMN given_way int;\n")

    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM identity.account")
        done = migrate(dsn, copy, check=False, ASTRO_MIGRATE_TRIES="1")
        assert done.returncode == 3
        assert "lock timeout" in done.stderr

        env = dict(os.environ, ASTRO_SQL_DIR=str(copy))
        with subprocess.Popen([MIGRATE, dsn], env=env, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as waiting:
            for line in waiting.stderr:
                # it has given way once, and the lock is let go
                if "trying again" in line:
                    break
            reader.rollback()
            said, complained = waiting.communicate()

    assert "trying again" in line
    assert waiting.returncode == 0, complained
    assert "applied 9001_alter" in said


def test_migrate_words():
    asked = subprocess.run([MIGRATE, "--help"], text=True, check=True,
                           capture_output=True)
    assert "usage:" in asked.stdout
    env = {"PATH": "/usr/bin:/bin"}
    bare = subprocess.run([MIGRATE], text=True, env=env, capture_output=True)
    assert bare.returncode == 1 and "ASTRO_PG_ADMIN" in bare.stderr
    away = migrate("host=/nonexistent dbname=x", check=False)
    assert away.returncode == 2 and "/nonexistent" in away.stderr


# who may what ----------------------------------------------------------------

def test_functions_and_owners(sql):
    found = sql.admin(
        "SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid)"
        " || ')', p.proargtypes::regtype[]::text[], p.proname,"
        " p.proowner::regrole::text, p.prosecdef, p.proconfig,"
        " has_function_privilege('astro_web', p.oid, 'EXECUTE'),"
        " EXISTS (SELECT FROM aclexplode(coalesce(p.proacl,"
        "         acldefault('f', p.proowner))) WHERE grantee = 0)"
        " FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace")
    owners = {}

    for _, types, name, owner, definer, config, web_may, public in found:
        key = f"{name}({', '.join(types)})"
        owners[key] = owner
        assert definer and web_may and not public, key
        assert "search_path=pg_catalog, pg_temp" in config, key

    assert {k: owners.get(k) for k in SIGNATURES} == SIGNATURES


def test_no_function_for_public(sql):
    assert sql.admin(
        "SELECT p.oid::regprocedure::text FROM pg_proc p"
        " WHERE p.pronamespace::regnamespace::text IN ('api', 'consult',"
        " 'billing', 'ledger', 'identity') AND EXISTS (SELECT FROM"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))"
        " WHERE grantee = 0)") == []


def test_web_and_worker_touch_no_table(sql):
    tables = sql.admin(
        "SELECT c.oid, c.oid::regclass::text FROM pg_class c"
        " WHERE c.relkind IN ('r', 'p', 'v', 'S') AND"
        " c.relnamespace::regnamespace::text IN ('identity', 'ledger',"
        " 'consult', 'api', 'billing', 'migration')")
    assert len(tables) > 12

    for role in ["astro_web", "astro_worker"]:
        for oid, name in tables:
            kind = "sequence" if name.endswith("_seq") else "table"
            rights = ["USAGE"] if kind == "sequence" else [
                "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]

            for right in rights:
                assert not sql.one(
                    f"SELECT has_{kind}_privilege(%s, %s::oid, %s)", role, oid,
                    right), (role, name, right)

    with sql.connect() as conn:
        for table in ["ledger.wallet", "consult.event", "identity.account",
                      "billing.shard_lease", "migration.astro_migration"]:
            with pytest.raises(errors.InsufficientPrivilege):
                conn.execute(f"SELECT * FROM {table}")

        for role in ["astro_api", "astro_owner", "astro_engine"]:
            with pytest.raises(errors.InsufficientPrivilege):
                conn.execute(f"SET ROLE {role}")

        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute("CREATE TABLE public.mine ()")

        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute("SELECT consult.wallet_of(1, 'client')")


def test_roles(sql):
    roles = sql.admin("SELECT rolname, rolcanlogin, rolsuper, rolbypassrls,"
                      " rolinherit, coalesce(rolconfig, '{}') FROM pg_roles"
                      " WHERE rolname LIKE 'astro\\_%%'")
    assert {r[0] for r in roles} == {*SERVING, "astro_owner"}

    for name, login, superuser, bypass, inherit, config in roles:
        assert login == (name in ("astro_web", "astro_worker"))
        assert not superuser and not bypass and not inherit

        if login:
            assert "lock_timeout=2s" in config

    owned = sql.one("SELECT count(*) FROM pg_class c JOIN pg_roles r"
                    " ON r.oid = c.relowner WHERE c.relkind = 'r'"
                    " AND r.rolname = ANY(%s)", SERVING)
    assert owned == 0


def test_transfers_are_append_only(sql):
    for role in SERVING:
        for right in ["UPDATE", "DELETE", "TRUNCATE"]:
            assert not sql.one("SELECT has_table_privilege(%s,"
                               " 'ledger.transfer', %s)", role, right)

        assert not sql.one("SELECT has_any_column_privilege(%s,"
                           " 'ledger.transfer', 'UPDATE')", role)

    for role in ["astro_api", "astro_gateway", "astro_engine"]:
        with psycopg.connect(sql.dsn(), autocommit=True) as conn:
            conn.execute(f"SET ROLE {role}")

            for query in ["UPDATE ledger.transfer SET amount = 1",
                          "DELETE FROM ledger.transfer"]:
                with pytest.raises(errors.InsufficientPrivilege):
                    conn.execute(query)


def test_rls_without_where(sql):
    """As astro_api with a caller set, a query that forgot its WHERE shows the
    caller's rows alone; without a caller, none."""
    people = [sql.client(), sql.advisor(), sql.client(), sql.advisor()]
    mine = make_session(sql, *people[:2])
    other = make_session(sql, *people[2:])
    tables = ["ledger.wallet", "ledger.transfer", "consult.conversation",
              "consult.event", "consult.session", "consult.interval"]

    for table in tables:
        assert sql.one("SELECT relrowsecurity AND relforcerowsecurity"
                       " FROM pg_class WHERE oid = %s::regclass", table)

    with psycopg.connect(sql.dsn(), autocommit=True) as conn:
        conn.execute("SET ROLE astro_api")

        for who, rows in [(people[0], mine), (people[1], mine),
                          (people[2], other), (0, None), ("", None)]:
            conn.execute("SELECT set_config('astro.caller', %s, false)",
                         (str(who),))
            seen = [conn.execute(f"SELECT * FROM {t}").fetchall()
                    for t in tables]

            if rows is None:
                assert seen == [[], [], [], [], [], []]
                continue

            assert [len(s) for s in seen] == [1, 1, 1, 2, 1, 1]
            assert seen[0][0][1] == who
            assert [seen[1][0][1], seen[1][0][2]] == rows[2]
            assert seen[2][0][0] == rows[0] and seen[4][0][0] == rows[1]

        conn.execute("SELECT set_config('astro.caller', %s, false)",
                     (str(people[0]),))

        # nor can one write a row for somebody else, or change billing's
        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute("INSERT INTO consult.conversation (client_id,"
                         " advisor_id) VALUES (%s, %s)",
                         (people[2], people[1]))

        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute("UPDATE consult.session SET charged = 0")

        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute("UPDATE ledger.wallet SET balance = 1")

        assert conn.execute("UPDATE consult.session SET ver = ver + 1"
                            ).rowcount == 1


def test_caller_does_not_outlive_the_call(sql, web):
    call(web, "wallet", sql.client())
    assert web.execute("SELECT current_setting('astro.caller', true)"
                       ).fetchone()[0] in (None, "")


# identity, advisors, wallet --------------------------------------------------

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def inr(amount):
    return {"amount": amount, "currency": "INR"}


def test_register_and_me(sql, web):
    email = f"New.{uuid.uuid4().hex}@Sql.test"
    made = call1(web, "register", email, "hash", "Zoë \"Z\"")
    assert made["status"] == 201
    body = made["body"]
    assert STAMP.match(body.pop("created_at"))
    who = int(body["id"][2:])
    assert body == {"id": f"u_{who}", "email": email.lower(),
                    "name": "Zoë \"Z\"", "role": "client"}

    again = call1(web, "register", email.upper(), "h", "x")
    assert again["status"] == 409
    assert again["body"]["code"] == "conflict"
    assert again["body"]["field"] == "/email"

    known = call1(web, "credentials", email)
    assert known == {"id": who, "role": "client", "password_hash": "hash",
                     "blocked": False}
    assert call(web, "credentials", "nobody@sql.test") == []

    assert call1(web, "me", who)["body"]["email"] == email.lower()
    assert call1(web, "wallet", who)["body"]["available"] == inr(0)

    sql.admin("UPDATE identity.account SET blocked = true WHERE id = %s", who)
    assert call1(web, "me", who)["status"] == 401
    assert call1(web, "me", 0)["body"]["code"] == "unauthorized"
    assert call1(web, "credentials", email)["blocked"] is True


def test_register_race(sql):
    email = f"race.{uuid.uuid4().hex}@sql.test"

    def work(_, barrier):
        with sql.connect() as conn:
            barrier.wait()
            return call1(conn, "register", email, "h", "n")["status"]

    assert sorted(at_once(work, 10)) == [201] + [409] * 9


def test_advisors(sql, web):
    caller = sql.client()
    ids = [sql.advisor(), sql.advisor(chat=None, video=7), sql.advisor()]
    hidden = sql.advisor()
    sql.admin("UPDATE identity.account SET blocked = true WHERE id = %s",
              hidden)
    gateway = call1(web, "gateway_open", "n", 1, 8000)["gateway"]
    call(web, "presence", gateway, ids[:1], [])
    make_session(sql, caller, ids[1])

    one = call1(web, "advisor", caller, ids[0])
    assert one["status"] == 200
    assert one["body"] == {
        "id": f"u_{ids[0]}", "name": "advisor \"q\"",
        "headline": "says \"so\"", "bio": "long",
        "specialties": ["tarot", "stars"],
        "languages": [], "experience": 0, "city": "",
        "rates": {"chat": inr(6000), "audio": inr(9000), "video": None},
        "rating": {"average": None, "count": 0}, "queue": 0,
        "online": True, "busy": False, "status": "online",
        "free_ms": {"audio": 0, "chat": 0, "video": 0}}
    assert call1(web, "advisor", caller, caller)["status"] == 404
    assert call1(web, "advisor", caller, hidden)["status"] == 404

    seen, cursor = [], str(ids[0] - 1)

    while cursor is not None:
        page = call1(web, "advisors", caller, 1, cursor)["body"]
        assert len(page["data"]) == 1
        seen += page["data"]
        cursor = page["next_cursor"]

    assert [s["id"] for s in seen[:3]] == [f"u_{i}" for i in ids]
    assert [s["busy"] for s in seen[:3]] == [False, True, False]
    assert [s["online"] for s in seen[:3]] == [True, False, False]
    assert seen[1]["rates"] == {"chat": None, "audio": inr(9000),
                                "video": inr(7)}
    assert "bio" not in seen[0]
    assert f"u_{hidden}" not in [s["id"] for s in seen]

    call(web, "gateway_close", gateway, 1)
    assert call1(web, "advisor", caller, ids[0])["body"]["online"] is False


def test_bad_cursors(sql, web):
    who = sql.client()
    conv = make_session(sql, who, sql.advisor())[0]

    for cursor in ["x", "-1", "1 ", "1e3", "9" * 19, "१"]:
        for name, args in [("advisors", ()), ("wallet_transactions", ()),
                           ("messages", (conv,))]:
            bad = call1(web, name, who, *args, 10, cursor)
            assert bad["status"] == 400, (name, cursor)
            assert bad["body"]["code"] == "bad_request"
            assert bad["body"]["field"] == "/cursor"


def test_wallet(sql, web):
    client, advisor = sql.client(5000), sql.advisor()
    sql.admin("UPDATE ledger.wallet SET held = 700 WHERE owner_id = %s",
              client)
    sql.admin("UPDATE ledger.wallet SET balance = 11 WHERE owner_id = %s",
              advisor)
    assert call1(web, "wallet", client) == {"status": 200, "body": {
        "balance": inr(5000), "held": inr(700), "available": inr(4300)}}

    # charged 100, fee 30, credited 20: 50 more than the wallet's own 11
    session = make_session(sql, client, advisor)[1]
    assert call1(web, "wallet", advisor)["body"]["balance"] == inr(61)
    sql.admin("UPDATE consult.session SET state = 'ended' WHERE id = %s",
              session)
    assert call1(web, "wallet", advisor)["body"]["balance"] == inr(61)
    sql.admin("UPDATE consult.session SET settled = true, credited = 70"
              " WHERE id = %s", session)
    assert call1(web, "wallet", advisor)["body"]["available"] == inr(11)

    admin = sql.one("INSERT INTO identity.account (email, name, role,"
                    " password_hash) VALUES (%s, 'a', 'admin', 'h')"
                    " RETURNING id", f"{uuid.uuid4().hex}@sql.test")
    assert call1(web, "wallet", admin)["status"] == 404
    assert call1(web, "wallet", 0)["status"] == 404


def test_wallet_transactions(sql, web):
    client, advisor = sql.client(), sql.advisor()
    _, session, (mine, other) = make_session(sql, client, advisor)
    sql.admin("INSERT INTO ledger.transfer (debit_account, credit_account,"
              " amount, kind, reference) SELECT 1, %s, n, 'topup', 'r' || n"
              " FROM generate_series(1, 5) n", mine)
    sql.admin("INSERT INTO ledger.transfer (debit_account, credit_account,"
              " amount, fee, kind, session_id, charge_no) SELECT %s, %s, n, 1,"
              " 'session', %s, n FROM generate_series(2, 6) n", mine, other,
              session)
    sql.admin("UPDATE consult.session SET charged = 120, fee = 35 WHERE id ="
              " %s", session)
    seen, cursor = [], None

    while True:
        page = call1(web, "wallet_transactions", client, 2, cursor)
        assert page["status"] == 200 and len(page["body"]["data"]) <= 2
        seen += page["body"]["data"]
        cursor = page["body"]["next_cursor"]

        if cursor is None:
            break

    numbers = [int(s["id"][2:]) for s in seen[:5]]
    assert numbers == sorted(numbers, reverse=True)
    assert {s["id"][:2] for s in seen[:5]} == {"t_"}
    assert len(set(numbers)) == 5 and len(seen) == 6
    assert STAMP.match(seen[5].pop("at"))
    assert seen[5] == {"id": f"s_{session}", "kind": "session",
                       "direction": "debit", "amount": inr(120),
                       "fee": inr(35), "session": f"s_{session}"}
    assert seen[0]["kind"] == "topup" and seen[0]["session"] is None
    assert {s["direction"] for s in seen if s["kind"] == "topup"} == {"credit"}

    theirs = call1(web, "wallet_transactions", advisor, 200, None)["body"]
    assert len(theirs["data"]) == 1 and theirs["next_cursor"] is None
    assert {t["direction"] for t in theirs["data"]} == {"credit"}
    nobody = call1(web, "wallet_transactions", sql.client(), 9, None)
    assert nobody["body"] == {"data": [], "next_cursor": None}


def test_compact_json(sql, web):
    """What a client gets is compact: no space outside of strings."""
    client, advisor = sql.client(), sql.advisor()
    session = make_session(sql, client, advisor)[1]

    for query in [f"api.session({client}, {session})",
                  f"api.wallet({client})", f"api.me({client})",
                  f"api.advisor({client}, {advisor})",
                  f"api.wallet_transactions({client}, 5, NULL)"]:
        text = web.execute(f"SELECT body::text FROM {query}").fetchone()[0]
        assert text == json.dumps(json.loads(text), separators=(",", ":"),
                                  ensure_ascii=False), query
