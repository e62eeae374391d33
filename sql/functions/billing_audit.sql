-- billing_audit: what `billing_worker audit` reads.  Functions of the billing
-- worker, owned by astro_engine.
--
-- Each opens a cursor of the name it is given and returns it; the rows are
-- fetched in the same REPEATABLE READ transaction, a page at a time.  All
-- columns are bigint or text, in the order in which C reads them.
--
-- They fetch whole ranges in an order, and add up; what must be equal to what
-- is said in C, but for audit_wrongs().  No plan depends on statistics: what
-- comes in an order is read along the index that has it (so it starts at once,
-- and sorts nothing: sessions of about the same id lived at about the same
-- time, and their rows are in about the same pages); what is added up is read
-- as it lies, joined and summed by hashes.

SET ROLE astro_engine;


-- billing.audit_begin: the first statement of an audit, whose snapshot it is.
-- While the transaction lives, nothing is rolled up: a partition that is gone
-- is gone for old snapshots, too.  False: something is rolled up now, or was
-- after the snapshot was taken; begin another transaction.
CREATE OR REPLACE FUNCTION billing.audit_begin() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(2, 1) THEN
        RETURN 0;
    END IF;

    -- the snapshot sees the partition, the catalog's cache knows better
    PERFORM FROM pg_inherits i
      WHERE i.inhparent = 'ledger.transfer'::regclass
        AND pg_table_is_visible(i.inhrelid) IS NULL;

    RETURN (NOT FOUND)::int;
END
$$;


-- billing.audit_last: no session, and no transfer of one, has a higher id.
CREATE OR REPLACE FUNCTION billing.audit_last() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(0, (SELECT max(s.id) FROM consult.session s),
                    1048576 * (SELECT count(*) FROM pg_inherits i
                                WHERE i.inhparent = 'ledger.transfer'
                                                    ::regclass))
$$;


-- billing.audit_sessions: the sessions from <= id < till, by id.
CREATE OR REPLACE FUNCTION billing.audit_sessions(cursor refcursor,
    "from" bigint, till bigint) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT s.id, (s.state = 'ended')::int::bigint, s.settled::int::bigint,
           (s.reason IS NOT DISTINCT FROM 'low_balance')::int::bigint,
           s.client_id, s.advisor_id, s.client_wallet, s.advisor_wallet,
           s.rate_minor, s.commission_bps::bigint, s.max_ms, s.end_ms,
           s.paid_until_ms, s.charge_no::bigint, s.billed_ms, s.charged,
           s.fee, s.promo, s.held, s.credited, s.whole_minute::int::bigint,
           s.min_minor, s.free_ms, least(s.max_minor, s.cap_minor),
           s.segments::bigint
      FROM consult.session s
     WHERE s.id >= audit_sessions."from" AND s.id < audit_sessions.till
     ORDER BY s.id;
    RETURN cursor;
END
$$;


-- billing.audit_charges: the transfers of these sessions, in order of session
-- and charge.  (The version before wrote billed_ms into the reference.)
CREATE OR REPLACE FUNCTION billing.audit_charges(cursor refcursor,
    "from" bigint, till bigint) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT t.session_id, t.charge_no::bigint, t.id, t.amount, t.fee, t.promo,
           t.debit_account, t.credit_account,
           coalesce(t.billed_ms, CASE WHEN t.reference ~ '^[0-9]{1,15}$'
                                      THEN t.reference::bigint END)
      FROM ledger.transfer t
     WHERE t.session_id >= audit_charges."from"
       AND t.session_id < audit_charges.till
     ORDER BY t.session_id, t.charge_no;
    RETURN cursor;
END
$$;


-- billing.audit_intervals: who was there, in instants, by session.  An open
-- interval proves what billing.facts() says that it does.
CREATE OR REPLACE FUNCTION billing.audit_intervals(cursor refcursor,
    "from" bigint, till bigint) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET cursor_tuple_fraction = 1
SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT i.session_id, i.account_id, g.started_ms + i.open_life_ms,
           g.started_ms
               + consult.proven_life(i.open_life_ms, i.close_life_ms,
                     i.cut_life_ms, g.closed, g.life_ms, g.silence_ms),
           consult.proves_on(i.close_life_ms, i.cut_life_ms, g.closed,
               g.life_ms, g.silence_ms)::int::bigint
      FROM consult.interval i
      JOIN consult.gateway g ON g.id = i.gateway_id
     WHERE i.session_id >= audit_intervals."from"
       AND i.session_id < audit_intervals.till
     ORDER BY i.session_id;
    RETURN cursor;
