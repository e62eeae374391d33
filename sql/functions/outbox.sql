-- outbox: calls to vendors that must be made, whatever dies.  Functions of the
-- billing worker, owned by astro_engine.
--
-- A row is inserted in the transaction that is the reason for the call.  A
-- worker claims it for a while, as its owner, calls, and records what came of
-- it.  Killed in between, its claim ends by itself and the call is made again
-- with the same key, by which the vendor knows it.  All times are the
-- database's.
--
-- Only a clear yes is a yes (2xx, JSON with an id), and only a clear no is a no
-- (see outbox_verdict).  Everything else is tried again, until there were too
-- many attempts or the vendor may have forgotten the key: then it is parked,
-- and somebody must look.
--
-- A row with an end (until) is of no use after it, and what it says is not for
-- everybody: its body is emptied with whatever ends it, it is never parked, and
-- nothing of the vendor's answer but its code is kept.
--
-- A no counts only when no earlier call is in doubt: one that was lost on its
-- way might still arrive and be obeyed.  So after a no with a doubt it is asked
-- once more, later than any such call can live.
--
-- Locks: rows of the outbox, then payouts, payments and their refunds, then
-- wallets; each by id.  Of a payment that a client began: what
-- billing.checkout_made() locks (pay.sql).

SET ROLE astro_engine;


-- How long vendors remember a key: 24 h is what they promise.
CREATE OR REPLACE FUNCTION billing.outbox_key_life() RETURNS interval
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$ SELECT interval '23 hours' $$;


-- billing.outbox_claim: up to cap rows that are due, of these vendors, for this
-- owner and lease_ms.  Those whose key is too old to be used again are parked,
-- and come with parked.  (In order of due_at by the index: to sort all that
-- wait would take the longer the more they are.)
CREATE OR REPLACE FUNCTION billing.outbox_claim(owner text, vendors text[],
    cap int, lease_ms int)
