-- pay: payments that clients begin.
--
-- A row of ledger.checkout and the call to the vendor are made in one
-- transaction; a billing worker makes the call, with a key, so that the vendor
-- does it once however often it is asked (Razorpay knows no keys: an order that
-- nobody was told of is paid by nobody).  Its answer, or an event of the vendor's
-- that came sooner and bears our number, makes the row of ledger.payment, by which
-- webhook.sql credits.  Nothing that a client says credits anything.
--
-- Locks: rows of the outbox, the advisory lock (3, hash) of the payment's name,
-- then rows of the inbox, ledger.payment, ledger.checkout, wallets.

SET ROLE astro_engine;


-- billing.checkout_begin: an account wants to pay so much; returns the
-- checkout.  Two at once of one account wait for each other: advisory lock
-- (7, hash of the account).
--
-- Refused: forbidden (who has excluded himself, or is blocked or erased
-- meanwhile); bad_request, field "/amount"; rate_limited, and in how many seconds
-- it is not any more, as the exception's column (module: Retry-After).
CREATE OR REPLACE FUNCTION billing.checkout_begin(owner bigint, provider text,
    amount bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r          ledger.payment_rule;
    v_currency text := consult.currency();
    v_now      timestamptz;
    v_free     timestamptz;
    v_id       bigint;
    v_n        bigint;
    v_sum      bigint;
BEGIN
    PERFORM consult.not_excluded(owner);

    SELECT x.* INTO STRICT r FROM ledger.payment_rule x
     WHERE x.currency IN (v_currency, '***')
     ORDER BY x.currency = '***' LIMIT 1;

    IF checkout_begin.amount NOT BETWEEN r.least AND r.most THEN
        PERFORM consult.fail('bad_request',
                             format('amount is from %s to %s', r.least,
                                    r.most), '/amount');
    END IF;

    PERFORM pg_advisory_xact_lock(7, hashint8(owner));
    v_now := clock_timestamp();

    IF EXISTS (SELECT FROM identity.account a
                WHERE a.id = owner AND a.blocked) THEN
        PERFORM consult.fail('forbidden', 'this account is blocked');
    END IF;

    SELECT x.made_at + make_interval(secs => r.window_s) INTO v_free
      FROM ledger.checkout x
     WHERE x.owner_id = checkout_begin.owner
       AND x.made_at > v_now - make_interval(secs => r.window_s)
     ORDER BY x.made_at DESC OFFSET r.attempts - 1 LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'AS400', DETAIL = 'rate_limited',
              HINT = '', MESSAGE = 'too many payments were begun',
              COLUMN = ceil(extract(epoch FROM v_free - v_now))::int::text;
    END IF;

    INSERT INTO ledger.checkout AS x (owner_id, provider, amount, currency)
    VALUES (checkout_begin.owner, checkout_begin.provider,
            checkout_begin.amount, v_currency)
    RETURNING x.id INTO v_id;

    -- of no use to a client who has gone an hour later
    INSERT INTO billing.outbox (vendor, path, body, key, kind, about, until)
    VALUES (checkout_begin.provider,
            CASE provider WHEN 'stripe' THEN '/v1/payment_intents'
                          ELSE '/v1/orders' END,
            CASE provider WHEN 'stripe'
                THEN format('amount=%s&currency=%s'
                            '&automatic_payment_methods[enabled]=true'
                            '&metadata[payment]=%s', amount,
                            lower(v_currency), v_id)
                ELSE format('amount=%s&currency=%s&receipt=p_%s'
                            '&payment_capture=1&notes[payment]=%s', amount,
                            v_currency, v_id, v_id) END,
            'payment-' || v_id, 'payment', v_id, v_now + interval '1 hour');

    SELECT count(*), sum(x.amount) INTO v_n, v_sum
      FROM ledger.checkout x
     WHERE x.owner_id = checkout_begin.owner
       AND x.made_at > v_now - interval '1 day';

    INSERT INTO ledger.payment_flag (checkout_id, owner_id, rule, found,
                allowed)
    SELECT v_id, owner, f.rule, f.found, f.allowed
      FROM (VALUES ('count', v_n, r.day_count::bigint),
                   ('amount', v_sum, r.day_amount)) f(rule, found, allowed)
     WHERE f.found > f.allowed
    ON CONFLICT (owner_id, rule) WHERE cleared_at IS NULL DO NOTHING;

    RETURN v_id;
END
$$;


-- billing.checkout_tell: its owner hears what has become of it.
CREATE OR REPLACE FUNCTION billing.checkout_tell(c ledger.checkout)
RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO consult.notice (account_id, type, payload)
    VALUES (c.owner_id, 'payment',
            ('{"payment":"p_' || c.id || '","provider":"' || c.provider
             || '","state":"' || c.state || '","amount":'
             || consult.money(c.amount, c.currency) || '}')::json);
END
$$;


-- billing.checkout_made: the vendor has made it, and this is its answer.
-- Events of it that came before are taken up.  One that was paid meanwhile, by an
-- event that bears our number, is left as it is.
CREATE OR REPLACE FUNCTION billing.checkout_made(checkout bigint,
    answer jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c      ledger.checkout;
    v_name text := answer ->> 'id';
BEGIN
    SELECT x.* INTO STRICT c FROM ledger.checkout x WHERE x.id = checkout;

    -- an answer that has no name is none of the vendor's
    IF v_name IS NULL
       OR (billing.webhook_amount(answer ->> 'amount'),
           upper(answer ->> 'currency'))
          IS DISTINCT FROM (c.amount, c.currency::text) THEN
        PERFORM billing.checkout_failed(checkout,
                                        'the vendor made another one');
        RETURN;
    END IF;

    PERFORM billing.payment_lock(c.provider, v_name);

    UPDATE ledger.checkout x
       SET state = 'ready', payment_id = v_name,
           secret = answer ->> 'client_secret',
           ready_at = clock_timestamp()
     WHERE x.id = checkout AND x.state = 'creating'
    RETURNING x.* INTO c;

    IF FOUND THEN
        PERFORM billing.payment_expect(c.provider, v_name, c.owner_id,
                                       c.amount, c.currency);
        PERFORM billing.checkout_tell(c);
    END IF;
END
$$;


-- billing.checkout_failed: nothing is to come of it, as far as we know.
CREATE OR REPLACE FUNCTION billing.checkout_failed(checkout bigint,
    reason text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c ledger.checkout;
BEGIN
    UPDATE ledger.checkout x
       SET state = 'failed', reason = checkout_failed.reason, secret = NULL,
           ended_at = clock_timestamp()
     WHERE x.id = checkout AND x.state IN ('creating', 'ready')
    RETURNING x.* INTO c;

    IF FOUND THEN
        PERFORM billing.checkout_tell(c);
    END IF;
END
$$;


-- billing.checkouts_end: those of somebody who is being erased: nobody waits for
-- them, or shows them to the vendor, any more.  What is paid for one all the same
-- is parked (webhook.sql).
CREATE OR REPLACE FUNCTION billing.checkouts_end(owner bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
    UPDATE ledger.checkout x
       SET state = 'failed', reason = 'its owner was erased', secret = NULL,
           ended_at = clock_timestamp()
     WHERE x.owner_id = owner AND x.state IN ('creating', 'ready')
$$;


-- billing.checkout_ours: our number in an event of a payment; NULL: none.
CREATE OR REPLACE FUNCTION billing.checkout_ours(v jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN x ~ '^[1-9][0-9]{0,17}$' THEN x::bigint END
      FROM (SELECT coalesce(v #>> '{data,object,metadata,payment}',
                        v #>> '{payload,payment,entity,notes,payment}')) y(x)
$$;


-- billing.checkout_adopt: an event of a payment that nobody knows bears our
-- number: its answer to our call was lost, or has not been recorded yet.  If it
-- is what we asked for, it is expected from now on.  The advisory lock of its
-- name is held.
CREATE OR REPLACE FUNCTION billing.checkout_adopt(provider text, payment text,
    v jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c ledger.checkout;
    m record;
BEGIN
    SELECT x.amount, x.currency INTO m
      FROM billing.webhook_says(provider, coalesce(v ->> 'type',
                                                   v ->> 'event'), v) x;

    UPDATE ledger.checkout x SET payment_id = payment
     WHERE x.id = billing.checkout_ours(v)
       AND x.provider = checkout_adopt.provider AND x.payment_id IS NULL
       AND (x.amount, x.currency::text) = (m.amount, m.currency)
    RETURNING x.* INTO c;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    PERFORM billing.payment_expect(c.provider, payment, c.owner_id, c.amount,
                                   c.currency);
    RETURN true;
END
$$;


-- billing.checkout_settled: a payment has become this; if a client began it,
-- so has the checkout.
CREATE OR REPLACE FUNCTION billing.checkout_settled(p ledger.payment)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c ledger.checkout;
BEGIN
    UPDATE ledger.checkout x
       SET state = CASE p.status WHEN 'paid' THEN 'paid' ELSE 'failed' END,
           reason = CASE p.status WHEN 'failed' THEN 'cancelled'
                         WHEN 'wrong' THEN 'another amount came' END,
           secret = NULL, ended_at = clock_timestamp()
     WHERE x.provider = p.provider AND x.payment_id = p.payment_id
       AND x.state <> 'paid' AND p.status <> 'expected'
    RETURNING x.* INTO c;

    IF FOUND THEN
        PERFORM billing.checkout_tell(c);
    END IF;
END
$$;


-- billing.checkout_look: Razorpay is to be asked for this payment of an order:
-- the client has shown that it was made.  While an earlier question waits:
-- nothing.
CREATE OR REPLACE FUNCTION billing.checkout_look(checkout bigint,
    charge text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c ledger.checkout;
BEGIN
    SELECT x.* INTO STRICT c FROM ledger.checkout x
     WHERE x.id = checkout FOR NO KEY UPDATE;

    IF c.looks > 0 AND EXISTS (
        SELECT FROM billing.outbox o
         WHERE o.key = 'look-' || c.id || '-' || c.looks
           AND o.state = 'waiting') THEN
        RETURN;
    END IF;

    UPDATE ledger.checkout x SET looks = c.looks + 1 WHERE x.id = c.id;

    -- no body: it is asked for, nothing is to be done
    INSERT INTO billing.outbox (vendor, path, body, key, kind, about, until)
    VALUES (c.provider, '/v1/payments/' || charge, '',
            'look-' || c.id || '-' || c.looks + 1, 'look', c.id,
            clock_timestamp() + interval '15 minutes');
END
$$;


-- billing.payments_open: payments of this vendor that we asked for less than 30
-- days ago and of which nothing has come: where to ask for them.
CREATE OR REPLACE FUNCTION billing.payments_open(vendor text, after bigint,
    cap int)
RETURNS TABLE (id bigint, path text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.id, CASE p.provider
                 WHEN 'stripe' THEN '/v1/payment_intents/' || p.payment_id
                 ELSE '/v1/orders/' || p.payment_id || '/payments' END
      FROM ledger.payment p
     WHERE p.provider = vendor AND p.id > after AND p.again_of IS NULL
       AND p.status IN ('expected', 'failed')
       AND p.made_at > clock_timestamp() - interval '30 days'
       AND p.payment_id ~ '^[A-Za-z0-9_]+$'
     ORDER BY p.id LIMIT cap;
END
$$;


-- billing.payment_looked: what the vendor answered when it was asked for one:
-- what it says has happened goes into the inbox, if it has not come.  Returns
-- how many there are in it, and how many are new.
CREATE OR REPLACE FUNCTION billing.payment_looked(vendor text, answer text)
RETURNS TABLE (seen bigint, stored bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v      jsonb := billing.webhook_json(answer);
    v_type text;
BEGIN
    IF vendor = 'razorpay' THEN
        RETURN QUERY SELECT * FROM billing.inbox_items('payments',
            CASE WHEN v ? 'items' THEN v
                 ELSE jsonb_build_object('items', jsonb_build_array(v))
                 END::text);
        RETURN;
    END IF;

    seen := 1;
    stored := 0;
    v_type := CASE v ->> 'status'
                   WHEN 'succeeded' THEN 'payment_intent.succeeded'
                   WHEN 'canceled' THEN 'payment_intent.canceled' END;

    IF v ->> 'object' = 'payment_intent' AND v_type IS NOT NULL
       AND v ->> 'id' ~ '^[!-~]{1,240}$' THEN
        INSERT INTO ledger.webhook_inbox (provider, event_id, type, body)
        VALUES (vendor, 'look:' || (v ->> 'id') || ':' || (v ->> 'status'),
                v_type, jsonb_build_object('type', v_type, 'data',
                            jsonb_build_object('object',
                                               v - 'client_secret'))::text)
        ON CONFLICT (provider, event_id) DO NOTHING;
        GET DIAGNOSTICS stored = ROW_COUNT;
    END IF;

    RETURN NEXT;
END
$$;


-- billing.checkout_called: of outbox_record and outbox_claim: a call of this
-- kind has ended.  state: delivered, with the vendor's answer; refused, with
-- why.
CREATE OR REPLACE FUNCTION billing.checkout_called(kind text, about bigint,
    state text, answer jsonb, error text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF kind = 'payment' AND state = 'delivered' THEN
        PERFORM billing.checkout_made(about, answer);

    ELSIF kind = 'payment' AND state = 'refused' THEN
        PERFORM billing.checkout_failed(about, coalesce(error, 'refused'));

    ELSIF kind = 'look' AND state = 'delivered' THEN
        PERFORM billing.payment_looked(c.provider, answer::text)
           FROM ledger.checkout c WHERE c.id = about;
    END IF;
END
$$;


-- billing.payments_flagged: up to cap flags that nobody has cleared, the newest
-- first, below this one.
CREATE OR REPLACE FUNCTION billing.payments_flagged(before bigint, cap int)
RETURNS TABLE (id bigint, doc json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT f.id, ('{"id":"p_' || f.checkout_id || '","client":"u_'
                  || f.owner_id || '","rule":"' || f.rule || '","found":'
                  || f.found || ',"allowed":' || f.allowed
                  || ',"provider":"' || c.provider || '","state":"' || c.state
                  || '","amount":' || consult.money(c.amount, c.currency)
                  || ',"at":"' || consult.rfc3339(f.made_at) || '"}')::json
      FROM ledger.payment_flag f
      JOIN ledger.checkout c ON c.id = f.checkout_id
     WHERE f.cleared_at IS NULL AND f.id < payments_flagged.before
     ORDER BY f.id DESC LIMIT cap;
END
$$;


-- billing.payment_unflag: an admin has looked at what is odd with this one;
-- returns the client whose it is, NULL: nothing is.
CREATE OR REPLACE FUNCTION billing.payment_unflag(admin bigint,
    checkout bigint, note text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_owner bigint;
BEGIN
    UPDATE ledger.payment_flag f
       SET cleared_at = clock_timestamp(), cleared_by = admin,
           note = payment_unflag.note
     WHERE f.checkout_id = checkout AND f.cleared_at IS NULL
    RETURNING f.owner_id INTO v_owner;

    RETURN v_owner;
END
$$;


-- billing.reconcile_take: today, in UTC, if it is after this many minutes of it
-- and its look for what nobody told us of is this worker's to begin: nobody has
-- finished it, nor been at it in the last 10 minutes.  Else NULL.
CREATE OR REPLACE FUNCTION billing.reconcile_take(minutes int, owner text)
RETURNS date
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now timestamp := clock_timestamp() AT TIME ZONE 'UTC';
    v_day date;
BEGIN
    IF v_now >= v_now::date + make_interval(mins => minutes) THEN
        INSERT INTO ledger.reconcile_run AS r (day, owner)
        VALUES (v_now::date, reconcile_take.owner)
        ON CONFLICT (day) DO UPDATE
           SET owner = excluded.owner, taken_at = clock_timestamp()
         WHERE r.finished_at IS NULL
           AND r.taken_at < clock_timestamp() - interval '10 minutes'
        RETURNING r.day INTO v_day;
    END IF;

    RETURN v_day;
END
$$;


-- billing.reconcile_keep: this worker is still at that look, however long it
-- takes.
CREATE OR REPLACE FUNCTION billing.reconcile_keep(day date, owner text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE ledger.reconcile_run r
       SET taken_at = clock_timestamp()
     WHERE r.day = reconcile_keep.day AND r.owner = reconcile_keep.owner
       AND r.finished_at IS NULL;
END
$$;


-- billing.reconcile_done: that look is over, whoever has taken it over
-- meanwhile; again: it could not be finished, and if it is still this worker's,
-- whoever asks next after so many minutes may try again.
CREATE OR REPLACE FUNCTION billing.reconcile_done(day date, owner text,
    again boolean, minutes int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- taken_at may be to come: reconcile_take waits 10 minutes by itself
    UPDATE ledger.reconcile_run r
       SET finished_at = CASE WHEN NOT again THEN clock_timestamp() END,
           taken_at = CASE WHEN again THEN clock_timestamp()
                                + make_interval(mins => minutes - 10)
                           ELSE r.taken_at END
     WHERE r.day = reconcile_done.day AND r.finished_at IS NULL
       AND (NOT again OR r.owner = reconcile_done.owner);
END
$$;


-- As workers of before call it.
CREATE OR REPLACE FUNCTION billing.reconcile_done(day date, owner text,
    again boolean) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT billing.reconcile_done(day, owner, again, 10)
$$;


-- consult.payment_doc: a payment as its owner sees it.  keys: what the vendors
-- call us, {"stripe":"pk_..","razorpay":"rzp_.."}; of no use to anybody else.
CREATE OR REPLACE FUNCTION consult.payment_doc(c ledger.checkout, keys json)
RETURNS json
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN json_build_object(
        'id', 'p_' || c.id, 'provider', c.provider, 'state', c.state,
        'amount', consult.money(c.amount, c.currency)::json,
        'created_at', consult.rfc3339(c.made_at),
        'checkout', CASE WHEN c.state <> 'ready' THEN NULL
            WHEN c.provider = 'stripe' THEN json_build_object(
                'client_secret', c.secret,
                'publishable_key', keys ->> 'stripe')
            ELSE json_build_object(
                'order_id', c.payment_id,
                'key_id', keys ->> 'razorpay') END);
END
$$;


REVOKE ALL ON FUNCTION consult.payment_doc(ledger.checkout, json),
    billing.checkout_begin(bigint, text, bigint),
    billing.checkout_tell(ledger.checkout),
    billing.checkout_made(bigint, jsonb),
    billing.checkout_failed(bigint, text), billing.checkouts_end(bigint),
    billing.checkout_ours(jsonb),
    billing.checkout_adopt(text, text, jsonb),
    billing.checkout_settled(ledger.payment),
    billing.checkout_look(bigint, text),
    billing.payments_open(text, bigint, int),
    billing.payment_looked(text, text),
    billing.checkout_called(text, bigint, text, jsonb, text),
    billing.payments_flagged(bigint, int),
    billing.payment_unflag(bigint, bigint, text),
    billing.reconcile_take(int, text),
    billing.reconcile_keep(date, text),
    billing.reconcile_done(date, text, boolean, int),
    billing.reconcile_done(date, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.payment_doc(ledger.checkout, json),
    billing.checkout_begin(bigint, text, bigint),
    billing.checkout_look(bigint, text),
    billing.payments_flagged(bigint, int),
    billing.payment_unflag(bigint, bigint, text) TO astro_api;
GRANT EXECUTE ON FUNCTION billing.checkouts_end(bigint) TO astro_private;
GRANT EXECUTE ON FUNCTION billing.payments_open(text, bigint, int),
    billing.payment_looked(text, text), billing.reconcile_take(int, text),
    billing.reconcile_keep(date, text),
    billing.reconcile_done(date, text, boolean, int),
    billing.reconcile_done(date, text, boolean) TO astro_worker;

RESET ROLE;
SET ROLE astro_api;


-- api.payment_create: {"provider","amount"}: the caller wants to pay so much,
-- in minor units of the deployment's currency.
--
--   201 {id:"p_1",provider,state:"creating",amount,created_at,checkout:null}
--   400 bad_request, with its field
--   422 unsupported, field "/provider": no payments by it here
--   429 rate_limited
--
-- Called by POST /api/payments.
CREATE OR REPLACE FUNCTION api.payment_create(caller bigint, doc json,
    keys json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_provider text   := consult.f_enum(doc, 'provider', '{stripe,razorpay}');
    v_amount   bigint := consult.f_int(doc, 'amount', 1, 1000000000000000);
    v_id       bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF keys ->> v_provider IS NULL THEN
        PERFORM consult.fail('unsupported', 'no payments by it here',
                             '/provider');
    END IF;

    v_id := billing.checkout_begin(caller, v_provider, v_amount);

    RETURN QUERY SELECT 201, consult.payment_doc(c, keys)
                   FROM ledger.checkout c WHERE c.id = v_id;
END
$$;


-- api.payment: one of the caller's own payments.  What the vendor's code in the
-- browser needs is in checkout while state is "ready":
-- {client_secret,publishable_key} of Stripe, {order_id,key_id} of Razorpay.
--
--   200 as payment_create
--   404 not_found
--
-- Called by GET /api/payments/{p}.
CREATE OR REPLACE FUNCTION api.payment(caller bigint, payment bigint,
    keys json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY SELECT 200, consult.payment_doc(c, keys)
                   FROM ledger.checkout c WHERE c.id = payment.payment;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such payment');
    END IF;
END
$$;


-- api.payment_order: how the vendor calls a payment of the caller's; no row:
-- there is none, or it is none of Razorpay's that was made.
--
-- Called by POST /api/payments/{p}/confirm, before its function.
CREATE OR REPLACE FUNCTION api.payment_order(caller bigint, payment bigint)
RETURNS TABLE (order_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY
    SELECT c.payment_id FROM ledger.checkout c
     WHERE c.id = payment_order.payment AND c.provider = 'razorpay'
       AND c.payment_id IS NOT NULL;
END
$$;


-- api.payment_confirm: {"razorpay_payment_id"}, whose signature the module has
-- verified: Razorpay will be asked for it, and what it says is done.
--
--   202 as payment_create; state "paid" is only said when it was credited
--   400 bad_request, with its field
--   404 not_found
--
-- Called by POST /api/payments/{p}/confirm.
CREATE OR REPLACE FUNCTION api.payment_confirm(caller bigint, payment bigint,
    doc json, keys json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c        ledger.checkout;
    v_charge text := consult.f_text(doc, 'razorpay_payment_id', 1, 64);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    -- it becomes part of a path
    IF v_charge !~ '^pay_[A-Za-z0-9]+$' THEN
        PERFORM consult.fail('bad_request', 'no payment of Razorpay''s',
                             '/razorpay_payment_id');
    END IF;

    SELECT x.* INTO c FROM ledger.checkout x
     WHERE x.id = payment_confirm.payment AND x.provider = 'razorpay'
       AND x.payment_id IS NOT NULL;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such payment');
    END IF;

    IF c.state <> 'paid' THEN
        PERFORM billing.checkout_look(c.id, v_charge);
    END IF;

    RETURN QUERY SELECT 202, consult.payment_doc(c, keys);
END
$$;


REVOKE ALL ON FUNCTION api.payment_create(bigint, json, json),
    api.payment(bigint, bigint, json), api.payment_order(bigint, bigint),
    api.payment_confirm(bigint, bigint, json, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.payment_create(bigint, json, json),
    api.payment(bigint, bigint, json), api.payment_order(bigint, bigint),
    api.payment_confirm(bigint, bigint, json, json) TO astro_web;

RESET ROLE;
