-- gifts: a client gives an advisor money, in a session of the two or outside of
-- one: at once, with the commission (billing.gift), and with an event "gift" in
-- their conversation, all in one transaction.  So there is one event for each
-- gift that was given, and none for one that was not.
--
-- The cid, or the Idempotency-Key of the request, makes it idempotent: it is the
-- event's, and the transfer's reference is "gift:<client>:<cid>".
--
-- Locks: the advisory lock (1, hash of the client), the client's live session,
-- wallets by id, the conversation.

SET ROLE astro_engine;


-- consult.gift_pay: the money of a gift, which the client's caps may refuse.
-- (dup is left to who calls it.)
CREATE OR REPLACE FUNCTION consult.gift_pay(client bigint, advisor bigint,
    amount bigint, session bigint, cid uuid,
    OUT transfer_id bigint, OUT balance bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    -- what it has charged and holds stays as it is until we are done
    PERFORM 1 FROM consult.session s
      WHERE s.client_id = gift_pay.client AND s.state <> 'ended'
      ORDER BY s.id FOR NO KEY UPDATE;

    PERFORM consult.cap_spend(client, amount, NULL);

    SELECT g.transfer_id, g.balance INTO STRICT transfer_id, balance
      FROM billing.gift(client, advisor, amount, session,
                        'gift:' || client || ':' || cid) g;

    PERFORM consult.cap_again(client);

EXCEPTION WHEN SQLSTATE 'AS002' THEN
    PERFORM consult.fail('insufficient_balance', 'top up to give this much');
END
$$;


REVOKE ALL ON FUNCTION consult.gift_pay(bigint, bigint, bigint, bigint, uuid)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.gift_pay(bigint, bigint, bigint, bigint,
    uuid) TO astro_api;

RESET ROLE;
SET ROLE astro_owner;


-- consult.gift_do: of both functions below; the caller is the client of the
-- conversation.  An advisor who is blocked, has left or is not approved gets
-- nothing.
CREATE OR REPLACE FUNCTION consult.gift_do(caller bigint, advisor bigint,
    conv bigint, session bigint, doc json, once text)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    r         api.session_outcome;
    v_amount  bigint := consult.f_int(doc, 'amount', 1, 1000000000);
    v_note    text   := consult.f_text(doc, 'note', 1, 200, false);
    v_cid     uuid   := consult.f_uuid(doc, 'cid', once IS NULL);
    v_was     json;
    v_payload json;
    p         record;
    e         record;
BEGIN
    v_cid := coalesce(v_cid, md5('gift ' || once)::uuid);
    v_payload := ('{' || coalesce('"session":"s_' || session || '",', '')
        || '"from":"u_' || caller || '","amount":'
        || consult.money(v_amount, consult.currency())
        || coalesce(',"note":' || to_json(v_note)::text, '') || '}')::json;

    -- a repeat waits for its twin, then finds what that one made
    PERFORM pg_advisory_xact_lock(1, hashint8(caller));

    SELECT x.payload, x.seq INTO v_was, r.event_seq FROM consult.event x
     WHERE x.conversation_id = gift_do.conv
       AND x.sender_id = gift_do.caller AND x.cid = v_cid;

    r.dup := FOUND;
    r.status := CASE WHEN r.dup THEN 200 ELSE 201 END;

    IF r.dup THEN
        IF v_was::jsonb <> v_payload::jsonb THEN
            PERFORM consult.fail('idempotency_mismatch',
                                 'this cid was for another gift', '/cid');
        END IF;

    ELSE
        PERFORM 1 FROM identity.advisor d
           JOIN identity.account a ON a.id = d.account_id
          WHERE d.account_id = gift_do.advisor AND a.role = 'advisor'
            AND NOT a.blocked AND d.approved_at IS NOT NULL;

        IF NOT FOUND THEN
            PERFORM consult.fail('not_found', 'no such advisor');
        END IF;

        p := consult.gift_pay(caller, advisor, v_amount, session, v_cid);
        e := consult.append_event(conv, 'gift', caller, v_cid, v_payload);
        r.event_seq := e.seq;
        r.event_frame := e.frame;
    END IF;

    r.session_id := session;
    r.client_id := caller;
    r.advisor_id := advisor;
    r.conversation_id := conv;
    r.body := (SELECT row_to_json(x) FROM (
        SELECT 'c_' || conv AS conv, r.event_seq AS seq,
               's_' || session AS session,
               consult.money(v_amount, consult.currency())::json AS amount,
               v_note AS note) x);

    RETURN r;
END
$$;


REVOKE ALL ON FUNCTION consult.gift_do(bigint, bigint, bigint, bigint, json,
    text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.gift_do(bigint, bigint, bigint, bigint, json,
    text) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.session_gift: the client of a session gives its advisor something, while it
-- is accepted or after it was active:
--
--   {"amount":5000,"note":"thank you","cid":uuid}
--
-- amount is in minor units; note may be left out; with an Idempotency-Key so may
-- the cid.  The commission is the session's.
--
--   201 {conv,seq,session,amount,note}; event_frame is told to both.  200, dup:
--       it was given
--   400 bad_request, with its field; 403 forbidden: it is for the client, or who
--       has excluded himself; 404 not_participant; not_found: the advisor is no
--       more
--   402 insufficient_balance; 409 session_state, conflict (a spend cap)
--   422 idempotency_mismatch, field "/cid"
--
-- Called by POST /api/sessions/{id}/gifts.
CREATE OR REPLACE FUNCTION api.session_gift(caller bigint, session bigint,
    doc json, once text)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s consult.session;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT x.* INTO s FROM consult.session x WHERE x.id = session;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_participant', 'no such session of yours');
    END IF;

    IF caller <> s.client_id THEN
        PERFORM consult.fail('forbidden', 'gifts are from the client');
    END IF;

    IF s.state IN ('requested', 'queued', 'ringing')
       OR s.state = 'ended' AND s.active_ms IS NULL THEN
        PERFORM consult.fail('session_state', 'the session is ' || s.state);
    END IF;

    RETURN consult.gift_do(caller, s.advisor_id, s.conversation_id, s.id, doc,
                           once);
END
$$;


-- api.advisor_gift: a client gives an advisor something, in no session; of the
-- advisor's commission of today.  As api.session_gift, and 404 not_found: no such
-- advisor.
--
-- Called by POST /api/advisors/{id}/gifts.
CREATE OR REPLACE FUNCTION api.advisor_gift(caller bigint, advisor bigint,
    doc json, once text)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_conv bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    PERFORM pg_advisory_xact_lock(1, hashint8(caller));

    PERFORM api.conversation_open(caller,
                                  json_build_object('advisor', 'u_' || advisor));

    SELECT c.id INTO STRICT v_conv FROM consult.conversation c
     WHERE c.client_id = advisor_gift.caller
       AND c.advisor_id = advisor_gift.advisor;

    RETURN consult.gift_do(caller, advisor, v_conv, NULL, doc, once);
END
$$;


REVOKE ALL ON FUNCTION api.session_gift(bigint, bigint, json, text),
    api.advisor_gift(bigint, bigint, json, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.session_gift(bigint, bigint, json, text),
    api.advisor_gift(bigint, bigint, json, text) TO astro_web;

RESET ROLE;
