-- refund: an admin gives money of a payment back, at the vendor who brought it.
--
-- A refund is one row.  In the transaction that makes it, what is available of
-- the money is set aside (as if it were disputed: billing.dispute_freeze,
-- reference "refund:<id>") and the call is written in the outbox, with the key
-- "refund-<id>" (12 digits: Razorpay takes no key of less than 10 characters).
-- When the vendor says yes, in its answer or by a webhook, whichever is first,
-- the money leaves the books (billing.dispute_lost, so the transfer's reference
-- is "refund:<id>:lost"), with the part of the promo that came with it; what the
-- client has spent meanwhile is a debt.  When it says no, what was set aside is
-- the client's again.  Each once, for the row says so.  One that had failed, and
-- that the vendor has done after all, is then as one of the next paragraph.
--
-- A refund that somebody makes at the vendor's own pages is no row here: its
-- webhook takes it out of the books by itself (webhook.sql).
--
-- Locks: the outbox or the inbox, the payment, its refunds, the owner's wallets
-- by id, the end of the log of admins.

SET ROLE astro_engine;


-- billing.payment_lock_row: a payment, locked; NULL: there is none.
CREATE OR REPLACE FUNCTION billing.payment_lock_row(payment bigint)
RETURNS ledger.payment
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    p ledger.payment;
BEGIN
    SELECT x.* INTO p FROM ledger.payment x WHERE x.id = payment
       FOR NO KEY UPDATE;

    RETURN p;
END
$$;


-- billing.refund_left: of a payment, locked, what may still be given back: not
-- what went back, nor what is on its way.
CREATE OR REPLACE FUNCTION billing.refund_left(p ledger.payment)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN p.amount
           - (billing.ledger_payment_sums(p.transfer_id)).refunded
           - coalesce((SELECT sum(r.amount) FROM ledger.refund r
                        WHERE r.payment_id = p.id AND r.state = 'pending'),
                      0);
END
$$;


