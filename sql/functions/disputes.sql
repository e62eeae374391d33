-- disputes: a party says that a session was not what it should have been; what
-- is known of it is put down at once, and an admin decides.

SET ROLE astro_engine;


-- consult.evidence: what is known of a session, as it is now:
--
--   session     consult.session_doc; ended_by, end: who ended it, when (of what
--               is billed); null: the system
--   transfers   {count,amount,fee,promo,first_at,last_at} of its charges
--   charges     [{no,at,amount,fee,promo,billed_ms}], the last 500
--   segments    [{service,rate_minor,from}] after switches of the mode
--   intervals   [{user,from,to,reason}]: when each party was connected, the last
--               200; connected_ms {client,advisor,both}: of all of them
--   quality     [{from,samples,poor,rtt,loss,jitter}]
--   transcript  {conv,first,last,client,advisor}: where its messages are, and
--               how many each has sent
CREATE OR REPLACE FUNCTION consult.evidence(s consult.session) RETURNS json
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_head    bigint := (SELECT c.head FROM consult.conversation c
                          WHERE c.id = s.conversation_id);
    v_first   bigint := consult.seq_before(s.conversation_id, v_head,
                                           s.created_at);
    v_last    bigint := consult.seq_before(s.conversation_id, v_head,
                            s.ended_at + interval '1 microsecond');
    v_client  int8multirange;
    v_advisor int8multirange;
    v_periods json;
BEGIN
    SELECT range_agg(x.r) FILTER (WHERE x.account_id = s.client_id),
           range_agg(x.r) FILTER (WHERE x.account_id = s.advisor_id),
           json_agg(json_build_object('user', 'u_' || x.account_id,
               'from', consult.rfc3339(to_timestamp(x.a / 1000.0)),
               'to', consult.rfc3339(to_timestamp(x.b / 1000.0)),
               'reason', x.close_reason) ORDER BY x.id)
               FILTER (WHERE x.n <= 200)
      INTO v_client, v_advisor, v_periods
      FROM (SELECT y.*, int8range(y.a, y.b) AS r,
                   row_number() OVER (ORDER BY y.id DESC) AS n
              FROM (SELECT i.id, i.account_id, i.close_reason,
                           g.started_ms + i.open_life_ms AS a,
                           g.started_ms + consult.proven_life(i.open_life_ms,
                               i.close_life_ms, i.cut_life_ms, g.closed,
                               g.life_ms, g.silence_ms) AS b
                      FROM consult.interval i
                      JOIN consult.gateway g ON g.id = i.gateway_id
                     WHERE i.session_id = s.id) y) x;

    RETURN json_build_object(
        'session', consult.session_doc(s)::json,
        'ended_by', 'u_' || s.ended_by,
        'end', consult.rfc3339(to_timestamp(s.end_ms / 1000.0)),
        'transfers', coalesce(
            (SELECT json_build_object('count', count(*),
                        'amount', sum(t.amount), 'fee', sum(t.fee),
                        'promo', sum(t.promo),
                        'first_at', consult.rfc3339(min(t.at)),
                        'last_at', consult.rfc3339(max(t.at)))
               FROM ledger.transfer t WHERE t.session_id = s.id
             HAVING count(*) > 0),
            (SELECT json_build_object('count', r.charges, 'amount', r.amount,
                        'fee', r.fee, 'promo', r.promo,
                        'first_at', consult.rfc3339(r.first_at),
                        'last_at', consult.rfc3339(r.last_at))
               FROM ledger.session_rollup r WHERE r.session_id = s.id),
            json_build_object('count', 0, 'amount', 0, 'fee', 0, 'promo', 0,
                              'first_at', NULL, 'last_at', NULL)),
        'charges', coalesce(
            (SELECT json_agg(row_to_json(x) ORDER BY x.no)
               FROM (SELECT t.charge_no AS no, consult.rfc3339(t.at) AS at,
                            t.amount, t.fee, t.promo, t.billed_ms
                       FROM ledger.transfer t WHERE t.session_id = s.id
                      ORDER BY t.charge_no DESC LIMIT 500) x), '[]'),
        'segments', coalesce(
            (SELECT json_agg(json_build_object('service', g.service,
                        'rate_minor', g.rate_minor, 'from',
                        consult.rfc3339(to_timestamp(g.from_ms / 1000.0)))
                        ORDER BY g.no)
               FROM consult.segment g WHERE g.session_id = s.id), '[]'),
        'intervals', coalesce(v_periods, '[]'),
        'connected_ms', json_build_object(
            'client', consult.multirange_ms(v_client),
            'advisor', consult.multirange_ms(v_advisor),
            'both', consult.multirange_ms(v_client * v_advisor)),
        'quality', coalesce(
            (SELECT json_agg(row_to_json(x))
               FROM (SELECT 'u_' || q.account_id AS "from",
                            count(*) AS samples,
                            count(*) FILTER (WHERE q.poor) AS poor,
                            round(avg(q.rtt_ms)) AS rtt,
                            round(avg(q.loss_bps) / 10000, 4) AS loss,
                            round(avg(q.jitter_ms)) AS jitter
                       FROM consult.session_quality q
                      WHERE q.session_id = s.id
                      GROUP BY q.account_id ORDER BY q.account_id) x), '[]'),
        'transcript',
            (SELECT json_build_object('conv', 'c_' || s.conversation_id,
                        'first', v_first + 1, 'last', v_last,
                        'client', count(*) FILTER (
                            WHERE e.sender_id = s.client_id),
                        'advisor', count(*) FILTER (
                            WHERE e.sender_id = s.advisor_id))
               FROM consult.event e
              WHERE e.conversation_id = s.conversation_id
                AND e.seq > v_first AND e.seq <= v_last
                AND e.type = 'chat_message'));
