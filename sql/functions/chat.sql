-- chat: durable events of conversations, read and written.

SET ROLE astro_api;


-- api.messages: a page of a conversation's events, oldest first, those after
-- the cursor (the seq of the last event seen).  cap: 1 to 200.  next_cursor is
-- null when nothing more is stored at this moment; asking again later with
-- the last seq goes on from there.
--
--   200 {"data":[{seq,type,ts,from,payload}],"next_cursor":null|".."}
--       from: "u_5", or null for the system.  payload: as it is by now, after
--       edits; of what was deleted, {..,"deleted":true}.  A message that was
--       changed has "ver" and "edited_at" or "deleted_at" too, one with
--       reactions "reactions":[{emoji,count}] and "my_reaction", the caller's
--       or null
--   400 bad_request, field "/cursor"
--   404 not_found                         no such conversation, or not in it
--
-- Called by GET /api/conversations/{id}/messages.
CREATE OR REPLACE FUNCTION api.messages(caller bigint, conv bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_after bigint := consult.cursor_id(cursor, 0);
    v_cap   int    := least(greatest(coalesce(cap, 50), 1), 200);
BEGIN
    IF v_after IS NULL THEN
        RETURN QUERY SELECT 400, consult.error('bad_request',
                                'no such cursor', '/cursor');
        RETURN;
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);
    PERFORM 1 FROM consult.conversation c WHERE c.id = messages.conv;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 404, consult.error('not_found',
                                'no such conversation');
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(m.doc ORDER BY m.seq),
                             array_agg(m.seq ORDER BY m.seq), v_cap)
      FROM (SELECT e.seq,
                   '{"seq":' || e.seq || ',"type":"' || e.type || '","ts":"'
                   || consult.rfc3339(e.at) || '","from":'
                   || coalesce('"u_' || e.sender_id || '"', 'null')
                   || ',"payload":' || coalesce(m.payload, e.payload)::text
                   || coalesce(',"ver":' || nullif(m.ver, 1), '')
                   || coalesce(',"edited_at":"' || consult.rfc3339(m.edited_at)
                               || '"', '')
                   || coalesce(',"deleted_at":"'
                               || consult.rfc3339(m.deleted_at) || '"', '')
                   || coalesce((
                       SELECT ',"reactions":[' || string_agg('{"emoji":'
                              || to_json(y.emoji)::text || ',"count":' || y.n
                              || '}', ',' ORDER BY y.n DESC, y.emoji)
                              || '],"my_reaction":'
                              || coalesce(to_json(max(y.mine))::text, 'null')
                         FROM (SELECT r.emoji, count(*) AS n,
                                      max(r.emoji) FILTER (WHERE r.account_id
                                          = messages.caller) AS mine
                                 FROM consult.reaction r
                                WHERE r.conversation_id = messages.conv
                                  AND r.seq = e.seq
                                GROUP BY r.emoji) y), '') || '}' AS doc
              FROM consult.event e
              LEFT JOIN consult.message_change m
                     ON m.conversation_id = e.conversation_id
                    AND m.seq = e.seq
             WHERE e.conversation_id = messages.conv AND e.seq > v_after
             ORDER BY e.seq LIMIT v_cap + 1) m;
END
$$;


-- api.sync: what a connection missed of a conversation: first a row with the
-- head alone, then the events after "after", in order, at most cap, as they
-- are written to a socket.  No row at all: the caller is not in it.
--
-- The head is read before the events, so an event stored in between can be
-- sent although its seq is above the head, and none is left out.
--
-- A message that was edited comes as it was, the edit after it; what was
-- deleted comes without its text.
--
-- Called by hello's resume, by "sync", and to fill a hole.
CREATE OR REPLACE FUNCTION api.sync(caller bigint, conv bigint, after bigint,
    cap int)