END
$$;


-- billing.audit_segments: the rates after the first, by session and number.
CREATE OR REPLACE FUNCTION billing.audit_segments(cursor refcursor,
    "from" bigint, till bigint) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT g.session_id, g.from_ms, g.rate_minor
      FROM consult.segment g
     WHERE g.session_id >= audit_segments."from"
       AND g.session_id < audit_segments.till
     ORDER BY g.session_id, g.no;
    RETURN cursor;
END
$$;


-- billing.audit_rollups: what the transfers of old sessions came to, by
-- session.
CREATE OR REPLACE FUNCTION billing.audit_rollups(cursor refcursor,
    "from" bigint, till bigint) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT r.session_id, r.charges::bigint, r.amount, r.fee, r.promo,
           r.debit_account, r.credit_account
      FROM ledger.session_rollup r
     WHERE r.session_id >= audit_rollups."from"
       AND r.session_id < audit_rollups.till
     ORDER BY r.session_id;
    RETURN cursor;
END
$$;


-- billing.audit_others: the transfers of no session, in no order, with the
-- kinds of their wallets ('': no such wallet) and whose they are.
CREATE OR REPLACE FUNCTION billing.audit_others(cursor refcursor)
RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT t.id, t.kind, t.debit_account, t.credit_account, t.amount, t.fee,
           t.promo, coalesce(d.kind, ''), coalesce(c.kind, ''), d.owner_id,
           c.owner_id
      FROM ledger.transfer t
      LEFT JOIN ledger.wallet d ON d.id = t.debit_account
      LEFT JOIN ledger.wallet c ON c.id = t.credit_account
     WHERE t.session_id IS NULL;
    RETURN cursor;
END
$$;


-- billing.audit_fit: what may be any sum, as a bigint.
CREATE OR REPLACE FUNCTION billing.audit_fit(n numeric) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(greatest(coalesce(n, 0), -9223372036854775807),
                 9223372036854775807)::bigint
$$;


-- billing.audit_wallets: the wallets by id: what they have, and what they must
-- have: by the sessions, the bookings, and the transfers of no session.  A wallet that
-- there is not has no kind ('').
CREATE OR REPLACE FUNCTION billing.audit_wallets(cursor refcursor)
RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT coalesce(w.id, m.wallet), coalesce(w.kind, ''), w.balance, w.held,
           w.promo, billing.audit_fit(m.moved), billing.audit_fit(m.hold),
           CASE w.kind WHEN 'client' THEN billing.audit_fit(m.promo)
                ELSE 0 END,
           billing.audit_fit(m.owe)
      FROM ledger.wallet w
      FULL JOIN (
           SELECT x.wallet, sum(x.moved) AS moved, sum(x.hold) AS hold,
                  sum(x.promo) AS promo, sum(x.owe) AS owe
             FROM (SELECT s.client_wallet AS wallet, -s.charged AS moved,
                          s.held AS hold, -s.promo AS promo, 0::bigint AS owe
                     FROM consult.session s
                   UNION ALL
                   SELECT b.client_wallet, 0, b.held, 0, 0
                     FROM consult.booking b WHERE b.held <> 0
                   UNION ALL
                   SELECT s.advisor_wallet, s.credited, 0, 0,
                          s.charged - s.fee - s.credited
                     FROM consult.session s
                   UNION ALL
                   SELECT t.debit_account, -t.amount, 0, -t.promo, 0
                     FROM ledger.transfer t WHERE t.session_id IS NULL
                   UNION ALL
                   SELECT t.credit_account, t.amount - t.fee, 0, t.promo, 0
                     FROM ledger.transfer t WHERE t.session_id IS NULL) x
            GROUP BY x.wallet) m ON m.wallet = w.id
     ORDER BY 1;
    RETURN cursor;
END
$$;


