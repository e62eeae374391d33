-- payout: advisors are paid what they have earned, once a day.  Functions of
-- the billing worker and of those who run the deployment, owned by
-- astro_engine.
--
-- A payout is one row for an advisor and a day.  In the transaction that makes
-- it the money leaves the advisor's wallet (billing.payout_take, reference
-- "payout:<id>") and the call to the vendor is written in the outbox, with the
-- key "payout-<id>": so whatever dies, and however often the run is begun
-- again, the vendor is told of one transfer.  When the vendor says no,
-- billing.payout_return brings the money back, once.
--
-- Locks: sessions, then the outbox, then payouts, then wallets; each by id.
-- (A payout that is just being made is nobody else's to lock.)

SET ROLE astro_engine;


-- billing.payee_set: where an advisor wants the money; NULL: nowhere.
-- Raises 22023 if the account is no advisor's.
CREATE OR REPLACE FUNCTION billing.payee_set(advisor bigint, destination text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT true FROM ledger.wallet w
         WHERE w.owner_id = payee_set.advisor AND w.kind = 'advisor') IS NULL
    THEN
        RAISE EXCEPTION 'account % has no advisor''s wallet', advisor
              USING ERRCODE = '22023';
    END IF;

    IF destination IS NULL THEN
        DELETE FROM ledger.payee p WHERE p.account_id = payee_set.advisor;
        RETURN;
    END IF;

    INSERT INTO ledger.payee AS p (account_id, destination)
    VALUES (payee_set.advisor, payee_set.destination)
    ON CONFLICT (account_id) DO UPDATE SET destination = excluded.destination;
END
$$;


-- billing.payout_minimum: of the deployment's currency, in minor units, from
-- text like "INR:150000 USD:1500 *:1500"; * is every other one.  NULL: this
-- currency is not paid out.
CREATE OR REPLACE FUNCTION billing.payout_minimum(minimums text)
RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT split_part(x, ':', 2)::bigint
      FROM regexp_split_to_table(btrim(minimums), '\s+') x
     WHERE split_part(x, ':', 1) IN (SELECT d.currency::text
                                       FROM ledger.deployment d
                                     UNION ALL SELECT '*')
     ORDER BY split_part(x, ':', 1) = '*' LIMIT 1
$$;


-- billing.payout_due: today, in UTC, if it is after this many minutes of it
-- and the day's run has not been finished; else NULL.
CREATE OR REPLACE FUNCTION billing.payout_due(minutes int) RETURNS date
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now timestamp := clock_timestamp() AT TIME ZONE 'UTC';
BEGIN
    RETURN CASE WHEN v_now >= v_now::date + make_interval(mins => minutes)
                     AND NOT EXISTS (SELECT FROM ledger.payout_run r
                                      WHERE r.day = v_now::date)
                THEN v_now::date END;
END
$$;


-- billing.payout_page: the payouts of this day for the advisors of the next cap
-- wallets after this one.  What live sessions have earned is credited first.
-- Who has less than the minimum, has nowhere to be paid to, is blocked, or
-- has a payout of this day, gets none.
--
-- last is the wallet to go on after, NULL when there are no more.
--
-- Raises 22023 for a day that has not begun.
CREATE OR REPLACE FUNCTION billing.payout_page(day date, minimums text,
    after bigint, cap int)
RETURNS TABLE (last bigint, made int, amount bigint, nowhere int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    r          record;
    v_minimum  bigint := billing.payout_minimum(minimums);
    v_currency text;
    v_owners   bigint[];
    v_payout   bigint;
BEGIN
    IF day > (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
        RAISE EXCEPTION '% has not begun', day USING ERRCODE = '22023';
    END IF;

    made := 0;
    amount := 0;
    nowhere := 0;

    SELECT d.currency::text INTO v_currency FROM ledger.deployment d;

    SELECT max(w.id), array_agg(w.owner_id) INTO last, v_owners
      FROM (SELECT x.id, x.owner_id FROM ledger.wallet x
             WHERE x.id > payout_page.after AND x.kind = 'advisor'
             ORDER BY x.id LIMIT payout_page.cap) w;

    IF last IS NULL OR v_minimum IS NULL THEN
        last := NULL;
        RETURN NEXT;
        RETURN;
    END IF;

    PERFORM billing.payout_credit(v_owners);

    FOR r IN
        SELECT d.*, p.vendor, p.destination
          FROM billing.payout_dues(v_owners) d
          LEFT JOIN ledger.payee p ON p.account_id = d.advisor
         WHERE d.amount >= v_minimum
         ORDER BY d.wallet
    LOOP
        IF r.destination IS NULL THEN
            nowhere := nowhere + 1;
            CONTINUE;
        END IF;

        INSERT INTO ledger.payout AS x (advisor_id, wallet_id, day, amount,
                    currency, vendor, destination)
        VALUES (r.advisor, r.wallet, payout_page.day, r.amount, v_currency,
                r.vendor, r.destination)
        ON CONFLICT (advisor_id, day) DO NOTHING
        RETURNING x.id INTO v_payout;

        CONTINUE WHEN NOT FOUND;

        PERFORM billing.payout_take(r.advisor, r.amount,
                                    'payout:' || v_payout);

        INSERT INTO billing.outbox (vendor, path, body, key, kind, about)
        VALUES (r.vendor, '/v1/transfers',
                'amount=' || r.amount || '&currency=' || lower(v_currency)
                || '&destination=' || r.destination
                || '&transfer_group=payout_' || v_payout
                || '&metadata[payout]=' || v_payout,
                'payout-' || v_payout, 'payout', v_payout);

        made := made + 1;
        amount := amount + r.amount;
    END LOOP;

    RETURN NEXT;
END
$$;


-- billing.payout_dues: what these advisors can be paid at most, now: what is
-- available, less what they owe, 999,999.99 at once.  Who is blocked, or has
-- nothing, gives no row.
CREATE OR REPLACE FUNCTION billing.payout_dues(advisors bigint[])
RETURNS TABLE (advisor bigint, wallet bigint, amount bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT x.owner_id, x.id, least(x.amount, 99999999)
      FROM (SELECT w.owner_id, w.id, w.balance - w.held + coalesce(
                       (SELECT d.balance FROM ledger.wallet d
                         WHERE d.owner_id = w.owner_id
                           AND d.kind = 'receivable'), 0) AS amount
              FROM ledger.wallet w
              JOIN identity.account a ON a.id = w.owner_id AND NOT a.blocked
             WHERE w.owner_id = ANY(advisors) AND w.kind = 'advisor') x
     WHERE x.amount > 0;
END
$$;


-- billing.payout_preview: what such pages would make; nothing is changed.
CREATE OR REPLACE FUNCTION billing.payout_preview(day date, minimums text,
    after bigint, cap int)
RETURNS TABLE (last bigint, made int, amount bigint, nowhere int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    -- the page is made, what it would tell is kept, and all of it undone
    BEGIN
        SELECT p.* INTO last, made, amount, nowhere
          FROM billing.payout_page(day, minimums, after, cap) p;
        RAISE EXCEPTION USING ERRCODE = 'AS009';
    EXCEPTION WHEN SQLSTATE 'AS009' THEN
        NULL;
    END;

    RETURN NEXT;
END
$$;


-- billing.payout_credit: what these advisors' live sessions have earned so far
-- reaches their wallets.  Locks them all.
CREATE OR REPLACE FUNCTION billing.payout_credit(advisors bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_sessions bigint[];
BEGIN
    v_sessions := ARRAY(SELECT s.id FROM consult.session s
                         WHERE s.advisor_id = ANY(advisors)
                           AND NOT s.settled
                         ORDER BY s.id FOR NO KEY UPDATE);

    PERFORM billing.ledger_lock(VARIADIC advisors);
    PERFORM billing.credit_session(x) FROM unnest(v_sessions) x;
END
$$;


-- billing.payout_finish: this day's run is over, nobody needs to begin it.
CREATE OR REPLACE FUNCTION billing.payout_finish(day date) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO ledger.payout_run (day) VALUES (payout_finish.day)
    ON CONFLICT DO NOTHING;
END
$$;


-- billing.payouts_return: these payouts have failed: their money goes back to
-- the advisors' wallets, unless they are in none of these states (any more).
-- Returns how many have.
CREATE OR REPLACE FUNCTION billing.payouts_return(payouts bigint[],
    reasons text[], states text[]) RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_ids bigint[];
BEGIN
    v_ids := ARRAY(SELECT p.id FROM ledger.payout p
                    WHERE p.id = ANY(payouts) AND p.state = ANY(states)
                    ORDER BY p.id FOR NO KEY UPDATE);

    UPDATE ledger.payout p
       SET state = 'failed', reason = f.reason, ended_at = clock_timestamp()
      FROM unnest(payouts, reasons) AS f(id, reason)
     WHERE p.id = f.id AND p.id = ANY(v_ids);

    PERFORM billing.ledger_lock(VARIADIC
                ARRAY(SELECT p.advisor_id FROM ledger.payout p
                       WHERE p.id = ANY(v_ids)));
    PERFORM billing.payout_return('payout:' || x, 'payout:' || x)
       FROM unnest(v_ids) x;

    RETURN cardinality(v_ids);
END
$$;


-- billing.payout_fail: the vendor says later (by a webhook) that a payout was
-- reversed in full, or never arrived: the money is the advisor's again.  Once;
-- false if it had failed before, or there is none.
CREATE OR REPLACE FUNCTION billing.payout_fail(payout bigint, reason text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN billing.payouts_return(ARRAY[payout], ARRAY[reason],
                                  ARRAY['submitted', 'paid']) = 1;
END
$$;


-- billing.payout_status: this day's payouts by state.
CREATE OR REPLACE FUNCTION billing.payout_status(day date)
RETURNS TABLE (state text, n bigint, amount bigint, parked bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.state, count(*), sum(p.amount)::bigint,
           count(*) FILTER (WHERE o.state = 'parked')
      FROM ledger.payout p
      LEFT JOIN billing.outbox o ON o.key = 'payout-' || p.id
                                AND p.state IN ('pending', 'submitted')
     WHERE p.day = payout_status.day GROUP BY p.state;
END
$$;


REVOKE ALL ON FUNCTION billing.payee_set(bigint, text),
    billing.payout_minimum(text), billing.payout_due(int),
    billing.payout_page(date, text, bigint, int),
    billing.payout_preview(date, text, bigint, int),
    billing.payout_credit(bigint[]), billing.payout_dues(bigint[]),
    billing.payout_finish(date),
    billing.payouts_return(bigint[], text[], text[]),
    billing.payout_fail(bigint, text), billing.payout_status(date)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.payee_set(bigint, text),
    billing.payout_due(int),
    billing.payout_page(date, text, bigint, int),
    billing.payout_preview(date, text, bigint, int),
    billing.payout_finish(date), billing.payout_fail(bigint, text),
    billing.payout_status(date) TO astro_worker;

RESET ROLE;
