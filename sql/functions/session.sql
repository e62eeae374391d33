-- session: a session is started, answered, joined and ended by its parties.
-- Functions of api, owned by astro_api.
--
-- Which event is allowed in which state is decided in C and arrives as
-- from_states, to_state and parties; here it is applied, once, under the row
-- lock.  Locks: the gateway's lease, then the session, then its booking and the client's
-- wallet, then its conversation.

SET ROLE astro_owner;


-- consult.join_body: the reply to session_join.  The module puts the ICE servers
-- in.
CREATE OR REPLACE FUNCTION consult.join_body(s consult.session, caller bigint,
    peer boolean) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ('{"session":"s_' || s.id || '","conv":"c_' || s.conversation_id
            || '","polite":' || (caller = s.client_id)
            || ',"ice_servers":[],"peer_present":' || peer || '}')::json;
END
$$;


REVOKE ALL ON FUNCTION consult.join_body(consult.session, bigint, boolean)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.join_body(consult.session, bigint, boolean)
    TO astro_api;

RESET ROLE;

SET ROLE astro_api;


-- api.session_start: a client rings an advisor.
--
--   cid       makes it idempotent; the same with other content is refused
--   max_ms    the client's own maximum of time, or NULL
--   max_minor the same of money
--   ready_ms  the wallet must have enough for this long (nothing is held yet)
--   live_gateways_only   false: presence of the advisor is not asked for
--
--   201  ringing; body = snapshot
--   200  dup = true: the session that this cid made, as it is now
--   403  invalid_user_role (the caller is no client), forbidden (oneself; a
--        blocked account; who has excluded himself)
--   404  not_found                       no such advisor
--   409  busy (the advisor, or the caller, has a live session, or the advisor
--        is kept for somebody: consult.reserved_for), offline; conflict (the
--        caller's spend cap is reached: caps.sql)
--   402  insufficient_balance
--   422  unsupported, field "/service"; idempotency_mismatch, field "/cid"
--
-- Called by session_start.  A client's own starts go one after the other; of
-- many clients at once, the unique index session_live_advisor lets one in.
--
-- Rate, commission and the options of ledger.tariff are copied into the
-- session.  Free time is given once to a client and an advisor: what earlier
-- sessions of the two have used is subtracted, or may use until they are settled.
--
-- state_ms is the database's clock, for the coarse ring timeout.
CREATE OR REPLACE FUNCTION api.session_start(caller bigint, advisor bigint,
    service text, cid uuid, max_ms bigint, max_minor bigint, ready_ms bigint,
    live_gateways_only boolean)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s            consult.session;
    a            identity.advisor;
    o            ledger.tariff;
    v_role       text;
    v_blocked    boolean;
    v_rate       bigint;
    v_wallet     bigint;
    v_available  bigint;
    v_conv       bigint;
    v_constraint text;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    -- A repeat waits for its twin, then finds what that one made.  (A lock of
    -- two ints: migrate.sh's is one bigint.)
    PERFORM pg_advisory_xact_lock(1, hashint8(caller));

    SELECT * INTO s FROM consult.session x
     WHERE x.client_id = session_start.caller
       AND x.cid = session_start.cid;

    IF FOUND THEN
        IF s.advisor_id <> session_start.advisor
           OR s.service <> session_start.service
           OR s.max_ms IS DISTINCT FROM session_start.max_ms
           OR s.max_minor IS DISTINCT FROM session_start.max_minor THEN
            RETURN consult.refusal(422, 'idempotency_mismatch',
                       'this cid started another session', '/cid');
        END IF;

        RETURN consult.outcome(s, 200, true);
    END IF;

    -- not while the advisor is being erased, or a slot of theirs booked;
    -- shared: of many who ring at once the index lets one in
    PERFORM pg_advisory_xact_lock_shared(4, hashint8(advisor));

    SELECT p.role, p.blocked INTO v_role, v_blocked
      FROM identity.account p WHERE p.id = session_start.caller;

    IF v_role IS DISTINCT FROM 'client' THEN
        RETURN consult.refusal(403, 'invalid_user_role',
                               'only a client starts a session');
    END IF;

    IF v_blocked THEN
        RETURN consult.refusal(403, 'forbidden',
                               'this account is blocked');
    END IF;

    IF advisor = caller THEN
        RETURN consult.refusal(403, 'forbidden',
                               'a session is with somebody else');
    END IF;

    SELECT d.* INTO a
      FROM identity.advisor d
      JOIN identity.account p ON p.id = d.account_id
     WHERE d.account_id = session_start.advisor
       AND p.role = 'advisor' AND NOT p.blocked
       AND d.approved_at IS NOT NULL;

    IF NOT FOUND THEN
        RETURN consult.refusal(404, 'not_found', 'no such advisor');
    END IF;

    IF a.away THEN
        RETURN consult.refusal(409, 'offline', 'the advisor is away');
    END IF;

    v_rate := CASE service WHEN 'chat'  THEN a.rate_chat_minor
                           WHEN 'audio' THEN a.rate_audio_minor
                           WHEN 'video' THEN a.rate_video_minor END;

    IF v_rate IS NULL THEN
        RETURN consult.refusal(422, 'unsupported',
                   'the advisor does not offer this service', '/service');
    END IF;

    PERFORM 1 FROM consult.session x
      WHERE x.client_id = session_start.caller AND x.state <> 'ended';

    IF FOUND THEN
        RETURN consult.refusal(409, 'busy',
                               'you have a live session already');
    END IF;

    IF cardinality(consult.busy_of(ARRAY[advisor])) > 0 THEN
        RETURN consult.refusal(409, 'busy',
                               'the advisor is in a session');
    END IF;

    IF coalesce(consult.reserved_for(advisor), caller) <> caller THEN
        RETURN consult.refusal(409, 'busy',
                               'the advisor is kept for somebody else');
    END IF;

    IF live_gateways_only THEN
        PERFORM 1 FROM consult.presence p
          JOIN consult.gateway g ON g.id = p.gateway_id
         WHERE p.account_id = session_start.advisor AND consult.fresh(g);

        IF NOT FOUND THEN
            RETURN consult.refusal(409, 'offline',
                                   'the advisor is not connected');
        END IF;
    END IF;

    SELECT w.id, w.balance - w.held INTO v_wallet, v_available
      FROM ledger.wallet w
     WHERE w.owner_id = session_start.caller AND w.kind = 'client';

    SELECT t.* INTO STRICT o FROM ledger.tariff t
     WHERE t.service = session_start.service;

    o.free_ms := least(o.free_ms + consult.free_given(session_start.caller,
                             session_start.advisor), 86400000);

    IF o.free_ms > 0 THEN
        SELECT greatest(o.free_ms - coalesce(sum(
                   CASE WHEN x.settled THEN least(x.billed_ms, x.free_ms)
                        ELSE x.free_ms END), 0), 0) INTO o.free_ms
          FROM consult.conversation c
          JOIN consult.session x ON x.conversation_id = c.id
         WHERE c.client_id = session_start.caller
           AND c.advisor_id = session_start.advisor;
    END IF;

    IF coalesce(v_available, 0)
       < consult.price(o, v_rate, session_start.max_minor, ready_ms) THEN
        RETURN consult.refusal(402, 'insufficient_balance',
                               'top up to start this session');
    END IF;

    BEGIN
        SELECT c.id INTO v_conv FROM consult.conversation c
         WHERE c.client_id = session_start.caller
           AND c.advisor_id = session_start.advisor;

        IF NOT FOUND THEN
            INSERT INTO consult.conversation (client_id, advisor_id)
            VALUES (session_start.caller, session_start.advisor)
            ON CONFLICT DO NOTHING;

            -- ours, or the one that made ours a conflict
            SELECT c.id INTO STRICT v_conv FROM consult.conversation c
             WHERE c.client_id = session_start.caller
               AND c.advisor_id = session_start.advisor;
        END IF;

        INSERT INTO consult.session (conversation_id, client_id,
               advisor_id, client_wallet, advisor_wallet, cid, service,
               rate_minor, commission_bps, max_ms, max_minor, whole_minute,
               min_minor, free_ms, state, state_ms)
        VALUES (v_conv, session_start.caller, session_start.advisor,
               v_wallet,
               consult.wallet_of(session_start.advisor, 'advisor'),
               session_start.cid, session_start.service, v_rate,
               consult.commission(session_start.advisor,
                   session_start.service, a.commission_bps),
               session_start.max_ms,
               session_start.max_minor, o.whole_minute, o.min_minor,
               o.free_ms, 'ringing', consult.ms(clock_timestamp()))
        RETURNING * INTO s;

        PERFORM consult.session_begun(s.id, s.client_id, s.advisor_id);
        PERFORM consult.cap_begin(s.id, consult.price(o, v_rate,
                    session_start.max_minor, ready_ms));

        RETURN consult.outcome(s, 201, false);

    EXCEPTION WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;

        IF v_constraint <> 'session_live_advisor' THEN
            RAISE;
        END IF;
    END;

    RETURN consult.refusal(409, 'busy', 'the advisor is in a session');
END
$$;


-- api.session_start without max_minor: for nginx workers that know of none.
CREATE OR REPLACE FUNCTION api.session_start(caller bigint, advisor bigint,
    service text, cid uuid, max_ms bigint, ready_ms bigint,
    live_gateways_only boolean)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN api.session_start(caller, advisor, service, cid, max_ms, NULL,
                             ready_ms, live_gateways_only);
END
$$;


-- api.session_begin: api.session_start of a document:
--
--   {"advisor":"u_5","service":"chat|audio|video","cid":uuid,
--    "max_minutes":1..1440}
--
-- once: the Idempotency-Key of a REST request, which does for a cid.
--
-- Called by session_start and POST /api/sessions.
CREATE OR REPLACE FUNCTION api.session_begin(caller bigint, doc json,
    once text, ready_ms bigint, live_gateways_only boolean)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_cid uuid := consult.f_uuid(doc, 'cid', once IS NULL);
BEGIN
    IF v_cid IS NULL THEN
        v_cid := md5('session_start ' || once)::uuid;
    END IF;

    RETURN api.session_start(caller,
        consult.f_id(doc, 'advisor', 'u'),
        consult.f_enum(doc, 'service', '{chat,audio,video}'),
        v_cid,
        consult.f_int(doc, 'max_minutes', 1, 1440, false) * 60000,
        NULL, ready_ms, live_gateways_only);
END
$$;


-- api.session_apply: one event by one party moves a session.
--
--   event        its name, for messages only: accept, reject, cancel, end
--   from_states  in which it may be; to_state: in which it is afterwards
--   parties      subset of {client,advisor}: whose event it is
--   reason       stored with the new state; NULL when it ends: who ended it
--   gateway, life_ms   when, by the gateway's clock
--
--   200  body = snapshot.  dup = true: it was to end and has ended already
--   403  forbidden                       it is the other party's event
--   404  not_participant                 or no such session
--   409  session_state                   the message names the state
--   503  unavailable                     no such gateway
--
-- An end sets end_ms: nothing after it is billed.  A session that never had
-- an interval is settled here, with its session_end event; any other one is
-- left to the engine, which settles when the gateways have closed its
-- intervals.
--
-- Called by session_accept, session_reject, session_cancel, session_end.  Of
-- several at once, the first to get the row lock wins; the others are refused
-- by its state.
CREATE OR REPLACE FUNCTION api.session_apply(caller bigint, session bigint,
    event text, from_states text[], to_state text, parties text[],
    reason text, gateway bigint, life_ms bigint)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s         consult.session;
    r         api.session_outcome;
    v_instant bigint;
    v_party   text;
    v_seq     bigint;
    v_frame   text;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT g.started_ms + session_apply.life_ms INTO v_instant
      FROM consult.gateway g WHERE g.id = session_apply.gateway;

    IF NOT FOUND THEN
        RETURN consult.refusal(503, 'unavailable', 'no such gateway');
    END IF;

    SELECT * INTO s FROM consult.session x
     WHERE x.id = session_apply.session FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RETURN consult.refusal(404, 'not_participant',
                               'no such session of yours');
    END IF;

    v_party := CASE caller WHEN s.client_id THEN 'client' ELSE 'advisor' END;

    IF v_party <> ALL(parties) THEN
        RETURN consult.refusal(403, 'forbidden',
                   format('the %s may not %s', v_party, event));
    END IF;

    IF s.state = 'ended' AND to_state = 'ended' THEN
        RETURN consult.outcome(s, 200, true);
    END IF;

    IF s.state <> ALL(from_states) THEN
        RETURN consult.refusal(409, 'session_state',
                   format('the session is %s', s.state));
    END IF;

    IF to_state <> 'ended' THEN
        UPDATE consult.session x
           SET state = session_apply.to_state, reason = session_apply.reason,
               ver = x.ver + 1, state_ms = v_instant
         WHERE x.id = s.id RETURNING * INTO s;

        RETURN consult.outcome(s, 200, false);
    END IF;

    UPDATE consult.session x
       SET state = 'ended', ver = x.ver + 1, state_ms = v_instant,
           reason = coalesce(session_apply.reason, v_party || '_ended'),
           ended_at = clock_timestamp(), ended_by = session_apply.caller,
           end_ms = v_instant,
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


-- api.session_join: a party is connected and takes part; opens an interval at
-- life_ms of its gateway.  accepted becomes connecting; ver is bumped always,
-- for "present" has changed.  Each call opens one more interval: a gateway
-- joins once for each connection.
--
--   200  {"session","conv","polite":bool,"ice_servers":[],"peer_present":bool}
--        with interval_id (NULL while it is paused), and snapshot.  polite:
--        the client gives way when both offer
--   404  not_participant                 or no such session
--   409  session_state                   ended, or not in from_states
--   503  unavailable                     the lease is closed or unknown
--
-- Called by session_join, and by the gateway itself after unpaid.  The share
-- lock on the lease waits for who is closing it: no interval can open behind
-- the one that closes them all.
CREATE OR REPLACE FUNCTION api.session_join(caller bigint, session bigint,
    gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s          consult.session;
    r          api.session_outcome;
    v_instant  bigint;
    v_interval bigint;
    v_peer     boolean;
    v_open     bigint := life_ms;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT g.started_ms + session_join.life_ms INTO v_instant
      FROM consult.gateway g
     WHERE g.id = session_join.gateway AND NOT g.closed FOR SHARE;

    IF NOT FOUND THEN
        RETURN consult.refusal(503, 'unavailable',
                               'the lease of this gateway is closed');
    END IF;

    SELECT * INTO s FROM consult.session x
     WHERE x.id = session_join.session FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RETURN consult.refusal(404, 'not_participant',
                               'no such session of yours');
    END IF;

    -- whatever C allows: nobody joins what is over
    IF s.state = 'ended' OR s.state <> ALL(from_states) THEN
        RETURN consult.refusal(409, 'session_state',
                   format('the session is %s', s.state));
    END IF;

    -- Nobody is billed: the gateway opens an interval when it is resumed.
    IF s.state = 'paused' THEN
        r := consult.outcome(s, 200, false);
        r.body := consult.join_body(s, caller, false);

        RETURN r;
    END IF;

    -- Clocks of hosts are apart: who comes after a switch of the mode was not
    -- there before it.
    IF s.segments > 0 THEN
        v_open := v_open
                  + greatest((SELECT max(x.from_ms) FROM consult.segment x
                               WHERE x.session_id = s.id) - v_instant, 0);
    END IF;

    INSERT INTO consult.interval (session_id, account_id, gateway_id,
                                  open_life_ms)
    VALUES (s.id, session_join.caller, session_join.gateway, v_open)
    RETURNING id INTO v_interval;

    UPDATE consult.session x
       SET ver = x.ver + 1,
           state = CASE x.state WHEN 'accepted' THEN 'connecting'
                                ELSE x.state END,
           state_ms = CASE x.state WHEN 'accepted' THEN v_instant
                                   ELSE x.state_ms END
     WHERE x.id = s.id RETURNING * INTO s;

    SELECT EXISTS (SELECT FROM consult.interval i
                    WHERE i.session_id = s.id AND i.close_life_ms IS NULL
                      AND i.account_id <> session_join.caller)
      INTO v_peer;

    PERFORM consult.booking_joined(s.id, caller, v_peer);

    r := consult.outcome(s, 200, false);
    r.interval_id := v_interval;
    r.body := consult.join_body(s, caller, v_peer);

    RETURN r;
END
$$;


REVOKE ALL ON FUNCTION api.session_start(bigint, bigint, text, uuid, bigint,
        bigint, bigint, boolean),
    api.session_start(bigint, bigint, text, uuid, bigint, bigint, boolean),
    api.session_begin(bigint, json, text, bigint, boolean),
    api.session_apply(bigint, bigint, text, text[], text, text[], text, bigint,
        bigint),
    api.session_join(bigint, bigint, bigint, bigint, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.session_start(bigint, bigint, text, uuid, bigint,
        bigint, bigint, boolean),
    api.session_start(bigint, bigint, text, uuid, bigint, bigint, boolean),
    api.session_begin(bigint, json, text, bigint, boolean),
    api.session_apply(bigint, bigint, text, text[], text, text[], text, bigint,
        bigint),
    api.session_join(bigint, bigint, bigint, bigint, text[]) TO astro_web;

RESET ROLE;
