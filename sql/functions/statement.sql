-- statement: what moved in somebody's account between two instants, and what
-- was in it before and after.  Functions of the billing worker, owned by
-- astro_engine.
--
-- An account is what its owner sees: a client's wallet with what sessions hold
-- of it; an advisor's with what live sessions have earned and not yet credited.
-- So crediting moves nothing here, charges do, at the instant of each.

SET ROLE astro_engine;


-- billing.statement_of: whose account that is.  Raises 22023 if the account is
-- not there or has no wallet (an admin).
CREATE OR REPLACE FUNCTION billing.statement_of(account bigint)
RETURNS TABLE (role text, currency text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.kind, consult.currency()
      FROM ledger.wallet w
     WHERE w.owner_id = statement_of.account
       AND w.kind IN ('client', 'advisor');

    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % has no statements', account
              USING ERRCODE = '22023';
    END IF;
END
$$;


-- billing.statement: the rows of one, in this order.
--
--   part       'opening': balance is what was there before since
--              'movement': amount is what it changed, less than 0 if it was
--                 taken; balance what was there after it
--              'closing': balance is what was there before until
--   at, id     'movement': when, and t_<transfer> or s_<session>
--   kind       of the transfers; 'session': what a session charged between the
--              two instants, one row for each session
--   session    that it is about, or NULL
--   fee, promo of the movement: the platform's part of what was paid; how much
--              of the amount was promo
--
-- since is in it, until is not.  The opening balance is the sum of all before;
-- the closing one is counted back from what the wallet has now, so that opening
-- + movements = closing is no tautology: who prints it checks it.
--
-- A session's charges are looked at one by one only if it was charged on both
-- sides of an instant: its first and last charge tell.  One that was rolled up
-- has these, and what was charged on each day (UTC): that is the same for
-- instants that are midnights.
CREATE OR REPLACE FUNCTION billing.statement(account bigint,
    since timestamptz, until timestamptz)
RETURNS TABLE (part text, at timestamptz, id text, kind text, session text,
    amount bigint, fee bigint, promo bigint, balance bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    w ledger.wallet;
BEGIN
    SELECT x.* INTO w FROM ledger.wallet x
     WHERE x.owner_id = statement.account
       AND x.kind IN ('client', 'advisor');

    IF NOT FOUND OR since IS NULL OR until IS NULL OR since > until THEN
        RAISE EXCEPTION 'no such account, or no such time'
              USING ERRCODE = '22023';
    END IF;

    -- inlined, each session's charges would be looked up ten times
    RETURN QUERY
    WITH talk AS MATERIALIZED (
        SELECT s.id, s.charged, s.fee, s.promo,
               s.charged - s.fee - s.credited AS uncredited,
               coalesce((SELECT t.at FROM ledger.transfer t
                          WHERE t.session_id = s.id AND t.charge_no = 1),
                        r.first_at, s.ended_at, s.created_at) AS first_at,
               coalesce((SELECT t.at FROM ledger.transfer t
                          WHERE t.session_id = s.id
                            AND t.charge_no = s.charge_no),
                        r.last_at, s.ended_at, s.created_at) AS last_at
          FROM consult.session s
          LEFT JOIN ledger.session_rollup r ON r.session_id = s.id
         WHERE (s.client_wallet = w.id OR s.advisor_wallet = w.id)
           AND s.charged > 0),
    cut AS MATERIALIZED (
        SELECT k.id, k.charged, k.fee, k.promo, k.uncredited, k.first_at,
               CASE WHEN k.last_at < statement.since THEN k.charged
                    WHEN k.first_at >= statement.since THEN 0
                    ELSE c.charged0 END AS charged0,
               CASE WHEN k.last_at < statement.since THEN k.fee
                    WHEN k.first_at >= statement.since THEN 0
                    ELSE c.fee0 END AS fee0,
               CASE WHEN k.last_at < statement.since THEN k.promo
                    WHEN k.first_at >= statement.since THEN 0
                    ELSE c.promo0 END AS promo0,
               CASE WHEN k.last_at < statement.until THEN k.charged
                    WHEN k.first_at >= statement.until THEN 0
                    ELSE c.charged1 END AS charged1,
               CASE WHEN k.last_at < statement.until THEN k.fee
                    WHEN k.first_at >= statement.until THEN 0
                    ELSE c.fee1 END AS fee1,
               CASE WHEN k.last_at < statement.until THEN k.promo
                    WHEN k.first_at >= statement.until THEN 0
                    ELSE c.promo1 END AS promo1
          FROM talk k
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(t.amount)
                          FILTER (WHERE t.at < statement.since), 0)
                          AS charged0,
                      coalesce(sum(t.fee)
                          FILTER (WHERE t.at < statement.since), 0) AS fee0,
                      coalesce(sum(t.promo)
                          FILTER (WHERE t.at < statement.since), 0)
                          AS promo0,
                      coalesce(sum(t.amount)
                          FILTER (WHERE t.at < statement.until), 0)
                          AS charged1,
                      coalesce(sum(t.fee)
                          FILTER (WHERE t.at < statement.until), 0) AS fee1,
                      coalesce(sum(t.promo)
                          FILTER (WHERE t.at < statement.until), 0) AS promo1
                 FROM (SELECT x.at, x.amount, x.fee, x.promo
                         FROM ledger.transfer x WHERE x.session_id = k.id
                        UNION ALL
                       SELECT x.at, x.amount, x.fee, x.promo
                         FROM ledger.session_day_rollup x
                        WHERE x.session_id = k.id) t
                WHERE (k.first_at < statement.since
                       AND k.last_at >= statement.since
                       OR k.first_at < statement.until
                       AND k.last_at >= statement.until)) c),
    -- what everything was before since, before until, and is
    entry AS (
        SELECT greatest(c.first_at, statement.since) AS at, c.id,
               's_' || c.id AS name, 'session' AS kind, c.id AS session,
               c.fee1 - c.fee0 AS fee, c.promo1 - c.promo0 AS promo,
               CASE w.kind WHEN 'client' THEN - c.charged0
                           ELSE c.charged0 - c.fee0 END AS amount0,
               CASE w.kind WHEN 'client' THEN - c.charged1
                           ELSE c.charged1 - c.fee1 END AS amount1,
               CASE w.kind WHEN 'client' THEN - c.charged
                           ELSE c.charged - c.fee END AS amount,
               CASE w.kind WHEN 'client' THEN 0
                           ELSE c.uncredited END AS uncredited
          FROM cut c
         UNION ALL
        SELECT o.at, o.id, 't_' || o.id, o.kind,
               CASE WHEN o.kind IN ('gift', 'reversal', 'reversal_fee')
                    THEN o.about END, o.fee, o.promo,
               CASE WHEN o.at < statement.since THEN o.amount ELSE 0 END,
               CASE WHEN o.at < statement.until THEN o.amount ELSE 0 END,
               o.amount, 0
          FROM (SELECT t.at, t.id, t.kind, t.about, t.fee, t.promo,
                       - t.amount AS amount
                  FROM ledger.transfer t
                 WHERE t.debit_account = w.id AND t.session_id IS NULL
                 UNION ALL
                SELECT t.at, t.id, t.kind, t.about, t.fee, t.promo,
                       t.amount - t.fee
                  FROM ledger.transfer t
                 WHERE t.credit_account = w.id AND t.session_id IS NULL) o),
    total AS (
        SELECT coalesce(sum(e.amount0), 0)::bigint AS opening,
               (w.balance + coalesce(sum(e.uncredited), 0)
                - coalesce(sum(e.amount - e.amount1), 0))::bigint AS closing
          FROM entry e)
    SELECT x.part, x.at, x.name, x.kind, 's_' || x.session, x.amount, x.fee,
           x.promo, x.balance
      FROM (SELECT 1 AS place, 'opening' AS part, statement.since AS at,
                   0::bigint AS id, NULL AS name, NULL AS kind,
                   NULL::bigint AS session, NULL::bigint AS amount,
                   NULL::bigint AS fee, NULL::bigint AS promo,
                   t.opening AS balance
              FROM total t
             UNION ALL
            SELECT 2, 'movement', e.at, e.id, e.name, e.kind, e.session,
                   (e.amount1 - e.amount0)::bigint, e.fee::bigint,
                   e.promo::bigint,
                   (t.opening + sum(e.amount1 - e.amount0)
                        OVER (ORDER BY e.at, e.id, e.name))::bigint
              FROM entry e, total t WHERE e.amount1 <> e.amount0
             UNION ALL
            SELECT 3, 'closing', statement.until, 0, NULL, NULL, NULL, NULL,
                   NULL, NULL, t.closing
              FROM total t) x
     ORDER BY x.place, x.at, x.id, x.name;
