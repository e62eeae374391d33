-- 0010: what is kept of the charges of old sessions.
--
-- Safe under the version before: nothing is rolled up but by a worker of this
-- one (rollup_after_days), and who reads sessions reads what they sum up to.

SET ROLE astro_owner;

-- What the transfers of one session came to.
CREATE TABLE ledger.session_rollup (
    session_id     bigint      PRIMARY KEY,
    debit_account  bigint      NOT NULL,
    credit_account bigint      NOT NULL,
    amount         bigint      NOT NULL,
    fee            bigint      NOT NULL,
    promo          bigint      NOT NULL,
    first_id       bigint      NOT NULL,
    last_id        bigint      NOT NULL,
    first_at       timestamptz NOT NULL,
    last_at        timestamptz NOT NULL,
    charges        int         NOT NULL CHECK (charges > 0)
);

-- What was rolled up of a partition by the day (UTC) on which it was charged:
-- with it, what the platform earned on a day can still be summed.
CREATE TABLE ledger.day_rollup (
    part      int    NOT NULL,
    day       date   NOT NULL,
    transfers bigint NOT NULL,
    amount    bigint NOT NULL,
    fee       bigint NOT NULL,
    promo     bigint NOT NULL,
    PRIMARY KEY (part, day)
);

-- The partitions that are gone: part n held the sessions from n * 2^20 on.
CREATE TABLE ledger.part_rollup (
    part      int         PRIMARY KEY CHECK (part >= 0),
    sessions  bigint      NOT NULL,
    transfers bigint      NOT NULL,
    amount    bigint      NOT NULL,
    fee       bigint      NOT NULL,
    promo     bigint      NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE ledger.session_rollup ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.session_rollup FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.day_rollup     ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.day_rollup     FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.part_rollup    ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.part_rollup    FORCE ROW LEVEL SECURITY;

CREATE POLICY engine ON ledger.session_rollup FOR ALL TO astro_engine
    USING (true);
CREATE POLICY engine ON ledger.day_rollup FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.part_rollup FOR ALL TO astro_engine
    USING (true);
-- whether a partition was rolled up, before it is dropped
CREATE POLICY owner ON ledger.part_rollup FOR SELECT TO astro_owner
    USING (true);

RESET ROLE;

-- Nobody who serves may change or remove what is written.
GRANT SELECT, INSERT ON ledger.session_rollup, ledger.day_rollup,
      ledger.part_rollup TO astro_engine;
