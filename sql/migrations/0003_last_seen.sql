-- 0003: when somebody was last really there.
--
-- Safe under the version before: it neither reads nor writes this, so who left
-- under it has no row, or an older one, until they leave again.

SET ROLE astro_owner;

-- One row for everybody who ever left.  Both columns change with every
-- departure and neither has an index, so updates stay HOT.
CREATE TABLE consult.last_seen (
    account_id bigint      NOT NULL PRIMARY KEY,
    -- the last octet that came from them
    seen_at    timestamptz NOT NULL,
    -- when their last socket of some worker closed: the grace counts from here
    left_at    timestamptz NOT NULL
) WITH (fillfactor = 70);

RESET ROLE;

GRANT SELECT, INSERT, UPDATE ON consult.last_seen TO astro_gateway,
      astro_engine;
