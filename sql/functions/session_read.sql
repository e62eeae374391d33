-- session_read: sessions as their parties read them over REST.

SET ROLE astro_engine;


-- consult.last_charge: when a session was last charged, NULL: never.  Old
-- charges are rolled up.
CREATE OR REPLACE FUNCTION consult.last_charge(session bigint, charge_no int)
RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN coalesce(
        (SELECT t.at FROM ledger.transfer t
          WHERE t.session_id = last_charge.session
            AND t.charge_no = last_charge.charge_no),
        (SELECT r.last_at FROM ledger.session_rollup r
          WHERE r.session_id = last_charge.session));
END
$$;


REVOKE ALL ON FUNCTION consult.last_charge(bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.last_charge(bigint, int)
    TO astro_api, astro_admin;

RESET ROLE;

SET ROLE astro_owner;


-- consult.instant: an instant of the lease timeline as REST writes it, quoted.
CREATE OR REPLACE FUNCTION consult.instant(ms bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce('"' || consult.rfc3339(to_timestamp(ms / 1000.0)) || '"',
                    'null')
$$;


-- consult.session_doc: a session in a list: the snapshot and
--
--   {"created_at","started_at","last_tick_at","ended_at","duration_ms",
--    "totals":{"billed_ms","charged","currency"}}
--
-- started_at: when both were there first; last_tick_at: the last charge;
-- duration_ms: what is charged for.  They are what the ledger says.
CREATE OR REPLACE FUNCTION consult.session_doc(s consult.session) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN rtrim(consult.snapshot(s)::text, '}')
        || ',"created_at":"' || consult.rfc3339(s.created_at)
        || '","started_at":' || consult.instant(s.active_ms)
        || ',"last_tick_at":' || coalesce('"' || consult.rfc3339(
               consult.last_charge(s.id, s.charge_no)) || '"', 'null')
        || ',"ended_at":'
        || coalesce('"' || consult.rfc3339(s.ended_at) || '"', 'null')
        || ',"duration_ms":' || s.billed_ms
        || ',"totals":{"billed_ms":' || s.billed_ms || ',"charged":'
        || s.charged || ',"currency":"' || consult.currency() || '"}}';
END
$$;


-- consult.seq_before: the highest seq of a conversation that is stored before
-- an instant, 0: none.  at rises with seq, so it is found by halving.
CREATE OR REPLACE FUNCTION consult.seq_before(conv bigint, head bigint,
    instant timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_low  bigint := 0;         -- is before, or nothing is
    v_high bigint := head + 1;  -- is not before
    v_mid  bigint;
    v_at   timestamptz;
BEGIN
    WHILE v_high - v_low > 1 LOOP
        v_mid := (v_low + v_high) / 2;

        -- some may have been deleted
        SELECT e.seq, e.at INTO v_mid, v_at FROM consult.event e
         WHERE e.conversation_id = conv AND e.seq >= v_mid AND e.seq < v_high
         ORDER BY e.seq LIMIT 1;

        IF NOT FOUND THEN
            v_high := (v_low + v_high) / 2;

        ELSIF v_at < instant THEN
            v_low := v_mid;

        ELSE
            v_high := v_mid;
        END IF;
    END LOOP;

    RETURN v_low;
END
$$;


-- consult.transcript: a page of a session's messages, for whom it is: see
-- api.session_transcript.  originals: also as they read at first, if they were
-- changed.
CREATE OR REPLACE FUNCTION consult.transcript(s consult.session,
    after bigint, cap int, originals boolean) RETURNS json
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_head  bigint := (SELECT c.head FROM consult.conversation c
                        WHERE c.id = s.conversation_id);
    v_first bigint := consult.seq_before(s.conversation_id, v_head,
                                         s.created_at);
    v_last  bigint := CASE WHEN s.ended_at IS NULL THEN v_head
                           ELSE consult.seq_before(s.conversation_id, v_head,
                                    s.ended_at + interval '1 microsecond')
                      END;
BEGIN
    RETURN (
        SELECT consult.page(array_agg(m.doc ORDER BY m.seq),
                            array_agg(m.seq ORDER BY m.seq), cap)
          FROM (SELECT e.seq,
                       '{"seq":' || e.seq || ',"type":"' || e.type
                       || '","ts":"' || consult.rfc3339(e.at) || '","from":'
                       || coalesce('"u_' || e.sender_id || '"', 'null')
                       || ',"payload":'
                       || coalesce(m.payload, e.payload)::text
                       || CASE WHEN originals AND m.payload IS NOT NULL
                               THEN ',"original":' || e.payload::text
                               ELSE '' END || '}' AS doc
                  FROM consult.event e
                  LEFT JOIN consult.message_change m
                         ON m.conversation_id = e.conversation_id
                        AND m.seq = e.seq
                 WHERE e.conversation_id = s.conversation_id
                   AND e.seq > greatest(after, v_first) AND e.seq <= v_last
                   AND e.type <> 'session_end'
                 ORDER BY e.seq LIMIT cap + 1) m);
END
$$;


REVOKE ALL ON FUNCTION consult.instant(bigint),
    consult.session_doc(consult.session),
    consult.seq_before(bigint, bigint, timestamptz),
    consult.transcript(consult.session, bigint, int, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.instant(bigint),
    consult.session_doc(consult.session),
    consult.seq_before(bigint, bigint, timestamptz)
    TO astro_api, astro_admin, astro_engine;
GRANT EXECUTE ON FUNCTION consult.transcript(consult.session, bigint, int,
    boolean) TO astro_api, astro_admin;

RESET ROLE;

SET ROLE astro_api;


-- api.session: a session as a party of it sees it.
--
--   200  consult.session_doc and
--        segments  [{"service","rate","from"}]; from: when its rate began
--        media     [{"from","at","mic","cam","screen","device"}], the last 100
--        quality   [{"from","samples","poor","rtt","loss","jitter"}]: how many
--                  samples were taken, how many poor, and the averages
--   404  not_found                       no such session, or somebody else's
--
-- Called by GET /api/sessions/{id}.
CREATE OR REPLACE FUNCTION api.session(caller bigint, session bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s          consult.session;
    v_segments text;
    v_media    text;
    v_quality  text;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO s FROM consult.session x WHERE x.id = session.session;

    IF NOT FOUND THEN
        status := 404;
        body := consult.error('not_found', 'no such session');
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT string_agg('{"service":"' || x.service || '","rate":'
               || consult.money(x.rate_minor, consult.currency())
               || ',"from":' || consult.instant(x.from_ms) || '}', ','
               ORDER BY x.no)
      INTO v_segments
      FROM (SELECT 0 AS no, s.service, s.rate_minor, s.active_ms AS from_ms
            UNION ALL
            SELECT g.no, g.service, g.rate_minor, g.from_ms
              FROM consult.segment g WHERE g.session_id = s.id) x;

    SELECT string_agg('{"from":"u_' || x.account_id || '","at":"'
               || consult.rfc3339(x.at) || '","mic":' || x.mic || ',"cam":'
               || x.cam || ',"screen":' || x.screen || ',"device":'
               || coalesce(to_json(x.device)::text, 'null') || '}', ','
               ORDER BY x.id)
      INTO v_media
      FROM (SELECT m.* FROM consult.session_media m
             WHERE m.session_id = s.id ORDER BY m.id DESC LIMIT 100) x;

    SELECT string_agg('{"from":"u_' || x.account_id || '","samples":' || x.n
               || ',"poor":' || x.poor || ',"rtt":' || x.rtt || ',"loss":'
               || x.loss || ',"jitter":' || x.jitter || '}', ','
               ORDER BY x.account_id)
      INTO v_quality
      FROM (SELECT q.account_id, count(*) AS n,
                   count(*) FILTER (WHERE q.poor) AS poor,
                   round(avg(q.rtt_ms)) AS rtt,
                   trim_scale(round(avg(q.loss_bps) / 10000, 4)) AS loss,
                   round(avg(q.jitter_ms)) AS jitter
              FROM consult.session_quality q WHERE q.session_id = s.id
             GROUP BY q.account_id) x;

    status := 200;
    body := (rtrim(consult.session_doc(s), '}') || '},"segments":['
             || v_segments || '],"media":[' || coalesce(v_media, '')
             || '],"quality":[' || coalesce(v_quality, '') || ']}')::json;
    RETURN NEXT;
END
$$;


-- api.session_status: what a page that polls wants to know.
--
--   200  {"session","state","reason","service","billed_ms","charged",
--        "currency","present","ended_at"}
--   404  not_found
--
-- Called by GET /api/sessions/{id}/status.
CREATE OR REPLACE FUNCTION api.session_status(caller bigint, session bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s    consult.session;
    snap json;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO s FROM consult.session x
     WHERE x.id = session_status.session;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such session');
    END IF;

    snap := consult.snapshot(s);

    status := 200;
    body := ('{"session":"s_' || s.id || '","state":"' || s.state
        || '","reason":' || coalesce(to_json(s.reason)::text, 'null')
        || ',"service":' || (snap -> 'service')::text || ',"billed_ms":'
        || s.billed_ms || ',"charged":' || s.charged || ',"currency":"'
        || consult.currency() || '","present":' || (snap -> 'present')::text
        || ',"ended_at":' || coalesce('"' || consult.rfc3339(s.ended_at)
                                      || '"', 'null') || '}')::json;
    RETURN NEXT;
END
$$;


-- api.sessions: one's sessions, newest first.  query:
--
--   state     live, ended, or a state
--   service   with which it was started
--   peer      the other party, "u_5"
--   reason    why it ended
--   from, to  when it was started: from <= created_at < to
--
--   200 {"data":[session_doc],"next_cursor":null|".."}
--   400 bad_request, with the parameter as its field
--
-- Called by GET /api/sessions.
CREATE OR REPLACE FUNCTION api.sessions(caller bigint, query json, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before  bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_cap     int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_state   text := consult.f_enum(query, 'state', '{live,ended,ringing,'
                      'accepted,connecting,active,reconnecting,paused}',
                      false);
    v_service text := consult.f_enum(query, 'service', '{chat,audio,video}',
                                     false);
    v_peer    bigint := consult.f_id(query, 'peer', 'u', false);
    v_reason  text := consult.f_text(query, 'reason', 1, 64, false);
    v_from    timestamptz := consult.f_time(query, 'from', false);
    v_to      timestamptz := consult.f_time(query, 'to', false);
    v_wallets bigint[];
BEGIN
    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    v_wallets := ARRAY(SELECT w.id FROM ledger.wallet w
                        WHERE w.owner_id = sessions.caller);

    -- along the two indexes by wallet, each as far as the page
    RETURN QUERY
    SELECT 200, consult.page(array_agg(consult.session_doc(p.session)
                                       ORDER BY p.id DESC),
                             array_agg(p.id ORDER BY p.id DESC), v_cap)
      FROM (SELECT x.id, x.session
              FROM unnest(v_wallets) AS w(id),
                   LATERAL (
                   (SELECT s.id, s AS session FROM consult.session s
                     WHERE s.client_wallet = w.id AND s.id < v_before
                       AND (v_state IS NULL OR s.state = v_state
                            OR v_state = 'live' AND s.state <> 'ended')
                       AND (v_service IS NULL OR s.service = v_service)
                       AND (v_reason IS NULL OR s.reason = v_reason)
                       AND (v_peer IS NULL OR s.advisor_id = v_peer)
                       AND (v_from IS NULL OR s.created_at >= v_from)
                       AND (v_to IS NULL OR s.created_at < v_to)
                     ORDER BY s.id DESC LIMIT v_cap + 1)
                    UNION ALL
                   (SELECT s.id, s FROM consult.session s
                     WHERE s.advisor_wallet = w.id AND s.id < v_before
                       AND (v_state IS NULL OR s.state = v_state
                            OR v_state = 'live' AND s.state <> 'ended')
                       AND (v_service IS NULL OR s.service = v_service)
                       AND (v_reason IS NULL OR s.reason = v_reason)
                       AND (v_peer IS NULL OR s.client_id = v_peer)
                       AND (v_from IS NULL OR s.created_at >= v_from)
                       AND (v_to IS NULL OR s.created_at < v_to)
                     ORDER BY s.id DESC LIMIT v_cap + 1)) x
             ORDER BY x.id DESC LIMIT v_cap + 1) p;
END
$$;


-- api.session_transcript: the messages of a session: those of its conversation
-- from when it was started to its end (or now), oldest first, as they read since
-- the last edit.  The cursor is the seq of the last one seen.
--
--   200 {"data":[{seq,type,ts,from,payload}],"next_cursor":null|".."}
--   400 bad_request, field "/cursor"
--   404 not_found                         no such session, or not one's own
--
-- Called by GET /api/sessions/{id}/transcript.
CREATE OR REPLACE FUNCTION api.session_transcript(caller bigint,
    session bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s       consult.session;
    v_after bigint := consult.cursor_id(cursor, 0);
    v_cap   int    := least(greatest(coalesce(cap, 50), 1), 200);
BEGIN
    IF v_after IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO s FROM consult.session x
     WHERE x.id = session_transcript.session;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such session');
    END IF;

    RETURN QUERY SELECT 200, consult.transcript(s, v_after, v_cap, false);
END
$$;


REVOKE ALL ON FUNCTION api.session(bigint, bigint),
    api.session_status(bigint, bigint),
    api.sessions(bigint, json, int, text),
    api.session_transcript(bigint, bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.session(bigint, bigint),
    api.session_status(bigint, bigint),
    api.sessions(bigint, json, int, text),
    api.session_transcript(bigint, bigint, int, text) TO astro_web;

RESET ROLE;
