-- prompts: what the engine tells people of by itself: that a favourite is there,
-- that a session is over and may be reviewed.

SET ROLE astro_engine;


-- billing.favorites_here: advisors who came are told of to those whose
-- favourites they are, to each once in favorite_ms for each advisor.  An advisor
-- who is gone for less than a minute has not left (billing.maintain), so drops
-- are not told.  One who is connected but away has not come yet.  Returns how
-- many people were told.
CREATE OR REPLACE FUNCTION billing.favorites_here(cap int) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_now  timestamptz := clock_timestamp();
    v_came bigint[];
    v_told int;
BEGIN
    WITH came AS (
        SELECT h.account_id FROM consult.advisor_here h
         WHERE NOT h.told
           AND (SELECT NOT d.away AND d.approved_at IS NOT NULL
                  FROM identity.advisor d WHERE d.account_id = h.account_id)
           AND (SELECT NOT a.blocked FROM identity.account a
                 WHERE a.id = h.account_id)
           AND (SELECT true FROM consult.presence p
                  JOIN consult.gateway g ON g.id = p.gateway_id
                 WHERE p.account_id = h.account_id AND consult.fresh(g)
                 LIMIT 1)
         LIMIT favorites_here.cap FOR NO KEY UPDATE SKIP LOCKED),
    told AS (
        UPDATE consult.advisor_here h SET told = true
          FROM came c WHERE h.account_id = c.account_id
        RETURNING h.account_id)
    SELECT array_agg(t.account_id) INTO v_came FROM told t;

    IF v_came IS NULL THEN
        RETURN 0;
    END IF;

    WITH told AS (
        UPDATE consult.favorite f SET told_at = v_now
          FROM consult.booking_option o
         WHERE f.advisor_id = ANY(v_came) AND o.one
           AND (f.told_at IS NULL
                OR f.told_at < v_now - o.favorite_ms
                                       * interval '1 millisecond')
        RETURNING f.client_id, f.advisor_id),
    said AS (
        INSERT INTO consult.notice (account_id, type, kind, payload)
        SELECT t.client_id, 'notification', 'favorite_online',
               json_build_object('advisor', json_build_object(
                   'id', 'u_' || t.advisor_id, 'name',
                   (SELECT a.name FROM identity.account a
                     WHERE a.id = t.advisor_id)))
          FROM told t)
    SELECT count(*) INTO v_told FROM told;

    RETURN v_told;
END
$$;


-- consult.advisor_away: an advisor who says that they are away has gone.
CREATE OR REPLACE FUNCTION consult.advisor_away(advisor bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE consult.advisor_here h SET told = false
     WHERE h.account_id = advisor_away.advisor AND h.told;
END
$$;


-- consult.session_over: when a session in which both were is settled, its client
-- is asked for a review (a trigger, migration 0021).
CREATE OR REPLACE FUNCTION consult.session_over() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM consult.tell(NEW.client_id, 'review_prompt', json_build_object(
        'session', 's_' || NEW.id, 'advisor', json_build_object(
            'id', 'u_' || NEW.advisor_id, 'name',
            (SELECT a.name FROM identity.account a
              WHERE a.id = NEW.advisor_id)),
        'until', consult.rfc3339(coalesce(NEW.ended_at, clock_timestamp())
                                 + interval '30 days')));
    RETURN NULL;
END
$$;


REVOKE ALL ON FUNCTION billing.favorites_here(int),
    consult.advisor_away(bigint), consult.session_over() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.advisor_away(bigint) TO astro_api;
GRANT EXECUTE ON FUNCTION billing.favorites_here(int) TO astro_worker;

RESET ROLE;
