-- presence: who is where, and since when no more.
--
-- The truth is one row of consult.presence for each account and gateway (an
-- nginx worker) that has it connected.  It is good for as long as the gateway's
-- lease is open and fresh: renewed within the last ttl_ms, which is the reader's
-- to say, and needs nobody alive to notice a death.  Who has no such row but
-- left less than grace_ms ago is still taken for present.

SET ROLE astro_gateway;


-- api.presence_left: the last sockets of users at this gateway have closed;
-- ages: milliseconds since each was last heard.  Works without a lease, too
-- (gateway 0): the rows went with it.
--
-- Called by each nginx worker, batched, and again after a failure.  Not for
-- users who are connected to that worker once more.
CREATE OR REPLACE FUNCTION api.presence_left(gateway bigint, users bigint[],
    ages bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    DELETE FROM consult.presence p
     WHERE p.gateway_id = presence_left.gateway
       AND p.account_id = ANY(presence_left.users);

    INSERT INTO consult.last_seen AS l (account_id, seen_at, left_at)
    SELECT u.id, v_now - min(u.age) * interval '1 millisecond', v_now
      FROM unnest(presence_left.users, presence_left.ages) AS u(id, age)
     GROUP BY u.id ORDER BY u.id
    ON CONFLICT (account_id) DO UPDATE
       SET seen_at = greatest(l.seen_at, excluded.seen_at),
           left_at = greatest(l.left_at, excluded.left_at);
END
$$;


-- api.presence_of: how it is with these users; a row for each, in no order.
--
--   state    0  nowhere
--            1  connected to a gateway whose lease is fresh
--            2  nowhere, but for less than grace_ms: wait_ms are left of it
--            3  connected, says a lease that is open but not fresh: its worker
--               is dead, or could not reach the database
--   seen_ms  when they were last there: as they left it, or the last renewal
--            of a lease that never came to say so.  NULL: not known
--
-- The settings, and LIMIT 1: a plan made while the tables were small must look
-- up by key when they have grown.
CREATE OR REPLACE FUNCTION api.presence_of(users bigint[], ttl_ms bigint,
    grace_ms bigint)
RETURNS TABLE (account bigint, state int, wait_ms bigint, seen_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_now    timestamptz := clock_timestamp();
    v_fresh  timestamptz := v_now - ttl_ms * interval '1 millisecond';
    v_grace  timestamptz := v_now - grace_ms * interval '1 millisecond';
BEGIN
    RETURN QUERY
    SELECT u.id,
           CASE WHEN p.renewed_at > v_fresh THEN 1
                WHEN l.left_at > v_grace THEN 2
                WHEN p.renewed_at IS NOT NULL THEN 3
                ELSE 0 END,
           consult.ms(greatest(l.left_at, v_grace)) - consult.ms(v_grace),
           consult.ms(greatest(l.seen_at, p.renewed_at))
      FROM unnest(presence_of.users) AS u(id)
      LEFT JOIN LATERAL
           (SELECT max(g.renewed_at) AS renewed_at
              FROM consult.presence x,
                   LATERAL (SELECT * FROM consult.gateway y
                             WHERE y.id = x.gateway_id LIMIT 1) g
             WHERE x.account_id = u.id AND NOT g.closed) p ON true
      LEFT JOIN LATERAL
           (SELECT * FROM consult.last_seen z
             WHERE z.account_id = u.id LIMIT 1) l ON true;
END
$$;


-- api.whereabouts: the same, and whether each is away: an advisor who wishes not
-- to be found online.  presence_of is for nginx workers of the version before.
CREATE OR REPLACE FUNCTION api.whereabouts(users bigint[], ttl_ms bigint,
    grace_ms bigint)
RETURNS TABLE (account bigint, state int, wait_ms bigint, seen_ms bigint,
    away boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.account, p.state, p.wait_ms, p.seen_ms,
           (SELECT d.away FROM identity.advisor d
             WHERE d.account_id = p.account) IS TRUE
      FROM api.presence_of(users, ttl_ms, grace_ms) p;
END
$$;


REVOKE ALL ON FUNCTION api.presence_left(bigint, bigint[], bigint[]),
    api.whereabouts(bigint[], bigint, bigint),
    api.presence_of(bigint[], bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.presence_left(bigint, bigint[], bigint[]),
    api.whereabouts(bigint[], bigint, bigint),
    api.presence_of(bigint[], bigint, bigint) TO astro_web;

RESET ROLE;
