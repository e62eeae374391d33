-- retention: what is old is removed, unless somebody is held to keep it, or it
-- is disputed.
--
-- Of messages the words go, not the rows: numbers have no gaps, a client that
-- resumes over what was removed is told of messages that were deleted, as if
-- they had been.  Money and sessions stay.
--
-- Owned by astro_private, but for what the module calls.
--
-- Locks: the row of billing.retention or identity.erasure, then conversations by
-- id.

SET ROLE astro_private;


-- consult.held: are these people's data to be kept, whatever else is said?
CREATE OR REPLACE FUNCTION consult.held(VARIADIC who bigint[])
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM identity.hold h
                    WHERE h.account_id = ANY(who))
$$;


-- consult.disputed: is there a dispute about this conversation that nobody has
-- decided?
CREATE OR REPLACE FUNCTION consult.disputed(conv bigint) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM consult.dispute d
                    WHERE d.conversation_id = disputed.conv
                      AND d.state = 'open');
END
$$;


-- consult.words_remove: the words of the messages of a conversation from one
-- number to another, and of all that repeats them: edits, quotes, reactions; and
-- what was said with gifts.
-- who: those of this account alone; NULL: all.  The conversation is locked.
-- Returns how many messages that were.
CREATE OR REPLACE FUNCTION consult.words_remove(conv bigint, first bigint,
    last bigint, who bigint) RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_msgs  bigint[];
    v_acts  bigint[];
    v_at    timestamptz := clock_timestamp();
    v_n     int;
BEGIN
    v_msgs := ARRAY(SELECT e.seq FROM consult.event e
                     WHERE e.conversation_id = words_remove.conv
                       AND e.seq BETWEEN first AND last
                       AND e.type = 'chat_message'
                       AND (who IS NULL OR e.sender_id = who)
                     ORDER BY e.seq);

    -- edits of these, wherever they are, and what else was said there
    v_acts := ARRAY(SELECT unnest(m.edits) FROM consult.message_change m
                     WHERE m.conversation_id = words_remove.conv
                       AND m.seq = ANY(v_msgs)
                     UNION
                    SELECT e.seq FROM consult.event e
                     WHERE e.conversation_id = words_remove.conv
                       AND e.seq BETWEEN first AND last
                       AND e.type IN ('chat_edit', 'chat_react')
                       AND (who IS NULL OR e.sender_id = who));

    DELETE FROM consult.reaction r
     WHERE r.conversation_id = words_remove.conv
       AND (r.seq = ANY(v_msgs)
            OR r.account_id = who AND r.seq BETWEEN first AND last);

    INSERT INTO consult.message_change AS x (conversation_id, seq, ver,
           payload, deleted_at)
    SELECT conv, e.seq, 2, consult.message_payload(e.payload, NULL, NULL),
           v_at
      FROM consult.event e
     WHERE e.conversation_id = words_remove.conv AND e.seq = ANY(v_msgs)
    ON CONFLICT (conversation_id, seq) DO UPDATE
       SET ver = x.ver + (x.deleted_at IS NULL)::int,
           payload = excluded.payload, edits = '{}',
           deleted_at = coalesce(x.deleted_at, excluded.deleted_at);

    UPDATE consult.event e
       SET payload = consult.message_payload(e.payload, NULL, NULL)
     WHERE e.conversation_id = words_remove.conv AND e.seq = ANY(v_msgs);
    GET DIAGNOSTICS v_n = ROW_COUNT;

    DELETE FROM consult.message_change m
     WHERE m.conversation_id = words_remove.conv AND m.seq = ANY(v_acts);

    UPDATE consult.event e
       SET payload = ('{"from":' || coalesce((e.payload -> 'from')::text,
                                             'null')
                      || coalesce(',"cid":' || (e.payload -> 'cid')::text, '')
                      || ',"msg":' || coalesce((e.payload -> 'msg')::text,
                                               'null')
                      || CASE e.type WHEN 'chat_edit'
                              THEN ',"deleted":true'
                              ELSE ',"emoji":"","on":false,"reactions":[' END
                      -- what is left of others'
                      || CASE e.type WHEN 'chat_edit' THEN '' ELSE coalesce(
                           (SELECT string_agg('{"emoji":'
                                   || to_json(y.emoji)::text || ',"count":'
                                   || y.n || '}', ','
                                   ORDER BY y.n DESC, y.emoji)
                              FROM (SELECT r.emoji, count(*) AS n
                                      FROM consult.reaction r
                                     WHERE r.conversation_id
                                           = words_remove.conv
                                       AND r.seq = (e.payload ->> 'msg'
                                                    )::bigint
                                     GROUP BY r.emoji) y), '') || ']' END
                      || '}')::json
     WHERE e.conversation_id = words_remove.conv AND e.seq = ANY(v_acts);

    UPDATE consult.event e
       SET payload = ('{' || coalesce('"session":'
                                      || (e.payload -> 'session')::text
                                      || ',', '')
                      || '"from":' || (e.payload -> 'from')::text
                      || ',"amount":' || (e.payload -> 'amount')::text
                      || '}')::json
     WHERE e.conversation_id = words_remove.conv
       AND e.seq BETWEEN first AND last AND e.type = 'gift'
       AND (who IS NULL OR e.sender_id = who)
       AND e.payload -> 'note' IS NOT NULL;

    -- who quoted them
    UPDATE consult.event e
       SET payload = consult.message_payload(e.payload,
               (e.payload -> 'text')::text,
               '{"msg":' || q.msg || ',"from":'
               || coalesce((e.payload -> 'quote' -> 'from')::text, 'null')
               || ',"deleted":true}')
      FROM consult.quote q
     WHERE q.conversation_id = words_remove.conv AND q.msg = ANY(v_msgs)
       AND e.conversation_id = words_remove.conv AND e.seq = q.seq
       AND e.payload -> 'quote' IS NOT NULL;

    UPDATE consult.message_change m
       SET payload = consult.message_payload(m.payload,
               (m.payload -> 'text')::text,
               '{"msg":' || q.msg || ',"from":'
               || coalesce((m.payload -> 'quote' -> 'from')::text, 'null')
               || ',"deleted":true}')
      FROM consult.quote q
     WHERE q.conversation_id = words_remove.conv AND q.msg = ANY(v_msgs)
       AND m.conversation_id = words_remove.conv AND m.seq = q.seq
       AND m.payload -> 'quote' IS NOT NULL;

    DELETE FROM consult.quote q
     WHERE q.conversation_id = words_remove.conv
       AND (q.msg = ANY(v_msgs) OR q.seq = ANY(v_msgs));

    RETURN v_n;