RETURNS TABLE (seq bigint, frame text, head bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY
    SELECT NULL::bigint, NULL::text, c.head
      FROM consult.conversation c WHERE c.id = sync.conv;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT e.seq, consult.frame(e.conversation_id, e.seq, e.at, e.type,
                                CASE WHEN (m.payload -> 'deleted') IS NULL
                                          AND (m.payload -> 'quote'
                                               -> 'deleted') IS NULL
                                     THEN e.payload ELSE m.payload END),
           NULL::bigint
      FROM consult.event e
      LEFT JOIN consult.message_change m
             ON m.conversation_id = e.conversation_id AND m.seq = e.seq
     WHERE e.conversation_id = sync.conv AND e.seq > sync.after
     ORDER BY e.seq LIMIT sync.cap;
END
$$;


-- api.conversations: the caller's conversations, newest first.  cap: 1 to 200;
-- the cursor is the last one's number.
--
--   200 {"data":[<conversation>],"next_cursor":null|".."}
--       conversation: {"conv":"c_8","with":{"user":"u_5","name"},"head",
--       "unread","delivered","read","peer_delivered","peer_read","last":null|
--       {seq,type,ts,from}}
--   400 bad_request, field "/cursor"
--
-- unread: messages of the other one after "read", without those deleted; at
-- most 10000 are counted.  delivered, read: how far the caller has got, and the
-- other one.
--
-- Called by GET /api/conversations.
CREATE OR REPLACE FUNCTION api.conversations(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_ids    bigint[];
BEGIN
    IF v_before IS NULL THEN
        RETURN QUERY SELECT 400, consult.error('bad_request',
                                'no such cursor', '/cursor');
        RETURN;
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    -- two lookups by index, rather than a walk over everybody's
    SELECT array_agg(x.id ORDER BY x.id DESC) INTO v_ids
      FROM (SELECT u.id
              FROM ((SELECT c.id FROM consult.conversation c
                      WHERE c.client_id = conversations.caller
                        AND c.id < v_before ORDER BY c.id DESC
                      LIMIT v_cap + 1)
                    UNION ALL
                    (SELECT c.id FROM consult.conversation c
                      WHERE c.advisor_id = conversations.caller
                        AND c.id < v_before ORDER BY c.id DESC
                      LIMIT v_cap + 1)) u
             ORDER BY u.id DESC LIMIT v_cap + 1) x;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(consult.conversation_doc(
                                           conversations.caller, n)::text
                                       ORDER BY n DESC), v_ids, v_cap)
      FROM unnest(v_ids) n;
END
$$;


-- api.conversation: one of them.
--
--   200 <conversation>
--   404 not_found
--
-- Called by GET /api/conversations/{c}.
CREATE OR REPLACE FUNCTION api.conversation(caller bigint, conv bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_doc json;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    v_doc := consult.conversation_doc(caller, conv);

    IF v_doc IS NULL THEN
        PERFORM consult.fail('not_found', 'no such conversation');
    END IF;

    RETURN QUERY SELECT 200, v_doc;
END
$$;


-- api.conversation_open: the one conversation of a client and an advisor, made
-- if there is none.  body: {"advisor":"u_5"}
--
--   201 <conversation>                    200 if it was there
--   400 bad_request, field "/advisor"
--   404 not_found, field "/advisor"
--
-- Called by POST /api/conversations.  Of many at once, the unique index lets
-- one in, and all get that.
CREATE OR REPLACE FUNCTION api.conversation_open(caller bigint, body json)
RETURNS TABLE (status int, body_out json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_advisor bigint := consult.f_id(body, 'advisor', 'u');
    v_id      bigint;
    v_status  int := 200;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT c.id INTO v_id FROM consult.conversation c
     WHERE c.client_id = conversation_open.caller
       AND c.advisor_id = v_advisor;

    IF NOT FOUND THEN
        PERFORM 1 FROM identity.advisor d
           JOIN identity.account a ON a.id = d.account_id
          WHERE d.account_id = v_advisor AND a.role = 'advisor'
            AND NOT a.blocked AND d.approved_at IS NOT NULL;

        IF NOT FOUND THEN
            PERFORM consult.fail('not_found', 'no such advisor', '/advisor');
        END IF;

        INSERT INTO consult.conversation (client_id, advisor_id)
        VALUES (conversation_open.caller, v_advisor)
        ON CONFLICT DO NOTHING RETURNING id INTO v_id;

        v_status := 201;

        IF v_id IS NULL THEN
            v_status := 200;

            SELECT c.id INTO STRICT v_id FROM consult.conversation c
             WHERE c.client_id = conversation_open.caller
               AND c.advisor_id = v_advisor;
        END IF;
    END IF;

    RETURN QUERY SELECT v_status, consult.conversation_doc(caller, v_id);
END
$$;


REVOKE ALL ON FUNCTION api.messages(bigint, bigint, int, text),
    api.sync(bigint, bigint, bigint, int),
    api.conversations(bigint, int, text), api.conversation(bigint, bigint),
    api.conversation_open(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.messages(bigint, bigint, int, text),
    api.sync(bigint, bigint, bigint, int),
    api.conversations(bigint, int, text), api.conversation(bigint, bigint),
    api.conversation_open(bigint, json) TO astro_web;

RESET ROLE;
SET ROLE astro_gateway;


-- api.chat_batch: stores a gateway's batch of messages.  The six arrays are
-- the columns of the batch, states one session state after the other: in one
-- of these a session of the conversation must be.  One row for each message,
-- in input order (ord from 1):
--
--   status     ok | not_participant | session_state | idempotency_mismatch
--   seq, ts    of the event; ts in epoch ms.  NULL unless ok
--   peer       the other party.  NULL if not_participant
--   dup        stored earlier, or earlier in this batch, by the same sender
--              with the same cid, type and payload (compared as texts): seq
--              and ts are the first one's, and nothing was stored
--
-- A repeat is answered even when the session has ended.  A NULL cid is never
-- a repeat.  A payload that is no JSON fails the whole batch: the caller tries
-- again in halves.
--
-- The conversations are locked first, in a statement of their own and in id
-- order.  What follows is one statement, whose snapshot is therefore newer
-- than any commit of another batch on them: stored cids and heads are the
-- last ones.  Nothing is done message by message.
--
-- The settings: a plan made while the tables were small must not scan them
-- when they have grown, and planning six arrays anew at each call would cost
-- more than a small batch.
CREATE OR REPLACE FUNCTION api.chat_batch(conv bigint[], sender bigint[],
    type text[], cid uuid[], payload text[], states text[])
RETURNS TABLE (ord int, status text, seq bigint, ts bigint, peer bigint,
               dup boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_at timestamptz;
    v_ts bigint;
BEGIN
    PERFORM 1 FROM consult.conversation c
      WHERE c.id = ANY(chat_batch.conv) ORDER BY c.id FOR NO KEY UPDATE;

    v_at := clock_timestamp();
    v_ts := consult.ms(v_at);

    RETURN QUERY
    WITH room AS MATERIALIZED (
        SELECT c.id, c.client_id, c.advisor_id, c.head,
               -- at most one; an EXISTS could become a scan of all live ones
               coalesce((SELECT s.state = ANY(chat_batch.states)
                           FROM consult.session s
                          WHERE s.client_id = c.client_id
                            AND s.conversation_id = c.id
                            AND s.state <> 'ended'), false) AS live
          FROM consult.conversation c
         WHERE c.id = ANY(chat_batch.conv)
    ), found AS (
        SELECT m.ord, m.conv, m.sender, m.type, m.cid, m.payload,
               r.head, r.live,
               CASE m.sender WHEN r.client_id  THEN r.advisor_id
                             WHEN r.advisor_id THEN r.client_id END AS peer,
               e.seq AS old_seq, e.at AS old_at,
               e.type = m.type AND e.payload::text = m.payload AS old_same,
               -- without a cid each is alone in its group
               CASE WHEN m.cid IS NULL THEN m.ord END AS alone
          FROM unnest(chat_batch.conv, chat_batch.sender, chat_batch.type,
                      chat_batch.cid, chat_batch.payload) WITH ORDINALITY
               AS m(conv, sender, type, cid, payload, ord)
          LEFT JOIN room r ON r.id = m.conv
          LEFT JOIN LATERAL (SELECT o.seq, o.at, o.type, o.payload
                               FROM consult.event o
                              WHERE o.conversation_id = m.conv
                                AND o.sender_id = m.sender
                                AND o.cid = m.cid
                              LIMIT 1) e ON true
    ), turn AS (
        SELECT f.*, row_number() OVER w = 1 AS first,
               first_value(f.type) OVER w = f.type
               AND first_value(f.payload) OVER w = f.payload AS same
          FROM found f
        WINDOW w AS (PARTITION BY f.conv, f.sender, f.cid, f.alone
                     ORDER BY f.ord)
    ), fresh AS (
        SELECT t.*, t.peer IS NOT NULL AND t.live AND t.old_seq IS NULL
                    AND t.first AS fresh
          FROM turn t
    ), numbered AS MATERIALIZED (
        SELECT f.*, f.head + count(*) FILTER (WHERE f.fresh)
                             OVER (PARTITION BY f.conv ORDER BY f.ord)
                    AS new_seq
          FROM fresh f
    ), stored AS (
        INSERT INTO consult.event (conversation_id, seq, at, type, sender_id,
                                   cid, payload)
        SELECT n.conv, n.new_seq, v_at, n.type, n.sender, n.cid,
               n.payload::json
          FROM numbered n WHERE n.fresh
    ), bumped AS (
        UPDATE consult.conversation c SET head = n.head
          FROM (SELECT b.conv, max(b.new_seq) AS head
                  FROM numbered b WHERE b.fresh GROUP BY b.conv) n
         WHERE c.id = n.conv
    ), answered AS (
        SELECT n.*,
               CASE WHEN n.peer IS NULL        THEN 'not_participant'
                    WHEN n.old_same            THEN 'ok'
                    WHEN n.old_seq IS NOT NULL THEN 'idempotency_mismatch'
                    WHEN NOT n.live            THEN 'session_state'
                    WHEN n.same                THEN 'ok'
                    ELSE 'idempotency_mismatch' END AS status,
               coalesce(n.old_seq, first_value(n.new_seq) OVER w) AS seq
          FROM numbered n
        WINDOW w AS (PARTITION BY n.conv, n.sender, n.cid, n.alone
                     ORDER BY n.ord)
    )
    SELECT a.ord::int, a.status,
           CASE WHEN a.status = 'ok' THEN a.seq END,
           CASE WHEN a.status = 'ok'
                THEN CASE WHEN a.old_seq IS NULL THEN v_ts
                          ELSE consult.ms(a.old_at) END END,
           a.peer, a.status = 'ok' AND NOT a.fresh
      FROM answered a
     ORDER BY a.ord;
END
$$;


REVOKE ALL ON FUNCTION
    api.chat_batch(bigint[], bigint[], text[], uuid[], text[], text[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    api.chat_batch(bigint[], bigint[], text[], uuid[], text[], text[])
    TO astro_web;

RESET ROLE;
SET ROLE astro_owner;


-- consult.conversation_doc: a conversation as the three above show it; NULL if
-- the caller is not in it.  They have set astro.caller.
CREATE OR REPLACE FUNCTION consult.conversation_doc(caller bigint, conv bigint)
RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    c        consult.conversation;
    e        consult.event;
    mine     consult.receipt;
    theirs   consult.receipt;
    v_peer   bigint;
    v_name   text;
    v_unread bigint;
BEGIN
    SELECT * INTO c FROM consult.conversation x WHERE x.id = conv;

    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    v_peer := CASE caller WHEN c.client_id THEN c.advisor_id
                          ELSE c.client_id END;

    SELECT a.name INTO v_name FROM identity.account a WHERE a.id = v_peer;
    SELECT * INTO mine FROM consult.receipt r
     WHERE r.conversation_id = conv AND r.account_id = caller;
    SELECT * INTO theirs FROM consult.receipt r
     WHERE r.conversation_id = conv AND r.account_id = v_peer;
    SELECT * INTO e FROM consult.event x
     WHERE x.conversation_id = conv AND x.seq = c.head;

    SELECT count(*) INTO v_unread
      FROM (SELECT 1 FROM consult.event x
              LEFT JOIN consult.message_change m
                     ON m.conversation_id = x.conversation_id
                    AND m.seq = x.seq
             WHERE x.conversation_id = conv
               AND x.seq > coalesce(mine.read, 0)
               AND x.type = 'chat_message' AND x.sender_id = v_peer
               AND m.deleted_at IS NULL
             LIMIT 10000) u;

    RETURN ('{"conv":"c_' || c.id || '","with":{"user":"u_' || v_peer
        || '","name":' || coalesce(to_json(v_name)::text, 'null')
        || '},"head":' || c.head || ',"unread":' || v_unread
        || ',"delivered":' || coalesce(mine.delivered, 0)
        || ',"read":' || coalesce(mine.read, 0)
        || ',"peer_delivered":' || coalesce(theirs.delivered, 0)
        || ',"peer_read":' || coalesce(theirs.read, 0)
        || ',"last":' || coalesce('{"seq":' || e.seq || ',"type":"' || e.type
               || '","ts":"' || consult.rfc3339(e.at) || '","from":'
               || coalesce('"u_' || e.sender_id || '"', 'null') || '}', 'null')
        || '}')::json;
END
$$;


REVOKE ALL ON FUNCTION consult.conversation_doc(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.conversation_doc(bigint, bigint)
    TO astro_api;

RESET ROLE;