-- billing.payment_disputed: whether something of a payment is frozen but for
-- what our own refunds have set aside.
CREATE OR REPLACE FUNCTION billing.payment_disputed(payment bigint,
    topup bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (billing.ledger_payment_sums(topup)).frozen
           > coalesce((SELECT sum(billing.ledger_dispute_left(topup,
                                      'refund:' || r.id))
                         FROM ledger.refund r
                        WHERE r.payment_id = payment
                          AND r.state = 'pending'), 0);
END
$$;


-- billing.dispute_room: of a payment, how much a dispute can freeze: what is
-- neither given back nor frozen.  One that has frozen something before: that.
CREATE OR REPLACE FUNCTION billing.dispute_room(topup bigint, dispute text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t ledger.transfer := billing.ledger_done('freeze', dispute);
    s record;
BEGIN
    s := billing.ledger_payment_sums(topup);

    RETURN coalesce(t.amount,
                    (SELECT x.amount - s.refunded - s.frozen
                       FROM ledger.transfer x
                      WHERE x.id = topup AND x.session_id IS NULL));
END
$$;


-- billing.refund_call: what the vendor is asked, in the outbox.
CREATE OR REPLACE FUNCTION billing.refund_call(r ledger.refund,
    p ledger.payment) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO billing.outbox (vendor, path, body, key, kind, about)
    VALUES (p.provider,
            CASE p.provider WHEN 'stripe' THEN '/v1/refunds'
                 ELSE '/v1/payments/' || p.charge || '/refund' END,
            CASE p.provider
                 WHEN 'stripe'
                 THEN 'payment_intent=' || p.payment_id || '&amount='
                      || r.amount || '&metadata[refund]=' || r.id
                 ELSE 'amount=' || r.amount || '&notes[refund]=' || r.id END,
            'refund-' || lpad(r.id::text, greatest(12, length(r.id::text)),
                              '0'), 'refund', r.id);
END
$$;


-- consult.refund_begin: gives back amount of a payment, or, NULL, all that is
-- left.  It refuses with 404, 409 (not paid; disputed; nothing is left) or 400.
CREATE OR REPLACE FUNCTION consult.refund_begin(caller bigint, payment bigint,
    amount bigint, reason text)
RETURNS ledger.refund
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p      ledger.payment;
    r      ledger.refund;
    v_left bigint;
BEGIN
    p := billing.payment_lock_row(payment);

    IF p.id IS NULL THEN
        PERFORM consult.fail('not_found', 'no such payment');
    END IF;

    IF p.status <> 'paid' THEN
        PERFORM consult.fail('conflict', 'the payment is ' || p.status);
    END IF;

    IF p.disputed THEN
        PERFORM consult.fail('conflict', 'the payment is disputed');
    END IF;

    IF p.provider = 'razorpay' AND p.charge IS NULL THEN
        PERFORM consult.fail('conflict', 'the vendor''s name is not known');
    END IF;

    v_left := billing.refund_left(p);

    IF v_left <= 0 THEN
        PERFORM consult.fail('conflict', 'all of it was given back');
    END IF;

    IF refund_begin.amount > v_left THEN
        PERFORM consult.fail('bad_request', format('only %s is left', v_left),
                             '/amount');
    END IF;

    INSERT INTO ledger.refund (payment_id, provider, amount, reason, made_by)
    VALUES (p.id, p.provider, coalesce(refund_begin.amount, v_left),
            refund_begin.reason, refund_begin.caller)
    RETURNING * INTO r;

    PERFORM billing.dispute_freeze(p.provider || ':' || p.payment_id,
                                   r.amount, 'refund:' || r.id);
    PERFORM billing.refund_call(r, p);

    RETURN r;
END
$$;


-- billing.refund_end: a refund is done or has failed, once: dup is true when it
-- had ended before.  vendor_id: the vendor's name for it, if it is known.
CREATE OR REPLACE FUNCTION billing.refund_end(refund bigint, state text,
    vendor_id text, error text, OUT dup boolean, OUT wallet_id bigint)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p      ledger.payment;
    r      ledger.refund;
    v_name text;
BEGIN
    p := billing.payment_lock_row((SELECT x.payment_id FROM ledger.refund x
                                    WHERE x.id = refund));

    SELECT x.* INTO STRICT r FROM ledger.refund x WHERE x.id = refund
       FOR NO KEY UPDATE;

    dup := r.state <> 'pending';

    IF dup THEN
        RETURN;
    END IF;

    v_name := p.provider || ':' || p.payment_id;

    IF refund_end.state = 'done' THEN
        SELECT x.wallet_id INTO wallet_id
          FROM billing.dispute_lost(v_name, r.amount, 'refund:' || r.id) x;

    ELSE
        SELECT x.wallet_id INTO wallet_id
          FROM billing.dispute_release(v_name, 'refund:' || r.id) x;
    END IF;

    UPDATE ledger.refund x
       SET state = refund_end.state, ended_at = clock_timestamp(),
           vendor_id = coalesce(refund_end.vendor_id, x.vendor_id),
           error = refund_end.error
     WHERE x.id = r.id;

    UPDATE ledger.payment x
       SET refunded = x.refunded + CASE refund_end.state WHEN 'done'
                                        THEN r.amount ELSE 0 END
     WHERE x.id = p.id;
END
$$;


-- billing.refund_answered: what came of the call of a refund: delivered, with
-- what the vendor answered, or refused, with why.  A refund that the vendor has
-- only begun waits for a webhook.  What the books do not allow is kept with it,
-- and it stays pending: somebody must look.
CREATE OR REPLACE FUNCTION billing.refund_answered(refund bigint, state text,
    answer jsonb, error text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_vendor text := answer ->> 'id';
    v_said   text := answer ->> 'status';
BEGIN
    IF refund_answered.state = 'refused' THEN
        PERFORM billing.refund_end(refund, 'failed', NULL,
                                   coalesce(error, 'refused'));

    ELSIF v_said IN ('failed', 'canceled') THEN
        PERFORM billing.refund_end(refund, 'failed', v_vendor,
                                   'the vendor says ' || v_said);

    ELSIF v_said IN ('pending', 'requires_action') THEN
        UPDATE ledger.refund x SET vendor_id = v_vendor
         WHERE x.id = refund AND x.state = 'pending';

    ELSE
        PERFORM billing.refund_end(refund, 'done', v_vendor, NULL);
    END IF;

EXCEPTION WHEN SQLSTATE 'AS002' OR unique_violation THEN
    UPDATE ledger.refund x SET error = SQLERRM WHERE x.id = refund;
END
$$;


-- billing.refund_told: an event is about one of our own refunds: by the vendor's
-- name for it, or by ours, which the vendor gives back with it.  NULL: it is about
-- none of them.  One whose vendor_id is another: the vendor has done it twice.
CREATE OR REPLACE FUNCTION billing.refund_told(i ledger.webhook_inbox,
    payment bigint, vendor_id text) RETURNS ledger.refund
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    r      ledger.refund;
    v_ours text;
BEGIN
    SELECT x.* INTO r FROM ledger.refund x
     WHERE x.provider = i.provider AND x.vendor_id = refund_told.vendor_id;

    IF NOT FOUND THEN
        v_ours := i.body::jsonb #>> CASE i.provider
                      WHEN 'stripe' THEN '{data,object,metadata,refund}'
                      ELSE '{payload,refund,entity,notes,refund}' END::text[];

        IF v_ours ~ '^[0-9]{1,18}$' THEN
            SELECT x.* INTO r FROM ledger.refund x
             WHERE x.id = v_ours::bigint AND x.provider = i.provider;
        END IF;
    END IF;

    RETURN CASE WHEN r.payment_id = payment THEN r END;
END
$$;


-- billing.refund_after_all: an event is about a refund of ours that had failed,
-- and that the vendor has done after all, by this name: it is as if somebody had
-- given that money back at the vendor's own pages.
CREATE OR REPLACE FUNCTION billing.refund_after_all(r ledger.refund,
    kind text, about text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
BEGIN
    IF r.state IS DISTINCT FROM 'failed' THEN
        RETURN false;
    END IF;

    IF kind = 'refunded' THEN
        UPDATE ledger.refund x
           SET vendor_id = coalesce(x.vendor_id, about),
               error = 'it had failed, and was done after all'
         WHERE x.id = r.id;
        RETURN true;
    END IF;

    RETURN (billing.ledger_done('refund', r.provider || ':' || about)).id
           IS NOT NULL;
END
$$;


-- billing.refunds_yield: a dispute of a payment comes before our refunds of it
-- that are on their way: it may freeze what they have set aside.  (The vendor
-- gives nothing back of what is disputed; one that it has done by then takes
-- its money from the rest, or leaves a debt.)
CREATE OR REPLACE FUNCTION billing.refunds_yield(p ledger.payment)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
BEGIN
    PERFORM billing.dispute_release(p.provider || ':' || p.payment_id,
                                    'refund:' || r.id)
       FROM ledger.refund r
      WHERE r.payment_id = p.id AND r.state = 'pending';
END
$$;


-- consult.payments_list: payments of this account, in this state, or of all;
-- newest first, with their refunds: (id, a document).  For admins.  (One of the
-- two, each along its index.)
CREATE OR REPLACE FUNCTION consult.payments_list(account bigint, state text,
    before bigint, cap int)
RETURNS TABLE (id bigint, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.id, row_to_json(x)::text
      FROM ((SELECT y.* FROM ledger.payment y
              WHERE payments_list.account IS NULL
                AND y.id < payments_list.before
                AND (payments_list.state IS NULL
                     OR y.status = payments_list.state)
              ORDER BY y.id DESC LIMIT cap)
            UNION ALL
            (SELECT y.* FROM ledger.payment y
              WHERE y.owner_id = payments_list.account
                AND y.id < payments_list.before
                AND (payments_list.state IS NULL
                     OR y.status = payments_list.state)
              ORDER BY y.owner_id DESC, y.id DESC LIMIT cap)) p
     CROSS JOIN LATERAL (
           SELECT 'm_' || p.id AS id, 'u_' || p.owner_id AS "user",
                  p.provider, p.payment_id AS vendor_id, p.status AS state,
                  consult.money(p.amount, p.currency)::json AS amount,
                  consult.money(p.refunded, p.currency)::json AS refunded,
                  p.disputed, consult.rfc3339(p.made_at) AS made_at,
                  consult.rfc3339(p.paid_at) AS paid_at,
                  coalesce((SELECT json_agg(consult.refund_body(r)
                                            ORDER BY r.id)
                              FROM ledger.refund r
                             WHERE r.payment_id = p.id), '[]') AS refunds) x
     ORDER BY p.id DESC;
END
$$;


-- consult.refund_body: a refund as admins see it.
CREATE OR REPLACE FUNCTION consult.refund_body(r ledger.refund) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT row_to_json(x) FROM (
        SELECT 'r_' || r.id AS id, 'm_' || r.payment_id AS payment,
               consult.money(r.amount, consult.currency())::json AS amount,
               r.state, r.vendor_id, r.reason, r.error,
               consult.rfc3339(r.made_at) AS made_at,
               consult.rfc3339(r.ended_at) AS ended_at) x);
END
$$;


REVOKE ALL ON FUNCTION billing.payment_lock_row(bigint),
    billing.refund_left(ledger.payment),
    billing.payment_disputed(bigint, bigint),
    billing.dispute_room(bigint, text),
    billing.refund_call(ledger.refund, ledger.payment),
    consult.refund_begin(bigint, bigint, bigint, text),
    billing.refund_end(bigint, text, text, text),
    billing.refund_answered(bigint, text, jsonb, text),
    billing.refund_told(ledger.webhook_inbox, bigint, text),
    billing.refund_after_all(ledger.refund, text, text),
    billing.refunds_yield(ledger.payment),
    consult.payments_list(bigint, text, bigint, int),
    consult.refund_body(ledger.refund) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.refund_begin(bigint, bigint, bigint, text),
    consult.payments_list(bigint, text, bigint, int),
    consult.refund_body(ledger.refund) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.payment_refund: an admin gives back a payment, or a part of it:
--
--   {"amount":500,"reason":"told twice"}      both may be left out
--
-- amount is in minor units; without it all that is left goes back.
--
--   201 {id,payment,amount,state,vendor_id,reason,error,made_at,ended_at}: it is
--       pending until the vendor has answered
--   400 bad_request, with its field; /amount: more than is left
--   403 forbidden; 404 not_found
--   409 conflict    it is not paid, disputed, or all of it was given back
--
-- Called by POST /api/admin/payments/{id}/refund.
CREATE OR REPLACE FUNCTION api.payment_refund(caller bigint, payment bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r        ledger.refund;
    v_amount bigint := consult.f_int(doc, 'amount', 1, 1000000000000000,
                                     false);
    v_reason text   := consult.f_text(doc, 'reason', 1, 500, false);
BEGIN
    PERFORM consult.need_admin(caller);

    r := consult.refund_begin(caller, payment, v_amount, v_reason);

    PERFORM consult.admin_act(caller, 'payment_refund', 'm_' || payment,
        jsonb_build_object('refund', 'r_' || r.id, 'amount', r.amount,
                           'reason', v_reason));

    RETURN QUERY SELECT 201, consult.refund_body(r);
END
$$;


-- api.payments_all: payments, newest first, with what was given back of each.
-- ?user=u_5&state=expected|paid|failed|wrong
--
-- Called by GET /api/admin/payments.
CREATE OR REPLACE FUNCTION api.payments_all(caller bigint, query json,
    cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(cap, 1), 200);
    v_after  bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_who    bigint := consult.f_id(query, 'user', 'u', false);
    v_state  text   := consult.f_enum(query, 'state',
                           '{expected,paid,failed,wrong}', false);
    v_docs   text[];
    v_ids    bigint[];
BEGIN
    PERFORM consult.need_admin(caller);

    IF v_after IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    SELECT array_agg(x.doc ORDER BY x.id DESC),
           array_agg(x.id ORDER BY x.id DESC)
      INTO v_docs, v_ids
      FROM consult.payments_list(v_who, v_state, v_after, v_cap + 1) x;

    RETURN QUERY SELECT 200, consult.page(v_docs, v_ids, v_cap);
END
$$;


REVOKE ALL ON FUNCTION api.payment_refund(bigint, bigint, json),
    api.payments_all(bigint, json, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.payment_refund(bigint, bigint, json),
    api.payments_all(bigint, json, int, text) TO astro_web;

RESET ROLE;