-- billing.audit_suspects: a wallet's balance is "wrong" too high (0: it is its
-- promo that is wrong), and nothing says why: its transfers of no session of
-- which one could be the cause, with the wallet on the other side if that one
-- must be wrong, too: its balance is kept, and it cannot be the fee; else 0.
CREATE OR REPLACE FUNCTION billing.audit_suspects(cursor refcursor,
    wallet bigint, wrong bigint) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT x.id, x.kind, x.amount,
           CASE WHEN o.kind IN ('clearing', 'platform')
                     OR x.kind IN ('gift', 'deposit')
                     OR audit_suspects.wrong = 0
                THEN 0::bigint ELSE x.other END
      FROM (SELECT t.id, t.kind, t.amount, t.promo, t.debit_account AS other
              FROM ledger.transfer t
             WHERE t.credit_account = audit_suspects.wallet
               AND t.session_id IS NULL
               AND t.amount >= -audit_suspects.wrong
            UNION ALL
            SELECT t.id, t.kind, t.amount, t.promo, t.credit_account
              FROM ledger.transfer t
             WHERE t.debit_account = audit_suspects.wallet
               AND t.session_id IS NULL
               AND t.amount >= audit_suspects.wrong) x
      LEFT JOIN ledger.wallet o ON o.id = x.other
     WHERE audit_suspects.wrong <> 0 OR x.promo > 0
        OR x.kind IN ('promo_back', 'gift', 'deposit', 'reversal',
                      'reversal_fee')
     ORDER BY x.id;
    RETURN cursor;
END
$$;


