"""What the list of capabilities says of billing, row by row, where no other
test says it: G1, G2, G3, G5.  (features.txt names the others.)
"""

import ctypes
import pathlib
import re
import subprocess
import threading
from fractions import Fraction
from math import floor

import psycopg
import pytest

from billing_fixture import BINARY, Bench, Talk
from billing_fixture import bench, empty, redis     # noqa: F401
from sql_fixture import ROOT, sql       # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")

# prints seconds; knows of no money
INEXACT = {"metrics.c"}


# G1 --------------------------------------------------------------------------

def test_g1_a_total_does_not_depend_on_the_ticks(
        sql, redis, empty):     # noqa: F811
    """The same talk beside workers that tick each 1, 5, 15 and 60 s: charged
    is floor(rate * ms / 60000) of the whole, in however many charges."""
    benches = {tick: Bench(sql, redis, empty) for tick in (1, 5, 15, 60)}
    charges, wrong = {}, []

    def talk(tick, bench):
        try:
            bench.worker(tick_seconds=tick,
                         paid_ahead_seconds=tick + 5).ready()
            talk = Talk(bench, rate=77777).active()

            if tick == 1:
                talk.ticked(2)
            else:
                threading.Event().wait(1.5)

            talk.end()
            ms, charged = bench.settled(talk.id)
            assert charged == floor(Fraction(77777, 60000) * ms) > 0
            charges[tick] = talk.ticks()
            bench.clean()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=talk, args=x) for x in benches.items()]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    for bench in benches.values():
        bench.close()

    assert not wrong, wrong
    assert charges[1] > 2 and charges[60] == 1, charges


# G2 --------------------------------------------------------------------------

def test_g2_money_is_whole_numbers_of_one_currency(sql):    # noqa: F811
    """No float in any column that has to do with money, nor in the C that
    reckons with it; a deployment has one currency, of three letters."""
    found = sql.admin(
        "SELECT table_schema, table_name, column_name, data_type"
        "  FROM information_schema.columns"
        " WHERE table_schema IN ('ledger', 'billing', 'consult')"
        "   AND (data_type IN ('real', 'double precision', 'numeric',"
        "                      'money')"
        "        OR column_name ~ '(amount|balance|minor|fee|charged|held)$'"
        "           AND data_type NOT IN ('bigint', 'boolean'))"
        # sums over all of a day; shares of quality, which nobody pays for
        "   AND (data_type <> 'numeric' OR column_name !~ '^(amount|fee)$')"
        "   AND table_name <> 'session_quality'")
    assert found == []

    code = [f"{path.name}:{n}: {line.strip()}"
            for path in (ROOT / "billing_worker").rglob("*.[ch]")
            if path.name not in INEXACT
            for n, line in enumerate(path.read_text().splitlines(), 1)
            if re.search(r"\b(float|double|strtod|atof)\b", line)]
    assert code == []
    assert sql.one("SELECT count(*) FROM ledger.deployment") == 1

    for wrong in ("inr", "IN", "RUPEE", None):
        with pytest.raises(psycopg.Error):
            sql.admin("UPDATE ledger.deployment SET currency = %s", wrong)


# G3 --------------------------------------------------------------------------

def test_g3_an_advisor_who_is_to_pay_pays_nothing(bench):      # noqa: F811
    """A session was planted whose payer is an advisor: it ends, and there is
    no transfer of it."""
    bench.worker().ready()
    talk = Talk(bench, rate=60000)
    bench.rows("UPDATE identity.account SET role = 'advisor' WHERE id = %s",
               talk.client)
    talk.join()
    assert bench.settled(talk.id, "invalid_user_role") == (0, 0)
    assert bench.one("SELECT count(*) FROM ledger.transfer"
                     " WHERE session_id = %s", talk.id) == 0
    assert bench.wallet(talk.client) == (100000, 0)
    bench.clean()


# G5 --------------------------------------------------------------------------

@pytest.fixture(scope="module")
def tariff(tmp_path_factory):
    """The worker's own tariff.c, to be called from here."""
    made = tmp_path_factory.mktemp("tariff") / "tariff.so"
    core = ROOT / "billing_worker" / "core"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", made,
                    core / "tariff.c"], check=True)
    return ctypes.CDLL(str(pathlib.Path(made)))


class Tariff(ctypes.Structure):
    """billing_tariff_t"""
    _fields_ = [("rate", ctypes.c_int64), ("commission_bps", ctypes.c_int32),
                ("whole_minute", ctypes.c_uint8),
                ("min_minor", ctypes.c_int64), ("free_ms", ctypes.c_int64),
                ("max_minor", ctypes.c_int64),
                ("segments", ctypes.c_void_p), ("nsegments", ctypes.c_size_t)]


@pytest.mark.parametrize("bps", [1000, 3000])
def test_g5_every_amount_is_split_exactly(tariff, bps):
    """10/90 and 30/70, for every amount up to 10^5: what the advisor gets and
    what the platform keeps is what the client paid; the
    platform's is rounded down, and of one more minor unit one at the most."""
    t = Tariff(rate=6000, commission_bps=bps)
    fee = ctypes.c_int64()
    before = 0

    for amount in range(1, 100001):
        assert tariff.billing_tariff_fee(ctypes.byref(t),
                                         ctypes.c_int64(amount),
                                         ctypes.byref(fee)) == 0
        assert fee.value == amount * bps // 10000
        # a charge more: what is added is split, too
        assert 0 <= fee.value - before <= 1
        before = fee.value


def test_g5_a_changed_commission_is_for_sessions_to_come(bench):     # noqa: F811
    """The advisor's part of a session is what it was when it began."""
    bench.worker().ready()
    talk = Talk(bench, rate=60000, bps=3000).active().ticked()
    bench.rows("UPDATE identity.advisor SET commission_bps = 1000"
               " WHERE account_id = %s", talk.advisor)
    talk.ticked().end()
    ms, charged = bench.settled(talk.id)
    fee, = bench.rows("SELECT fee, commission_bps FROM consult.session"
                      " WHERE id = %s", talk.id)
    assert fee == (charged * 3000 // 10000, 3000)
    assert bench.wallet(talk.advisor) == (charged - fee[0], 0)
    assert bench.wallet(talk.client)[0] == 100000 - charged
    bench.clean()
