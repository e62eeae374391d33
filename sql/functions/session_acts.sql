-- session_acts: what parties do with a session, as documents of a client: a
-- WebSocket message's payload or a REST request's body.  The same functions
-- serve both.  Functions of api, owned by astro_api, that return
-- api.session_outcome; fields that are wrong are refused by consult.fail().
--
-- Which event is allowed in which state is decided in C and arrives as
-- from_states.  "gateway" and "life_ms" say when.

SET ROLE astro_engine;


-- of the version before
DROP FUNCTION IF EXISTS consult.pause_end(bigint, bigint);


-- consult.pause_begin: cuts what is open at the instant of the pause.  Gateways
-- that have not heard of it leave it open for a while, and it is proven up to
-- the cut no sooner than they renew; nothing after it is ever billed.
CREATE OR REPLACE FUNCTION consult.pause_begin(session bigint, instant bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE consult.interval i
       SET cut_life_ms = greatest(i.open_life_ms, instant - g.started_ms)
      FROM consult.gateway g
     WHERE i.session_id = session AND i.close_life_ms IS NULL
       AND g.id = i.gateway_id;
END
$$;


-- consult.pause_end: closes what gateways that have heard nothing of the pause
-- have left open: who goes on joins anew.  At the cut, but not beyond what the
-- lease proves by now: what it would have proven later, at most a renewal's
-- worth, nobody pays.
CREATE OR REPLACE FUNCTION consult.pause_end(session bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE consult.interval i
       SET close_life_ms = greatest(i.open_life_ms,
                                    least(i.cut_life_ms, g.life_ms)),
           close_reason = 'paused'
      FROM consult.gateway g
     WHERE i.session_id = session AND i.close_life_ms IS NULL
       AND g.id = i.gateway_id;
END
$$;


REVOKE ALL ON FUNCTION consult.pause_begin(bigint, bigint),
    consult.pause_end(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.pause_begin(bigint, bigint),
    consult.pause_end(bigint) TO astro_api;

RESET ROLE;

SET ROLE astro_owner;


-- consult.act_begin: the session of an act, locked, and its instant; refuses
-- for whom it is not, and in what state it is not.  For the functions below.
CREATE OR REPLACE FUNCTION consult.act_begin(caller bigint, session bigint,
    gateway bigint, life_ms bigint, from_states text[],
    OUT s consult.session, OUT instant bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT g.started_ms + act_begin.life_ms INTO instant
      FROM consult.gateway g
     WHERE g.id = act_begin.gateway AND NOT g.closed;

    IF NOT FOUND THEN
        PERFORM consult.fail('unavailable',
                             'the lease of this gateway is closed');
    END IF;

    SELECT * INTO s FROM consult.session x
     WHERE x.id = act_begin.session FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_participant', 'no such session of yours');
    END IF;

    IF s.state <> ALL(from_states) THEN
        PERFORM consult.fail('session_state',
                             format('the session is %s', s.state));
    END IF;
END
$$;


REVOKE ALL ON FUNCTION consult.act_begin(bigint, bigint, bigint, bigint,
    text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.act_begin(bigint, bigint, bigint, bigint,
    text[]) TO astro_api;

RESET ROLE;

SET ROLE astro_api;


-- api.session_mode: from now on it is another service, at another rate:
--
--   {"service":"video","confirm_rate":12000}
--
-- confirm_rate, in minor units per minute, is needed when it becomes dearer,
-- and must be the advisor's rate of this moment: so nobody pays a price that
-- they have not seen.  Answers and refusals: api.session_switch, and
-- precondition_failed, field "/confirm_rate".
--
-- Called by session_mode and POST /api/sessions/{s}/mode.
CREATE OR REPLACE FUNCTION api.session_mode(caller bigint, session bigint,
    doc json, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s         consult.session;
    r         api.session_outcome;
    v_old     bigint;
    v_new     bigint;
    v_service text   := consult.f_enum(doc, 'service', '{chat,audio,video}');
    v_confirm bigint := consult.f_int(doc, 'confirm_rate', 1, 1000000000,
                                      false);
BEGIN
    s := (consult.act_begin(caller, session, gateway, life_ms,
                            from_states)).s;

    v_old := coalesce((SELECT x.rate_minor FROM consult.segment x
                        WHERE x.session_id = s.id
                        ORDER BY x.no DESC LIMIT 1), s.rate_minor);

    r := api.session_switch(caller, session, v_service, gateway, life_ms,
                            from_states);

    IF r.status >= 300 OR r.dup THEN
        RETURN r;
    END IF;

    v_new := (r.snapshot -> 'rate' ->> 'amount')::bigint;

    -- the switch is undone with this
    IF v_new > v_old AND v_confirm IS DISTINCT FROM v_new THEN
        PERFORM consult.fail('precondition_failed', 'it costs ' || v_new
            || ' a minute: say so in confirm_rate', '/confirm_rate');
    END IF;

    RETURN r;
END
$$;


-- api.session_pause: nobody is billed until it is resumed: what is open is cut
-- at this very instant, and gateways that hear of it close it there.  Only who has paused it may resume it;
-- the billing worker ends it when it is paused for too long.
--
--   200  body = snapshot.  dup = true: the caller has paused it already
--   404  not_participant    409  session_state    503  unavailable
--
-- Called by session_pause and POST /api/sessions/{s}/pause.
CREATE OR REPLACE FUNCTION api.session_pause(caller bigint, session bigint,
    doc json, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b        record;
    s        consult.session;
    v_reason text;
BEGIN
    b := consult.act_begin(caller, session, gateway, life_ms,
                           from_states || 'paused'::text);
    s := b.s;
    v_reason := CASE caller WHEN s.client_id THEN 'client_paused'
                            ELSE 'advisor_paused' END;

    IF s.state = 'paused' THEN
        IF s.reason IS DISTINCT FROM v_reason THEN
            PERFORM consult.fail('session_state', 'the session is paused');
        END IF;

        RETURN consult.outcome(s, 200, true);
    END IF;

    -- Clocks of hosts are apart: nothing that may have been billed is taken
    -- back.
    UPDATE consult.session x
       SET state = 'paused', reason = v_reason, ver = x.ver + 1,
           pauses = x.pauses + 1,
           state_ms = greatest(b.instant, consult.proven_of(x.id))
     WHERE x.id = s.id RETURNING * INTO s;

    PERFORM consult.pause_begin(s.id, s.state_ms);

    RETURN consult.outcome(s, 200, false);
END
$$;


-- api.session_resume: a paused session goes on, when both parties' gateways
-- have joined it again, which they do by themselves.
--
--   200  body = snapshot
--   403  forbidden                the other party has paused it
--   404  not_participant    409  session_state    503  unavailable
--
-- Called by session_resume and POST /api/sessions/{s}/resume.
CREATE OR REPLACE FUNCTION api.session_resume(caller bigint, session bigint,
    doc json, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b record;
    s consult.session;
BEGIN
    b := consult.act_begin(caller, session, gateway, life_ms, from_states);
    s := b.s;

    IF s.reason IS DISTINCT FROM (CASE caller WHEN s.client_id
                                       THEN 'client_paused'
                                       ELSE 'advisor_paused' END) THEN
        PERFORM consult.fail('forbidden', 'the other party has paused it');
    END IF;

    PERFORM consult.pause_end(s.id);

    UPDATE consult.session x
       SET state = 'reconnecting', reason = NULL, ver = x.ver + 1,
           state_ms = b.instant
     WHERE x.id = s.id RETURNING * INTO s;

    RETURN consult.outcome(s, 200, false);
END
$$;


-- api.session_extend: the client's own maximum becomes a later one:
--
--   {"max_minutes":1..1440}      of the whole session
--
--   200  body = snapshot.  dup = true: it is the maximum already
--   403  forbidden               it is the client's
--   409  conflict                it has no maximum, or a later one
--   404  not_participant    409  session_state    503  unavailable
--
-- The session goes on without a gap if the billing worker hears of it before
-- the old maximum is reached.
--
-- Called by session_extend and POST /api/sessions/{s}/extend.
CREATE OR REPLACE FUNCTION api.session_extend(caller bigint, session bigint,
    doc json, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s     consult.session;
    v_max bigint := consult.f_int(doc, 'max_minutes', 1, 1440) * 60000;
BEGIN
    s := (consult.act_begin(caller, session, gateway, life_ms,
                            from_states)).s;

    IF caller <> s.client_id THEN
        PERFORM consult.fail('forbidden', 'the maximum is the client''s');
    END IF;

    IF s.max_ms = v_max THEN
        RETURN consult.outcome(s, 200, true);
    END IF;

    IF s.max_ms IS NULL OR s.max_ms > v_max THEN
        PERFORM consult.fail('conflict', 'the session goes on for longer',
                             '/max_minutes');
    END IF;

    UPDATE consult.session x SET max_ms = v_max, ver = x.ver + 1
     WHERE x.id = s.id RETURNING * INTO s;

    RETURN consult.outcome(s, 200, false);
END
$$;


-- api.session_media: what a party shows from now on:
--
--   {"mic":true,"cam":false,"screen":false,"device":"front"}
--
-- device, a name of at most 64 characters, may be left out: a camera or a
-- microphone was changed for another.
--
--   200  body = {"session","from","mic","cam","screen"[,"device"],"ts"};
--        event_frame: the same for the other party, who is told and may miss it
--   404  not_participant    409  session_state    503  unavailable
--
-- Called by session_media and POST /api/sessions/{s}/media.
CREATE OR REPLACE FUNCTION api.session_media(caller bigint, session bigint,
    doc json, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s        consult.session;
    r        api.session_outcome;
    m        consult.session_media;
BEGIN
    m.mic := consult.f_bool(doc, 'mic');
    m.cam := consult.f_bool(doc, 'cam');
    m.screen := consult.f_bool(doc, 'screen');
    m.device := consult.f_text(doc, 'device', 1, 64, false);

    s := (consult.act_begin(caller, session, gateway, life_ms,
                            from_states)).s;

    INSERT INTO consult.session_media (session_id, account_id, mic, cam,
                screen, device)
    VALUES (s.id, caller, m.mic, m.cam, m.screen, m.device)
    RETURNING * INTO m;

    r := consult.outcome(s, 200, false);
    r.body := ('{"session":"s_' || s.id || '","from":"u_' || caller
        || '","mic":' || m.mic || ',"cam":' || m.cam || ',"screen":'
        || m.screen || coalesce(',"device":' || to_json(m.device)::text, '')
        || ',"ts":' || consult.ms(m.at) || '}')::json;
    r.event_frame := '{"type":"session_media","payload":' || r.body || '}';

    RETURN r;
END
$$;


-- api.session_quality: what a party measured of its connection, about every
-- ten seconds:
--
--   {"rtt":ms,"loss":0..1,"jitter":ms}
--
-- Poor is what people hear: more than 5 % lost, 400 ms to and fro, or 60 ms of
-- jitter.
--
--   200  body = {"session","from","rtt","loss","jitter","poor"}; event_frame:
--        the same for the other party
--   404  not_participant    409  session_state    503  unavailable
--
-- Called by session_quality and POST /api/sessions/{s}/quality.
CREATE OR REPLACE FUNCTION api.session_quality(caller bigint, session bigint,
    doc json, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s        consult.session;
    r        api.session_outcome;
    v_rtt    int := round(consult.f_number(doc, 'rtt', 0, 60000));
    v_jitter int := round(consult.f_number(doc, 'jitter', 0, 60000));
    v_loss   int := round(consult.f_number(doc, 'loss', 0, 1) * 10000);
    v_poor   boolean;
BEGIN
    s := (consult.act_begin(caller, session, gateway, life_ms,
                            from_states)).s;

    v_poor := v_loss > 500 OR v_rtt > 400 OR v_jitter > 60;

    INSERT INTO consult.session_quality AS q (session_id, account_id, at,
                rtt_ms, jitter_ms, loss_bps, poor)
    VALUES (s.id, caller, date_trunc('second', clock_timestamp()), v_rtt,
            v_jitter, v_loss, v_poor)
    ON CONFLICT (session_id, account_id, at) DO UPDATE
       SET rtt_ms = excluded.rtt_ms, jitter_ms = excluded.jitter_ms,
           loss_bps = excluded.loss_bps, poor = q.poor OR excluded.poor;

    r := consult.outcome(s, 200, false);
    r.body := ('{"session":"s_' || s.id || '","from":"u_' || caller
        || '","rtt":' || v_rtt || ',"loss":'
        || trim_scale(v_loss / 10000.0) || ',"jitter":' || v_jitter
        || ',"poor":' || v_poor || '}')::json;
    r.event_frame := '{"type":"session_quality","payload":' || r.body || '}';

    RETURN r;
END
$$;


REVOKE ALL ON FUNCTION
    api.session_mode(bigint, bigint, json, bigint, bigint, text[]),
    api.session_pause(bigint, bigint, json, bigint, bigint, text[]),
    api.session_resume(bigint, bigint, json, bigint, bigint, text[]),
    api.session_extend(bigint, bigint, json, bigint, bigint, text[]),
    api.session_media(bigint, bigint, json, bigint, bigint, text[]),
    api.session_quality(bigint, bigint, json, bigint, bigint, text[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    api.session_mode(bigint, bigint, json, bigint, bigint, text[]),
    api.session_pause(bigint, bigint, json, bigint, bigint, text[]),
    api.session_resume(bigint, bigint, json, bigint, bigint, text[]),
    api.session_extend(bigint, bigint, json, bigint, bigint, text[]),
    api.session_media(bigint, bigint, json, bigint, bigint, text[]),
    api.session_quality(bigint, bigint, json, bigint, bigint, text[])
    TO astro_web;

RESET ROLE;
