-- chat: durable events of conversations, read and written.

SET ROLE astro_api;


-- api.messages: a page of a conversation's events, oldest first, those after
-- the cursor (the seq of the last event seen).  cap: 1 to 200.  next_cursor is
-- null when nothing more is stored at this moment; asking again later with
-- the last seq goes on from there.
--
--   200 {"data":[{seq,type,ts,from,payload}],"next_cursor":null|".."}
--       from: "u_5", or null for the system
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
                   || ',"payload":' || e.payload::text || '}' AS doc
              FROM consult.event e
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
                                e.payload), NULL::bigint
      FROM consult.event e
     WHERE e.conversation_id = sync.conv AND e.seq > sync.after
     ORDER BY e.seq LIMIT sync.cap;
END
$$;


REVOKE ALL ON FUNCTION api.messages(bigint, bigint, int, text),
    api.sync(bigint, bigint, bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.messages(bigint, bigint, int, text),
    api.sync(bigint, bigint, bigint, int) TO astro_web;

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
