-- waiting: who waits for an advisor, and whose turn it is.
--
-- The order is that of the rows' numbers.  When the advisor is free, is
-- connected and not away, the first of those who wait, and are in no session
-- themselves, has the advisor to themselves until offer_until; then the place is gone, and it is the next
-- one's turn.  Nobody keeps a place without a connection for longer than
-- waiting_grace_ms.  A worker looks each second; all is in the rows.

SET ROLE astro_engine;


-- consult.queue_length: how many wait for this advisor.
CREATE OR REPLACE FUNCTION consult.queue_length(advisor bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT count(*) FROM consult.waiting w
             WHERE w.advisor_id = advisor);
END
$$;


-- consult.queue_ms: how long a turn with this advisor takes: the mean of the
-- last ones, ten minutes if there were none.
CREATE OR REPLACE FUNCTION consult.queue_ms(advisor bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT avg(x.billed_ms)::bigint
                       FROM (SELECT s.billed_ms FROM consult.session s
                              WHERE s.advisor_wallet
                                    = consult.wallet_of(advisor, 'advisor')
                                AND s.state = 'ended' AND s.billed_ms > 0
                              ORDER BY s.advisor_wallet DESC, s.id DESC
                              LIMIT 20) x), 600000);
END
$$;


-- consult.queue_doc: the payload of queue_state, of who is in that place when a
-- turn takes so long.
CREATE OR REPLACE FUNCTION consult.queue_doc(w consult.waiting, place bigint,
    turn_ms bigint) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'advisor', 'u_' || w.advisor_id, 'service', w.service,
        'state', CASE WHEN w.offer_until IS NULL THEN 'waiting'
                      ELSE 'offered' END,
        'position', place,
        'eta_s', CASE WHEN w.offer_until IS NULL THEN place * turn_ms / 1000
                      ELSE 0 END,
        'offer_until', consult.ms(w.offer_until))
$$;


-- consult.queue_state: the same, of now.
CREATE OR REPLACE FUNCTION consult.queue_state(w consult.waiting) RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN consult.queue_doc(w, (SELECT count(*) FROM consult.waiting x
                                  WHERE x.advisor_id = w.advisor_id
                                    AND x.id <= w.id),
                             consult.queue_ms(w.advisor_id));
END
$$;


-- consult.queue_over: the payload when the place is gone.
CREATE OR REPLACE FUNCTION consult.queue_over(advisor bigint, service text,
    state text) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object('advisor', 'u_' || advisor, 'service', service,
               'state', state, 'position', NULL, 'eta_s', NULL,
               'offer_until', NULL)
$$;