-- billing.audit_wrongs: what is wrong between rows, and is decided here:
-- (code, session, transfer, wallet, what), NULL where it is about none.  The
-- codes are the words of billing_worker/audit_report.c.
CREATE OR REPLACE FUNCTION billing.audit_wrongs(cursor refcursor)
RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT x.* FROM (
        SELECT 'payer' AS code, s.id AS session, NULL::bigint AS transfer,
               NULL::bigint AS wallet,
               format('%s was charged, and wallet %s is not the client''s, or '
                      'wallet %s not the advisor''s', s.charged,
                      s.client_wallet, s.advisor_wallet) AS what
          FROM consult.session s
          LEFT JOIN ledger.wallet c ON c.id = s.client_wallet
          LEFT JOIN ledger.wallet a ON a.id = s.advisor_wallet
         WHERE s.charge_no > 0
           AND (c.kind, c.owner_id, a.kind, a.owner_id) IS DISTINCT FROM
               ('client', s.client_id, 'advisor', s.advisor_id)
        UNION ALL
        SELECT 'rollup', coalesce(d.session, r.session_id), NULL, NULL,
               format('on its days %s was charged, in all %s (amount,fee,'
                      'promo)', d.sums, (r.amount, r.fee, r.promo))
          FROM (SELECT x.session_id AS session,
                       (sum(x.amount), sum(x.fee), sum(x.promo)) AS sums
                  FROM ledger.session_day_rollup x GROUP BY 1) d
          FULL JOIN ledger.session_rollup r ON r.session_id = d.session
         WHERE d.session IS NULL
               AND (r.first_at AT TIME ZONE 'UTC')::date
                   <> (r.last_at AT TIME ZONE 'UTC')::date
            OR d.session IS NOT NULL AND d.sums IS DISTINCT FROM
               (r.amount::numeric, r.fee::numeric, r.promo::numeric)
        UNION ALL
        -- of what a payment brought, no more went back or is frozen
        SELECT 'return', NULL, p.id, NULL,
               format('of this payment of %s, %s is refunded and %s frozen; '
                      'of %s promo given with it, %s was taken back', p.amount,
                      r.refunded, r.frozen, r.promo, r.promo_back)
          FROM (SELECT t.about, coalesce(sum(t.amount) FILTER (
                           WHERE t.kind = 'refund'), 0) AS refunded,
                       coalesce(sum(CASE t.kind WHEN 'freeze' THEN t.amount
                                         WHEN 'release' THEN - t.amount END),
                                0) AS frozen,
                       coalesce(sum(t.amount) FILTER (WHERE t.kind = 'promo'),
                                0) AS promo,
                       coalesce(sum(t.amount) FILTER (
                           WHERE t.kind = 'promo_back'), 0) AS promo_back
                  FROM ledger.transfer t
                 WHERE t.session_id IS NULL AND t.about IS NOT NULL
                   AND t.kind IN ('refund', 'freeze', 'release', 'promo',
                                  'promo_back')
                 GROUP BY t.about) r
          JOIN ledger.transfer p ON p.id = r.about AND p.session_id IS NULL
         WHERE r.frozen < 0 OR r.refunded + r.frozen > p.amount
            OR r.promo_back > div(r.promo * r.refunded, p.amount)
        UNION ALL
        -- and each of them is about a payment of that wallet
        SELECT 'row', NULL, t.id, NULL,
               format('a %s about %s, which is no payment of its client',
                      t.kind, coalesce(t.about::text, 'nothing'))
          FROM ledger.transfer t
          LEFT JOIN ledger.transfer p ON p.id = t.about
               AND p.session_id IS NULL AND p.kind = 'topup'
         WHERE t.session_id IS NULL
           AND (t.kind IN ('refund', 'freeze', 'release', 'promo_back')
                OR t.kind = 'promo' AND t.about IS NOT NULL)
           AND p.credit_account IS DISTINCT FROM
               CASE WHEN t.kind IN ('promo', 'release') THEN t.credit_account
                    ELSE t.debit_account END
        UNION ALL
        -- of what a session charged, no more was given back
        SELECT 'return', s.id, NULL, NULL,
               format('%s was charged, of it fee %s and promo %s; %s was given '
                      'back, of it fee %s and promo %s', s.charged, s.fee,
                      s.promo, r.amount, r.fee, r.promo)
          FROM (SELECT t.about, sum(t.amount) AS amount,
                       coalesce(sum(t.amount) FILTER (
                           WHERE t.kind = 'reversal_fee'), 0) AS fee,
                       sum(t.promo) AS promo
                  FROM ledger.transfer t
                 WHERE t.session_id IS NULL
                   AND t.kind IN ('reversal', 'reversal_fee')
                 GROUP BY t.about) r
          JOIN consult.session s ON s.id = r.about
         WHERE r.fee > s.fee OR r.amount - r.fee > s.charged - s.fee
            OR r.promo > s.promo
        UNION ALL
        -- and each is between the session's wallets; a gift's fee is its
        -- session's
        SELECT 'row', NULL, t.id, NULL,
               format('a %s about %s: of another session, or with another fee '
                      'than that one''s', t.kind,
                      coalesce(t.about::text, 'nothing'))
          FROM ledger.transfer t
          LEFT JOIN consult.session s ON s.id = t.about
         WHERE t.session_id IS NULL
           AND (t.kind IN ('reversal', 'reversal_fee')
                AND (t.credit_account, CASE t.kind WHEN 'reversal'
                         THEN t.debit_account END) IS DISTINCT FROM
                    (s.client_wallet, CASE t.kind WHEN 'reversal'
                         THEN s.advisor_wallet END)
                OR t.kind = 'gift' AND t.about IS NOT NULL
                AND (t.debit_account, t.credit_account, t.fee::numeric)
                    IS DISTINCT FROM (s.client_wallet, s.advisor_wallet,
                        div(t.amount::numeric * s.commission_bps, 10000)))
        UNION ALL
        -- what an advisor got of a booking's deposit is one transfer, with its
        -- commission; and the client's wallet is the client's
        SELECT 'row', NULL, t.id, coalesce(b.client_wallet, t.debit_account),
               format('a deposit of %s (fee %s) from wallet %s to wallet %s; '
                      'booking %s charged %s of %s, %s bps, from wallet %s to '
                      'wallet %s', t.amount, t.fee, t.debit_account,
                      t.credit_account, coalesce(b.id, t.about), b.charged,
                      b.deposit, b.commission_bps, b.client_wallet,
                      b.advisor_wallet)
          FROM (SELECT * FROM consult.booking x WHERE x.charged > 0) b
          FULL JOIN (SELECT x.*, count(*) OVER (PARTITION BY x.about) AS times
                       FROM ledger.transfer x
                      WHERE x.session_id IS NULL AND x.kind = 'deposit') t
            ON t.about = b.id
         WHERE (b.charged, b.client_wallet, b.advisor_wallet, 1,
                div(b.charged::numeric * b.commission_bps, 10000))
               IS DISTINCT FROM (t.amount, t.debit_account, t.credit_account,
                                 t.times, t.fee::numeric)
        UNION ALL
        SELECT 'payer', NULL, NULL, b.client_wallet,
               format('booking %s holds %s, and wallet %s is not the client''s,'
                      ' or wallet %s not the advisor''s', b.id, b.held,
                      b.client_wallet, b.advisor_wallet)
          FROM consult.booking b
          LEFT JOIN ledger.wallet c ON c.id = b.client_wallet
          LEFT JOIN ledger.wallet a ON a.id = b.advisor_wallet
         WHERE (b.held > 0 OR b.charged > 0)
           AND (c.kind, c.owner_id, a.kind, a.owner_id) IS DISTINCT FROM
               ('client', b.client_id, 'advisor', b.advisor_id)
        UNION ALL
        -- a payout comes back once, as a whole
        SELECT 'payout', NULL, t.id, NULL,
               format('gives %s of payout %s back to wallet %s: that one is '
                      'of %s from wallet %s, and came back %s times', t.amount,
                      t.about, t.credit_account, p.amount, p.debit_account,
                      t.times)
          FROM (SELECT x.*, count(*) OVER (PARTITION BY x.about) AS times
                  FROM ledger.transfer x
                 WHERE x.session_id IS NULL AND x.kind = 'payout_return') t
          LEFT JOIN ledger.transfer p ON p.id = t.about
               AND p.session_id IS NULL AND p.kind = 'payout'
         WHERE t.times > 1 OR (p.amount, p.debit_account)
               IS DISTINCT FROM (t.amount, t.credit_account)
        UNION ALL
        -- a payout's row and its transfers say the same
        SELECT 'payout', NULL, t.id, coalesce(p.wallet_id, t.debit_account),
               format('payout %s of %s from wallet %s is %s; its transfer: %s '
                      'from wallet %s, came back: %s',
                      coalesce(p.id::text, t.reference), p.amount, p.wallet_id,
                      p.state, t.amount, t.debit_account,
                      (r.id IS NOT NULL)::text)
          FROM ledger.payout p
          FULL JOIN (SELECT * FROM ledger.transfer x
                      WHERE x.session_id IS NULL AND x.kind = 'payout'
                        AND x.reference ~ '^payout:[0-9]{1,18}$') t
            ON p.id = substr(t.reference, 8)::bigint
          LEFT JOIN (SELECT DISTINCT x.about AS id FROM ledger.transfer x
                      WHERE x.session_id IS NULL
                        AND x.kind = 'payout_return') r ON r.id = t.id
         WHERE (p.amount, p.wallet_id) IS DISTINCT FROM
               (t.amount, t.debit_account)
            OR (p.state = 'failed') <> (r.id IS NOT NULL)
        UNION ALL
        -- a refund that is done has left the books, once; no other one has
        SELECT 'payment', NULL, t.id, NULL,
               format('refund %s of %s of payment %s is %s; %s has left the '
                      'books', coalesce(r.id::text, t.reference), r.amount,
                      r.payment_id, r.state, coalesce(t.amount, 0))
          FROM ledger.refund r
          JOIN ledger.payment p ON p.id = r.payment_id
          FULL JOIN (SELECT * FROM ledger.transfer x
                      WHERE x.session_id IS NULL AND x.kind = 'refund'
                        AND x.reference ~ '^refund:[0-9]{1,18}:lost$') t
            ON r.id = split_part(t.reference, ':', 2)::bigint
         WHERE r.id IS NULL OR (r.state = 'done') <> (t.id IS NOT NULL)
            OR r.state = 'done' AND (t.amount, t.about)
               IS DISTINCT FROM (r.amount, p.transfer_id)
        UNION ALL
        -- a payment that came is one top-up of its client, and a top-up that
        -- bears a payment's name is that payment's.  (Money that was put in
        -- by hand has another reference, and no payment.)
        SELECT 'payment', NULL, coalesce(t.id, p.transfer_id),
               coalesce(w.id, t.credit_account),
               CASE WHEN p.id IS NULL
                    THEN format('a top-up of %s for payment %s, which is '
                                'unknown', t.amount, t.reference)
                    ELSE format('payment %s:%s of %s to wallet %s is %s, %s '
                                'came, its transfer is %s; there is %s',
                                p.provider, p.payment_id, p.amount, w.id,
                                p.status,
                                coalesce(p.came_amount::text, 'nothing'),
                                coalesce(p.transfer_id::text, 'none'),
                                CASE WHEN t.id IS NULL THEN 'no top-up'
                                     ELSE format('top-up %s of %s to wallet '
                                                 '%s', t.id, t.amount,
                                                 t.credit_account) END) END
          FROM ledger.payment p
          FULL JOIN (SELECT * FROM ledger.transfer x
                      WHERE x.session_id IS NULL AND x.kind = 'topup'
                        AND x.reference ~ '^(stripe|razorpay):') t
            ON t.reference = p.provider || ':' || p.payment_id
          LEFT JOIN ledger.wallet w ON w.owner_id = p.owner_id
                                   AND w.kind = 'client'
         WHERE (p.status = 'paid' OR t.id IS NOT NULL)
           AND (p.status, p.transfer_id, p.amount, p.came_amount, w.id)
               IS DISTINCT FROM
               ('paid', t.id, t.amount, t.amount, t.credit_account)
        UNION ALL
        -- what a vendor said has come, and was carried out, is in the ledger
        SELECT 'payment', NULL, NULL, NULL,
               format('event %s of %s was applied: payment %s came; it is %s',
                      i.event_id, i.provider, i.payment_id,
                      coalesce(p.status, 'unknown'))
          FROM ledger.webhook_inbox i
          LEFT JOIN ledger.payment p ON p.provider = i.provider
                                    AND p.payment_id = i.payment_id
         WHERE i.kind = 'paid' AND i.state = 'applied'
           AND p.status IS DISTINCT FROM 'paid'
        UNION ALL
        -- what a client began is paid when its payment is, and is of its owner
        -- and amount
        SELECT 'payment', NULL, p.transfer_id, NULL,
               format('payment p_%s of %s is %s; %s is %s, of %s', c.id,
                      c.amount, c.state, p.payment_id,
                      coalesce(p.status, 'unknown'), p.amount)
          FROM ledger.checkout c
          LEFT JOIN ledger.payment p ON p.provider = c.provider
                                    AND p.payment_id = c.payment_id
         WHERE c.payment_id IS NOT NULL
           AND ((c.state = 'paid') IS DISTINCT FROM (p.status = 'paid')
                OR (p.owner_id, p.amount) IS DISTINCT FROM
                   (c.owner_id, c.amount))
        UNION ALL
        -- what was rolled up is told three times
        SELECT 'rollup', NULL, NULL, NULL,
               format('partition %s: it says %s, its sessions %s, its days %s '
                      '(transfers,amount,fee,promo)',
                      coalesce(p.part, r.part, d.part), p.sums, r.sums, d.sums)
          FROM (SELECT x.part::bigint AS part,
                       (x.transfers::numeric, x.amount::numeric,
                        x.fee::numeric, x.promo::numeric) AS sums
                  FROM ledger.part_rollup x) p
          FULL JOIN (SELECT x.session_id / 1048576 AS part,
                            (sum(x.charges)::numeric, sum(x.amount),
                             sum(x.fee), sum(x.promo)) AS sums
                       FROM ledger.session_rollup x GROUP BY 1) r
            ON r.part = p.part
          FULL JOIN (SELECT x.part::bigint AS part,
                            (sum(x.transfers), sum(x.amount), sum(x.fee),
                             sum(x.promo)) AS sums
                       FROM ledger.day_rollup x GROUP BY 1) d
            ON d.part = coalesce(p.part, r.part)
         WHERE coalesce(p.sums, ROW(0::numeric, 0::numeric, 0::numeric,
                                    0::numeric))
               IS DISTINCT FROM coalesce(r.sums, ROW(0::numeric, 0::numeric,
                                         0::numeric, 0::numeric))
            OR coalesce(p.sums, ROW(0::numeric, 0::numeric, 0::numeric,
                                    0::numeric))
               IS DISTINCT FROM coalesce(d.sums, ROW(0::numeric, 0::numeric,
                                         0::numeric, 0::numeric))) x;
    RETURN cursor;
