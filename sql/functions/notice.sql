-- notice: what people are told beside their sessions: that they are booked,
-- that it is their turn, that somebody is there.
--
-- A row of consult.notice is made in the transaction that is the reason for it.
-- A billing worker takes it, once, and says it in Redis to whoever is
-- connected; with Redis or all workers away it waits.  Whoever was not there
-- reads the list.

SET ROLE astro_engine;


-- consult.tell: one more notification for somebody.
CREATE OR REPLACE FUNCTION consult.tell(account bigint, kind text,
    payload json) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO consult.notice (account_id, type, kind, payload)
    VALUES (tell.account, 'notification', tell.kind, tell.payload);
END
$$;


-- consult.notice_body: a notification as a list and a socket have it.
CREATE OR REPLACE FUNCTION consult.notice_body(n consult.notice) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ('{"id":"n_' || n.id || '","kind":"' || n.kind || '","at":"'
            || consult.rfc3339(n.at) || '","read":' || (n.read_at IS NOT NULL)
            || ',"about":' || n.payload::text || '}')::json;
END
$$;


-- billing.notices: up to cap of what was not told yet, which counts as told
-- now: (account, frame).  Of several workers each gets others.
CREATE OR REPLACE FUNCTION billing.notices(cap int)
RETURNS TABLE (account bigint, frame text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH due AS (
        SELECT n.id FROM consult.notice n WHERE n.told_at IS NULL
         ORDER BY n.id LIMIT notices.cap FOR NO KEY UPDATE SKIP LOCKED),
    told AS (
        UPDATE consult.notice n SET told_at = clock_timestamp()
          FROM due d WHERE n.id = d.id RETURNING n.*)
    SELECT t.account_id,
           '{"type":"' || t.type || '","payload":'
           || CASE t.type WHEN 'notification'
                   THEN consult.notice_body(t::consult.notice)
                   ELSE t.payload END::text || '}'
      FROM told t ORDER BY t.id;
END
$$;


-- billing.notices_sweep: forgets what is older than 90 days, or than a day if it
-- is in no list; of the oldest ones, a few at a time.
CREATE OR REPLACE FUNCTION billing.notices_sweep() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM consult.notice n
     WHERE n.id IN (SELECT x.id FROM consult.notice x
                     ORDER BY x.id LIMIT 1000)
       AND n.at < clock_timestamp() - CASE n.type WHEN 'notification'
                      THEN interval '90 days' ELSE interval '1 day' END
       AND NOT consult.held(n.account_id);
END
$$;


REVOKE ALL ON FUNCTION consult.tell(bigint, text, json),
    consult.notice_body(consult.notice), billing.notices(int),
    billing.notices_sweep() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.notice_body(consult.notice) TO astro_api;
GRANT EXECUTE ON FUNCTION billing.notices(int) TO astro_worker;

RESET ROLE;
SET ROLE astro_api;


-- api.notifications: what the caller was told, newest first.
--
--   200 {data:[{id:"n_1",kind,at,read,about:{..}}],next_cursor,unread}
--       kinds and what they are about: README of this folder
--   400 bad_request, field "/cursor"
--
-- Called by GET /api/notifications.
CREATE OR REPLACE FUNCTION api.notifications(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_docs   text[];
    v_ids    bigint[];
    v_unread bigint;
BEGIN
    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    SELECT array_agg(consult.notice_body(x::consult.notice)::text
                     ORDER BY x.id DESC),
           array_agg(x.id ORDER BY x.id DESC)
      INTO v_docs, v_ids
      FROM (SELECT n.* FROM consult.notice n
             WHERE n.account_id = notifications.caller
               AND n.type = 'notification' AND n.id < v_before
             ORDER BY n.id DESC LIMIT v_cap + 1) x;

    SELECT count(*) INTO v_unread FROM consult.notice n
     WHERE n.account_id = notifications.caller AND n.type = 'notification'
       AND n.read_at IS NULL;

    RETURN QUERY
    SELECT 200, (left(consult.page(v_docs, v_ids, v_cap)::text, -1)
                 || ',"unread":' || v_unread || '}')::json;
END
$$;


-- api.notifications_read: {"upto":"n_5"}: the caller has read these and all
-- before.
--
--   200 {unread}
--   400 bad_request, with its field
--
-- Called by PUT /api/notifications/read.
CREATE OR REPLACE FUNCTION api.notifications_read(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_upto bigint := consult.f_id(doc, 'upto', 'n');
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    UPDATE consult.notice n SET read_at = clock_timestamp()
     WHERE n.account_id = notifications_read.caller
       AND n.type = 'notification' AND n.read_at IS NULL AND n.id <= v_upto;

    RETURN QUERY
    SELECT 200, json_build_object('unread', count(*))
      FROM consult.notice n
     WHERE n.account_id = notifications_read.caller
       AND n.type = 'notification' AND n.read_at IS NULL;
END
$$;


REVOKE ALL ON FUNCTION api.notifications(bigint, int, text),
    api.notifications_read(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.notifications(bigint, int, text),
    api.notifications_read(bigint, json) TO astro_web;

RESET ROLE;
