"""The bugs: what to change in a copy of the tree, and which test must fail.

A change is (file, text, other text); the text must be there exactly once, or
the bug has rotted and the run says so.  luck: the test catches it because of
what happens to happen; then it must do so three times of three.
"""

APPLY = "sql/functions/billing_apply.sql"
BATCH = "billing_worker/batch.c"
SIM = "t/unit/sim_db.h"             # what SQL does, in the simulator
PYTEST = "t/integration/"

# the database's last guard, which would turn an overdraft into an error
NO_CHECK = ("sql/functions/billing_apply.sql", "SET ROLE astro_engine;\n",
            "ALTER TABLE ledger.wallet DROP CONSTRAINT IF EXISTS"
            " wallet_money;\nSET ROLE astro_engine;\n")


class Bug:
    def __init__(self, name, what, changes, test, makes="worker", luck=False):
        """makes: what has to be built for the test: worker, unit, module, or
        nothing."""
        self.name, self.what, self.changes = name, what, changes
        self.test, self.makes, self.luck = test, makes, luck


BUGS = [
    Bug("per-tick rounding",
        "a tick is charged the tariff of its own ms, each rounded down",
        [("billing_worker/core/engine_purse.c",
          "    d->amount = charged - f->charged;\n",
          "    if (billing_tariff_charged(&f->tariff, ms - f->billed_ms,\n"
          "                               &d->amount)\n"
          "        != BILLING_OK)\n"
          "    {\n"
          "        return BILLING_ERROR;\n"
          "    }\n")],
        "check_billing_sim", "unit"),

    Bug("no charge number",
        "a decision is carried out whatever was charged since it was made",
        [(APPLY, "                         OR x.charge_no <> d.charge_no\n",
          ""),
         (APPLY, "SELECT d.*, x.client_wallet,",
          "SELECT d.*, x.charge_no AS no_now, x.client_wallet,"),
         (APPLY, "'session', d.id, d.charge_no + 1,",
          "'session', d.id, d.no_now + 1,")],
        PYTEST + "test_billing_worker.py::test_the_fence"),

    Bug("no charge number in a tick",
        "the same for what is charged by heart",
        [("sql/functions/tick.sql",
          "           AND x.charge_no = d.no AND x.held = d.was\n",
          "           AND x.held = d.was\n")],
        PYTEST + "test_billing_heart.py::test_every_guard_is_needed"),

    Bug("rev not asked for",
        "a decision is carried out though an interval was closed meanwhile",
        [(APPLY, "x.rev <> d.rev OR x.held <> d.was", "x.held <> d.was"),
         (SIM, "r->rev != x->rev || r->held != x->was", "r->held != x->was")],
        "check_billing_sim", "unit"),

    Bug("hold not asked for",
        "a decision is carried out though another one holds meanwhile",
        [(APPLY, "x.rev <> d.rev OR x.held <> d.was", "x.rev <> d.rev"),
         (SIM, "r->rev != x->rev || r->held != x->was", "r->rev != x->rev")],
        "check_billing_sim", "unit"),

    Bug("no fence",
        "who has lost its shards goes on to charge",
        [("sql/functions/billing.sql",
          "    IF v_held IS DISTINCT FROM cardinality(shards) THEN\n",
          "    IF false THEN\n")],
        PYTEST + "test_billing_worker.py::test_the_fence"),

    Bug("time moved before the commit",
        "billed_ms goes on before it is certain that the money does",
        [("sql/functions/tick.sql",
          "    WITH book AS (\n        UPDATE consult.session x\n",
          "    UPDATE consult.session x SET billed_ms = d.ms\n"
          "      FROM unnest(tick.ids, tick.billed_ms) AS d(id, ms)\n"
          "     WHERE x.id = d.id;\n\n"
          "    WITH book AS (\n        UPDATE consult.session x\n")],
        PYTEST + "test_billing_heart.py"),

    Bug("per-process balance",
        "a worker remembers what a wallet had; SQL believes it",
        [NO_CHECK,
         (APPLY, "needed > available THEN 'funds'",
          "needed < 0 THEN 'funds'"),
         (BATCH,
          "    f.tick_ms = place->session->tick_ms;\n",
          "    {\n"
          "        static int64_t  known[65536];\n\n"
          "        if (known[place->session->wallet & 65535] == 0) {\n"
          "            known[place->session->wallet & 65535] = f.balance + 1;\n"
          "        }\n\n"
          "        f.balance = known[place->session->wallet & 65535] - 1\n"
          "                    - f.charged;\n"
          "    }\n\n"
          "    f.tick_ms = place->session->tick_ms;\n")],
        PYTEST + "test_billing_worker.py::test_a_top_up_extends"),

    Bug("hold not checked",
        "a gift spends what a session holds",
        [NO_CHECK,
         ("sql/functions/ledger.sql",
          "    ELSIF w.balance - w.held < amount THEN\n"
          "        RAISE EXCEPTION 'only % is available', w.balance - w.held\n"
          "              USING ERRCODE = 'AS002';\n\n"
          "    ELSE\n"
          "        transfer_id := billing.ledger_post('gift',",
          "    ELSIF w.balance < amount THEN\n"
          "        RAISE EXCEPTION 'only % is available', w.balance - w.held\n"
          "              USING ERRCODE = 'AS002';\n\n"
          "    ELSE\n"
          "        transfer_id := billing.ledger_post('gift',")],
        PYTEST + "test_sql_ledger.py::test_what_is_held_is_nobody_elses",
        "nothing"),

    Bug("hold not checked by the engine",
        "a tick holds what other sessions of the wallet hold already",
        [NO_CHECK,
         (APPLY, "w.balance - w.held AS available",
          "w.balance AS available"),
         ("billing_worker/core/engine_facts.c",
          "    e->funds = e->committed + f->balance - f->wallet_held;\n",
          "    e->funds = e->committed + f->balance;\n")],
        "check_billing_sim", "unit"),

    Bug("refund twice",
        "a refund is not looked for by its reference",
        [("sql/functions/ledger_back.sql",
          "    t := billing.ledger_done('refund', reference);\n",
          "    t := NULL;\n"),
         ("sql/functions/ledger_back.sql", "SET ROLE astro_engine;\n",
          "DROP INDEX IF EXISTS ledger.transfer_reference;\n"
          "SET ROLE astro_engine;\n")],
        PYTEST + "test_sql_ledger.py::test_a_refund_happens_once",
        "nothing"),

    Bug("paid_until ignored by the gateway",
        "nginx relays on when it is not paid any more",
        [("ngx_astro_module/ngx_astro_sessions.c",
          "    s->unpaid = 1;\n"
          "    life = ngx_max(",
          "    if (s->paid_until_ms) {\n"
          "        return;\n"
          "    }\n\n"
          "    s->unpaid = 1;\n"
          "    life = ngx_max("),
         ("ngx_astro_module/ngx_astro_sessions.c",
          "        && ngx_astro_timeline_of(ngx_astro_life_ms())"
          " >= s->paid_until_ms)\n"
          "    {\n"
          "        return NGX_ASTRO_E_UNPAID;\n",
          "        && s->paid_until_ms < 0)\n"
          "    {\n"
          "        return NGX_ASTRO_E_UNPAID;\n")],
        PYTEST + "test_session_money.py"
        "::test_the_gateway_stops_at_paid_until", "module"),
]