END
$$;


-- billing.audit_promo: who paid with cash while there was promo left, or with
-- promo that there was not; columns as audit_wrongs.
--
-- A wallet's transfers have numbers in the order in which they happened: each
-- is written under the wallet's lock.  So the promo before each is the sum of
-- those before it.  Of a session that was rolled up only its first and last
-- number are known: what it spent is taken to be gone at the first one for the
-- least that there was, and at the last one for the most.
CREATE OR REPLACE FUNCTION billing.audit_promo(cursor refcursor)
RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT true FROM ledger.transfer t
         WHERE t.session_id IS NULL AND t.kind = 'promo' LIMIT 1) IS NULL THEN
        OPEN cursor NO SCROLL FOR
        SELECT ''::text, NULL::bigint, NULL::bigint, NULL::bigint, ''::text
         WHERE false;
        RETURN cursor;
    END IF;

    OPEN cursor NO SCROLL FOR
    WITH other AS MATERIALIZED (
        SELECT t.id, t.kind, t.amount, t.promo, t.debit_account AS debit,
               t.credit_account AS credit
          FROM ledger.transfer t WHERE t.session_id IS NULL),
    -- up to where a wallet's charges matter: later there is no promo
    purse AS MATERIALIZED (
        SELECT g.wallet, w.promo > 0 AS open,
               coalesce(s.session, 0) AS session, coalesce(o.id, 0) AS id
          FROM (SELECT x.credit AS wallet FROM other x
                 WHERE x.promo > 0 GROUP BY 1) g
          JOIN ledger.wallet w ON w.id = g.wallet AND w.kind = 'client'
          LEFT JOIN (SELECT x.client_wallet AS wallet, max(x.id) AS session
                       FROM consult.session x WHERE x.promo > 0 GROUP BY 1) s
            ON s.wallet = g.wallet
          LEFT JOIN (SELECT x.debit AS wallet, max(x.id) AS id FROM other x
                      WHERE x.promo > 0 GROUP BY 1) o
            ON o.wallet = g.wallet),
    move AS (
        SELECT p.wallet, t.session_id, t.id, t.amount, t.promo, true AS spends,
               - t.promo AS least, - t.promo AS most
          FROM ledger.transfer t
          JOIN purse p ON p.wallet = t.debit_account
           AND (p.open OR t.session_id <= p.session OR t.id <= p.id)
         WHERE t.session_id IS NOT NULL
        UNION ALL
        SELECT p.wallet, NULL, x.id, x.amount, x.promo,
               x.kind IN ('gift', 'deposit'), - x.promo, - x.promo
          FROM other x JOIN purse p ON p.wallet = x.debit
        UNION ALL
        SELECT p.wallet, NULL, x.id, x.amount, x.promo, false, x.promo,
               x.promo
          FROM other x JOIN purse p ON p.wallet = x.credit
        UNION ALL
        SELECT p.wallet, r.session_id, r.first_id, 0, 0, false, - r.promo, 0
          FROM ledger.session_rollup r JOIN purse p ON p.wallet
                                                       = r.debit_account
        UNION ALL
        SELECT p.wallet, r.session_id, r.last_id, 0, 0, false, 0, - r.promo
          FROM ledger.session_rollup r JOIN purse p ON p.wallet
                                                       = r.debit_account),
    sum AS (
        SELECT m.*, sum(m.least) OVER w AS least_after,
               sum(m.most) OVER w AS most_after
          FROM move m WINDOW w AS (PARTITION BY m.wallet ORDER BY m.id
                                   ROWS UNBOUNDED PRECEDING))
    SELECT 'promo', NULL::bigint, s.id, NULL::bigint,
           format('%s of it was promo, of %s; there was %s', s.promo, s.amount,
                  CASE WHEN s.least_after = s.most_after
                       THEN (s.most_after + s.promo)::text
                       ELSE format('%s to %s', s.least_after + s.promo,
                                   s.most_after + s.promo) END)
      FROM sum s
     WHERE s.spends
       AND s.promo NOT BETWEEN least(s.least_after + s.promo, s.amount)
                           AND least(s.most_after + s.promo, s.amount);
    RETURN cursor;
