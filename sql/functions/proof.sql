-- proof: what an interval proves, said once: the engine, the audit and whoever
-- changes a session in the middle must not differ in it.
--
-- SQL and IMMUTABLE, so that they are inlined where they are called.  All in
-- milliseconds of the gateway's lease.

SET ROLE astro_engine;


-- consult.proven_life: until when its party is proven to have been there.  An
-- open interval proves presence until the lease's last renewal less the
-- gateway's silence, for a party may be gone that long before anybody notices;
-- under a closed lease, until its last renewal; none beyond its cut.
CREATE OR REPLACE FUNCTION consult.proven_life(open_life_ms bigint,
    close_life_ms bigint, cut_life_ms bigint, closed boolean, life_ms bigint,
    silence_ms int) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(open_life_ms,
                    least(coalesce(close_life_ms,
                                   CASE WHEN closed THEN life_ms
                                        ELSE life_ms - silence_ms END),
                          cut_life_ms))
$$;


-- consult.proves_on: whether it may come to prove more.
CREATE OR REPLACE FUNCTION consult.proves_on(close_life_ms bigint,
    cut_life_ms bigint, closed boolean, life_ms bigint, silence_ms int)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT close_life_ms IS NULL AND NOT closed
           AND (cut_life_ms IS NULL OR life_ms - silence_ms < cut_life_ms)
$$;


REVOKE ALL ON FUNCTION
    consult.proven_life(bigint, bigint, bigint, boolean, bigint, int),
    consult.proves_on(bigint, bigint, boolean, bigint, int) FROM PUBLIC;

RESET ROLE;
