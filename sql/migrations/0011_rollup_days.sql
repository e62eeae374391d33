-- 0011: a session that was rolled up, and was charged on several days.
--
-- A statement cuts at midnight (UTC): of these few sessions it must still know
-- what was charged on which day.  Nothing of the version before reads it.

SET ROLE astro_owner;

CREATE TABLE ledger.session_day_rollup (
    session_id bigint      NOT NULL,
    day        date        NOT NULL,
    at         timestamptz NOT NULL,        -- of the first charge of that day
    amount     bigint      NOT NULL,
    fee        bigint      NOT NULL,
    promo      bigint      NOT NULL,
    PRIMARY KEY (session_id, day)
);

ALTER TABLE ledger.session_day_rollup ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.session_day_rollup FORCE ROW LEVEL SECURITY;

CREATE POLICY engine ON ledger.session_day_rollup FOR ALL TO astro_engine
    USING (true);

RESET ROLE;

GRANT SELECT, INSERT ON ledger.session_day_rollup TO astro_engine;
