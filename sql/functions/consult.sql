-- consult: helpers that the functions of api and billing share, and the types
-- they return.  Applied before every other file of this folder.
--
-- Nothing here is for astro_web.  Helpers run as whoever calls them (SECURITY
-- INVOKER): what they see is what the policies show to astro_api,
-- astro_gateway or astro_engine.  The lookups at the end are exceptions and
-- say why.  They have no SET search_path, so that SQL ones can be inlined:
-- their callers in api and billing have set it.  To be inlined a SQL function
-- must be one expression and no stricter marked than what it calls: number ||
-- text and to_json() are STABLE.  Others are PL/pgSQL, which keeps its plans; a
-- SQL function that is not inlined is planned anew at every call.

-- A function that forgets its REVOKE is still nobody's.  (Default privileges
-- of a schema cannot take away what the role's own give, hence no IN SCHEMA.)
ALTER DEFAULT PRIVILEGES FOR ROLE astro_owner, astro_api, astro_gateway,
      astro_engine REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

SET ROLE astro_owner;


-- api.session_outcome: what every call that moves a session returns; one row
-- for each session.
--
--   status         as in HTTP; an error sets status and body, nothing else
--   body           the reply's payload, or {"code","message"[,"field"]}
--   dup            a repeat: nothing was changed by this call
--   head           of the conversation, after this call
--   snapshot       consult.snapshot() of the session, after this call
--   interval_id    the interval that this call opened
--   event_seq, event_frame   the durable event that this call appended
--
-- The order of the columns is the order in which C reads them: append only.
DO $$
BEGIN
    IF to_regtype('api.session_outcome') IS NULL THEN
        CREATE TYPE api.session_outcome AS (
            status          int,
            body            json,
            dup             boolean,
            session_id      bigint,
            ver             int,
            state           text,
            paid_until_ms   bigint,
            client_id       bigint,
            advisor_id      bigint,
            conversation_id bigint,
            head            bigint,
            snapshot        json,
            interval_id     bigint,
            event_seq       bigint,
            event_frame     text
        );
    END IF;
END
$$;