END
$$;


-- billing.retain_messages: of the next cap conversations after this one, the
-- words of what is older than days; 1000 events at a time.  next: where to go
-- on, NULL: there are no more.
CREATE OR REPLACE FUNCTION billing.retain_messages(days int, after bigint,
    cap int, OUT next bigint, OUT n int)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c        record;
    v_before timestamptz := clock_timestamp() - make_interval(days => days);
    v_last   bigint;
    v_seen   int;
    v_left   int := 1000;
BEGIN
    n := 0;
    next := NULL;

    FOR c IN
        SELECT x.id, coalesce(r.seq, 0) AS gone,
               row_number() OVER (ORDER BY x.id) AS nth,
               consult.held(x.client_id, x.advisor_id)
               OR consult.disputed(x.id) AS held
          FROM (SELECT y.* FROM consult.conversation y
                 WHERE y.id > retain_messages.after
                 ORDER BY y.id LIMIT retain_messages.cap) x
          LEFT JOIN consult.removed r ON r.conversation_id = x.id
         ORDER BY x.id
    LOOP
        IF c.nth = cap THEN
            next := c.id;
        END IF;

        -- the next event is young, or there is none: nothing is locked
        CONTINUE WHEN c.held
             OR (SELECT e.at FROM consult.event e
                  WHERE e.conversation_id = c.id AND e.seq > c.gone
                  ORDER BY e.seq LIMIT 1) IS NOT DISTINCT FROM NULL
             OR (SELECT e.at FROM consult.event e
                  WHERE e.conversation_id = c.id AND e.seq > c.gone
                  ORDER BY e.seq LIMIT 1) >= v_before;

        PERFORM 1 FROM consult.conversation x WHERE x.id = c.id
            FOR NO KEY UPDATE;

        SELECT max(x.seq), count(*) INTO v_last, v_seen
          FROM (SELECT e.seq, e.at FROM consult.event e
                 WHERE e.conversation_id = c.id AND e.seq > c.gone
                 ORDER BY e.seq LIMIT v_left) x
         WHERE x.at < v_before;

        n := n + consult.words_remove(c.id, c.gone + 1, v_last, NULL);

        INSERT INTO consult.removed AS r (conversation_id, seq)
        VALUES (c.id, v_last)
        ON CONFLICT (conversation_id) DO UPDATE SET seq = excluded.seq;

        v_left := v_left - v_seen;

        IF v_left <= 0 THEN
            next := c.id - 1;       -- it may have more
            RETURN;
        END IF;
    END LOOP;