-- consult.queue_moved: those who wait for this advisor are told where they are.
-- They are counted once: asked for one by one it would take as many squared.
CREATE OR REPLACE FUNCTION consult.queue_moved(advisor bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_turn bigint := consult.queue_ms(advisor);
BEGIN
    INSERT INTO consult.notice (account_id, type, payload)
    SELECT q.client_id, 'queue_state', q.doc
      FROM (SELECT w.id, w.client_id, consult.queue_doc(w, row_number()
                       OVER (ORDER BY w.id), v_turn) AS doc
              FROM consult.waiting w WHERE w.advisor_id = advisor) q
     ORDER BY q.id;
END
$$;


-- consult.queue_served: a client has started a session with this advisor, and
-- waits no more; nothing if they did not wait.
CREATE OR REPLACE FUNCTION consult.queue_served(client bigint, advisor bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM consult.waiting w
     WHERE w.client_id = queue_served.client
       AND w.advisor_id = queue_served.advisor;

    IF FOUND THEN
        PERFORM consult.queue_moved(advisor);
    END IF;
END
$$;


-- billing.waiting_turns: looks after all who wait.  One caller works, the others
-- have nothing to do.  Returns how many turns were given or ended.
CREATE OR REPLACE FUNCTION billing.waiting_turns() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    o       consult.booking_option;
    w       consult.waiting;
    v_now   timestamptz := clock_timestamp();
    v_left  bigint[]    := '{}';
    v_given bigint[]    := '{}';
BEGIN
    IF (SELECT true FROM consult.waiting x LIMIT 1) IS NULL
       OR NOT pg_try_advisory_xact_lock(2, 2) THEN
        RETURN 0;
    END IF;

    SELECT x.* INTO o FROM consult.booking_option x WHERE x.one;

    UPDATE consult.waiting x SET seen_at = v_now
     WHERE x.seen_at < v_now - least(o.waiting_grace_ms / 4, 5000)
                               * interval '1 millisecond'
       AND (SELECT true FROM consult.presence p
              JOIN consult.gateway g ON g.id = p.gateway_id
             WHERE p.account_id = x.client_id AND consult.fresh(g)
             LIMIT 1);

    -- a turn that was not taken; a place that nobody came back to
    FOR w IN DELETE FROM consult.waiting x
              WHERE x.offer_until <= v_now
                 OR x.seen_at < v_now - o.waiting_grace_ms
                                        * interval '1 millisecond'
             RETURNING x.*
    LOOP
        INSERT INTO consult.notice (account_id, type, payload)
        VALUES (w.client_id, 'queue_state',
                consult.queue_over(w.advisor_id, w.service,
                    CASE WHEN w.offer_until <= v_now THEN 'expired'
                         ELSE 'left' END));
        v_left := v_left || w.advisor_id;
    END LOOP;

    -- somebody was let in before: the place is kept, the turn comes again
    UPDATE consult.waiting x SET offer_until = NULL
     WHERE x.offer_until IS NOT NULL
       AND consult.live_of(x.advisor_id) IS NOT NULL;

    FOR w IN
        UPDATE consult.waiting x
           SET offer_until = v_now + o.offer_ms * interval '1 millisecond'
          FROM (SELECT min(y.id) FILTER (
                           WHERE consult.live_of(y.client_id) IS NULL) AS id,
                       y.advisor_id
                  FROM consult.waiting y GROUP BY y.advisor_id
                HAVING bool_and(y.offer_until IS NULL)) f
          JOIN identity.advisor d ON d.account_id = f.advisor_id
         WHERE x.id = f.id AND NOT d.away
           AND consult.live_of(f.advisor_id) IS NULL
           AND consult.reserved_for(f.advisor_id) IS NULL
           AND (SELECT true FROM consult.presence p
                  JOIN consult.gateway g ON g.id = p.gateway_id
                 WHERE p.account_id = f.advisor_id AND consult.fresh(g)
                 LIMIT 1)
        RETURNING x.*
    LOOP
        v_given := v_given || w.advisor_id;
    END LOOP;

    PERFORM consult.queue_moved(x.advisor)
       FROM (SELECT DISTINCT u.advisor
               FROM unnest(v_left || v_given) AS u(advisor)) x;

    RETURN cardinality(v_left) + cardinality(v_given);
END
$$;


REVOKE ALL ON FUNCTION consult.queue_length(bigint), consult.queue_ms(bigint),
    consult.queue_doc(consult.waiting, bigint, bigint),
    consult.queue_state(consult.waiting),
    consult.queue_over(bigint, text, text), consult.queue_moved(bigint),
    consult.queue_served(bigint, bigint), billing.waiting_turns() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.queue_length(bigint),
    consult.queue_state(consult.waiting),
    consult.queue_over(bigint, text, text), consult.queue_moved(bigint)
    TO astro_api;
GRANT EXECUTE ON FUNCTION billing.waiting_turns() TO astro_worker;

RESET ROLE;
SET ROLE astro_api;


-- api.queue_join: {"service":"chat|audio|video"?}: a client waits for an
-- advisor; who waits already keeps the place.
--
--   200 {advisor,service,state:"waiting"|"offered",position,eta_s,offer_until}
--       offer_until: milliseconds of the epoch, null unless it is their turn
--   400 bad_request, with its field
--   403 invalid_user_role
--   404 not_found                         no such advisor
--   409 conflict                          one waits for ten advisors at most
--   422 unsupported, field "/service"
--
-- Called by queue_join and PUT /api/advisors/{id}/queue.
CREATE OR REPLACE FUNCTION api.queue_join(caller bigint, advisor bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    w         consult.waiting;
    a         identity.advisor;
    v_service text := coalesce(consult.f_enum(doc, 'service',
                                              '{chat,audio,video}', false),
                               'chat');
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    PERFORM pg_advisory_xact_lock(1, hashint8(caller));

    PERFORM 1 FROM identity.account p
      WHERE p.id = queue_join.caller AND p.role = 'client' AND NOT p.blocked;

    IF NOT FOUND THEN
        PERFORM consult.fail('invalid_user_role', 'clients wait');
    END IF;

    SELECT d.* INTO a
      FROM identity.advisor d
      JOIN identity.account p ON p.id = d.account_id
     WHERE d.account_id = queue_join.advisor AND p.role = 'advisor'
       AND NOT p.blocked AND d.approved_at IS NOT NULL;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such advisor');
    END IF;

    IF (CASE v_service WHEN 'chat'  THEN a.rate_chat_minor
                       WHEN 'audio' THEN a.rate_audio_minor
                       WHEN 'video' THEN a.rate_video_minor END) IS NULL THEN
        PERFORM consult.fail('unsupported',
            'the advisor does not offer this service', '/service');
    END IF;

    IF (SELECT count(*) FROM consult.waiting x
         WHERE x.client_id = queue_join.caller
           AND x.advisor_id <> queue_join.advisor) >= 10 THEN
        PERFORM consult.fail('conflict', 'you wait for ten advisors');
    END IF;

    INSERT INTO consult.waiting AS x (advisor_id, client_id, service)
    VALUES (advisor, caller, v_service)
    ON CONFLICT (advisor_id, client_id) DO UPDATE
       SET service = excluded.service, seen_at = excluded.seen_at
    RETURNING x.* INTO w;

    RETURN QUERY SELECT 200, consult.queue_state(w);
END
$$;


-- api.queue_leave: a client does not wait any more.
--
--   200 {advisor,service,state:"left",position:null,eta_s:null,
--        offer_until:null}, also if they did not wait
--   404 not_found                         no such advisor
--
-- Called by queue_leave and DELETE /api/advisors/{id}/queue.
CREATE OR REPLACE FUNCTION api.queue_leave(caller bigint, advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_service text;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    DELETE FROM consult.waiting w
     WHERE w.client_id = queue_leave.caller
       AND w.advisor_id = queue_leave.advisor
    RETURNING w.service INTO v_service;

    IF FOUND THEN
        PERFORM consult.queue_moved(advisor);

    ELSE
        PERFORM 1 FROM identity.advisor d
          WHERE d.account_id = queue_leave.advisor;

        IF NOT FOUND THEN
            PERFORM consult.fail('not_found', 'no such advisor');
        END IF;
    END IF;

    RETURN QUERY SELECT 200, consult.queue_over(advisor, v_service, 'left');
END
$$;


-- api.queue: where the caller is.
--
--   200 as api.queue_join;  404 not_found: the caller does not wait there
--
-- Called by GET /api/advisors/{id}/queue.
CREATE OR REPLACE FUNCTION api.queue(caller bigint, advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    w consult.waiting;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT x.* INTO w FROM consult.waiting x
     WHERE x.client_id = queue.caller AND x.advisor_id = queue.advisor;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'you do not wait there');
    END IF;

    RETURN QUERY SELECT 200, consult.queue_state(w);
END
$$;


REVOKE ALL ON FUNCTION api.queue_join(bigint, bigint, json),
    api.queue_leave(bigint, bigint), api.queue(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.queue_join(bigint, bigint, json),
    api.queue_leave(bigint, bigint), api.queue(bigint, bigint) TO astro_web;

RESET ROLE;