END
$$;


-- consult.multirange_ms: how long it is in all.
CREATE OR REPLACE FUNCTION consult.multirange_ms(r int8multirange)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN coalesce((SELECT sum(upper(x) - lower(x)) FROM unnest(r) AS x), 0);
END
$$;


-- consult.dispute_body: a dispute as its parties see it.
CREATE OR REPLACE FUNCTION consult.dispute_body(d consult.dispute)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object('id', 'd_' || d.id, 'session',
        's_' || d.session_id, 'by', 'u_' || d.opened_by, 'reason', d.reason,
        'text', d.said, 'at', consult.rfc3339(d.at), 'state', d.state,
        'amount', consult.money(d.amount, consult.currency())::jsonb,
        'decision', d.decision, 'decided_at', consult.rfc3339(d.decided_at));
END
$$;


-- consult.dispute_open: see api.dispute_create.
CREATE OR REPLACE FUNCTION consult.dispute_open(caller bigint,
    session bigint, reason text, said text) RETURNS consult.dispute
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    s consult.session;
    d consult.dispute;
BEGIN
    SELECT * INTO s FROM consult.session x
     WHERE x.id = dispute_open.session
       AND dispute_open.caller IN (x.client_id, x.advisor_id);

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such session');
    END IF;

    IF NOT s.settled THEN
        PERFORM consult.fail('session_state', CASE s.state WHEN 'ended'
                    THEN 'its books are not closed yet, try again'
                    ELSE 'the session is ' || s.state END);
    END IF;

    IF s.ended_at < clock_timestamp() - (SELECT o.open_days
                        FROM consult.dispute_option o WHERE o.one)
                    * interval '1 day' THEN
        PERFORM consult.fail('gone', 'the session ended too long ago');
    END IF;

    INSERT INTO consult.dispute (session_id, conversation_id, client_id,
           advisor_id, opened_by, reason, said, evidence)
    VALUES (s.id, s.conversation_id, s.client_id, s.advisor_id,
           dispute_open.caller, dispute_open.reason, dispute_open.said,
           consult.evidence(s))
    ON CONFLICT DO NOTHING RETURNING * INTO d;

    IF d.id IS NULL THEN
        PERFORM consult.fail('conflict',
                             'there is a dispute about this session');
    END IF;

    PERFORM consult.tell(CASE dispute_open.caller WHEN s.client_id
                              THEN s.advisor_id ELSE s.client_id END,
                'dispute_opened', json_build_object('id', 'd_' || d.id,
                    'session', 's_' || s.id, 'reason', d.reason));

    RETURN d;
END
$$;


-- consult.dispute_close: see api.dispute_decide.  Locks the dispute, then as
-- billing.reverse.
CREATE OR REPLACE FUNCTION consult.dispute_close(dispute bigint,
    caller bigint, refund boolean, amount bigint, why text)
RETURNS consult.dispute
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    d      consult.dispute;
    v_left bigint;
    v_much bigint := amount;