END
$$;


-- billing.retain_notices, _logins, _traces: the same of what people were told,
-- of logins that are over, and of what browsers measured in sessions and which
-- devices were on.
CREATE OR REPLACE FUNCTION billing.retain_notices(days int, after bigint,
    cap int, OUT next bigint, OUT n int)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    v_before timestamptz := clock_timestamp() - make_interval(days => days);
    v_ids    bigint[];
BEGIN
    v_ids := ARRAY(SELECT x.id FROM consult.notice x
                    WHERE x.id > retain_notices.after
                    ORDER BY x.id LIMIT retain_notices.cap);

    DELETE FROM consult.notice x
     WHERE x.id = ANY(v_ids) AND x.at < v_before
       AND NOT consult.held(x.account_id);
    GET DIAGNOSTICS n = ROW_COUNT;

    -- they are in order of time
    next := CASE WHEN cardinality(v_ids) = cap
                      AND NOT EXISTS (SELECT FROM consult.notice x
                                       WHERE x.id = v_ids[cap]
                                         AND x.at >= v_before)
                 THEN v_ids[cap] END;
END
$$;


CREATE OR REPLACE FUNCTION billing.retain_logins(days int, after bigint,
    cap int, OUT next bigint, OUT n int)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before timestamptz := clock_timestamp() - make_interval(days => days);
BEGIN
    DELETE FROM identity.login l
     WHERE l.id IN (SELECT x.id FROM identity.login x
                     WHERE coalesce(x.ended_at, x.ends_at) < v_before
                       AND NOT consult.held(x.account_id)
                     LIMIT retain_logins.cap);
    GET DIAGNOSTICS n = ROW_COUNT;

    next := CASE WHEN n = cap THEN after + 1 END;
END
$$;


CREATE OR REPLACE FUNCTION billing.retain_traces(days int, after bigint,
    cap int, OUT next bigint, OUT n int)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    v_before timestamptz := clock_timestamp() - make_interval(days => days);
    v_ids    bigint[];
    v_more   int;
BEGIN
    SELECT array_agg(x.id ORDER BY x.id) FILTER (WHERE NOT x.held),
           CASE WHEN count(*) = cap AND bool_and(x.created_at < v_before)
                THEN max(x.id) END
      INTO v_ids, next
      FROM (SELECT s.id, s.created_at,
                   consult.held(s.client_id, s.advisor_id) AS held
              FROM consult.session s WHERE s.id > retain_traces.after
             ORDER BY s.id LIMIT retain_traces.cap) x;

    DELETE FROM consult.session_quality q
     WHERE q.session_id = ANY(v_ids) AND q.at < v_before;
    GET DIAGNOSTICS n = ROW_COUNT;

    DELETE FROM consult.session_media m
     WHERE m.session_id = ANY(v_ids) AND m.at < v_before;
    GET DIAGNOSTICS v_more = ROW_COUNT;

    n := n + v_more;
END
$$;


-- billing.retain_next: a little of what is to be removed today, in one
-- transaction.  Each kind has its days, 0: it is kept for ever.  No row: there
-- is nothing more today, or other workers are at it.
CREATE OR REPLACE FUNCTION billing.retain_next(messages int, notices int,
    logins int, traces int)
