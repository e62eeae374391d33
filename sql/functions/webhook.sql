-- webhook: what vendors say of payments, from the signed octets to the ledger.
--
-- api.webhook_group() stores, for the module; the worker applies one event at a time
-- by billing.inbox_next(), a transaction each.  So a kill at any instant leaves
-- an event either waiting or done.
--
-- An event is applied once because its row says so; what it says is done once,
-- however many events say it, because the ledger takes each reference once:
-- "<provider>:<payment>" for the money that came, "<provider>:<refund>" and
-- "<provider>:<dispute>" for what was taken back.
--
-- Nothing is credited but exactly what we asked for.  An order of Razorpay's may
-- be paid more than once (an attempt that was thought to have failed succeeds
-- later): each such payment is the client's money, and a ledger.payment of its
-- own.  What is told of one payment (a refund, a dispute) is never taken from
-- another one.
--
-- What does not fit is parked: it stays, is counted (billing.gauges), and listed
-- by `billing_worker reconcile`.  Parked for want of something (the payment is
-- unknown yet, or not paid yet), it is taken up again when that comes.
--
-- Locks: one row of the inbox, the advisory lock (3, hash) of the payment's name,
-- what we asked for, the payment itself, the checkout that it was begun by, the
-- owner's wallets by id; for a payout: the row of the inbox, the payout, the wallets.

SET ROLE astro_owner;