BEGIN
    SELECT * INTO d FROM consult.dispute x WHERE x.id = dispute_close.dispute
       FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such dispute');
    END IF;

    IF d.state <> 'open' THEN
        PERFORM consult.fail('conflict', 'it was ' || d.state);
    END IF;

    IF refund THEN
        SELECT s.charged INTO STRICT v_left FROM consult.session s
         WHERE s.id = d.session_id FOR NO KEY UPDATE;

        -- what another one brought back meanwhile is seen: after the lock
        v_left := v_left - coalesce(
            (SELECT sum(t.amount) FROM ledger.transfer t
              WHERE t.about = d.session_id AND t.session_id IS NULL
                AND t.kind IN ('reversal', 'reversal_fee')), 0);
        v_much := coalesce(v_much, v_left);

        IF v_much > v_left OR v_left = 0 THEN
            PERFORM consult.fail('conflict', 'of what the session charged '
                                 || v_left || ' is left', '/amount');
        END IF;

        PERFORM billing.reverse(d.session_id, v_much, 'dispute:' || d.id);
    END IF;

    UPDATE consult.dispute x
       SET state = CASE WHEN refund THEN 'refunded' ELSE 'refused' END,
           amount = CASE WHEN refund THEN v_much END,
           decision = dispute_close.why, decided_at = clock_timestamp(),
           decided_by = dispute_close.caller
     WHERE x.id = d.id RETURNING * INTO d;

    PERFORM consult.tell(p.id, 'dispute_decided',
                json_build_object('id', 'd_' || d.id, 'session',
                    's_' || d.session_id, 'state', d.state, 'amount',
                    consult.money(d.amount, consult.currency())::json))
       FROM unnest(ARRAY[d.client_id, d.advisor_id]) AS p(id);

    RETURN d;
END
$$;