END
$$;


REVOKE ALL ON FUNCTION billing.audit_begin(), billing.audit_last(),
    billing.audit_sessions(refcursor, bigint, bigint),
    billing.audit_charges(refcursor, bigint, bigint),
    billing.audit_intervals(refcursor, bigint, bigint),
    billing.audit_segments(refcursor, bigint, bigint),
    billing.audit_rollups(refcursor, bigint, bigint),
    billing.audit_others(refcursor), billing.audit_fit(numeric),
    billing.audit_wallets(refcursor),
    billing.audit_suspects(refcursor, bigint, bigint),
    billing.audit_wrongs(refcursor), billing.audit_promo(refcursor) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.audit_begin(), billing.audit_last(),
    billing.audit_sessions(refcursor, bigint, bigint),
    billing.audit_charges(refcursor, bigint, bigint),
    billing.audit_intervals(refcursor, bigint, bigint),
    billing.audit_segments(refcursor, bigint, bigint),
    billing.audit_rollups(refcursor, bigint, bigint),
    billing.audit_others(refcursor), billing.audit_wallets(refcursor),
    billing.audit_suspects(refcursor, bigint, bigint),
    billing.audit_wrongs(refcursor), billing.audit_promo(refcursor) TO astro_worker;

RESET ROLE;
