-- chat_acts: what is more than a plain message.  Owned by astro_gateway, as
-- api.chat_batch (chat.sql) is, which stores the plain ones.

SET ROLE astro_gateway;


-- api.chat_acts: stores a gateway's batch of durable events other than plain
-- messages, one after the other, in one transaction.  The first six arrays
-- are the columns of the batch:
--
--   type     chat_message  {from,cid,kind,text[,reply_to]}
--            chat_edit     {from,cid,msg,text}
--            chat_delete   {from,cid,msg}
--            chat_react    {from,cid,msg,emoji,on}
--   payload  what is stored; the server's own members are appended to it
--   joined   the sender has joined a live session of the conversation on the
--            connection that the message came from
--   states   one session state after the other, as chat_batch's
--
-- One row for each, in input order (ord from 1):
--
--   status   ok, or an error's code with message and field (a JSON pointer):
--            not_participant; session_state, unpaid (chat_message alone);
--            bad_request (reply_to is no message of this conversation);
--            not_found (msg is none), forbidden (another's message), gone
--            (deleted), conflict (too late to edit), idempotency_mismatch
--   seq, ts  of the event; NULL when it is ok already and nothing was stored
--   peer     the other party
--   dup      the same cid was stored before (seq, ts and stored are the first
--            one's), or it is as the act would have it
--   stored   the payload as stored:
--            chat_message  + "quote":{msg,from,kind,excerpt} of reply_to; of a
--                            deleted one {msg,from,deleted}
--            chat_edit, chat_delete    + "ver" of the message
--            chat_react    + "reactions":[{emoji,count}] of the message
--
-- A message needs a session that takes messages, in which its sender takes
-- part, or the time after one that was active (consult.chat_option).  All else
-- may be done by a party at any time.
--
-- A message deleted is still in consult.event, with its edits and the quotes of
-- it; consult.message_change has what is shown in place of each.
--
-- Locks as chat_batch: the conversations, in id order.
CREATE OR REPLACE FUNCTION api.chat_acts(conv bigint[], sender bigint[],
    type text[], cid uuid[], payload text[], joined boolean[], states text[])
RETURNS TABLE (ord int, status text, seq bigint, ts bigint, peer bigint,
               dup boolean, stored text, message text, field text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o        consult.chat_option;
    c        consult.conversation;
    e        consult.event;
    m        consult.message_change;
    s        consult.session;
    v_doc    json;
    v_old    json;
    v_body   text;
    v_type   text;
    v_sender bigint;
    v_msg    bigint;
    v_ver    int;
    v_emoji  text;
    v_at     timestamptz;
BEGIN
    PERFORM 1 FROM consult.conversation x
      WHERE x.id = ANY(chat_acts.conv) ORDER BY x.id FOR NO KEY UPDATE;

    SELECT * INTO STRICT o FROM consult.chat_option x WHERE x.one;

    FOR i IN 1 .. coalesce(cardinality(chat_acts.conv), 0) LOOP
        v_doc := payload[i]::json;
        v_body := left(payload[i], -1);
        v_type := type[i];
        v_sender := sender[i];
        v_at := clock_timestamp();

        ord := i;
        status := 'ok';
        seq := NULL;
        ts := NULL;
        dup := false;
        stored := NULL;
        message := NULL;
        field := NULL;

        SELECT * INTO c FROM consult.conversation x
         WHERE x.id = chat_acts.conv[i];

        peer := CASE v_sender WHEN c.client_id  THEN c.advisor_id
                              WHEN c.advisor_id THEN c.client_id END;

        <<act>>
        BEGIN
            IF peer IS NULL THEN
                status := 'not_participant';
                message := 'no such conversation of yours';
                field := '/payload/conv';
                EXIT act;
            END IF;

            SELECT * INTO e FROM consult.event x
             WHERE x.conversation_id = c.id AND x.sender_id = v_sender
               AND x.cid = chat_acts.cid[i];

            IF FOUND THEN
                IF e.type = v_type
                   AND (e.payload::text = payload[i]
                        OR starts_with(e.payload::text, v_body
                               || CASE v_type WHEN 'chat_message'
                                       THEN ',"quote":{'
                                       WHEN 'chat_react'
                                       THEN ',"reactions":['
                                       ELSE ',"ver":' END)) THEN
                    seq := e.seq;
                    ts := consult.ms(e.at);
                    stored := e.payload::text;
                    dup := true;
                ELSE
                    status := 'idempotency_mismatch';
                    message := 'this cid was something else';
                    field := '/payload/cid';
                END IF;

                EXIT act;
            END IF;

            stored := payload[i];
            v_msg := (v_doc ->> CASE v_type WHEN 'chat_message'
                                     THEN 'reply_to' ELSE 'msg' END)::bigint;

            IF v_msg IS NOT NULL THEN
                SELECT * INTO e FROM consult.event x
                 WHERE x.conversation_id = c.id AND x.seq = v_msg
                   AND x.type = 'chat_message';

                IF NOT FOUND AND v_type = 'chat_message' THEN
                    status := 'bad_request';
                    message := 'reply_to is no message of this conversation';
                    field := '/payload/reply_to';
                    EXIT act;
                END IF;

                IF NOT FOUND THEN
                    status := 'not_found';
                    message := 'no such message';
                    field := '/payload/msg';
                    EXIT act;
                END IF;

                SELECT * INTO m FROM consult.message_change x
                 WHERE x.conversation_id = c.id AND x.seq = v_msg;

                v_old := coalesce(m.payload, e.payload);
                v_ver := coalesce(m.ver, 1) + 1;
            END IF;

            IF v_type IN ('chat_edit', 'chat_delete')
               AND e.sender_id IS DISTINCT FROM v_sender THEN
                status := 'forbidden';
                message := 'it is another''s message';
                field := '/payload/msg';
                EXIT act;
            END IF;

            IF v_type = 'chat_delete' AND m.deleted_at IS NOT NULL THEN
                dup := true;
                EXIT act;
            END IF;

            IF v_type <> 'chat_message' AND m.deleted_at IS NOT NULL THEN
                status := 'gone';
                message := 'the message was deleted';
                field := '/payload/msg';
                EXIT act;
            END IF;

            CASE v_type

            WHEN 'chat_message' THEN
                SELECT * INTO s FROM consult.session x
                 WHERE x.client_id = c.client_id AND x.conversation_id = c.id
                   AND x.state <> 'ended';

                IF FOUND THEN
                    IF s.state <> ALL(states) THEN
                        status := 'session_state';
                        message := 'the session does not take messages now';
                        field := '/payload/conv';
                        EXIT act;
                    END IF;

                    -- as the gateway says of those who have joined it
                    IF NOT joined[i] AND s.paid_until_ms
                                         <= consult.ms(v_at) THEN
                        status := 'unpaid';
                        message := 'the session is paid no further';
                        field := '/payload/conv';
                        EXIT act;
                    END IF;

                    IF NOT joined[i]
                       AND (SELECT true FROM consult.interval n
                             WHERE n.session_id = s.id
                               AND n.account_id = v_sender
                               AND n.close_life_ms IS NULL LIMIT 1) IS NULL
                    THEN
                        status := 'session_state';
                        message := 'join the session first';
                        field := '/payload/conv';
                        EXIT act;
                    END IF;
                ELSE
                    -- not after one that was only rung
                    SELECT * INTO s FROM consult.session x
                     WHERE x.conversation_id = c.id
                       AND x.active_ms IS NOT NULL
                     ORDER BY x.id DESC LIMIT 1;

                    IF NOT FOUND OR s.ended_at
                       + o.followup_ms * interval '1 millisecond' <= v_at
                    THEN
                        status := 'session_state';
                        message := 'no session of the conversation';
                        field := '/payload/conv';
                        EXIT act;
                    END IF;
                END IF;

                IF v_msg IS NOT NULL THEN
                    stored := v_body || ',"quote":{"msg":' || v_msg
                        || ',"from":"u_' || e.sender_id || '",'
                        || CASE WHEN m.deleted_at IS NOT NULL
                                THEN '"deleted":true'
                                ELSE '"kind":' || coalesce(
                                         (v_old -> 'kind')::text, '"text"')
                                     || ',"excerpt":' || to_json(left(coalesce(
                                         v_old ->> 'text', ''), 120))::text END
                        || '}}';

                    INSERT INTO consult.quote (conversation_id, msg, seq)
                    VALUES (c.id, v_msg, c.head + 1);
                END IF;

            WHEN 'chat_edit' THEN
                IF e.at + o.edit_ms * interval '1 millisecond' <= v_at THEN
                    status := 'conflict';
                    message := 'it is too late to edit this message';
                    field := '/payload/msg';
                    EXIT act;
                END IF;

                IF v_old ->> 'text' = v_doc ->> 'text' THEN
                    dup := true;
                    EXIT act;
                END IF;

                stored := v_body || ',"ver":' || v_ver || '}';

                INSERT INTO consult.message_change AS x (conversation_id, seq,
                       ver, payload, edited_at, edits)
                VALUES (c.id, v_msg, v_ver,
                        consult.message_payload(v_old, (v_doc -> 'text')::text,
                                                (v_old -> 'quote')::text),
                        v_at, ARRAY[c.head + 1])
                ON CONFLICT (conversation_id, seq) DO UPDATE
                   SET ver = excluded.ver, payload = excluded.payload,
                       edited_at = excluded.edited_at,
                       edits = x.edits || excluded.edits;

            WHEN 'chat_delete' THEN
                stored := v_body || ',"ver":' || v_ver || '}';

                INSERT INTO consult.message_change AS x (conversation_id, seq,
                       ver, payload, deleted_at)
                VALUES (c.id, v_msg, v_ver,
                        consult.message_payload(v_old, NULL, NULL), v_at)
                ON CONFLICT (conversation_id, seq) DO UPDATE
                   SET ver = excluded.ver, payload = excluded.payload,
                       deleted_at = excluded.deleted_at;

                INSERT INTO consult.message_change (conversation_id, seq, ver,
                       payload)
                SELECT c.id, n, 1, ('{"from":"u_' || v_sender || '","msg":'
                                    || v_msg || ',"deleted":true}')::json
                  FROM unnest(m.edits) n;

                INSERT INTO consult.message_change AS x (conversation_id, seq,
                       ver, payload)
                SELECT c.id, y.seq, coalesce(z.ver, 1),
                       consult.message_payload(coalesce(z.payload, y.payload),
                           (coalesce(z.payload, y.payload) -> 'text')::text,
                           '{"msg":' || v_msg || ',"from":"u_' || v_sender
                           || '","deleted":true}')
                  FROM consult.quote q
                  JOIN consult.event y ON y.conversation_id = c.id
                                      AND y.seq = q.seq
                  LEFT JOIN consult.message_change z
                         ON z.conversation_id = c.id AND z.seq = q.seq
                 WHERE q.conversation_id = c.id AND q.msg = v_msg
                   AND z.deleted_at IS NULL
                ON CONFLICT (conversation_id, seq) DO UPDATE
                   SET payload = excluded.payload;

                DELETE FROM consult.reaction x
                 WHERE x.conversation_id = c.id AND x.seq = v_msg;

            WHEN 'chat_react' THEN
                SELECT x.emoji INTO v_emoji FROM consult.reaction x
                 WHERE x.conversation_id = c.id AND x.seq = v_msg
                   AND x.account_id = v_sender;

                IF (v_emoji IS NOT DISTINCT FROM v_doc ->> 'emoji')
                   = (v_doc ->> 'on')::boolean THEN
                    dup := true;
                    EXIT act;
                END IF;

                IF (v_doc ->> 'on')::boolean THEN
                    INSERT INTO consult.reaction (conversation_id, seq,
                           account_id, emoji)
                    VALUES (c.id, v_msg, v_sender, v_doc ->> 'emoji')
                    ON CONFLICT (conversation_id, seq, account_id) DO UPDATE
                       SET emoji = excluded.emoji;
                ELSE
                    DELETE FROM consult.reaction x
                     WHERE x.conversation_id = c.id AND x.seq = v_msg
                       AND x.account_id = v_sender;
                END IF;

                stored := v_body || ',"reactions":[' || coalesce(
                    (SELECT string_agg('{"emoji":' || to_json(y.emoji)::text
                                       || ',"count":' || y.n || '}', ','
                                       ORDER BY y.n DESC, y.emoji)
                       FROM (SELECT x.emoji, count(*) AS n
                               FROM consult.reaction x
                              WHERE x.conversation_id = c.id
                                AND x.seq = v_msg
                              GROUP BY x.emoji) y), '') || ']}';
            END CASE;

            UPDATE consult.conversation x SET head = x.head + 1
             WHERE x.id = c.id RETURNING x.head INTO seq;

            INSERT INTO consult.event (conversation_id, seq, at, type,
                   sender_id, cid, payload)
            VALUES (c.id, chat_acts.seq, v_at, v_type, v_sender,
                    chat_acts.cid[i], stored::json);

            ts := consult.ms(v_at);
        END;

        IF status <> 'ok' OR seq IS NULL THEN
            stored := NULL;
        END IF;

        RETURN NEXT;
    END LOOP;
END
$$;


-- api.chat_acks: how far people say that they have got and read their
-- conversations, many at once.  Cumulative: the highest wins, nothing ever goes
-- back, nothing is beyond the head; what is read is delivered.  One row for
-- each, in input order:
--
--   status    ok | not_participant
--   got, seen what is stored afterwards
--   peer      the other party
--   moved     this row is the one that says to the peer that got or seen rose
--
-- Locks: the receipts by conversation and account.  A stale "got" can be
-- answered to one that did not move, when another gateway stores at the same
-- time.
CREATE OR REPLACE FUNCTION api.chat_acks(conv bigint[], caller bigint[],
    delivered bigint[], read bigint[])
RETURNS TABLE (ord int, status text, got bigint, seen bigint, peer bigint,
               moved boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.ord, a.conv, a.caller,
               CASE a.caller WHEN c.client_id  THEN c.advisor_id
                             WHEN c.advisor_id THEN c.client_id END AS peer,
               least(greatest(a.delivered, a.read, 0), c.head) AS got,
               least(greatest(a.read, 0), c.head) AS seen,
               row_number() OVER (PARTITION BY a.conv, a.caller
                                  ORDER BY a.ord) AS turn
          FROM unnest(chat_acks.conv, chat_acks.caller, chat_acks.delivered,
                      chat_acks.read) WITH ORDINALITY
               AS a(conv, caller, delivered, read, ord)
          LEFT JOIN consult.conversation c ON c.id = a.conv
    ), put AS (
        INSERT INTO consult.receipt AS r (conversation_id, account_id,
               delivered, read)
        SELECT a.conv, a.caller, max(a.got), max(a.seen)
          FROM asked a WHERE a.peer IS NOT NULL
         GROUP BY a.conv, a.caller HAVING max(a.got) > 0
         ORDER BY a.conv, a.caller
        ON CONFLICT (conversation_id, account_id) DO UPDATE
           SET delivered = greatest(r.delivered, excluded.delivered),
               read = greatest(r.read, excluded.read)
         WHERE excluded.delivered > r.delivered OR excluded.read > r.read
        RETURNING r.conversation_id, r.account_id, r.delivered, r.read
    )
    SELECT a.ord::int,
           CASE WHEN a.peer IS NULL THEN 'not_participant' ELSE 'ok' END,
           greatest(p.delivered, r.delivered, a.got),
           greatest(p.read, r.read, a.seen), a.peer,
           p.conversation_id IS NOT NULL AND a.turn = 1
      FROM asked a
      LEFT JOIN put p ON p.conversation_id = a.conv
                     AND p.account_id = a.caller
      LEFT JOIN consult.receipt r ON r.conversation_id = a.conv
                                 AND r.account_id = a.caller
     ORDER BY a.ord;
END
$$;


REVOKE ALL ON FUNCTION
    api.chat_acts(bigint[], bigint[], text[], uuid[], text[], boolean[],
                  text[]),
    api.chat_acks(bigint[], bigint[], bigint[], bigint[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    api.chat_acts(bigint[], bigint[], text[], uuid[], text[], boolean[],
                  text[]),
    api.chat_acks(bigint[], bigint[], bigint[], bigint[])
    TO astro_web;

RESET ROLE;
SET ROLE astro_owner;


-- consult.message_payload: a message's payload with another text and quote,
-- both as JSON.  text NULL: the tombstone that a deleted message leaves.
CREATE OR REPLACE FUNCTION consult.message_payload(old json, new_text text,
    new_quote text) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT ('{"from":' || coalesce((old -> 'from')::text, 'null')
            || ',"cid":' || coalesce((old -> 'cid')::text, 'null')
            || ',"kind":' || coalesce((old -> 'kind')::text, '"text"')
            || coalesce(',"text":' || new_text
                        || coalesce(',"reply_to":'
                                    || (old -> 'reply_to')::text, '')
                        || coalesce(',"quote":' || new_quote, ''),
                        ',"deleted":true') || '}')::json
$$;


REVOKE ALL ON FUNCTION consult.message_payload(json, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.message_payload(json, text, text)
    TO astro_gateway;

RESET ROLE;
