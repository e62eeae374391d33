-- session_mode: a session changes its service, and with it the rate.
--
-- From one instant on, the session is charged at another rate: a row of
-- consult.segment.  Nothing after that instant may have been billed before, and
-- what gateways were told is paid for must stay so; both are seen to here.

SET ROLE astro_engine;


-- consult.proven_of: an instant beyond which nothing of this session can have
-- been billed: by then one of the parties is not proven to have been there.
-- NULL: one of them never was.
CREATE OR REPLACE FUNCTION consult.proven_of(session bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT min(p.upto) FILTER (WHERE p.parties = 2)
              FROM (SELECT max(g.started_ms
                               + consult.proven_life(i.open_life_ms,
                                     i.close_life_ms, i.cut_life_ms, g.closed,
                                     g.life_ms, g.silence_ms)) AS upto,
                           count(*) OVER () AS parties
                      FROM consult.interval i
                      JOIN consult.gateway g ON g.id = i.gateway_id
                     WHERE i.session_id = session
                     GROUP BY i.account_id) p);
END
$$;


-- consult.hold_more: this much more of the client's wallet is held for a
-- session whose row the caller has locked; false: it is not available.
CREATE OR REPLACE FUNCTION consult.hold_more(session bigint, amount bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE ledger.wallet w SET held = w.held + hold_more.amount
      FROM consult.session s
     WHERE s.id = hold_more.session AND w.id = s.client_wallet
       AND w.balance - w.held >= hold_more.amount;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    UPDATE consult.session s SET held = s.held + hold_more.amount
     WHERE s.id = hold_more.session;

    RETURN true;
END
$$;


REVOKE ALL ON FUNCTION consult.proven_of(bigint),
    consult.hold_more(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.proven_of(bigint),
    consult.hold_more(bigint, bigint) TO astro_api;

RESET ROLE;

SET ROLE astro_api;


-- api.session_switch: from the instant life_ms of this gateway on, the session
-- is of another service, at the rate that the advisor asks for it now.  The
-- options of the tariff stay as they were when it was started.
--
--   from_states  in which it may be
--
--   200  body = snapshot.  dup = true: it is of this service already
--   402  insufficient_balance    what is promised as paid for cannot be held
--                                at the new rate, or goes beyond max_minor
--   403  forbidden               only the client can agree to a dearer one
--   404  not_participant         or no such session
--   409  session_state           the message names the state
--   422  unsupported, field "/service"
--   503  unavailable             the lease is closed or unknown
--
-- A switch to a dearer service holds, at once, what the time up to
-- paid_until_ms costs more: so nobody has to be told of an earlier end.
-- Locks: the session, then the client's wallet.
CREATE OR REPLACE FUNCTION api.session_switch(caller bigint, session bigint,
    service text, gateway bigint, life_ms bigint, from_states text[])
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s         consult.session;
    a         identity.advisor;
    v_instant bigint;
    v_last    consult.segment;
    v_rate    bigint;
    v_ahead   bigint;
    v_more    numeric := 0;     -- products of two bigints
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT g.started_ms + session_switch.life_ms INTO v_instant
      FROM consult.gateway g
     WHERE g.id = session_switch.gateway AND NOT g.closed;

    IF NOT FOUND THEN
        RETURN consult.refusal(503, 'unavailable',
                               'the lease of this gateway is closed');
    END IF;

    SELECT * INTO s FROM consult.session x
     WHERE x.id = session_switch.session FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RETURN consult.refusal(404, 'not_participant',
                               'no such session of yours');
    END IF;

    IF s.state = 'ended' OR s.state <> ALL(from_states) THEN
        RETURN consult.refusal(409, 'session_state',
                   format('the session is %s', s.state));
    END IF;

    SELECT * INTO v_last FROM consult.segment x
     WHERE x.session_id = s.id ORDER BY x.no DESC LIMIT 1;

    IF NOT FOUND THEN
        v_last.no := 0;
        v_last.service := s.service;
        v_last.rate_minor := s.rate_minor;
    END IF;

    IF v_last.service = session_switch.service THEN
        RETURN consult.outcome(s, 200, true);
    END IF;

    SELECT d.* INTO a FROM identity.advisor d
     WHERE d.account_id = s.advisor_id;

    v_rate := CASE service WHEN 'chat'  THEN a.rate_chat_minor
                           WHEN 'audio' THEN a.rate_audio_minor
                           WHEN 'video' THEN a.rate_video_minor END;

    IF v_rate IS NULL THEN
        RETURN consult.refusal(422, 'unsupported',
                   'the advisor does not offer this service', '/service');
    END IF;

    IF v_rate > v_last.rate_minor AND caller <> s.client_id THEN
        RETURN consult.refusal(403, 'forbidden',
                               'the client must confirm a dearer service');
    END IF;

    -- Clocks of hosts are apart; time that may have been billed is over.
    v_instant := greatest(v_instant, v_last.from_ms,
                          consult.proven_of(s.id));

    v_ahead := greatest(s.paid_until_ms - v_instant, 0);

    -- What the new segment can cost more than the old one would: as fractions
    -- are rounded down for each segment, nothing but the difference of rates.
    -- Whole minutes: one of them may be begun twice.
    IF v_ahead > 0 AND s.whole_minute THEN
        v_more := CASE WHEN v_rate > v_last.rate_minor
                       THEN v_last.rate_minor
                            + (v_rate - v_last.rate_minor)::numeric
                              * div(v_ahead + 59999, 60000)
                       ELSE v_rate END;

    ELSIF v_ahead > 0 AND v_rate > v_last.rate_minor THEN
        v_more := ceil((v_rate - v_last.rate_minor)::numeric * v_ahead
                       / 60000);
    END IF;

    -- or of what its client wants to spend: NULL is no maximum
    IF s.charged + s.held + v_more > least(s.max_minor, s.cap_minor) THEN
        RETURN consult.refusal(402, 'insufficient_balance',
                   'the maximum of this session is too near');
    END IF;

    IF v_more > 9000000000000000000 THEN
        RETURN consult.refusal(402, 'insufficient_balance',
                               'top up to change to this service');
    END IF;

    IF v_more > 0 AND NOT consult.hold_more(s.id, v_more::bigint) THEN
        RETURN consult.refusal(402, 'insufficient_balance',
                               'top up to change to this service');
    END IF;

    INSERT INTO consult.segment (session_id, no, from_ms, service, rate_minor)
    VALUES (s.id, v_last.no + 1, v_instant, session_switch.service, v_rate);

    UPDATE consult.session x
       SET ver = x.ver + 1, segments = v_last.no + 1
     WHERE x.id = s.id RETURNING * INTO s;

    RETURN consult.outcome(s, 200, false);
END
$$;


REVOKE ALL ON FUNCTION api.session_switch(bigint, bigint, text, bigint, bigint,
    text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.session_switch(bigint, bigint, text, bigint,
    bigint, text[]) TO astro_web;

RESET ROLE;
