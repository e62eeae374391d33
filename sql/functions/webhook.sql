-- webhook: what vendors say of payments, from the signed octets to the ledger.
--
-- api.webhook() stores, for the module; the worker applies one event at a time
-- by billing.inbox_next(), a transaction each.  So a kill at any instant leaves
-- an event either waiting or done.
--
-- An event is applied once because its row says so; what it says is done once,
-- however many events say it, because the ledger takes each reference once:
-- "<provider>:<payment>" for the money that came, "<provider>:<refund>" and
-- "<provider>:<dispute>" for what was taken back.
--
-- Nothing is credited but exactly what we asked for.  What does not fit is
-- parked: it stays, is counted (billing.gauges), and listed by `billing_worker
-- reconcile`.  Parked for want of something (the payment is unknown yet, or not
-- paid yet), it is taken up again when that comes.
--
-- Locks: one row of the inbox, its payment, then the owner's wallets by id.

SET ROLE astro_api;


-- api.webhook: stores an event whose signature was right.  200 when it is
-- stored, or was (dup); 400 bad_request if it is no JSON object with a type and
-- what identifies it.  Stripe's events have ids.  Razorpay's are in a header
-- that is not signed: there the body's digest is the id.
CREATE OR REPLACE FUNCTION api.webhook(provider text, said text)
RETURNS TABLE (status int, body json, dup boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v      jsonb;
    v_id   text;
    v_type text;
BEGIN
    BEGIN
        v := webhook.said::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        v := NULL;
    END;

    IF webhook.provider = 'stripe' THEN
        v_id := v ->> 'id';
        v_type := v ->> 'type';
    ELSE
        v_id := encode(sha256(convert_to(webhook.said, 'UTF8')), 'hex');
        v_type := v ->> 'event';
    END IF;

    IF jsonb_typeof(v) IS DISTINCT FROM 'object' OR v_type IS NULL
       OR length(v_type) > 255 OR v_id IS NULL
       OR v_id !~ '^[!-~]{1,255}$' THEN
        RETURN QUERY SELECT 400, json_build_object('code', 'bad_request',
            'message', 'a body is an event of the vendor', 'field', ''), false;
        RETURN;
    END IF;

    INSERT INTO ledger.webhook_inbox (provider, event_id, type, body)
    VALUES (webhook.provider, v_id, v_type, webhook.said)
    ON CONFLICT (provider, event_id) DO NOTHING;

    dup := NOT FOUND;

    RETURN QUERY SELECT 200, json_build_object('received', true), dup;
END
$$;


REVOKE ALL ON FUNCTION api.webhook(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.webhook(text, text) TO astro_web;

RESET ROLE;
SET ROLE astro_engine;


-- billing.payment_expect: we have asked a vendor for a payment.  Again the same:
-- nothing.  Events of it that came before are taken up.
--
-- Raises 22023 for another currency than the deployment's, an account without
-- a client's wallet, or a payment that is known to be for something else.
CREATE OR REPLACE FUNCTION billing.payment_expect(provider text, payment text,
    owner bigint, amount bigint, currency text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p ledger.payment;
BEGIN
    IF payment_expect.currency IS DISTINCT FROM
       (SELECT d.currency FROM ledger.deployment d) THEN
        RAISE EXCEPTION 'not the currency of this deployment: %', currency
              USING ERRCODE = '22023';
    END IF;

    IF NOT EXISTS (SELECT FROM ledger.wallet w
                    WHERE w.owner_id = payment_expect.owner
                      AND w.kind = 'client') THEN
        RAISE EXCEPTION 'account % has no wallet to top up', owner
              USING ERRCODE = '22023';
    END IF;

    INSERT INTO ledger.payment (provider, payment_id, owner_id, amount,
                currency)
    VALUES (payment_expect.provider, payment_expect.payment,
            payment_expect.owner, payment_expect.amount,
            payment_expect.currency)
    ON CONFLICT (provider, payment_id) DO NOTHING;

    SELECT x.* INTO STRICT p FROM ledger.payment x
     WHERE x.provider = payment_expect.provider
       AND x.payment_id = payment_expect.payment;

    IF p.owner_id <> owner OR p.amount <> payment_expect.amount THEN
        RAISE EXCEPTION 'payment "%" is known to be for something else',
              payment USING ERRCODE = '22023';
    END IF;

    PERFORM billing.inbox_revive(provider, payment, 'the payment is unknown');
END
$$;


-- billing.inbox_revive: what was parked for this reason is to be tried again.
CREATE OR REPLACE FUNCTION billing.inbox_revive(provider text, payment text,
    reason text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE ledger.webhook_inbox i
       SET state = 'waiting', due_at = clock_timestamp(), ended_at = NULL
     WHERE i.provider = inbox_revive.provider
       AND i.payment_id = inbox_revive.payment
       AND i.state = 'parked' AND i.reason = inbox_revive.reason;
END
$$;


-- billing.webhook_means: what an event says: kind (NULL: nothing to us), of
-- which payment, how much in minor units, and which refund or dispute (about).
-- Vendors' currencies are folded to upper case.
CREATE OR REPLACE FUNCTION billing.webhook_means(provider text, type text,
    v jsonb, OUT kind text, OUT payment text, OUT amount bigint,
    OUT currency text, OUT about text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    o jsonb;
BEGIN
    IF provider = 'stripe' THEN
        o := v #> '{data,object}';
        kind := CASE
            WHEN type = 'payment_intent.succeeded' THEN 'paid'
            WHEN type = 'payment_intent.canceled' THEN 'failed'
            WHEN type IN ('refund.created', 'refund.updated')
                 AND o ->> 'status' = 'succeeded' THEN 'refunded'
            WHEN type = 'refund.failed' THEN 'refund_failed'
            WHEN type = 'charge.dispute.created' THEN 'disputed'
            WHEN type = 'charge.dispute.closed'
                 AND o ->> 'status' = 'lost' THEN 'lost'
            WHEN type = 'charge.dispute.closed' THEN 'won' END;
        payment := CASE o ->> 'object' WHEN 'payment_intent' THEN o ->> 'id'
                        ELSE o ->> 'payment_intent' END;
        amount := CASE kind WHEN 'paid' THEN o ->> 'amount_received'
                       ELSE o ->> 'amount' END;

    ELSE
        kind := CASE type
            WHEN 'payment.captured' THEN 'paid'
            WHEN 'refund.processed' THEN 'refunded'
            WHEN 'refund.failed' THEN 'refund_failed'
            WHEN 'payment.dispute.created' THEN 'disputed'
            WHEN 'payment.dispute.won' THEN 'won'
            WHEN 'payment.dispute.lost' THEN 'lost' END;
        o := v -> 'payload' #> CASE
            WHEN type LIKE 'refund.%' THEN '{refund,entity}'::text[]
            WHEN type LIKE 'payment.dispute.%' THEN '{dispute,entity}'
            ELSE '{payment,entity}' END;
        payment := v #>> '{payload,payment,entity,order_id}';
        amount := o ->> 'amount';
    END IF;

    currency := upper(o ->> 'currency');
    about := CASE WHEN kind IN ('paid', 'failed') THEN NULL
                  ELSE o ->> 'id' END;
END
$$;


-- billing.inbox_next: applies the event that has waited longest.  No row: there
-- is none.  One that cannot be applied now, because its wallet is locked or two
-- stood in each other's way, waits on.
--
--   outcome   applied, ignored, parked, or waiting
--   wallet_id whose balance has changed; NULL: no one's
CREATE OR REPLACE FUNCTION billing.inbox_next()
RETURNS TABLE (id bigint, provider text, event text, type text, outcome text,
    reason text, payment text, wallet_id bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    i       ledger.webhook_inbox;
    m       record;
    v_state text;
BEGIN
    SELECT x.* INTO i FROM ledger.webhook_inbox x
     WHERE x.state = 'waiting' AND x.due_at <= clock_timestamp()
     ORDER BY x.due_at, x.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT NULL::text AS kind, NULL::text AS payment, NULL::text AS about
      INTO m;

    BEGIN
        SELECT x.* INTO STRICT m
          FROM billing.webhook_means(i.provider, i.type, i.body::jsonb) x;
        SELECT x.outcome, x.reason, x.wallet_id
          INTO STRICT outcome, reason, wallet_id
          FROM billing.inbox_apply(i, m.kind, m.payment, m.amount, m.currency,
                                   m.about) x;

    EXCEPTION WHEN OTHERS THEN
        -- 40, 53, 55, 57: another time it may go well
        outcome := CASE WHEN left(SQLSTATE, 2) IN ('40', '53', '55', '57')
                        THEN 'waiting' ELSE 'parked' END;
        reason := SQLSTATE || ': ' || SQLERRM;
        wallet_id := NULL;
    END;

    UPDATE ledger.webhook_inbox x
       SET state = outcome, reason = inbox_next.reason, kind = m.kind,
           payment_id = m.payment, about = m.about,
           attempts = x.attempts + 1,
           due_at = CASE WHEN outcome = 'waiting'
                         THEN clock_timestamp()
                              + least(x.attempts + 1, 60) * interval '1 s'
                         ELSE x.due_at END,
           ended_at = CASE WHEN outcome = 'waiting' THEN NULL
                           ELSE clock_timestamp() END
     WHERE x.id = i.id;

    RETURN QUERY SELECT i.id, i.provider, i.event_id, i.type, outcome, reason,
                        m.payment::text, wallet_id;
END
$$;


-- billing.inbox_apply: of inbox_next: does what an event means.
CREATE OR REPLACE FUNCTION billing.inbox_apply(i ledger.webhook_inbox,
    kind text, payment text, amount bigint, currency text, about text,
    OUT outcome text, OUT reason text, OUT wallet_id bigint)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p      ledger.payment;
    t      record;
    v_name text := i.provider || ':' || payment;
    v_ref  text := i.provider || ':' || about;
BEGIN
    outcome := 'parked';

    IF kind IS NULL THEN
        outcome := 'ignored';
        reason := 'nothing to us';
        RETURN;
    END IF;

    SELECT x.* INTO p FROM ledger.payment x
     WHERE x.provider = i.provider AND x.payment_id = inbox_apply.payment
       FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        reason := 'the payment is unknown';
        RETURN;
    END IF;

    IF kind = 'failed' THEN
        UPDATE ledger.payment x SET status = 'failed'
         WHERE x.id = p.id AND x.status = 'expected';
        outcome := 'applied';
        RETURN;
    END IF;

    IF kind = 'paid' THEN
        IF p.status = 'paid' THEN
            outcome := 'ignored';
            reason := 'it was credited before';
            RETURN;
        END IF;

        IF currency IS DISTINCT FROM p.currency
           OR amount IS DISTINCT FROM p.amount THEN
            reason := format('%s %s was expected, %s %s came', p.amount,
                             p.currency, coalesce(amount::text, 'nothing'),
                             coalesce(currency, ''));
            UPDATE ledger.payment x
               SET status = 'wrong', came_amount = inbox_apply.amount,
                   came_currency = inbox_apply.currency
             WHERE x.id = p.id;
            RETURN;
        END IF;

        SELECT x.* INTO STRICT t
          FROM billing.topup(p.owner_id, p.amount, v_name) x;

        UPDATE ledger.payment x
           SET status = 'paid', came_amount = inbox_apply.amount,
               came_currency = inbox_apply.currency,
               transfer_id = t.transfer_id, paid_at = clock_timestamp()
         WHERE x.id = p.id;

        PERFORM billing.inbox_revive(i.provider, payment,
                                     'the payment is not paid yet');
        outcome := 'applied';
        wallet_id := t.wallet_id;
        RETURN;
    END IF;

    IF p.status <> 'paid' THEN
        reason := 'the payment is not paid yet';
        RETURN;
    END IF;

    IF about IS NULL OR currency IS DISTINCT FROM p.currency
       OR amount IS NULL OR amount < 1 THEN
        reason := 'it makes no sense for this payment';
        RETURN;
    END IF;

    IF kind = 'disputed' THEN
        IF EXISTS (SELECT FROM ledger.webhook_inbox x
                    WHERE x.provider = i.provider
                      AND x.about = inbox_apply.about
                      AND x.kind IN ('won', 'lost')
                      AND x.state = 'applied') THEN
            outcome := 'ignored';
            reason := 'the dispute is over';
            RETURN;
        END IF;

        SELECT x.* INTO STRICT t
          FROM billing.dispute_freeze(v_name, amount, v_ref) x;

    ELSIF kind = 'won' THEN
        SELECT x.* INTO STRICT t
          FROM billing.dispute_release(v_name, v_ref || ':won') x;

    ELSIF kind = 'lost' THEN
        SELECT x.* INTO STRICT t
          FROM billing.refund(v_name, amount, v_ref || ':lost') x;

    ELSIF kind = 'refunded' THEN
        SELECT x.* INTO STRICT t
          FROM billing.refund(v_name, amount, v_ref) x;

    ELSE
        reason := 'a refund failed after all: somebody must look';
        RETURN;
    END IF;

    IF t.dup THEN
        outcome := 'ignored';
        reason := 'it was done before';
        RETURN;
    END IF;

    UPDATE ledger.payment x
       SET refunded = x.refunded + CASE WHEN kind IN ('refunded', 'lost')
                                        THEN inbox_apply.amount ELSE 0 END,
           disputed = CASE WHEN kind = 'refunded' THEN x.disputed
                           ELSE kind = 'disputed' END
     WHERE x.id = p.id;

    outcome := 'applied';
    wallet_id := t.wallet_id;
END
$$;


-- billing.inbox_parked: what somebody must look at, oldest first.
CREATE OR REPLACE FUNCTION billing.inbox_parked(cap int)
RETURNS TABLE (id bigint, provider text, event text, type text, payment text,
    reason text, received_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.id, i.provider, i.event_id, i.type, i.payment_id, i.reason,
           i.received_at
      FROM ledger.webhook_inbox i
     WHERE i.state = 'parked' ORDER BY i.id LIMIT cap;
END
$$;


-- billing.inbox_stats: how many wait and are parked, and how old the oldest of
-- those that wait is, in seconds.
CREATE OR REPLACE FUNCTION billing.inbox_stats(OUT waiting bigint,
    OUT parked bigint, OUT age_s bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT (SELECT count(*) FROM ledger.webhook_inbox i
             WHERE i.state = 'waiting'),
           (SELECT count(*) FROM ledger.webhook_inbox i
             WHERE i.state = 'parked'),
           (SELECT coalesce(extract(epoch FROM clock_timestamp()
                                    - min(i.received_at)), 0)::bigint
              FROM ledger.webhook_inbox i WHERE i.state = 'waiting')
$$;


-- billing.inbox_page: a page of Stripe's list of events, which we have asked for
-- ourselves over a connection that proves who answers.  Puts in what means
-- something to us and did not come.  more and last: how to ask for the next.
CREATE OR REPLACE FUNCTION billing.inbox_page(provider text, page text)
RETURNS TABLE (seen bigint, stored bigint, more boolean, last text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v jsonb := page::jsonb;
BEGIN
    IF jsonb_typeof(v -> 'data') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'this is no list of events' USING ERRCODE = '22023';
    END IF;

    WITH made AS (
        INSERT INTO ledger.webhook_inbox (provider, event_id, type, body)
        SELECT inbox_page.provider, e.o ->> 'id', e.o ->> 'type', e.o::text
          FROM jsonb_array_elements(v -> 'data') AS e(o)
         WHERE (billing.webhook_means(inbox_page.provider, e.o ->> 'type',
                                      e.o)).kind IS NOT NULL
        ON CONFLICT (provider, event_id) DO NOTHING
        RETURNING 1)
    SELECT count(*) INTO stored FROM made;

    RETURN QUERY SELECT jsonb_array_length(v -> 'data')::bigint, stored,
                        coalesce((v ->> 'has_more')::boolean, false),
                        v #>> '{data,-1,id}';
END
$$;


REVOKE ALL ON FUNCTION
    billing.payment_expect(text, text, bigint, bigint, text),
    billing.inbox_revive(text, text, text),
    billing.webhook_means(text, text, jsonb),
    billing.inbox_next(),
    billing.inbox_apply(ledger.webhook_inbox, text, text, bigint, text, text),
    billing.inbox_parked(int), billing.inbox_stats(),
    billing.inbox_page(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    billing.payment_expect(text, text, bigint, bigint, text),
    billing.inbox_next(), billing.inbox_parked(int),
    billing.inbox_page(text, text) TO astro_worker;

RESET ROLE;
