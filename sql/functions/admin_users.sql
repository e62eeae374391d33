-- admin_users: what admins do to people and to what they have under way: find,
-- change, keep out, end, send away.  Owned by astro_admin, whose policies show
-- nothing unless the caller is an admin.
--
-- Who may do what to admins is decided under one lock, (7, 0): of two who take
-- each other's role away at once the second is none any more.  Since nobody
-- changes his own, one is always left.

SET ROLE astro_engine;


-- consult.session_stop: a session ends for a reason that is no party's.  As
-- api.session_apply; nothing is billed after the instant.
CREATE OR REPLACE FUNCTION consult.session_stop(session bigint, why text,
    instant bigint) RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s       consult.session;
    r       api.session_outcome;
    v_seq   bigint;
    v_frame text;
BEGIN
    SELECT * INTO s FROM consult.session x
     WHERE x.id = session_stop.session FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such session');
    END IF;

    IF s.state = 'ended' THEN
        RETURN consult.outcome(s, 200, true);
    END IF;

    UPDATE consult.session x
       SET state = 'ended', ver = x.ver + 1, state_ms = session_stop.instant,
           reason = session_stop.why, ended_at = clock_timestamp(),
           end_ms = session_stop.instant,
           settled = x.held = 0 AND x.charge_no = 0
                     AND (SELECT true FROM consult.interval i
                           WHERE i.session_id = x.id LIMIT 1) IS NULL
     WHERE x.id = s.id RETURNING * INTO s;

    IF s.settled THEN
        SELECT e.seq, e.frame INTO v_seq, v_frame
          FROM consult.append_event(s.conversation_id, 'session_end', NULL,
                                    NULL, consult.end_payload(s)) e;
    END IF;

    r := consult.outcome(s, 200, false);
    r.event_seq := v_seq;
    r.event_frame := v_frame;

    RETURN r;
END
$$;