RETURNS TABLE (id bigint, claim int, vendor text, path text, body text,
    key text, kind text, about bigint, attempts int, parked boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    r     record;
    v_now timestamptz := clock_timestamp();
BEGIN
    -- of no use any more, whoever sends it
    FOR r IN
        UPDATE billing.outbox o
           SET state = 'refused', ended_at = v_now, error = 'too late',
               body = ''
         WHERE o.id IN (
            SELECT x.id FROM billing.outbox x
             WHERE x.state = 'waiting' AND x.until <= v_now
               AND x.due_at <= v_now
             ORDER BY x.until LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING o.kind, o.about, o.error
    LOOP
        PERFORM billing.checkout_called(r.kind, r.about, 'refused', NULL,
                                        r.error);
    END LOOP;

    RETURN QUERY
    WITH due AS (
        SELECT o.id, o.doubts > 0
                     AND o.first_at < v_now - billing.outbox_key_life() AS old
          FROM billing.outbox o
         WHERE o.state = 'waiting' AND o.due_at <= v_now
           AND o.vendor = ANY(outbox_claim.vendors)
         ORDER BY o.due_at LIMIT outbox_claim.cap
           FOR NO KEY UPDATE SKIP LOCKED),
    taken AS (
        UPDATE billing.outbox o
           SET owner = outbox_claim.owner,
               claim = o.claim + 1,
               state = CASE WHEN d.old THEN 'parked' ELSE o.state END,
               error = CASE WHEN d.old THEN 'the vendor may have forgotten '
                            'the key: ' || coalesce(o.error, '')
                            ELSE o.error END,
               attempts = o.attempts + (NOT d.old)::int,
               doubts = o.doubts + (NOT d.old)::int,
               first_at = CASE WHEN o.doubts = 0 THEN v_now
                               ELSE o.first_at END,
               due_at = v_now + make_interval(secs => lease_ms / 1000.0)
          FROM due d WHERE o.id = d.id
        RETURNING o.id, o.claim, o.vendor, o.path, o.body, o.key, o.kind,
                  o.about, o.attempts, d.old),
    submitted AS (
        UPDATE ledger.payout p SET state = 'submitted', submitted_at = v_now
          FROM taken t
         WHERE t.kind = 'payout' AND NOT t.old AND p.id = t.about
           AND p.state = 'pending')
    SELECT t.id, t.claim, t.vendor, t.path, t.body, t.key, t.kind, t.about,
           t.attempts, t.old
      FROM taken t;
END
$$;


-- billing.outbox_answer: what a vendor answered, NULL if it is no JSON object.
CREATE OR REPLACE FUNCTION billing.outbox_answer(answer text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    j jsonb;
BEGIN
    j := answer::jsonb;
    RETURN CASE WHEN jsonb_typeof(j) = 'object' THEN j END;
EXCEPTION WHEN data_exception OR program_limit_exceeded
               OR untranslatable_character THEN
    RETURN NULL;
END
$$;


-- billing.outbox_verdict: 'yes', 'no', 'again' or 'park', of an answer's code,
-- its JSON, whether the vendor asks for another attempt (NULL: it does not
-- say), and whether the answer is that of an earlier attempt.
--
--   yes     2xx with an id; or what is made for a moment and has none: an
--           address where an account is opened
--   no      400, 402, 422, of the kinds that say what is wrong with the request
--           itself, in Stripe's words, Razorpay's or Twilio's
--   park    the key was used for something else; or an error that the vendor
--           keeps for this key, so that asking again will not change it
--   again   all else: our own key for the vendor is wrong, too many requests,
--           anything of theirs, a 2xx that makes no sense
CREATE OR REPLACE FUNCTION billing.outbox_verdict(code int, answer jsonb,
    retry boolean, replayed boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN code BETWEEN 200 AND 299
             AND (jsonb_typeof(answer->'id') = 'string'
                  AND answer->>'id' ~ '^[!-~]{1,255}$'
                  OR answer->>'sid' ~ '^(SM|MM)[0-9a-f]{32}$'
                  OR answer->>'object' = 'account_link'
                  AND answer->>'url' ~ '^https://[!-~]+$')
        THEN 'yes'
        WHEN answer->'error'->>'type' = 'idempotency_error'
             AND code = 400
        THEN 'park'
        WHEN retry THEN 'again'
        WHEN code IN (400, 402, 422) AND answer->'error'->>'type'
             IN ('invalid_request_error', 'card_error')
             OR code = 400 AND answer->'error'->>'code' = 'BAD_REQUEST_ERROR'
             OR code = 400 AND jsonb_typeof(answer->'code') = 'number'
                AND answer->>'status' = '400'
        THEN 'no'
        WHEN code >= 500 AND (replayed OR NOT retry) THEN 'park'
        ELSE 'again'
    END
$$;


-- billing.outbox_record: what came of calls, as a JSON array of
--
--   {id, claim, result: "answered"|"unsent"|"unknown", code, answer, error,
--    retry_after_ms, retry, replayed}
--
-- answer is the body as text; the last three may be null.  One that was claimed
-- anew since, or has ended, gives no row: the other's word counts.  Returns
-- what each is now, and in how many ms it is due if it waits.
--
-- The next attempt is after 1, 2, 4, ... s, an hour at most, less up to half of
-- that by chance; after Retry-After at least, if the vendor says so.  429 and
-- what never left this machine say nothing of the call: nothing is in doubt
-- by it, and 429 is no attempt either.  settle_ms: by then nothing of an
-- earlier call can be on its way any more.
--
-- What is about payments or accounts (all kinds but payout and otp) comes by
-- itself: of two in one call the second's payment would be locked after the
-- first's wallets.
CREATE OR REPLACE FUNCTION billing.outbox_record(results jsonb,
    attempts_max int, settle_ms int)
RETURNS TABLE (id bigint, state text, kind text, about bigint, attempts int,
    code int, error text, wait_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    r         record;
    o         billing.outbox;
    v_answer  jsonb;
    v_verdict text;
    v_sure    boolean;
    v_limited boolean;
    v_wait    bigint;
    v_now     timestamptz := clock_timestamp();
    v_failed  bigint[] := '{}';
    v_reasons text[] := '{}';
BEGIN
    FOR r IN
        SELECT x.* FROM jsonb_to_recordset(results)
            AS x(id bigint, claim int, result text, code int, answer text,
                 error text, retry_after_ms bigint, retry boolean,
                 replayed boolean)
         ORDER BY x.id
    LOOP
        SELECT * INTO o FROM billing.outbox x
         WHERE x.id = r.id AND x.claim = r.claim AND x.state = 'waiting'
           FOR NO KEY UPDATE;

        CONTINUE WHEN NOT FOUND;

        v_answer := NULL;
        v_verdict := 'again';
        v_limited := false;
        v_sure := r.result = 'unsent';
        o.error := r.error;

        IF r.result = 'answered' THEN
            v_answer := billing.outbox_answer(r.answer);
            v_verdict := billing.outbox_verdict(r.code, v_answer, r.retry,
                                                coalesce(r.replayed, false));

            -- of a payment that is being made, more is to be heard
            IF o.kind = 'look' AND v_verdict = 'yes'
               AND v_answer ->> 'status' IN ('created', 'authorized') THEN
                v_verdict := 'again';
            END IF;

            v_limited := r.code = 429;
            -- an answer below 500 that is no yes was given instead of doing it
            v_sure := v_verdict IN ('yes', 'no')
                      OR r.code IN (401, 403, 429);
            o.code := r.code;
            o.error := CASE WHEN v_verdict <> 'yes' THEN
                left(coalesce((v_answer->'error'->>'code') || ': ', '')
                     || coalesce(v_answer->'error'->>'message',
                                 'no answer that makes sense'), 500) END;
        END IF;

        -- what has a secret in it, the vendor's words might repeat
        IF o.until IS NOT NULL AND o.error IS NOT NULL THEN
            o.error := CASE WHEN r.result <> 'answered' THEN r.result
                            ELSE 'the vendor''s code: '
                                 || coalesce(v_answer->>'code', 'none') END;
        END IF;

        o.doubts := o.doubts - v_sure::int;
        o.attempts := o.attempts - v_limited::int;

        -- 1 s for the first
        v_wait := greatest(
            least(1000 * 2 ^ least(greatest(o.attempts - 1, 0), 20), 3600000)
                * (0.5 + random() / 2),
            least(coalesce(r.retry_after_ms, 0), 3600000))::bigint;

        IF v_verdict = 'no' AND o.doubts > 0 THEN
            v_verdict := 'again';
            v_wait := greatest(v_wait, settle_ms);
            o.doubts := 0;

        ELSIF v_verdict = 'again' AND o.attempts >= attempts_max THEN
            v_verdict := 'park';
        END IF;

        -- nobody would look at it in time
        IF o.until IS NOT NULL AND (v_verdict = 'park' OR v_verdict = 'again'
            AND v_now + make_interval(secs => v_wait / 1000.0) >= o.until)
        THEN
            v_verdict := 'no';
        END IF;

        o.state := CASE v_verdict WHEN 'yes' THEN 'delivered'
                        WHEN 'no' THEN 'refused' WHEN 'park' THEN 'parked'
                        ELSE 'waiting' END;
        o.ended_at := CASE WHEN v_verdict IN ('yes', 'no') THEN v_now END;
        o.due_at := v_now + make_interval(secs => v_wait / 1000.0);

        UPDATE billing.outbox x
           SET state = o.state, attempts = o.attempts, owner = NULL,
               doubts = CASE o.state WHEN 'delivered' THEN 0
                             ELSE o.doubts END,
               due_at = o.due_at, ended_at = o.ended_at, code = o.code,
               error = o.error,
               body = CASE WHEN o.until IS NOT NULL AND o.ended_at IS NOT NULL
                           THEN '' ELSE x.body END
         WHERE x.id = o.id;

        IF o.kind = 'payout' AND o.state = 'delivered' THEN
            UPDATE ledger.payout p
               SET state = 'paid', vendor_id = v_answer->>'id',
                   ended_at = v_now
             WHERE p.id = o.about AND p.state IN ('pending', 'submitted');

        ELSIF o.kind = 'payout' AND o.state = 'refused' THEN
            v_failed := v_failed || o.about;
            v_reasons := v_reasons || coalesce(o.error, 'refused');

        ELSIF o.kind = 'refund' AND o.state IN ('delivered', 'refused') THEN
            PERFORM billing.refund_answered(o.about, o.state, v_answer,
                                            o.error);

        ELSIF o.kind LIKE 'connect\_%' AND o.state = 'delivered' THEN
            PERFORM billing.connect_done(o.kind, o.about, v_answer);

        ELSIF o.kind LIKE 'connect\_%' AND o.state = 'refused' THEN
            PERFORM billing.connect_refused(o.kind, o.about,
                                            coalesce(o.error, 'refused'));

        ELSIF o.ended_at IS NOT NULL THEN
            PERFORM billing.checkout_called(o.kind, o.about, o.state,
                                            v_answer, o.error);
        END IF;

        id := o.id;
        state := o.state;
        kind := o.kind;
        about := o.about;
        attempts := o.attempts;
        code := o.code;
        error := o.error;
        wait_ms := CASE o.state WHEN 'waiting' THEN v_wait END;
        RETURN NEXT;
    END LOOP;

    IF v_failed <> '{}' THEN
        PERFORM billing.payouts_return(v_failed, v_reasons,
                                       ARRAY['pending', 'submitted']);
    END IF;
END
$$;


-- billing.outbox_stats: what a metric is made of.  waiting includes those that
-- are under way; age_ms is that of the oldest of them.
CREATE OR REPLACE FUNCTION billing.outbox_stats()
RETURNS TABLE (waiting bigint, parked bigint, age_ms bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.n, (SELECT count(*) FROM billing.outbox o
                  WHERE o.state = 'parked'), w.age
      FROM (SELECT count(*) AS n,
                   coalesce(extract(epoch FROM clock_timestamp()
                                    - min(o.made_at)) * 1000, 0)::bigint AS age
              FROM billing.outbox o WHERE o.state = 'waiting') w;
END
$$;


-- billing.outbox_list: the rows in this state, the oldest first.
CREATE OR REPLACE FUNCTION billing.outbox_list(state text, after bigint,
    cap int)
RETURNS TABLE (id bigint, vendor text, kind text, about bigint, key text,
    attempts int, doubts int, code int, error text, made_at timestamptz,
    due_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT o.id, o.vendor, o.kind, o.about, o.key, o.attempts, o.doubts,
           o.code, o.error, o.made_at, o.due_at
      FROM billing.outbox o
     WHERE o.state = outbox_list.state AND o.id > outbox_list.after
     ORDER BY o.id LIMIT outbox_list.cap;
END
$$;


-- billing.outbox_retry: parked rows are tried again, with as many attempts as
-- at first; ids NULL: all of them.  Returns those that are.  One that is in
-- doubt, and whose key the vendor may have forgotten, is left alone unless
-- forced: it might be done twice.  Look at the vendor's own record first.
CREATE OR REPLACE FUNCTION billing.outbox_retry(ids bigint[], force boolean)
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    UPDATE billing.outbox o
       SET state = 'waiting', attempts = 0, due_at = clock_timestamp(),
           first_at = CASE WHEN force THEN clock_timestamp()
                           ELSE o.first_at END
     WHERE o.id IN (
        SELECT x.id FROM billing.outbox x
         WHERE x.state = 'parked' AND (ids IS NULL OR x.id = ANY(ids))
           AND (force OR x.doubts = 0
                OR x.first_at > clock_timestamp() - billing.outbox_key_life())
         ORDER BY x.id FOR NO KEY UPDATE)
    RETURNING o.id;
END
$$;


-- billing.outbox_resolve: somebody has looked at the vendor's own record of a
-- parked call: vendor_id is the vendor's name for what was done; NULL: nothing
-- was done, and nothing will be.  false if there is no such row parked.
CREATE OR REPLACE FUNCTION billing.outbox_resolve(outbox bigint,
    vendor_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    o billing.outbox;
BEGIN
    UPDATE billing.outbox x
       SET state = CASE WHEN outbox_resolve.vendor_id IS NULL THEN 'refused'
                        ELSE 'delivered' END,
           doubts = 0, ended_at = clock_timestamp()
     WHERE x.id = outbox AND x.state = 'parked'
    RETURNING * INTO o;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    IF o.kind = 'payout' AND o.state = 'delivered' THEN
        UPDATE ledger.payout p
           SET state = 'paid', vendor_id = outbox_resolve.vendor_id,
               ended_at = clock_timestamp()
         WHERE p.id = o.about AND p.state IN ('pending', 'submitted');

    ELSIF o.kind = 'payout' THEN
        PERFORM billing.payouts_return(ARRAY[o.about],
            ARRAY['not done, as somebody has seen'],
            ARRAY['pending', 'submitted']);

    ELSIF o.kind = 'refund' THEN
        PERFORM billing.refund_answered(o.about, o.state,
            jsonb_build_object('id', outbox_resolve.vendor_id),
            'not done, as somebody has seen');

    ELSIF o.kind LIKE 'connect\_%' AND o.state = 'delivered' THEN
        PERFORM billing.connect_done(o.kind, o.about,
                    jsonb_build_object('id', outbox_resolve.vendor_id));

    ELSIF o.kind LIKE 'connect\_%' THEN
        PERFORM billing.connect_refused(o.kind, o.about,
                                        'not done, as somebody has seen');
    END IF;

    RETURN true;
END
$$;


-- billing.outbox_sweep: removes up to cap rows that ended more than keep_days
-- ago; returns how many.
CREATE OR REPLACE FUNCTION billing.outbox_sweep(keep_days int, cap int)
RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_n int;
BEGIN
    DELETE FROM billing.outbox o
     WHERE o.id IN (SELECT x.id FROM billing.outbox x
                     WHERE x.ended_at < clock_timestamp()
                                        - make_interval(days => keep_days)
                     ORDER BY x.ended_at LIMIT cap FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_n = ROW_COUNT;
    RETURN v_n;
END
$$;


REVOKE ALL ON FUNCTION billing.outbox_key_life(),
    billing.outbox_claim(text, text[], int, int),
    billing.outbox_answer(text),
    billing.outbox_verdict(int, jsonb, boolean, boolean),
    billing.outbox_record(jsonb, int, int),
    billing.outbox_stats(), billing.outbox_list(text, bigint, int),
    billing.outbox_retry(bigint[], boolean),
    billing.outbox_resolve(bigint, text),
    billing.outbox_sweep(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.outbox_claim(text, text[], int, int),
    billing.outbox_record(jsonb, int, int),
    billing.outbox_stats(), billing.outbox_list(text, bigint, int),
    billing.outbox_retry(bigint[], boolean),
    billing.outbox_resolve(bigint, text),
    billing.outbox_sweep(int, int) TO astro_worker;

RESET ROLE;