-- consult.ms: an instant in whole epoch milliseconds, rounded down.
-- STABLE, not IMMUTABLE, because extract() is; so that it can be inlined.
CREATE OR REPLACE FUNCTION consult.ms(at timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.floor(extract(epoch FROM at) * 1000)::bigint
$$;


-- consult.rfc3339: an instant as REST writes it, UTC with milliseconds.
CREATE OR REPLACE FUNCTION consult.rfc3339(at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.to_char(at AT TIME ZONE 'UTC',
                              'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;


-- consult.currency: the deployment's one currency.
CREATE OR REPLACE FUNCTION consult.currency() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT d.currency FROM ledger.deployment d WHERE d.one);
END
$$;


-- consult.money: an amount in minor units as the wire shows it; NULL: null.
CREATE OR REPLACE FUNCTION consult.money(amount bigint, currency text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce('{"amount":' || amount::text || ',"currency":"'
                    || currency || '"}', 'null')
$$;


-- consult.price: what the first ms of a session cost, with the options of a
-- tariff; numeric, as the product of two bigints.
CREATE OR REPLACE FUNCTION consult.price(o ledger.tariff, rate bigint,
    max_minor bigint, ms bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN ms <= o.free_ms THEN 0
                ELSE least(greatest(div(rate::numeric
                         * CASE WHEN o.whole_minute
                                THEN div(ms - o.free_ms + 59999, 60000) * 60000
                                ELSE ms - o.free_ms END, 60000),
                         o.min_minor), max_minor) END
$$;


-- consult.error: the body of a refusal.  field is a JSON pointer into what the
-- client sent, or NULL.
CREATE OR REPLACE FUNCTION consult.error(code text, message text,
    field text DEFAULT NULL) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ('{"code":' || to_json(code)::text || ',"message":'
            || to_json(message)::text
            || coalesce(',"field":' || to_json(field)::text, '') || '}')::json
$$;


-- consult.cursor_id: the number in a list's cursor.  NULL and '' give
-- at_start; anything that this server did not write gives NULL.
CREATE OR REPLACE FUNCTION consult.cursor_id(cursor text, at_start bigint)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(cursor, '') = '' THEN at_start
                WHEN cursor ~ '^[0-9]{1,18}$'  THEN cursor::bigint
           END
$$;


-- consult.page: the body of a list from its rows as texts, in order, and their
-- ids.  The rows are at most cap + 1: one too many means that there is a next
-- page, and its cursor is the last id of this one.  NULL arrays: an empty list.
CREATE OR REPLACE FUNCTION consult.page(docs text[], ids bigint[], cap int)
RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ('{"data":[' || coalesce(array_to_string(docs[:cap], ','), '')
            || '],"next_cursor":'
            || coalesce(CASE WHEN cardinality(ids) > cap
                             THEN '"' || ids[cap] || '"' END, 'null')
            || '}')::json
$$;


-- consult.frame: a durable event, exactly as it is written to a socket.  The
-- payload goes in as it is stored, byte for byte; ngx_astro_module builds the
-- same bytes for a chat message it has just stored.
CREATE OR REPLACE FUNCTION consult.frame(conv bigint, seq bigint,
    at timestamptz, type text, payload json) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT '{"type":"' || type || '","conv":"c_' || conv || '","seq":' || seq
           || ',"ts":' || consult.ms(at) || ',"payload":' || payload::text
           || '}'
$$;


-- consult.append_event: appends one durable event to a conversation.
--
-- The conversation's row lock, which the UPDATE takes, is what makes seq
-- gap-free and "at" rise with it; it is held to the end of the transaction.
-- Lock sessions before, never after.  sender_id NULL: the system.  Raises
-- no_data_found if there is no such conversation (or the caller's policy hides
-- it), unique_violation if (conv, sender, cid) is stored.
CREATE OR REPLACE FUNCTION consult.append_event(conv bigint, type text,
    sender bigint, cid uuid, payload json,
    OUT seq bigint, OUT frame text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_at timestamptz;
BEGIN
    UPDATE consult.conversation c SET head = c.head + 1 WHERE c.id = conv
    RETURNING c.head INTO STRICT seq;

    v_at := clock_timestamp();

    INSERT INTO consult.event (conversation_id, seq, at, type, sender_id, cid,
                               payload)
    VALUES (append_event.conv, append_event.seq, v_at, append_event.type,
            append_event.sender, append_event.cid, append_event.payload);

    frame := consult.frame(conv, seq, v_at, type, payload);
END
$$;


-- consult.end_payload: the payload of the one session_end event of a session.
CREATE OR REPLACE FUNCTION consult.end_payload(s consult.session) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ('{"session":"s_' || s.id || '","reason":'
        || coalesce(to_json(s.reason)::text, 'null')
        || ',"by":' || coalesce('"u_' || s.ended_by || '"', 'null')
        || ',"totals":{"billed_ms":' || s.billed_ms || ',"charged":'
        || s.charged || ',"currency":"' || consult.currency() || '"}}')::json;
END
$$;


-- consult.refusal: the one row of a call that changed nothing.
CREATE OR REPLACE FUNCTION consult.refusal(status int, code text, message text,
    field text DEFAULT NULL) RETURNS api.session_outcome
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    r api.session_outcome;
BEGIN
    r.status := status;
    r.body := consult.error(code, message, field);

    RETURN r;
END
$$;


-- consult.outcome: the one row of a call that went well; body is the snapshot.
CREATE OR REPLACE FUNCTION consult.outcome(s consult.session, status int,
    dup boolean) RETURNS api.session_outcome
LANGUAGE plpgsql STABLE AS $$
DECLARE
    r api.session_outcome;
BEGIN
    r.status := status;
    r.dup := dup;
    r.session_id := s.id;
    r.ver := s.ver;
    r.state := s.state;
    r.paid_until_ms := s.paid_until_ms;
    r.client_id := s.client_id;
    r.advisor_id := s.advisor_id;
    r.conversation_id := s.conversation_id;
    r.head := (SELECT c.head FROM consult.conversation c
                WHERE c.id = s.conversation_id);
    r.snapshot := consult.snapshot(s);
    r.body := r.snapshot;

    RETURN r;
END
$$;


REVOKE ALL ON FUNCTION consult.caller(), consult.ms(timestamptz),
    consult.price(ledger.tariff, bigint, bigint, bigint),
    consult.rfc3339(timestamptz), consult.currency(),
    consult.money(bigint, text), consult.error(text, text, text),
    consult.cursor_id(text, bigint), consult.page(text[], bigint[], int),
    consult.frame(bigint, bigint, timestamptz, text, json),
    consult.append_event(bigint, text, bigint, uuid, json),
    consult.end_payload(consult.session),
    consult.refusal(int, text, text, text),
    consult.outcome(consult.session, int, boolean)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.caller(), consult.ms(timestamptz),
    consult.price(ledger.tariff, bigint, bigint, bigint),
    consult.rfc3339(timestamptz), consult.currency(),
    consult.money(bigint, text), consult.error(text, text, text),
    consult.cursor_id(text, bigint), consult.page(text[], bigint[], int),
    consult.frame(bigint, bigint, timestamptz, text, json),
    consult.append_event(bigint, text, bigint, uuid, json),
    consult.end_payload(consult.session),
    consult.refusal(int, text, text, text),
    consult.outcome(consult.session, int, boolean)
    TO astro_api, astro_gateway, astro_engine, astro_admin;
GRANT EXECUTE ON FUNCTION consult.ms(timestamptz) TO astro_hello;

RESET ROLE;


-- Looked up as the role that sees all rows: narrow questions, whose answers
-- give nothing away.

SET ROLE astro_engine;

-- consult.snapshot: the whole state of a session, the payload of
-- session_update and session_incoming.  "present" is who has an open interval,
-- "service" and "rate" what they are since the last switch of the mode, "since"
-- the instant at which the state was entered, "pauses" how often it was paused.
--
-- Call it in a statement after the one that changed the session: a row and the
-- intervals it is about must be of one moment.
--
-- It looks intervals up as astro_engine: the caller has the session's row, so
-- who is present in it is no secret; and its plans, made under one role's
-- policies, stay when a connection serves astro_api and astro_gateway in turn.
CREATE OR REPLACE FUNCTION consult.snapshot(s consult.session) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_currency text;
    v_client   boolean;
    v_advisor  boolean;
    v_service  text   := s.service;
    v_rate     bigint := s.rate_minor;
BEGIN
    IF s.segments > 0 THEN
        SELECT x.service, x.rate_minor INTO v_service, v_rate
          FROM consult.segment x WHERE x.session_id = s.id
         ORDER BY x.no DESC LIMIT 1;
    END IF;

    SELECT d.currency::text,
           coalesce(bool_or(i.account_id = s.client_id), false),
           coalesce(bool_or(i.account_id = s.advisor_id), false)
      INTO v_currency, v_client, v_advisor
      FROM ledger.deployment d
      LEFT JOIN consult.interval i
             ON i.session_id = s.id AND i.close_life_ms IS NULL
     WHERE d.one
     GROUP BY d.currency;

    RETURN ('{"session":"s_' || s.id || '","conv":"c_' || s.conversation_id
        || '","state":"' || s.state || '","ver":' || s.ver
        || ',"service":"' || v_service || '","client":"u_' || s.client_id
        || '","advisor":"u_' || s.advisor_id
        || '","rate":' || consult.money(v_rate, v_currency)
        || ',"reason":' || coalesce(to_json(s.reason)::text, 'null')
        || ',"billed_ms":' || s.billed_ms || ',"charged":' || s.charged
        || ',"paid_until":' || coalesce(s.paid_until_ms::text, 'null')
        || ',"max_ms":' || coalesce(s.max_ms::text, 'null')
        || ',"since":' || s.state_ms || ',"pauses":' || s.pauses
        || ',"present":['
        || CASE WHEN v_client THEN '"u_' || s.client_id || '"' ELSE '' END
        || CASE WHEN v_client AND v_advisor THEN ',' ELSE '' END
        || CASE WHEN v_advisor THEN '"u_' || s.advisor_id || '"' ELSE '' END
        || ']}')::json;
END
$$;


-- consult.wallet_of: the number of somebody's wallet, for a new session's row.
CREATE OR REPLACE FUNCTION consult.wallet_of(owner bigint, kind text)
RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT w.id FROM ledger.wallet w
             WHERE w.owner_id = owner AND w.kind = wallet_of.kind);
END
$$;


-- consult.busy_of: those of these advisors who have a live session.
CREATE OR REPLACE FUNCTION consult.busy_of(advisors bigint[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT s.advisor_id FROM consult.session s
                  WHERE s.advisor_id = ANY(advisors) AND s.state <> 'ended');
END
$$;


-- consult.fresh: the lease is open, and was renewed not long ago.  Renewals come
-- every second; one that is older is of a host that died with no billing
-- worker alive to close it, or that cannot reach the database.
CREATE OR REPLACE FUNCTION consult.fresh(g consult.gateway) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT NOT g.closed
           AND g.renewed_at > clock_timestamp() - interval '10 seconds'
$$;


REVOKE ALL ON FUNCTION consult.snapshot(consult.session),
    consult.wallet_of(bigint, text), consult.busy_of(bigint[]),
    consult.fresh(consult.gateway) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.snapshot(consult.session)
    TO astro_api, astro_gateway, astro_hello, astro_admin;
GRANT EXECUTE ON FUNCTION consult.wallet_of(bigint, text),
    consult.busy_of(bigint[]), consult.fresh(consult.gateway) TO astro_api;

RESET ROLE;
