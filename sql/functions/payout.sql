-- payout: advisors are paid what they have earned, once a day.  Functions of
-- the billing worker and of those who run the deployment, owned by
-- astro_engine.
--
-- A payout is one row for an advisor and a day.  In the transaction that makes
-- it the money leaves the advisor's wallet for 'clearing' (transfer of kind
-- payout, reference "payout:<id>") and the call to the vendor is written in the
-- outbox, with the key "payout-<id>": so whatever dies, and however often the
-- run is begun again, the vendor is told of one transfer.  When the vendor says
-- no, a transfer of kind payout_return brings the money back, once.
--
-- Locks: sessions, then the outbox, then payouts, then wallets; each by id.

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
-- has a payout of this day, gets none.  At most 999,999.99 go at once, the rest
-- the next day.
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
    v_minimum  bigint := billing.payout_minimum(minimums);
    v_wallets  bigint[];
    v_currency text;
    v_clearing bigint;
BEGIN
    IF day > (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
        RAISE EXCEPTION '% has not begun', day USING ERRCODE = '22023';
    END IF;

    SELECT d.currency::text INTO v_currency FROM ledger.deployment d;

    SELECT c.id INTO STRICT v_clearing FROM ledger.wallet c
     WHERE c.kind = 'clearing' ORDER BY c.id LIMIT 1;

    SELECT max(w.id), array_agg(w.id ORDER BY w.id) INTO last, v_wallets
      FROM (SELECT x.id FROM ledger.wallet x
             WHERE x.id > payout_page.after AND x.kind = 'advisor'
             ORDER BY x.id LIMIT payout_page.cap) w;

    IF v_wallets IS NULL OR v_minimum IS NULL THEN
        last := NULL;
        made := 0;
        amount := 0;
        nowhere := 0;
        RETURN NEXT;
        RETURN;
    END IF;

    PERFORM billing.payout_credit(v_wallets);

    PERFORM 1 FROM ledger.wallet w WHERE w.id = ANY(v_wallets)
      ORDER BY w.id FOR NO KEY UPDATE;

    WITH rich AS (
        SELECT w.id, w.owner_id,
               least(w.balance - w.held, 99999999) AS amount,
               p.vendor, p.destination
          FROM ledger.wallet w
          JOIN identity.account a ON a.id = w.owner_id AND NOT a.blocked
          LEFT JOIN ledger.payee p ON p.account_id = w.owner_id
         WHERE w.id = ANY(v_wallets)
           AND w.balance - w.held >= v_minimum
           AND w.balance > w.held),
    made AS (
        INSERT INTO ledger.payout AS x (advisor_id, wallet_id, day, amount,
                    currency, vendor, destination)
        SELECT r.owner_id, r.id, payout_page.day, r.amount, v_currency,
               r.vendor, r.destination
          FROM rich r WHERE r.destination IS NOT NULL ORDER BY r.id
        ON CONFLICT (advisor_id, day) DO NOTHING
        RETURNING x.*),
    taken AS (
        UPDATE ledger.wallet w SET balance = w.balance - m.amount
          FROM made m WHERE w.id = m.wallet_id),
    journal AS (
        INSERT INTO ledger.transfer (debit_account, credit_account, amount,
                    kind, about, reference)
        SELECT m.wallet_id, v_clearing, m.amount, 'payout', m.id,
               'payout:' || m.id
          FROM made m ORDER BY m.id),
    called AS (
        INSERT INTO billing.outbox (vendor, path, body, key, kind, about)
        SELECT m.vendor, '/v1/transfers',
               'amount=' || m.amount || '&currency=' || lower(m.currency)
               || '&destination=' || m.destination
               || '&transfer_group=payout_' || m.id
               || '&metadata[payout]=' || m.id,
               'payout-' || m.id, 'payout', m.id
          FROM made m ORDER BY m.id)
    SELECT count(m.id), coalesce(sum(m.amount), 0),
           (SELECT count(*) FROM rich r WHERE r.destination IS NULL)
      INTO made, amount, nowhere
      FROM made m;

    RETURN NEXT;
END
$$;


-- billing.payout_preview: what such pages would make; nothing is changed.
CREATE OR REPLACE FUNCTION billing.payout_preview(day date, minimums text,
    after bigint, cap int)
RETURNS TABLE (last bigint, made int, amount bigint, nowhere int)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_minimum bigint := billing.payout_minimum(minimums);
BEGIN
    RETURN QUERY
    WITH page AS (
        SELECT x.id, x.owner_id, x.balance - x.held + coalesce(
                   (SELECT sum(s.charged - s.fee - s.credited)
                      FROM consult.session s
                     WHERE s.advisor_id = x.owner_id AND NOT s.settled), 0)
                   AS due
          FROM ledger.wallet x
         WHERE x.id > payout_preview.after AND x.kind = 'advisor'
         ORDER BY x.id LIMIT payout_preview.cap),
    rich AS (
        SELECT p.due, y.destination
          FROM page p
          JOIN identity.account a ON a.id = p.owner_id AND NOT a.blocked
          LEFT JOIN ledger.payee y ON y.account_id = p.owner_id
         WHERE p.due >= v_minimum AND p.due > 0
           AND (SELECT true FROM ledger.payout o
                 WHERE o.advisor_id = p.owner_id
                   AND o.day = payout_preview.day) IS NULL)
    SELECT CASE WHEN v_minimum IS NOT NULL
                THEN (SELECT max(p.id) FROM page p) END,
           count(r.destination)::int,
           coalesce(sum(least(r.due, 99999999))
                    FILTER (WHERE r.destination IS NOT NULL), 0)::bigint,
           count(*) FILTER (WHERE r.due IS NOT NULL
                            AND r.destination IS NULL)::int
      FROM rich r;
END
$$;


-- billing.payout_credit: what these advisors' sessions have earned so far and
-- was not credited yet reaches their wallets.
CREATE OR REPLACE FUNCTION billing.payout_credit(wallets bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM consult.session s
      WHERE s.advisor_id = ANY(ARRAY(SELECT w.owner_id FROM ledger.wallet w
                                      WHERE w.id = ANY(wallets)))
        AND NOT s.settled AND s.advisor_wallet = ANY(wallets)
      ORDER BY s.id FOR NO KEY UPDATE;

    PERFORM 1 FROM ledger.wallet w WHERE w.id = ANY(wallets)
      ORDER BY w.id FOR NO KEY UPDATE;

    WITH owed AS (
        SELECT s.id, s.advisor_wallet, s.charged - s.fee - s.credited AS more
          FROM consult.session s
         WHERE s.advisor_id = ANY(ARRAY(SELECT w.owner_id
                                          FROM ledger.wallet w
                                         WHERE w.id = ANY(wallets)))
           AND NOT s.settled AND s.advisor_wallet = ANY(wallets)
           AND s.charged - s.fee > s.credited),
    credited AS (
        UPDATE consult.session s SET credited = s.credited + o.more
          FROM owed o WHERE s.id = o.id)
    UPDATE ledger.wallet w SET balance = w.balance + o.more
      FROM (SELECT x.advisor_wallet, sum(x.more) AS more FROM owed x
             GROUP BY x.advisor_wallet) o
     WHERE w.id = o.advisor_wallet;
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
    v_ids      bigint[];
    v_clearing bigint;
BEGIN
    SELECT c.id INTO STRICT v_clearing FROM ledger.wallet c
     WHERE c.kind = 'clearing' ORDER BY c.id LIMIT 1;

    v_ids := ARRAY(SELECT p.id FROM ledger.payout p
                    WHERE p.id = ANY(payouts) AND p.state = ANY(states)
                    ORDER BY p.id FOR NO KEY UPDATE);

    UPDATE ledger.payout p
       SET state = 'failed', reason = f.reason, ended_at = clock_timestamp()
      FROM unnest(payouts, reasons) AS f(id, reason)
     WHERE p.id = f.id AND p.id = ANY(v_ids);

    PERFORM 1 FROM ledger.wallet w
      WHERE w.id = ANY(ARRAY(SELECT p.wallet_id FROM ledger.payout p
                              WHERE p.id = ANY(v_ids)))
      ORDER BY w.id FOR NO KEY UPDATE;

    UPDATE ledger.wallet w SET balance = w.balance + x.amount
      FROM (SELECT p.wallet_id, sum(p.amount) AS amount
              FROM ledger.payout p WHERE p.id = ANY(v_ids)
             GROUP BY p.wallet_id) x
     WHERE w.id = x.wallet_id;

    INSERT INTO ledger.transfer (debit_account, credit_account, amount, kind,
                about, reference)
    SELECT v_clearing, p.wallet_id, p.amount, 'payout_return', p.id,
           'payout:' || p.id
      FROM ledger.payout p WHERE p.id = ANY(v_ids) ORDER BY p.id;

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
    billing.payout_credit(bigint[]),
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