END
$$;


REVOKE ALL ON FUNCTION billing.statement_of(bigint),
    billing.statement(bigint, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.statement_of(bigint),
    billing.statement(bigint, timestamptz, timestamptz) TO astro_worker;

RESET ROLE;
SET ROLE astro_engine;


-- consult.statement_doc: the statement of an account as one document:
--
--   {from,to,currency,opening,closing,movements:[{id,at,kind,session,amount,
--    fee,promo,balance}]}
--
-- Money in minor units; opening + the amounts = closing, which is counted back
-- from what the wallet has now.  NULL: the account has no statements.
CREATE OR REPLACE FUNCTION consult.statement_doc(account bigint,
    since timestamptz, until timestamptz) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.wallet w
                    WHERE w.owner_id = account
                      AND w.kind IN ('client', 'advisor')) THEN
        RETURN NULL;
    END IF;

    RETURN (
        SELECT json_build_object(
            'from', consult.rfc3339(since), 'to', consult.rfc3339(until),
            'currency', consult.currency(),
            'opening', max(x.balance) FILTER (WHERE x.part = 'opening'),
            'closing', max(x.balance) FILTER (WHERE x.part = 'closing'),
            'movements', coalesce(json_agg(json_build_object(
                'id', x.id, 'at', consult.rfc3339(x.at), 'kind', x.kind,
                'session', x.session, 'amount', x.amount, 'fee', x.fee,
                'promo', x.promo, 'balance', x.balance) ORDER BY x.place)
                FILTER (WHERE x.part = 'movement'), '[]'))
          FROM (SELECT s.*, row_number() OVER () AS place
                  FROM billing.statement(account, since, until) s) x);