REVOKE ALL ON FUNCTION consult.evidence(consult.session),
    consult.multirange_ms(int8multirange),
    consult.dispute_body(consult.dispute),
    consult.dispute_open(bigint, bigint, text, text),
    consult.dispute_close(bigint, bigint, boolean, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.dispute_body(consult.dispute)
    TO astro_api, astro_admin;
GRANT EXECUTE ON FUNCTION consult.dispute_open(bigint, bigint, text, text)
    TO astro_api;
GRANT EXECUTE ON FUNCTION consult.dispute_close(bigint, bigint, boolean,
    bigint, text) TO astro_admin;

RESET ROLE;
SET ROLE astro_api;


-- api.dispute_create: {"reason","text"}: a party of a session that is over says
-- what was wrong with it; once for each session, and not later than
-- consult.dispute_option says.  The other party gets a notice.
--
--   reason   not_served, quality, behaviour, billing, other
--
--   201 {id:"d_1",session,by,reason,text,at,state,amount,decision,decided_at}
--   400 bad_request, with its field
--   404 not_found                         no such session, or not one's own
--   409 conflict                          there is a dispute about it
--   409 session_state                     it is live, or not settled yet
--   410 gone                              it ended too long ago
--
-- Called by POST /api/sessions/{s}/dispute.
CREATE OR REPLACE FUNCTION api.dispute_create(caller bigint, session bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reason text := consult.f_enum(doc, 'reason', '{not_served,quality,'
                                    'behaviour,billing,other}');
    v_said   text := consult.f_text(doc, 'text', 1, 2000);
    d        consult.dispute;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    d := consult.dispute_open(caller, session, v_reason, v_said);

    RETURN QUERY SELECT 201, consult.dispute_body(d)::json;
END
$$;


-- api.dispute: the dispute about a session of one's own.
--
--   200 as api.dispute_create; state: open, refused, refunded
--   404 not_found
--
-- Called by GET /api/sessions/{s}/dispute.
CREATE OR REPLACE FUNCTION api.dispute(caller bigint, session bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    d consult.dispute;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO d FROM consult.dispute x
     WHERE x.session_id = dispute.session;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no dispute about this session');
    END IF;

    RETURN QUERY SELECT 200, consult.dispute_body(d)::json;
END
$$;


REVOKE ALL ON FUNCTION api.dispute_create(bigint, bigint, json),
    api.dispute(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.dispute_create(bigint, bigint, json),
    api.dispute(bigint, bigint) TO astro_web;

RESET ROLE;
SET ROLE astro_admin;


-- consult.dispute_full: a dispute as admins see it; charges: with each charge.
CREATE OR REPLACE FUNCTION consult.dispute_full(d consult.dispute,
    charges boolean) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_evidence jsonb := d.evidence;
BEGIN
    IF NOT charges THEN
        v_evidence := v_evidence - 'charges';
    END IF;

    RETURN (SELECT consult.dispute_body(d) || jsonb_build_object(
                'client', jsonb_build_object('id', 'u_' || c.id, 'name',
                                             c.name),
                'advisor', jsonb_build_object('id', 'u_' || a.id, 'name',
                                              a.name),
                'decided_by', 'u_' || d.decided_by, 'evidence', v_evidence)
              FROM identity.account c, identity.account a
             WHERE c.id = d.client_id AND a.id = d.advisor_id);
END
$$;

REVOKE ALL ON FUNCTION consult.dispute_full(consult.dispute, boolean)
    FROM PUBLIC;


-- api.disputes: all of them, newest first.  query: state (open, refused,
-- refunded).
--
--   200 {"data":[as api.dispute_create, and client,advisor {id,name},
--        decided_by, evidence (consult.evidence) without its charges],
--        "next_cursor"}
--   400 bad_request, field "/cursor" or "/state"; 403 forbidden
--
-- Called by GET /api/admin/disputes.
CREATE OR REPLACE FUNCTION api.disputes(caller bigint, query json, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_state  text   := consult.f_enum(query, 'state',
                                      '{open,refused,refunded}', false);
BEGIN
    PERFORM consult.admin_begins(caller);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    -- one of the two, each along its index
    RETURN QUERY
    SELECT 200, consult.page(array_agg(consult.dispute_full(x.d, false)::text
                                       ORDER BY x.id DESC),
                             array_agg(x.id ORDER BY x.id DESC), v_cap)
      FROM ((SELECT d.id, d FROM consult.dispute d
              WHERE v_state IS NULL AND d.id < v_before
              ORDER BY d.id DESC LIMIT v_cap + 1)
            UNION ALL
            (SELECT d.id, d FROM consult.dispute d
              WHERE d.state = v_state AND d.id < v_before
              ORDER BY d.id DESC LIMIT v_cap + 1)) x;
END
$$;


-- api.admin_dispute: one, with all charges.
--
--   200 as in the list; evidence.charges; 403 forbidden; 404 not_found
--
-- Called by GET /api/admin/disputes/{d}.
CREATE OR REPLACE FUNCTION api.admin_dispute(caller bigint, dispute bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    d consult.dispute;
BEGIN
    PERFORM consult.admin_begins(caller);

    SELECT * INTO d FROM consult.dispute x
     WHERE x.id = admin_dispute.dispute;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such dispute');
    END IF;

    RETURN QUERY SELECT 200, consult.dispute_full(d, true);
END
$$;


-- api.dispute_decide: {"decision":"refuse"|"refund","amount"?,"text"}: refund
-- gives the client amount (minor units; all that is left, without it) of what
-- the session charged back, in the split in which it was paid
-- (billing.reverse).  Decision, reversal, notices to both parties and the row
-- of the log are one transaction.
--
--   200 as api.admin_dispute
--   400 bad_request, with its field; 403 forbidden; 404 not_found
--   409 conflict                          decided already; field "/amount":
--                                         so much is not left
--
-- Called by POST /api/admin/disputes/{d}/decision.
CREATE OR REPLACE FUNCTION api.dispute_decide(caller bigint, dispute bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_what   text   := consult.f_enum(doc, 'decision', '{refuse,refund}');
    v_amount bigint := consult.f_int(doc, 'amount', 1, 1000000000000000,
                                     false);
    v_why    text   := consult.f_text(doc, 'text', 1, 2000);
    d        consult.dispute;
BEGIN
    IF v_what = 'refuse' AND v_amount IS NOT NULL THEN
        PERFORM consult.fail('bad_request', 'nothing is given back',
                             '/amount');
    END IF;

    PERFORM consult.admin_begins(caller);

    d := consult.dispute_close(dispute, caller, v_what = 'refund', v_amount,
                               v_why);

    PERFORM consult.admin_act(caller, 'dispute_decide', 'd_' || d.id,
                jsonb_build_object('session', 's_' || d.session_id,
                                   'decision', d.state, 'amount', d.amount,
                                   'reason', v_why));

    RETURN QUERY SELECT 200, consult.dispute_full(d, true);
END
$$;


-- api.dispute_transcript: what was said in a session about which there is a
-- dispute.  As api.session_transcript, and "original" of what was edited or
-- deleted.  Each page is a row of the log.
--
--   200; 400 bad_request, field "/cursor"; 403 forbidden; 404 not_found
--
-- Called by GET /api/admin/disputes/{d}/transcript.
CREATE OR REPLACE FUNCTION api.dispute_transcript(caller bigint,
    dispute bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_after bigint := consult.cursor_id(cursor, 0);
    s       consult.session;
    v_body  json;
BEGIN
    PERFORM consult.admin_begins(caller);

    IF v_after IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    SELECT x.* INTO s FROM consult.dispute d
      JOIN consult.session x ON x.id = d.session_id
     WHERE d.id = dispute_transcript.dispute;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such dispute');
    END IF;

    v_body := consult.transcript(s, v_after,
                  least(greatest(coalesce(cap, 50), 1), 200), true);

    PERFORM consult.admin_act(caller, 'transcript_read', 's_' || s.id,
                jsonb_build_object('dispute', 'd_' || dispute, 'after',
                                   v_after));

    RETURN QUERY SELECT 200, v_body;
END
$$;


REVOKE ALL ON FUNCTION api.disputes(bigint, json, int, text),
    api.admin_dispute(bigint, bigint),
    api.dispute_decide(bigint, bigint, json),
    api.dispute_transcript(bigint, bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.disputes(bigint, json, int, text),
    api.admin_dispute(bigint, bigint),
    api.dispute_decide(bigint, bigint, json),
    api.dispute_transcript(bigint, bigint, int, text) TO astro_web;

RESET ROLE;