-- consult.webhook_read: the event's name and type; both NULL, if it is no JSON object
-- with a type and what identifies it.  Stripe's events have ids.  Razorpay's are in
-- a header that is not signed: there the body's digest is the id.
CREATE OR REPLACE FUNCTION consult.webhook_read(provider text, said text,
    OUT event text, OUT type text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v jsonb;
BEGIN
    BEGIN
        v := said::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN;
    END;

    IF jsonb_typeof(v) <> 'object' THEN
        RETURN;
    END IF;

    IF provider = 'stripe' THEN
        event := v ->> 'id';
        type := v ->> 'type';
    ELSE
        event := encode(sha256(convert_to(said, 'UTF8')), 'hex');
        type := v ->> 'event';
    END IF;

    -- not as {1,255}, which takes longer than all else here
    IF type IS NULL OR length(type) > 255 OR event IS NULL
       OR length(event) NOT BETWEEN 1 AND 255 OR event ~ '[^!-~]' THEN
        event := NULL;
        type := NULL;
    END IF;
END
$$;


REVOKE ALL ON FUNCTION consult.webhook_read(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.webhook_read(text, text) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.webhook_group: stores events whose signatures were right, each at its place
-- in the arrays: who said it, the body as it came, and its request's trace or "".
-- A row for each, in order of ord, its place: 200 when it is stored, or was (dup;
-- of those that are the same in one call all but the first); 400 bad_request if
-- webhook_read finds no event in it.
--
-- They are put in in order of their names: of two calls that have the same events
-- none waits for the other one while that waits for it.  And are due in the order
-- in which they came.
CREATE OR REPLACE FUNCTION api.webhook_group(providers text[], bodies text[],
    traces text[])
RETURNS TABLE (status int, body text, dup boolean, ord int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    WITH said AS MATERIALIZED (
        SELECT x.ord, x.provider, x.said, x.trace, r.event, r.type
          FROM unnest(providers, bodies, traces)
               WITH ORDINALITY AS x(provider, said, trace, ord)
         CROSS JOIN LATERAL consult.webhook_read(x.provider, x.said) r),
    new AS (
        INSERT INTO ledger.webhook_inbox (provider, event_id, type, body,
                    trace, due_at)
        SELECT s.provider, s.event, s.type, s.said, nullif(s.trace, ''),
               v_now + s.ord * interval '1 us'
          FROM said s
         WHERE s.event IS NOT NULL
         ORDER BY s.provider COLLATE "C", s.event COLLATE "C", s.ord
        ON CONFLICT (provider, event_id) DO NOTHING
        RETURNING provider, event_id)
    SELECT CASE WHEN s.event IS NULL THEN 400 ELSE 200 END,
           CASE WHEN s.event IS NULL
                THEN '{"code":"bad_request",'
                     '"message":"a body is an event of the vendor",'
                     '"field":""}'
                ELSE '{"received":true}' END,
           coalesce((s.provider, s.event) NOT IN
                        (SELECT n.provider, n.event_id FROM new n), false)
           OR row_number() OVER (PARTITION BY s.provider, s.event
                                 ORDER BY s.ord) > 1,
           s.ord::int
      FROM said s
     ORDER BY s.ord;
END
$$;


-- api.webhook: the same of one, whose trace is the transaction's.
CREATE OR REPLACE FUNCTION api.webhook(provider text, said text)
RETURNS TABLE (status int, body json, dup boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT g.status, g.body::json, g.dup
      FROM api.webhook_group(ARRAY[webhook.provider], ARRAY[webhook.said],
                             ARRAY[current_setting('astro.trace', true)]) g;
END
$$;


REVOKE ALL ON FUNCTION api.webhook_group(text[], text[], text[]),
    api.webhook(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.webhook_group(text[], text[], text[]),
    api.webhook(text, text) TO astro_web;

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

    PERFORM billing.payment_lock(provider, payment);

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


-- billing.payment_lock: who parks an event because the payment is unknown, and
-- who makes it known, do not miss each other.
CREATE OR REPLACE FUNCTION billing.payment_lock(provider text, payment text)
RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(3, hashtext(provider || ':' || payment));
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


-- billing.webhook_amount: minor units, NULL if it is no such number: one event
-- that makes no sense is then one that does not fit.
CREATE OR REPLACE FUNCTION billing.webhook_amount(said text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN said ~ '^[0-9]{1,15}$' THEN said::bigint END
$$;


-- billing.webhook_says: what an event says: kind (NULL: nothing to us), of
-- which payment that we asked for, and which one that was made for it (charge);
-- how much in minor units; which refund or dispute (about).  Of a payout
-- (returned): payment is the vendor's name for it, about ours, amount how much of
-- it has come back.  Of an advisor's account (account): payment is its name.
-- Vendors' currencies are folded to upper case.
CREATE OR REPLACE FUNCTION billing.webhook_says(provider text, type text,
    v jsonb, OUT kind text, OUT payment text, OUT charge text,
    OUT amount bigint, OUT currency text, OUT about text)
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
            WHEN type = 'charge.dispute.closed' THEN 'won'
            WHEN type = 'transfer.reversed' THEN 'returned'
            WHEN type IN ('account.updated',
                          'account.application.deauthorized')
            THEN 'account' END;
        payment := CASE WHEN type = 'account.updated' THEN o ->> 'id'
                        WHEN kind = 'account' THEN v ->> 'account'
                        WHEN kind = 'returned'
                             OR o ->> 'object' = 'payment_intent'
                        THEN o ->> 'id' ELSE o ->> 'payment_intent' END;
        charge := CASE kind WHEN 'returned' THEN NULL
                       WHEN 'account' THEN NULL
                       WHEN 'paid' THEN o ->> 'latest_charge'
                       ELSE o ->> 'charge' END;
        amount := billing.webhook_amount(o ->> CASE kind
                      WHEN 'paid' THEN 'amount_received'
                      WHEN 'returned' THEN 'amount_reversed'
                      ELSE 'amount' END);

    ELSE
        kind := CASE type
            WHEN 'payment.captured' THEN 'paid'
            WHEN 'refund.processed' THEN 'refunded'
            WHEN 'refund.failed' THEN 'refund_failed'
            WHEN 'payment.dispute.created' THEN 'disputed'
            WHEN 'payment.dispute.won' THEN 'won'
            WHEN 'payment.dispute.closed' THEN 'won'
            WHEN 'payment.dispute.lost' THEN 'lost' END;
        o := v -> 'payload' #> CASE
            WHEN type LIKE 'refund.%' THEN '{refund,entity}'::text[]
            WHEN type LIKE 'payment.dispute.%' THEN '{dispute,entity}'
            ELSE '{payment,entity}' END;
        payment := v #>> '{payload,payment,entity,order_id}';
        charge := o ->> CASE kind WHEN 'paid' THEN 'id' ELSE 'payment_id' END;
        amount := billing.webhook_amount(o ->> 'amount');
    END IF;

    currency := upper(o ->> 'currency');
    about := CASE WHEN kind IN ('paid', 'failed') THEN NULL
                  WHEN kind = 'returned' THEN o #>> '{metadata,payout}'
                  WHEN kind = 'account' THEN NULL
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
          FROM billing.webhook_says(i.provider, i.type, i.body::jsonb) x;
        SELECT x.outcome, x.reason, x.wallet_id
          INTO STRICT outcome, reason, wallet_id
          FROM billing.inbox_do(i, m.kind, m.payment, m.charge, m.amount,
                                m.currency, m.about) x;

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


-- billing.inbox_do: of inbox_next: does what an event means.
CREATE OR REPLACE FUNCTION billing.inbox_do(i ledger.webhook_inbox,
    kind text, payment text, charge text, amount bigint, currency text,
    about text, OUT outcome text, OUT reason text, OUT wallet_id bigint)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p      ledger.payment;
    q      ledger.payment;
    r      ledger.refund;
    t      record;
    v_name text;
    v_ref  text := i.provider || ':' || about;
BEGIN
    outcome := 'parked';

    IF kind IS NULL THEN
        outcome := 'ignored';
        reason := 'nothing to us';
        RETURN;
    END IF;

    IF kind = 'returned' THEN
        SELECT x.outcome, x.reason, x.wallet_id
          INTO STRICT outcome, reason, wallet_id
          FROM billing.inbox_payout(i.provider, payment, amount, currency,
                                    about) x;
        RETURN;
    END IF;

    PERFORM billing.payment_lock(i.provider, payment);

    IF kind = 'account' THEN
        SELECT x.outcome, x.reason, x.wallet_id
          INTO STRICT outcome, reason, wallet_id
          FROM billing.inbox_connect(payment, i.body::jsonb) x;
        RETURN;
    END IF;

    SELECT x.* INTO p FROM ledger.payment x
     WHERE x.provider = i.provider AND x.payment_id = inbox_do.payment
       FOR NO KEY UPDATE;

    IF NOT FOUND AND kind IN ('paid', 'failed')
       AND billing.checkout_adopt(i.provider, payment, i.body::jsonb) THEN
        SELECT x.* INTO p FROM ledger.payment x
         WHERE x.provider = i.provider AND x.payment_id = inbox_do.payment
           FOR NO KEY UPDATE;
    END IF;

    IF p.id IS NULL THEN
        reason := 'the payment is unknown';
        RETURN;
    END IF;

    -- credited by functions of before 0013, while or after that was applied
    IF p.status = 'paid' AND p.charge IS NULL AND i.provider = 'razorpay' THEN
        UPDATE ledger.payment x
           SET charge = (SELECT e.body::jsonb #>> '{payload,payment,entity,id}'
                           FROM ledger.webhook_inbox e
                          WHERE e.provider = i.provider
                            AND e.payment_id = p.payment_id
                            AND e.kind = 'paid' AND e.state = 'applied'
                          ORDER BY e.id LIMIT 1)
         WHERE x.id = p.id
        RETURNING x.* INTO STRICT p;
    END IF;

    -- Stripe charges once for a PaymentIntent, and older events do not say how
    -- the charge is called
    IF p.status = 'paid' AND p.charge IS DISTINCT FROM inbox_do.charge
       AND NOT (i.provider = 'stripe'
                AND (p.charge IS NULL OR inbox_do.charge IS NULL)) THEN

        SELECT x.* INTO q FROM ledger.payment x
         WHERE x.provider = i.provider AND x.charge = inbox_do.charge
           AND x.again_of = p.id
           FOR NO KEY UPDATE;

        IF NOT FOUND AND kind = 'paid' AND i.provider = 'razorpay'
           AND p.charge IS NOT NULL AND inbox_do.charge IS NOT NULL
           AND (amount, currency) = (p.amount, p.currency::text) THEN
            INSERT INTO ledger.payment AS x (provider, payment_id, owner_id,
                        amount, currency, charge, again_of)
            VALUES (p.provider, inbox_do.charge, p.owner_id, p.amount,
                    p.currency, inbox_do.charge, p.id)
            RETURNING x.* INTO q;
        END IF;

        IF q.id IS NULL THEN
            reason := CASE WHEN kind = 'paid'
                           THEN 'what was asked for is paid, by another one'
                           ELSE 'the payment is not paid yet' END;
            RETURN;
        END IF;

        p := q;
    END IF;

    v_name := p.provider || ':' || p.payment_id;

    IF kind = 'failed' THEN
        UPDATE ledger.payment x SET status = 'failed'
         WHERE x.id = p.id AND x.status = 'expected'
        RETURNING x.* INTO q;
        PERFORM billing.checkout_settled(q);
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
               SET status = 'wrong', came_amount = inbox_do.amount,
                   came_currency = inbox_do.currency
             WHERE x.id = p.id
            RETURNING x.* INTO p;
            PERFORM billing.checkout_settled(p);
            RETURN;
        END IF;

        -- an erasure either waits for this, or is seen
        PERFORM billing.ledger_lock(p.owner_id);

        IF consult.erased(p.owner_id) THEN
            reason := 'whose it was is erased: give it back at the vendor';
            RETURN;
        END IF;

        SELECT x.* INTO STRICT t
          FROM billing.topup(p.owner_id, p.amount, v_name) x;

        UPDATE ledger.payment x
           SET status = 'paid', charge = inbox_do.charge,
               came_amount = inbox_do.amount,
               came_currency = inbox_do.currency,
               transfer_id = t.transfer_id, paid_at = clock_timestamp()
         WHERE x.id = p.id
        RETURNING x.* INTO p;

        PERFORM billing.checkout_settled(p);
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

    -- one that we have asked for ourselves; it may come before the answer to that
    IF kind IN ('refunded', 'refund_failed') THEN
        r := billing.refund_told(i, p.id, about);
    END IF;

    IF billing.refund_after_all(r, kind, about) THEN
        r := NULL;
    END IF;

    IF r.vendor_id <> about THEN
        reason := format('refund %s is %s at the vendor, and it is %s, too: '
                         'somebody must look', r.id, r.vendor_id, about);
        RETURN;
    END IF;

    IF r.id IS NOT NULL AND (kind = 'refunded' OR r.state <> 'done') THEN
        IF amount <> r.amount THEN
            reason := format('refund %s is of %s, %s came', r.id, r.amount,
                             amount);
            RETURN;
        END IF;

        SELECT x.* INTO STRICT t
          FROM billing.refund_end(r.id, CASE kind WHEN 'refunded' THEN 'done'
                                             ELSE 'failed' END,
                                  about, CASE kind WHEN 'refund_failed'
                                         THEN 'the vendor says so' END) x;

        outcome := CASE WHEN t.dup THEN 'ignored' ELSE 'applied' END;
        reason := CASE WHEN t.dup THEN 'it was done before' END;
        wallet_id := t.wallet_id;
        RETURN;
    END IF;

    IF kind = 'disputed' THEN
        IF EXISTS (SELECT FROM ledger.webhook_inbox x
                    WHERE x.provider = i.provider
                      AND x.about = inbox_do.about
                      AND x.kind IN ('won', 'lost')
                      AND x.state = 'applied') THEN
            outcome := 'ignored';
            reason := 'the dispute is over';
            RETURN;
        END IF;

        IF amount > p.amount THEN
            reason := 'it makes no sense for this payment';
            RETURN;
        END IF;

        PERFORM billing.refunds_yield(p);

        -- what was given back after it began may have been heard of before
        amount := least(amount, billing.dispute_room(p.transfer_id, v_ref));

        IF amount > 0 THEN
            SELECT x.* INTO STRICT t
              FROM billing.dispute_freeze(v_name, amount, v_ref) x;
        ELSE
            SELECT false AS dup, NULL::bigint AS wallet_id INTO t;
        END IF;

    ELSIF kind = 'won' THEN
        SELECT x.* INTO STRICT t
          FROM billing.dispute_release(v_name, v_ref) x;

    ELSIF kind = 'lost' THEN
        SELECT x.* INTO STRICT t
          FROM billing.dispute_lost(v_name, amount, v_ref) x;

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
                                        THEN inbox_do.amount ELSE 0 END,
           disputed = CASE kind WHEN 'refunded' THEN x.disputed
                           WHEN 'disputed' THEN true
                           ELSE billing.payment_disputed(x.id, x.transfer_id)
                           END
     WHERE x.id = p.id;

    outcome := 'applied';
    wallet_id := t.wallet_id;
END
$$;


-- billing.inbox_payout: of inbox_do: a payout has come back from the vendor: all
-- of it is the advisor's again, once, and goes with the next day's.  A part of
-- one is for somebody to look at.  The vendor may tell before the answer to our
-- own call was recorded: then it is known by the name that we gave it.
CREATE OR REPLACE FUNCTION billing.inbox_payout(vendor text, transfer text,
    amount bigint, currency text, about text,
    OUT outcome text, OUT reason text, OUT wallet_id bigint)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p ledger.payout;
BEGIN
    outcome := 'parked';

    SELECT x.* INTO p FROM ledger.payout x
     WHERE x.vendor = inbox_payout.vendor
       AND x.vendor_id = inbox_payout.transfer;

    IF NOT FOUND AND about ~ '^[0-9]{1,18}$' THEN
        SELECT x.* INTO p FROM ledger.payout x
         WHERE x.id = inbox_payout.about::bigint
           AND x.vendor = inbox_payout.vendor AND x.vendor_id IS NULL;
    END IF;

    IF p.id IS NULL THEN
        reason := 'the payout is unknown';
        RETURN;
    END IF;

    IF (amount, currency) IS DISTINCT FROM (p.amount, p.currency::text) THEN
        reason := format('payout %s is of %s %s, of which %s %s came back',
                         p.id, p.amount, p.currency,
                         coalesce(amount::text, 'nothing'),
                         coalesce(currency, ''));
        RETURN;
    END IF;

    IF billing.payout_fail(p.id, 'reversed: ' || transfer) THEN
        outcome := 'applied';
        wallet_id := p.wallet_id;

    ELSIF (SELECT x.state = 'failed' FROM ledger.payout x WHERE x.id = p.id)
    THEN
        outcome := 'ignored';
        reason := 'it was done before';

    ELSE
        reason := format('payout %s was not sent', p.id);
    END IF;
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


-- billing.inbox_close: somebody has looked at a parked event, and nothing of it
-- is to be done: it is ignored from now on, and why is kept.  How many there
-- were of that name: none, if it is not parked (any more).
CREATE OR REPLACE FUNCTION billing.inbox_close(event text, why text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_n bigint;
BEGIN
    UPDATE ledger.webhook_inbox i
       SET state = 'ignored', ended_at = clock_timestamp(),
           reason = concat_ws('; closed: ', i.reason, why)
     WHERE i.event_id = event AND i.state = 'parked';

    GET DIAGNOSTICS v_n = ROW_COUNT;

    RETURN v_n;
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


-- billing.webhook_json: a vendor's answer; one \u0000, or half a surrogate pair,
-- in something that it lists does not make all of it unreadable.
CREATE OR REPLACE FUNCTION billing.webhook_json(page text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN page::jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN regexp_replace(page, '(?<!\\)((?:\\\\)*)\\u(0000|d[89a-f]..)',
                          '\1\\ufffd', 'gi')::jsonb;
END
$$;


-- billing.inbox_page: a page of Stripe's list of events, which we asked for
-- ourselves over a connection that proves who answers.  Puts in what means
-- something to us and did not come; what cannot be read is parked, and keeps
-- nothing else out.  more and last: how to ask for the next.
CREATE OR REPLACE FUNCTION billing.inbox_page(provider text, page text)
RETURNS TABLE (seen bigint, stored bigint, more boolean, last text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v      jsonb := billing.webhook_json(page);
    o      jsonb;
    v_made int;
BEGIN
    IF jsonb_typeof(v -> 'data') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'this is no list of events' USING ERRCODE = '22023';
    END IF;

    seen := 0;
    stored := 0;

    -- in order of their names, as api.webhook_group does
    FOR o IN SELECT x FROM jsonb_array_elements(v -> 'data') x
              ORDER BY x ->> 'id' COLLATE "C" LOOP
        seen := seen + 1;
        v_made := 0;

        BEGIN
            IF (billing.webhook_says(inbox_page.provider, o ->> 'type', o)
                ).kind IS NOT NULL THEN
                INSERT INTO ledger.webhook_inbox (provider, event_id, type,
                            body)
                VALUES (inbox_page.provider, o ->> 'id', o ->> 'type', o::text)
                ON CONFLICT (provider, event_id) DO NOTHING;
                GET DIAGNOSTICS v_made = ROW_COUNT;
            END IF;

        EXCEPTION WHEN data_exception OR integrity_constraint_violation
                       OR program_limit_exceeded THEN
            v_made := billing.inbox_park(inbox_page.provider, o::text,
                                         SQLSTATE || ': ' || SQLERRM);
        END;

        stored := stored + v_made;
    END LOOP;

    more := coalesce((v ->> 'has_more')::boolean, false);
    last := v #>> '{data,-1,id}';
    RETURN NEXT;
END
$$;


-- billing.inbox_park: puts in, parked, what cannot even be read as an event; its
-- digest is its name.  Returns how many are new.
CREATE OR REPLACE FUNCTION billing.inbox_park(provider text, said text,
    reason text) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_id  text := encode(sha256(convert_to(said, 'UTF8')), 'hex');
BEGIN
    INSERT INTO ledger.webhook_inbox (provider, event_id, type, body)
    VALUES (inbox_park.provider, v_id, 'unreadable', said)
    ON CONFLICT (provider, event_id) DO NOTHING;

    IF NOT FOUND THEN
        RETURN 0;
    END IF;

    UPDATE ledger.webhook_inbox i
       SET state = 'parked', reason = inbox_park.reason,
           ended_at = clock_timestamp()
     WHERE i.provider = inbox_park.provider AND i.event_id = v_id;

    RETURN 1;
END
$$;


-- Of the version before.
DROP FUNCTION IF EXISTS billing.webhook_means(text, text, jsonb),
    billing.inbox_apply(ledger.webhook_inbox, text, text, bigint, text, text);


REVOKE ALL ON FUNCTION
    billing.payment_expect(text, text, bigint, bigint, text),
    billing.payment_lock(text, text),
    billing.inbox_revive(text, text, text),
    billing.webhook_amount(text), billing.webhook_json(text),
    billing.webhook_says(text, text, jsonb),
    billing.inbox_next(),
    billing.inbox_do(ledger.webhook_inbox, text, text, text, bigint, text,
        text),
    billing.inbox_payout(text, text, bigint, text, text),
    billing.inbox_park(text, text, text),
    billing.inbox_parked(int), billing.inbox_close(text, text),
    billing.inbox_stats(), billing.inbox_page(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    billing.payment_expect(text, text, bigint, bigint, text),
    billing.inbox_next(), billing.inbox_parked(int),
    billing.inbox_close(text, text), billing.inbox_page(text, text)
    TO astro_worker;

RESET ROLE;