END
$$;


-- consult.statement_csv: that document as a CSV file (RFC 4180).  Nothing in it is
-- anybody's words: there is nothing to quote.
CREATE OR REPLACE FUNCTION consult.statement_csv(doc json) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'part,at,id,kind,session,amount,fee,promo,balance,currency'
           || E'\r\n'
           || format(E'opening,%s,,,,,,,%s,%s\r\n', doc ->> 'from',
                     doc ->> 'opening', doc ->> 'currency')
           || coalesce((SELECT string_agg(format(
                  E'movement,%s,%s,%s,%s,%s,%s,%s,%s,%s\r\n', m.m ->> 'at',
                  m.m ->> 'id', m.m ->> 'kind', m.m ->> 'session',
                  m.m ->> 'amount', m.m ->> 'fee', m.m ->> 'promo',
                  m.m ->> 'balance', doc ->> 'currency'), '' ORDER BY m.n)
              FROM json_array_elements(doc -> 'movements')
                   WITH ORDINALITY AS m(m, n)), '')
           || format(E'closing,%s,,,,,,,%s,%s\r\n', doc ->> 'to',
                     doc ->> 'closing', doc ->> 'currency')
$$;


REVOKE ALL ON FUNCTION consult.statement_doc(bigint, timestamptz, timestamptz),
    consult.statement_csv(json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.statement_doc(bigint, timestamptz,
    timestamptz), consult.statement_csv(json) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.wallet_statement: what moved in the caller's account from one day to
-- another (UTC), the last one included; 366 of them at the most.
--
--   ?from=2026-01-01&to=2026-12-31&format=csv      (json: usual)
--
--   200 as consult.statement_doc, or as text/csv: a line for the opening, for each
--       movement and for the closing, of which both ends have a balance alone
--   400 bad_request, with its field; 404 not_found (an admin has none)
--
-- Called by GET /api/wallet/statement.
CREATE OR REPLACE FUNCTION api.wallet_statement(caller bigint, query json)
RETURNS TABLE (status int, body json, etag text, text_csv text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_from date := consult.f_date(query, 'from');
    v_to   date := consult.f_date(query, 'to');
    v_csv  boolean := consult.f_enum(query, 'format', '{json,csv}', false)
                      IS NOT DISTINCT FROM 'csv';
    v_doc  json;
BEGIN
    IF v_to < v_from OR v_to - v_from > 365 THEN
        PERFORM consult.fail('bad_request', 'to is within 366 days from from',
                             '/to');
    END IF;

    v_doc := consult.statement_doc(caller,
                 v_from::timestamp AT TIME ZONE 'UTC',
                 (v_to + 1)::timestamp AT TIME ZONE 'UTC');

    IF v_doc IS NULL THEN
        PERFORM consult.fail('not_found', 'this account has no statements');
    END IF;

    RETURN QUERY SELECT 200, v_doc, NULL::text,
                        CASE WHEN v_csv THEN consult.statement_csv(v_doc) END;
END
$$;


REVOKE ALL ON FUNCTION api.wallet_statement(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.wallet_statement(bigint, json) TO astro_web;

RESET ROLE;
