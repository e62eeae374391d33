-- 0024: a pause ends what is open at its instant, whoever hears of it late.
--
-- cut_life_ms, in milliseconds of the gateway's lease as open_life_ms is:
-- nothing of the interval after it counts.  Set by api.session_pause on what is
-- open then.  The gateway goes on proving that its party was there up to it,
-- and closes the interval when it has heard of the pause, or is closed for dead.
--
-- Safe under the version before: its functions leave the column NULL, which is
-- no cut, and its worker reads intervals through functions that know of it.

SET ROLE astro_owner;

ALTER TABLE consult.interval ADD COLUMN cut_life_ms bigint
    CHECK (cut_life_ms >= open_life_ms);

RESET ROLE;