RETURNS TABLE (kind text, removed int, total bigint, done boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    k       record;
    r       billing.retention;
    s       record;
    v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
    FOR k IN
        SELECT x.kind, x.days
          FROM (VALUES ('messages', messages), ('notices', notices),
                       ('logins', logins), ('traces', traces))
               AS x(kind, days)
         WHERE x.days > 0
    LOOP
        INSERT INTO billing.retention (kind, day) VALUES (k.kind, v_today)
        ON CONFLICT DO NOTHING;

        SELECT * INTO r FROM billing.retention x WHERE x.kind = k.kind
           FOR NO KEY UPDATE SKIP LOCKED;

        CONTINUE WHEN NOT FOUND
                      OR r.finished_at IS NOT NULL AND r.day >= v_today;

        -- a new day's walk begins at the beginning
        IF r.finished_at IS NOT NULL THEN
            r.after := 0;
            r.removed := 0;
        END IF;

        CASE k.kind
        WHEN 'messages' THEN
            SELECT * INTO s
              FROM billing.retain_messages(k.days, r.after, 200);
        WHEN 'notices' THEN
            SELECT * INTO s
              FROM billing.retain_notices(k.days, r.after, 1000);
        WHEN 'logins' THEN
            SELECT * INTO s
              FROM billing.retain_logins(k.days, r.after, 1000);
        ELSE
            SELECT * INTO s
              FROM billing.retain_traces(k.days, r.after, 200);
        END CASE;

        UPDATE billing.retention x
           SET day = v_today, after = coalesce(s.next, x.after),
               removed = r.removed + s.n,
               finished_at = CASE WHEN s.next IS NULL
                                  THEN clock_timestamp() END
         WHERE x.kind = k.kind;

        RETURN QUERY SELECT k.kind, s.n, r.removed + s.n, s.next IS NULL;
        RETURN;
    END LOOP;
END
$$;


-- billing.retain_again: as if nothing had been done today.
CREATE OR REPLACE FUNCTION billing.retain_again() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM billing.retention x WHERE x.finished_at IS NOT NULL
$$;


REVOKE ALL ON FUNCTION consult.held(bigint[]), consult.disputed(bigint),
    consult.words_remove(bigint, bigint, bigint, bigint),
    billing.retain_messages(int, bigint, int),
    billing.retain_notices(int, bigint, int),
    billing.retain_logins(int, bigint, int),
    billing.retain_traces(int, bigint, int),
    billing.retain_next(int, int, int, int), billing.retain_again()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.held(bigint[])
   TO astro_gateway, astro_engine;
GRANT EXECUTE ON FUNCTION billing.retain_next(int, int, int, int),
    billing.retain_again() TO astro_worker;

RESET ROLE;
SET ROLE astro_owner;

GRANT EXECUTE ON FUNCTION consult.message_payload(json, text, text),
    consult.fail(text, text, text) TO astro_private;
GRANT SELECT, UPDATE (said) ON consult.dispute TO astro_private;
GRANT SELECT, DELETE ON stats.signin TO astro_private;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_policy p
                    WHERE p.polrelid = 'consult.dispute'::regclass
                      AND p.polname = 'words') THEN
        CREATE POLICY words ON consult.dispute FOR UPDATE TO astro_private
            USING (true);
    END IF;

    IF NOT EXISTS (SELECT FROM pg_policy p
                    WHERE p.polrelid = 'stats.signin'::regclass
                      AND p.polname = 'forget') THEN
        CREATE POLICY forget ON stats.signin FOR DELETE TO astro_private
            USING (true);
    END IF;
END
$$;

RESET ROLE;
SET ROLE astro_api;


-- api.hold_set: {hold,reason}: nothing of this account is removed from now on,
-- be it old or its owner's wish; or it may be again.
--
--   200 {user,hold,reason,at}
--   400 bad_request, with its field       reason: wanted with hold
--   403 forbidden                         no admin (any more)
--   404 not_found                         no such account
--
-- Called by PUT /api/admin/users/{id}/hold.
CREATE OR REPLACE FUNCTION api.hold_set(caller bigint, account bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_hold   boolean := consult.f_bool(doc, 'hold');
    v_reason text    := consult.f_text(doc, 'reason', 1, 500, v_hold);
    v_at     timestamptz;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT consult.caller_is_admin() THEN
        PERFORM consult.fail('forbidden', 'only an admin holds accounts');
    END IF;

    IF NOT EXISTS (SELECT FROM identity.account a
                    WHERE a.id = hold_set.account) THEN
        PERFORM consult.fail('not_found', 'no such account');
    END IF;

    IF v_hold THEN
        INSERT INTO identity.hold AS h (account_id, reason, held_by)
        VALUES (account, v_reason, caller)
        ON CONFLICT (account_id) DO UPDATE
           SET reason = excluded.reason, held_by = excluded.held_by
        RETURNING h.at INTO v_at;
    ELSE
        DELETE FROM identity.hold h WHERE h.account_id = hold_set.account;
    END IF;

    PERFORM consult.admin_act(caller, 'user_hold', 'u_' || account,
                jsonb_build_object('hold', v_hold, 'reason', v_reason));

    RETURN QUERY
    SELECT 200, json_build_object('user', 'u_' || account, 'hold', v_hold,
                                  'reason', CASE WHEN v_hold
                                                 THEN v_reason END,
                                  'at', consult.rfc3339(v_at));
END
$$;


REVOKE ALL ON FUNCTION api.hold_set(bigint, bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.hold_set(bigint, bigint, json) TO astro_web;

RESET ROLE;