-- consult.bookings_drop: somebody is kept out: bookings of theirs are cancelled,
-- the deposit is the client's again, whoever it is; nobody waits for them, nor
-- they for anybody.  The others are told.
--
-- Locks, before any conversation is: their live session, their bookings, the
-- wallets of all of these, each by id; then (2, 2), as billing.waiting_turns.
CREATE OR REPLACE FUNCTION consult.bookings_drop(account bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    b       consult.booking;
    w       consult.waiting;
    v_ids   bigint[];
    v_moved bigint[] := '{}';
BEGIN
    v_ids := ARRAY(SELECT s.id FROM consult.session s
                    WHERE s.client_id = bookings_drop.account
                      AND s.state <> 'ended'
                    UNION ALL
                   SELECT s.id FROM consult.session s
                    WHERE s.advisor_id = bookings_drop.account
                      AND s.state <> 'ended');
    PERFORM 1 FROM consult.session s WHERE s.id = ANY(v_ids)
      ORDER BY s.id FOR NO KEY UPDATE;

    v_ids := ARRAY(SELECT x.id FROM consult.booking x
                    WHERE x.client_id = bookings_drop.account
                      AND x.ended_at IS NULL
                    UNION
                   SELECT x.id FROM consult.booking x
                    WHERE x.advisor_id = bookings_drop.account
                      AND x.ended_at IS NULL);
    PERFORM 1 FROM consult.booking x WHERE x.id = ANY(v_ids)
      ORDER BY x.id FOR NO KEY UPDATE;
    PERFORM billing.ledger_lock(VARIADIC ARRAY(
                SELECT x.client_id FROM consult.booking x
                 WHERE x.id = ANY(v_ids)));

    -- some may have ended before they were locked
    FOR b IN SELECT x.* FROM consult.booking x
              WHERE x.id = ANY(v_ids) AND x.ended_at IS NULL ORDER BY x.id
    LOOP
        PERFORM consult.booking_close(b, 'cancelled', account, 0, NULL);
    END LOOP;

    PERFORM pg_advisory_xact_lock(2, 2);

    FOR w IN DELETE FROM consult.waiting x
              WHERE x.client_id = bookings_drop.account
                 OR x.advisor_id = bookings_drop.account
             RETURNING x.*
    LOOP
        IF w.client_id = account THEN
            v_moved := v_moved || w.advisor_id;
        ELSE
            INSERT INTO consult.notice (account_id, type, payload)
            VALUES (w.client_id, 'queue_state',
                    consult.queue_over(w.advisor_id, w.service, 'left'));
        END IF;
    END LOOP;

    PERFORM consult.queue_moved(x.id) FROM unnest(v_moved) AS x(id);
END
$$;


REVOKE ALL ON FUNCTION consult.session_stop(bigint, text, bigint),
    consult.bookings_drop(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.session_stop(bigint, text, bigint),
    consult.bookings_drop(bigint) TO astro_admin;

RESET ROLE;
SET ROLE astro_admin;


-- consult.admin_begins: whatever follows is done by an admin, or not at all.
CREATE OR REPLACE FUNCTION consult.admin_begins(caller bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT consult.admin_calls() THEN
        PERFORM consult.fail('forbidden', 'only for admins');
    END IF;
END
$$;


-- consult.user_docs: these accounts as admins see them, newest first:
--
--   {id,email,name,role,blocked,phone,created_at}
CREATE OR REPLACE FUNCTION consult.user_docs(ids bigint[])
RETURNS TABLE (id bigint, doc text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.id, '{"id":"u_' || a.id || '","email":' || to_json(a.email)
           || ',"name":' || to_json(a.name) || ',"role":"' || a.role
           || '","blocked":' || a.blocked || ',"phone":'
           || coalesce(to_json(p.phone)::text, 'null')
           || ',"created_at":"' || consult.rfc3339(a.created_at) || '"}'
      FROM unnest(user_docs.ids) AS i(id)
      JOIN identity.account a ON a.id = i.id
      LEFT JOIN identity.phone p ON p.account_id = i.id
     ORDER BY a.id DESC;
END
$$;


-- consult.user_search: a page of accounts, newest first; query as of
-- api.admin_users.  cap is one more than the page has.
--
-- First the newest two thousand are looked at: enough for a page, unless few
-- match.  Then those few are gathered by the indexes of what they begin with.
-- What was sent goes in as parameters.
CREATE OR REPLACE FUNCTION consult.user_search(query json, before bigint,
    cap int) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_q       text    := lower(btrim(consult.f_text(query, 'q', 1, 254,
                                                    false)));
    v_role    text    := consult.f_enum(query, 'role',
                                        '{client,advisor,admin}', false);
    v_blocked boolean := consult.q_bool(query, 'blocked');
    v_id      bigint;
    v_which   text    := '';
    v_match   text;
    v_ids     bigint[];
BEGIN
    v_which := concat(CASE WHEN v_role IS NOT NULL THEN ' AND a.role = $4' END,
                      CASE WHEN v_blocked THEN ' AND a.blocked'
                           WHEN NOT v_blocked THEN ' AND NOT a.blocked' END);

    IF v_q ~ '^u_[1-9][0-9]{0,16}$' THEN
        v_id := substr(v_q, 3)::bigint;
        v_match := 'a.id = $5';

    ELSIF v_q ~ '^[+]?[0-9][0-9 ()-]{3,}$' THEN
        v_q := '+' || regexp_replace(v_q, '[^0-9]', '', 'g');
        v_match := 'a.id = ANY(ARRAY(SELECT p.account_id'
                   ' FROM identity.phone p WHERE p.phone COLLATE "C" >= $3'
                   ' AND p.phone COLLATE "C" < $6))';

    ELSIF v_q <> '' THEN
        v_match := '(a.email COLLATE "C" >= $3 AND a.email COLLATE "C" < $6'
                   ' OR lower(a.name) COLLATE "C" >= $3'
                   ' AND lower(a.name) COLLATE "C" < $6'
                   ' OR lower(substring(a.name FROM ''[^ ]+$''))'
                   ' COLLATE "C" >= $3'
                   ' AND lower(substring(a.name FROM ''[^ ]+$''))'
                   ' COLLATE "C" < $6)';
    END IF;

    EXECUTE 'SELECT ARRAY(SELECT x.id FROM (SELECT a.id, '
            || coalesce(v_match, 'true') || ' AS yes'
            ' FROM identity.account a WHERE a.id < $1' || v_which
            || ' ORDER BY a.id DESC'
            || CASE WHEN v_match IS NULL THEN '' ELSE ' LIMIT 2000' END
            || ') x WHERE x.yes ORDER BY x.id DESC LIMIT $2)'
       INTO v_ids
      USING before, cap, v_q, v_role, v_id, v_q || chr(1114111);

    IF v_match IS NULL OR cardinality(v_ids) = cap THEN
        RETURN v_ids;
    END IF;

    -- "+ 0": not along the index of the ids once more
    EXECUTE 'SELECT ARRAY(SELECT a.id FROM identity.account a WHERE '
            || v_match || ' AND a.id + 0 < $1' || v_which
            || ' ORDER BY a.id + 0 DESC LIMIT $2)'
       INTO v_ids
      USING before, cap, v_q, v_role, v_id, v_q || chr(1114111);

    RETURN v_ids;
END
$$;


REVOKE ALL ON FUNCTION consult.admin_begins(bigint),
    consult.user_docs(bigint[]),
    consult.user_search(json, bigint, int) FROM PUBLIC;


-- api.admin_users: accounts, newest first.  query, all optional:
--
--   q          u_5; the digits of a number from the first on; or how the email,
--              the name or its last word begins
--   role       client, advisor, admin
--   blocked    true or false
--
--   200 {"data":[{id,email,name,role,blocked,phone,created_at}],
--        "next_cursor"}
--   400 bad_request, field "/cursor" or that of the query; 403 forbidden
--
-- Called by GET /api/admin/users.
CREATE OR REPLACE FUNCTION api.admin_users(caller bigint, query json,
    cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
BEGIN
    PERFORM consult.admin_begins(caller);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(d.doc ORDER BY d.id DESC),
                             array_agg(d.id ORDER BY d.id DESC), v_cap)
      FROM consult.user_docs(consult.user_search(query, v_before,
                                                 v_cap + 1)) d;
END
$$;


-- api.admin_user: one account.
--
--   200 as in the list, and
--       last_seen   when they left last; null: never, or they are here
--       session     their live one, "s_9", or null
--       wallets     [{kind,balance,held,promo}]
--       advisor     {approved,commission_bps}, or null
--       acts        what admins have done to them, the last 20, newest first
--   403 forbidden; 404 not_found
--
-- Called by GET /api/admin/users/{u}.
CREATE OR REPLACE FUNCTION api.admin_user(caller bigint, account bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_currency text := consult.currency();
    v_doc      text;
    v_session  bigint;
    v_wallets  text;
    v_acts     json;
BEGIN
    PERFORM consult.admin_begins(caller);

    SELECT d.doc INTO v_doc FROM consult.user_docs(ARRAY[account]) d;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such account');
    END IF;

    SELECT x.id INTO v_session
      FROM (SELECT s.id FROM consult.session s
             WHERE s.client_id = admin_user.account AND s.state <> 'ended'
            UNION ALL
            SELECT s.id FROM consult.session s
             WHERE s.advisor_id = admin_user.account
               AND s.state <> 'ended') x LIMIT 1;

    SELECT string_agg('{"kind":"' || w.kind || '","balance":'
               || consult.money(w.balance, v_currency) || ',"held":'
               || consult.money(w.held, v_currency) || ',"promo":'
               || consult.money(w.promo, v_currency) || '}', ','
               ORDER BY w.id)
      INTO v_wallets
      FROM ledger.wallet w WHERE w.owner_id = admin_user.account;

    SELECT json_agg(row_to_json(x)) INTO v_acts
      FROM (SELECT consult.rfc3339(l.at) AS at, 'u_' || l.admin_id AS admin,
                   l.act, l.detail
              FROM consult.admin_log l
             WHERE l.about = 'u_' || admin_user.account
             ORDER BY l.no DESC LIMIT 20) x;

    RETURN QUERY
    SELECT 200, (rtrim(v_doc, '}') || ',"last_seen":'
                 || coalesce((SELECT '"' || consult.rfc3339(p.seen_at) || '"'
                                FROM consult.last_seen p
                               WHERE p.account_id = admin_user.account),
                             'null')
                 || ',"session":' || coalesce('"s_' || v_session || '"',
                                              'null')
                 || ',"wallets":[' || coalesce(v_wallets, '')
                 || '],"advisor":'
                 || coalesce((SELECT '{"approved":'
                                     || (d.approved_at IS NOT NULL)
                                     || ',"commission_bps":'
                                     || d.commission_bps || '}'
                                FROM identity.advisor d
                               WHERE d.account_id = admin_user.account),
                             'null')
                 || ',"acts":' || coalesce(v_acts::text, '[]') || '}')::json;
END
$$;


-- api.admin_user_edit: {"name"?,"email"?,"role"?,"reason"?}: what is there is
-- changed.  A new role signs them out everywhere; who becomes an advisor waits
-- for approval, unless there was one before.
--
--   200 as in the list
--   400 bad_request, with its field; 404 not_found
--   403 forbidden                         no admin; field "/role": one's own
--   409 conflict, field "/email"          another account has it
--   409 session_state                     a new role, and a session is live
--   409 conflict, field "/role"           a new role, and money in the wallet
--
-- The log says which fields, and never what they were.
--
-- Called by PUT /api/admin/users/{u}.
CREATE OR REPLACE FUNCTION api.admin_user_edit(caller bigint,
    account bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_name   text := btrim(consult.f_text(doc, 'name', 1, 100, false));
    v_email  text := lower(consult.f_text(doc, 'email', 3, 254, false));
    v_role   text := consult.f_enum(doc, 'role', '{client,advisor,admin}',
                                    false);
    v_reason text := nullif(consult.f_text(doc, 'reason', 0, 500, false), '');
    v_was    record;
    v_fields text[];
BEGIN
    IF v_name = '' THEN
        PERFORM consult.fail('bad_request', 'name is empty', '/name');
    END IF;

    IF v_email !~ '^[^@[:space:]]+@[^@[:space:]]+$'
       OR octet_length(v_email) > 254 THEN
        PERFORM consult.fail('bad_request', 'email is an address', '/email');
    END IF;

    IF v_role IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(7, 0);
    END IF;

    PERFORM consult.admin_begins(caller);

    SELECT a.name, a.email, a.role INTO v_was FROM identity.account a
     WHERE a.id = admin_user_edit.account FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such account');
    END IF;

    v_fields := array_remove(ARRAY[
        CASE WHEN v_name <> v_was.name THEN 'name' END,
        CASE WHEN v_email <> v_was.email THEN 'email' END,
        CASE WHEN v_role <> v_was.role THEN 'role' END], NULL);

    IF v_role <> v_was.role THEN
        IF account = caller THEN
            PERFORM consult.fail('forbidden', 'nobody changes his own role',
                                 '/role');
        END IF;

        PERFORM 1 FROM consult.session s
          WHERE s.client_id = admin_user_edit.account
            AND s.state <> 'ended';

        IF NOT FOUND THEN
            PERFORM 1 FROM consult.session s
              WHERE s.advisor_id = admin_user_edit.account
                AND s.state <> 'ended';
        END IF;

        IF FOUND THEN
            PERFORM consult.fail('session_state',
                                 'this account is in a session', '/role');
        END IF;

        PERFORM 1 FROM ledger.wallet w
          WHERE w.owner_id = admin_user_edit.account
            AND w.kind = v_was.role AND (w.balance <> 0 OR w.held <> 0);

        IF FOUND THEN
            PERFORM consult.fail('conflict',
                                 'there is money in the wallet of that role',
                                 '/role');
        END IF;

        IF v_role <> 'admin' THEN
            INSERT INTO ledger.wallet (owner_id, kind)
            VALUES (account, v_role) ON CONFLICT DO NOTHING;
        END IF;

        IF v_role = 'advisor' THEN
            INSERT INTO identity.advisor (account_id, approved_at)
            VALUES (account, NULL) ON CONFLICT DO NOTHING;
        END IF;
    END IF;

    BEGIN
        UPDATE identity.account a
           SET name = coalesce(v_name, a.name),
               email = coalesce(v_email, a.email),
               role = coalesce(v_role, a.role),
               tokens_valid_from = CASE WHEN v_role <> a.role
                   THEN greatest(a.tokens_valid_from,
                            consult.ms(clock_timestamp()) / 1000 + 1)
                   ELSE a.tokens_valid_from END
         WHERE a.id = admin_user_edit.account
           AND cardinality(v_fields) > 0;
    EXCEPTION WHEN unique_violation THEN
        PERFORM consult.fail('conflict',
                    'there is an account with this email', '/email');
    END;

    PERFORM consult.admin_act(caller, 'user_edit', 'u_' || account,
                jsonb_build_object('fields', v_fields, 'role',
                    CASE WHEN v_role <> v_was.role
                         THEN jsonb_build_object('from', v_was.role,
                                                 'to', v_role) END,
                    'reason', v_reason));

    RETURN QUERY
    SELECT 200, d.doc::json FROM consult.user_docs(ARRAY[account]) d;
END
$$;


-- api.admin_user_block: {"blocked":bool,"reason"}: keeps somebody out, whatever
-- they sign in with, or lets them in again.  Their live session ends with reason
-- "blocked" at the instant life_ms of the gateway, their bookings are cancelled and
-- their places in queues gone (consult.bookings_drop); workers close their sockets
-- (4403) when they find it (api.heal).
--
--   outcome 200, body as in the list; that of the session, if one ended
--   400 bad_request, with its field; 404 not_found; 503 unavailable
--   403 forbidden                         no admin, or oneself
--
-- Called by PUT /api/admin/users/{u}/blocked.
CREATE OR REPLACE FUNCTION api.admin_user_block(caller bigint,
    account bigint, doc json, gateway bigint, life_ms bigint,
    from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_block   boolean := consult.f_bool(doc, 'blocked');
    v_reason  text    := consult.f_text(doc, 'reason', 1, 500, v_block);
    v_instant bigint;
    v_session bigint;
    v_body    text;
    r         api.session_outcome;
BEGIN
    PERFORM pg_advisory_xact_lock(7, 0);
    PERFORM consult.admin_begins(caller);

    IF account = caller THEN
        PERFORM consult.fail('forbidden', 'nobody blocks himself');
    END IF;

    SELECT g.started_ms + admin_user_block.life_ms INTO v_instant
      FROM consult.gateway g WHERE g.id = admin_user_block.gateway;

    IF NOT FOUND THEN
        PERFORM consult.fail('unavailable', 'no such gateway');
    END IF;

    UPDATE identity.account a SET blocked = v_block
     WHERE a.id = admin_user_block.account;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such account');
    END IF;

    IF v_block THEN
        PERFORM consult.bookings_drop(account);

        FOR v_session IN
            SELECT s.id FROM consult.session s
             WHERE s.client_id = admin_user_block.account
               AND s.state <> 'ended'
            UNION ALL
            SELECT s.id FROM consult.session s
             WHERE s.advisor_id = admin_user_block.account
               AND s.state <> 'ended'
             ORDER BY 1
        LOOP
            r := consult.session_stop(v_session, 'blocked', v_instant);
        END LOOP;
    END IF;

    SELECT d.doc INTO v_body FROM consult.user_docs(ARRAY[account]) d;

    PERFORM consult.admin_act(caller, 'user_block', 'u_' || account,
                jsonb_build_object('blocked', v_block, 'reason', v_reason,
                                   'session', 's_' || r.session_id));

    r.status := 200;
    r.body := v_body::json;
    r.dup := false;

    RETURN r;
END
$$;


-- api.admin_user_logout: signs somebody out everywhere: api.tokens_revoke.
--
--   200 {user,tokens_valid_from}
--   403 forbidden; 404 not_found
--
-- Called by POST /api/admin/users/{u}/logout.
CREATE OR REPLACE FUNCTION api.admin_user_logout(caller bigint,
    account bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_from bigint := consult.ms(clock_timestamp()) / 1000 + 1;
BEGIN
    PERFORM consult.admin_begins(caller);

    UPDATE identity.account a
       SET tokens_valid_from = greatest(a.tokens_valid_from, v_from)
     WHERE a.id = admin_user_logout.account
    RETURNING a.tokens_valid_from INTO v_from;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such account');
    END IF;

    PERFORM consult.admin_act(caller, 'tokens_revoke', 'u_' || account, '{}');

    RETURN QUERY
    SELECT 200, json_build_object('user', 'u_' || account,
                                  'tokens_valid_from', v_from);
END
$$;


-- api.admin_sessions: everybody's sessions, newest first.  query:
--
--   state     live, ended, or a state; without it all
--   user      of whom: "u_5"
--   from, to  when they were started: from <= created_at < to
--
--   200 {"data":[consult.session_doc],"next_cursor"}
--   400 bad_request, with the parameter as its field; 403 forbidden
--
-- Called by GET /api/admin/sessions.
CREATE OR REPLACE FUNCTION api.admin_sessions(caller bigint, query json,
    cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_state  text   := consult.f_enum(query, 'state', '{live,ended,ringing,'
                           'accepted,connecting,active,reconnecting,paused}',
                           false);
    v_user   bigint := consult.f_id(query, 'user', 'u', false);
    v_from   timestamptz := consult.f_time(query, 'from', false);
    v_to     timestamptz := consult.f_time(query, 'to', false);
    v_where  text;
    v_ids    bigint[];
BEGIN
    PERFORM consult.admin_begins(caller);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    v_where := concat(' AND s.created_at >= $4', ' AND s.created_at < $5',
                      CASE WHEN v_state = 'live' THEN ''
                           WHEN v_state IS NOT NULL THEN ' AND s.state = $3'
                      END);

    -- live ones are few, and have an index; one's own have one by wallet; of all
    -- the newest come first
    EXECUTE 'SELECT ARRAY(SELECT x.id FROM ('
            || CASE WHEN v_user IS NOT NULL THEN
                'SELECT y.id FROM unnest(ARRAY(SELECT w.id FROM ledger.wallet w'
                ' WHERE w.owner_id = $6)) AS w(id), LATERAL ('
                '(SELECT s.id FROM consult.session s WHERE s.client_wallet ='
                ' w.id AND s.id < $1' || v_where
                || CASE v_state WHEN 'live' THEN ' AND s.state <> ''ended'''
                        ELSE '' END || ' ORDER BY s.id DESC LIMIT $2)'
                ' UNION ALL '
                '(SELECT s.id FROM consult.session s WHERE s.advisor_wallet ='
                ' w.id AND s.id < $1' || v_where
                || CASE v_state WHEN 'live' THEN ' AND s.state <> ''ended'''
                        ELSE '' END || ' ORDER BY s.id DESC LIMIT $2)) y'
               WHEN coalesce(v_state, 'ended') <> 'ended' THEN
                'SELECT s.id FROM consult.session s WHERE s.state <> ''ended'''
                ' AND s.id + 0 < $1' || v_where
               ELSE
                'SELECT s.id FROM consult.session s WHERE s.id < $1'
                || v_where END
            || ' ORDER BY 1 DESC LIMIT $2) x)'
       INTO v_ids
      USING v_before, v_cap + 1, v_state, coalesce(v_from, '-infinity'),
            coalesce(v_to, 'infinity'), v_user;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(consult.session_doc(s)
                                       ORDER BY s.id DESC),
                             array_agg(s.id ORDER BY s.id DESC), v_cap)
      FROM unnest(v_ids) AS i(id)
      JOIN consult.session s ON s.id = i.id;
END
$$;


-- api.admin_session_end: {"reason"?}: a session of others ends now, with reason
-- "admin"; why is for the log.
--
--   outcome 200 (dup: it had ended)
--   403 forbidden; 404 not_found; 503 unavailable
--
-- Called by POST /api/admin/sessions/{s}/end.
CREATE OR REPLACE FUNCTION api.admin_session_end(caller bigint,
    session bigint, doc json, gateway bigint, life_ms bigint,
    from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_reason  text := nullif(consult.f_text(doc, 'reason', 0, 500, false),
                             '');
    v_instant bigint;
    r         api.session_outcome;
BEGIN
    PERFORM consult.admin_begins(caller);

    SELECT g.started_ms + admin_session_end.life_ms INTO v_instant
      FROM consult.gateway g WHERE g.id = admin_session_end.gateway;

    IF NOT FOUND THEN
        PERFORM consult.fail('unavailable', 'no such gateway');
    END IF;

    r := consult.session_stop(session, 'admin', v_instant);

    PERFORM consult.admin_act(caller, 'session_end', 's_' || session,
                jsonb_build_object('reason', v_reason, 'dup', r.dup));

    RETURN r;
END
$$;


-- api.admin_disconnect: {"user"?,"reason"?}: all sockets, or those of one, are
-- closed; whoever they are of comes back at once, and goes on where he was.
--
--   200 {user}                            null: all
--   400 bad_request, with its field; 403 forbidden
--   404 not_found, field "/user"          no such account
--
-- Workers find it within half a second (api.heal).
--
-- Called by POST /api/admin/disconnect.
CREATE OR REPLACE FUNCTION api.admin_disconnect(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_user   bigint := consult.f_id(doc, 'user', 'u', false);
    v_reason text   := nullif(consult.f_text(doc, 'reason', 0, 500, false),
                              '');
BEGIN
    PERFORM consult.admin_begins(caller);

    IF v_user IS NOT NULL THEN
        PERFORM 1 FROM identity.account a WHERE a.id = v_user;

        IF NOT FOUND THEN
            PERFORM consult.fail('not_found', 'no such account', '/user');
        END IF;
    END IF;

    DELETE FROM consult.disconnect d
     WHERE d.at < clock_timestamp() - interval '1 hour';

    PERFORM consult.admin_act(caller, 'disconnect',
                coalesce('u_' || v_user, ''),
                jsonb_build_object('reason', v_reason));

    INSERT INTO consult.disconnect (at, account_id)
    VALUES (clock_timestamp(), v_user);

    RETURN QUERY SELECT 200, json_build_object('user', 'u_' || v_user);
END
$$;


REVOKE ALL ON FUNCTION api.admin_users(bigint, json, int, text),
    api.admin_user(bigint, bigint), api.admin_user_edit(bigint, bigint, json),
    api.admin_user_block(bigint, bigint, json, bigint, bigint, text[]),
    api.admin_user_logout(bigint, bigint),
    api.admin_sessions(bigint, json, int, text),
    api.admin_session_end(bigint, bigint, json, bigint, bigint, text[]),
    api.admin_disconnect(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.admin_users(bigint, json, int, text),
    api.admin_user(bigint, bigint), api.admin_user_edit(bigint, bigint, json),
    api.admin_user_block(bigint, bigint, json, bigint, bigint, text[]),
    api.admin_user_logout(bigint, bigint),
    api.admin_sessions(bigint, json, int, text),
    api.admin_session_end(bigint, bigint, json, bigint, bigint, text[]),
    api.admin_disconnect(bigint, json) TO astro_web;

RESET ROLE;
