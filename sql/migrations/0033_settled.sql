-- 0033: when sessions were settled that were so before 0028: the walk over them,
-- which billing.maintain() takes a few thousand at a time, and the index by which
-- an advisor's earnings are found.
--
-- The index keeps writers of consult.session waiting while it is made (a second
-- or two for each million sessions), so nothing else that takes time is in this
-- migration.  To be asked for the lock for long keeps nobody waiting, either:
-- scripts/migrate.sh gives way after 3 s and tries again.

SET ROLE astro_owner;

-- Up to which session it has come, and up to which it goes: those after that
-- were made when the trigger of 0028 was there.
CREATE TABLE consult.settled_walk (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    after bigint  NOT NULL DEFAULT 0,
    until bigint  NOT NULL
);

RESET ROLE;

GRANT SELECT, INSERT, UPDATE (after) ON consult.settled_walk TO astro_engine;

SET ROLE astro_engine;

INSERT INTO consult.settled_walk (until)
SELECT coalesce(max(s.id), 0) FROM consult.session s;

RESET ROLE;
SET ROLE astro_owner;

-- no column that a tick writes
CREATE INDEX session_earned ON consult.session (advisor_wallet, settled_at);

RESET ROLE;
