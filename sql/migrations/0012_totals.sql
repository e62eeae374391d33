-- 0012: what the journal comes to by day and kind, and whose earnings are
-- credited when.
--
-- Safe under the version before: it knows nothing of these.  The index is small
-- (one entry for 32 pages), so that making it is one pass over the journal, and
-- keeping it costs a charge next to nothing.

SET ROLE astro_owner;

-- How a roll-up finds what is new in a partition that is ordered by nothing but
-- its growth.  Partitions that are made later get it when they are attached.
CREATE INDEX transfer_new ON ledger.transfer USING brin (id)
    WITH (pages_per_range = 32, autosummarize = on);

-- All transfers up to daily_mark.rolled_id, by the day (UTC) of each.
CREATE TABLE ledger.daily (
    day       date   NOT NULL,
    kind      text   NOT NULL,
    transfers bigint NOT NULL,
    amount    bigint NOT NULL,
    fee       bigint NOT NULL,
    promo     bigint NOT NULL,
    PRIMARY KEY (day, kind)
) WITH (fillfactor = 50);

CREATE TABLE ledger.daily_mark (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    rolled_id bigint  NOT NULL DEFAULT 0,
    -- every transfer up to this id is committed, or never will be
    safe_id   bigint  NOT NULL DEFAULT 0,
    CHECK (safe_id >= rolled_id)
);

INSERT INTO ledger.daily_mark DEFAULT VALUES;

-- When the live sessions of a shard were credited last.
CREATE TABLE billing.credit_turn (
    shard smallint    PRIMARY KEY,
    at    timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

INSERT INTO billing.credit_turn (shard) SELECT generate_series(0, 255);

RESET ROLE;

GRANT SELECT, INSERT, UPDATE ON ledger.daily TO astro_engine;
GRANT SELECT, UPDATE ON ledger.daily_mark, billing.credit_turn TO astro_engine;
