-- earnings: what an advisor has earned, by days, weeks and months, and was paid.

SET ROLE astro_engine;


-- consult.earned: what moved in an advisor's account between two days, by
-- periods ('day', 'week', 'month'; bucket is the first day of one).  Days are
-- those of UTC: old charges are kept by these.
--
--   sessions   that charged for the first time
--   charged    by sessions, at the instant of each charge; fee: of that
--   gifts, deposits    without the platform's part
--   reversed   given back
--   other      all else that is no payout
--   paid_out   less what came back
--   recovered  of what the advisor owed, less what became owed
--
-- So what the account has changed by is charged - fee + gifts + deposits
-- - reversed + other - paid_out - recovered.
--
-- A session that was started and settled within one period is a sum that is
-- there already.  The charges are looked at of those alone that were not.
CREATE OR REPLACE FUNCTION consult.earned(wallet bigint, by text, since date,
    until date)
RETURNS TABLE (bucket date, sessions bigint, charged bigint, fee bigint,
    gifts bigint, deposits bigint, reversed bigint, other bigint,
    paid_out bigint, recovered bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_since timestamptz := since::timestamp AT TIME ZONE 'UTC';
    v_until timestamptz := until::timestamp AT TIME ZONE 'UTC';
BEGIN
    RETURN QUERY
    WITH talk AS (
        SELECT s.id, s.charged, s.fee,
               date_trunc(by, s.created_at AT TIME ZONE 'UTC') AS first,
               date_trunc(by, (s.settled_at + interval '1 minute')
                              AT TIME ZONE 'UTC') AS last
          FROM consult.session s
         WHERE s.advisor_wallet = earned.wallet AND s.settled_at >= v_since
           AND s.created_at < v_until AND s.charged > 0
         UNION ALL
        SELECT s.id, s.charged, s.fee, NULL, NULL
          FROM consult.session s
         WHERE s.advisor_wallet = earned.wallet AND s.settled_at IS NULL
           AND s.created_at < v_until AND s.charged > 0
         UNION ALL
        -- charged in the moment after
        SELECT s.id, s.charged, s.fee, NULL, NULL
          FROM consult.session s
         WHERE s.advisor_wallet = earned.wallet AND s.settled_at < v_since
           AND s.settled_at >= v_since - interval '1 minute'
           AND s.charged > 0),
    long AS MATERIALIZED (
        SELECT k.id, k.charged, k.fee FROM talk k
         WHERE k.first IS DISTINCT FROM k.last OR k.last IS NULL),
    charge AS (
        SELECT l.id, x.at, x.amount, x.fee, false AS whole
          FROM long l
         CROSS JOIN LATERAL (
               SELECT t.at, t.amount, t.fee FROM ledger.transfer t
                WHERE t.session_id = l.id
                UNION ALL
               SELECT d.at, d.amount, d.fee FROM ledger.session_day_rollup d
                WHERE d.session_id = l.id
                UNION ALL
               SELECT r.first_at, r.amount, r.fee
                 FROM ledger.session_rollup r
                WHERE r.session_id = l.id
                  AND NOT EXISTS (SELECT FROM ledger.session_day_rollup d
                                   WHERE d.session_id = l.id)) x),
    part AS (
        SELECT k.first::date AS bucket, count(*) AS sessions,
               sum(k.charged) AS charged, sum(k.fee) AS fee
          FROM talk k WHERE k.first = k.last GROUP BY 1
         UNION ALL
        SELECT p.bucket, count(*) FILTER (WHERE p.begun), sum(p.amount),
               sum(p.fee)
          FROM (SELECT c.id, date_trunc(by, c.at AT TIME ZONE 'UTC')::date
                           AS bucket, c.amount, c.fee,
                       row_number() OVER (PARTITION BY c.id ORDER BY c.at) = 1
                           AS begun
                  FROM charge c) p
         WHERE p.bucket >= since AND p.bucket < until GROUP BY 1),
    moved AS (
        SELECT date_trunc(by, m.at AT TIME ZONE 'UTC')::date AS bucket,
               m.kind, sum(m.amount) AS amount
          FROM (SELECT t.at, t.kind, t.amount - t.fee AS amount
                  FROM ledger.transfer t
                 WHERE t.credit_account = earned.wallet
                   AND t.session_id IS NULL
                   AND t.at >= v_since AND t.at < v_until
                 UNION ALL
                SELECT t.at, t.kind, - t.amount
                  FROM ledger.transfer t
                 WHERE t.debit_account = earned.wallet
                   AND t.session_id IS NULL
                   AND t.at >= v_since AND t.at < v_until) m
         GROUP BY 1, 2),
    line AS (
        SELECT p.bucket, p.sessions, p.charged, p.fee, NULL AS kind,
               NULL::numeric AS amount
          FROM part p
         UNION ALL
        SELECT m.bucket, 0, 0, 0, m.kind, m.amount FROM moved m)
    SELECT l.bucket, sum(l.sessions)::bigint, sum(l.charged)::bigint,
           sum(l.fee)::bigint,
           coalesce(sum(l.amount) FILTER (WHERE l.kind = 'gift'), 0)::bigint,
           coalesce(sum(l.amount) FILTER (WHERE l.kind = 'deposit'),
                    0)::bigint,
           (- coalesce(sum(l.amount) FILTER (WHERE l.kind = 'reversal'),
                       0))::bigint,
           coalesce(sum(l.amount) FILTER (WHERE l.kind NOT IN ('gift',
               'deposit', 'reversal', 'payout', 'payout_return', 'recovery',
               'debt')), 0)::bigint,
           (- coalesce(sum(l.amount) FILTER (WHERE l.kind IN ('payout',
               'payout_return')), 0))::bigint,
           (- coalesce(sum(l.amount) FILTER (WHERE l.kind IN ('recovery',
               'debt')), 0))::bigint
      FROM line l GROUP BY l.bucket;
END
$$;


REVOKE ALL ON FUNCTION consult.earned(bigint, text, date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.earned(bigint, text, date, date)
   TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.earnings: what the caller, an advisor, has earned by period; query: by
-- (day, week, month; day), from and to, days; to is in it no more.  Without them
-- it is the last 30 days, 12 weeks or 12 months.  Periods are whole: one that
-- from or to falls into is in it.  At most 400.
--
--   200 {by,time_zone:"UTC",from,to,
--        data:[{from,to,sessions,charged,fee,gifts,deposits,reversed,other,
--               earned,paid_out,recovered}],
--        total:{the same},balance}
--       one for each period, the oldest first.  earned = charged - fee + gifts
--       + deposits - reversed + other; what the account has changed by is
--       earned - paid_out - recovered (consult.earned)
--   400 bad_request, with its field
--   404 not_found                         no advisor
--
-- Called by GET /api/advisors/me/earnings.
CREATE OR REPLACE FUNCTION api.earnings(caller bigint, query json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_by       text := coalesce(consult.f_enum(query, 'by',
                           ARRAY['day', 'week', 'month'], false), 'day');
    v_from     date := consult.f_date(query, 'from', false);
    v_to       date := consult.f_date(query, 'to', false);
    v_step     interval := ('1 ' || v_by)::interval;
    v_currency text := consult.currency();
    v_wallet   bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    v_wallet := (SELECT w.id FROM ledger.wallet w
                  WHERE w.owner_id = earnings.caller AND w.kind = 'advisor');

    IF v_wallet IS NULL THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    v_to := coalesce(v_to, (clock_timestamp() AT TIME ZONE 'UTC')::date + 1);

    -- the first day after the period that it ends in
    v_to := CASE WHEN date_trunc(v_by, v_to::timestamp)::date = v_to THEN v_to
                 ELSE date_trunc(v_by, v_to::timestamp) + v_step END::date;
    v_from := date_trunc(v_by, coalesce(v_from, v_to - v_step
                  * CASE v_by WHEN 'day' THEN 30 ELSE 12 END)::timestamp)::date;

    IF v_from >= v_to THEN
        PERFORM consult.fail('bad_request', 'to is after from', '/to');
    END IF;

    IF (v_from + 400 * v_step)::date < v_to THEN
        PERFORM consult.fail('bad_request', 'more than 400 periods', '/from');
    END IF;

    -- one statement: all of it is of one moment
    RETURN QUERY
    WITH moved AS MATERIALIZED (
        SELECT e.* FROM consult.earned(v_wallet, v_by, v_from, v_to) e),
    line AS (
        SELECT g.at::date AS since, (g.at + v_step)::date AS until,
               coalesce(m.sessions, 0) AS sessions,
               coalesce(m.charged, 0) AS charged, coalesce(m.fee, 0) AS fee,
               coalesce(m.gifts, 0) AS gifts,
               coalesce(m.deposits, 0) AS deposits,
               coalesce(m.reversed, 0) AS reversed,
               coalesce(m.other, 0) AS other,
               coalesce(m.paid_out, 0) AS paid_out,
               coalesce(m.recovered, 0) AS recovered
          FROM generate_series(v_from::timestamp,
                               v_to::timestamp - v_step, v_step) AS g(at)
          LEFT JOIN moved m ON m.bucket = g.at::date
         UNION ALL
        SELECT NULL, NULL, coalesce(sum(m.sessions), 0),
               coalesce(sum(m.charged), 0), coalesce(sum(m.fee), 0),
               coalesce(sum(m.gifts), 0), coalesce(sum(m.deposits), 0),
               coalesce(sum(m.reversed), 0), coalesce(sum(m.other), 0),
               coalesce(sum(m.paid_out), 0), coalesce(sum(m.recovered), 0)
          FROM moved m),
    doc AS (
        SELECT l.since,
               (coalesce('"from":"' || l.since || '","to":"' || l.until
                         || '",', '')
               || '"sessions":' || l.sessions
               || ',"charged":' || consult.money(l.charged::bigint, v_currency)
               || ',"fee":' || consult.money(l.fee::bigint, v_currency)
               || ',"gifts":' || consult.money(l.gifts::bigint, v_currency)
               || ',"deposits":'
               || consult.money(l.deposits::bigint, v_currency)
               || ',"reversed":'
               || consult.money(l.reversed::bigint, v_currency)
               || ',"other":' || consult.money(l.other::bigint, v_currency)
               || ',"earned":'
               || consult.money((l.charged - l.fee + l.gifts + l.deposits
                                 - l.reversed + l.other)::bigint, v_currency)
               || ',"paid_out":'
               || consult.money(l.paid_out::bigint, v_currency)
               || ',"recovered":'
               || consult.money(l.recovered::bigint, v_currency)) AS text
          FROM line l)
    SELECT 200, ('{"by":"' || v_by || '","time_zone":"UTC","from":"' || v_from
                 || '","to":"' || v_to || '","data":['
                 || string_agg('{' || d.text || '}', ',' ORDER BY d.since)
                        FILTER (WHERE d.since IS NOT NULL)
                 || '],"total":{'
                 || max(d.text) FILTER (WHERE d.since IS NULL)
                 || '},"balance":'
                 || (SELECT consult.wallet_body(caller) -> 'balance')::text
                 || '}')::json
      FROM doc d;
END
$$;


-- api.payouts: what the caller, an advisor, was paid out, the latest day first.
-- cap: 1 to 200.
--
--   200 {data:[{date,amount,state,made_at,ended_at,reason}],next_cursor}
--       state: pending, submitted, paid, failed (then it is in the account
--       again, and reason says why)
--   400 bad_request, field "/cursor"
--
-- Called by GET /api/advisors/me/payouts.
CREATE OR REPLACE FUNCTION api.payouts(caller bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- days since 2000
    v_before   bigint := consult.cursor_id(cursor, 1000000);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_before IS NULL OR v_before > 1000000 THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(x.doc ORDER BY x.n DESC),
                             array_agg(x.n ORDER BY x.n DESC), cap)
      FROM (SELECT (p.day - date '2000-01-01')::bigint AS n,
                   '{"date":"' || p.day || '","amount":'
                   || consult.money(p.amount, p.currency::text)
                   || ',"state":"' || p.state || '","made_at":"'
                   || consult.rfc3339(p.made_at) || '","ended_at":'
                   || coalesce('"' || consult.rfc3339(p.ended_at) || '"',
                               'null')
                   || ',"reason":' || coalesce(to_json(p.reason)::text,
                                               'null') || '}' AS doc
              FROM ledger.payout p
             WHERE p.advisor_id = payouts.caller
               AND p.day < date '2000-01-01' + v_before::int
             ORDER BY p.day DESC LIMIT cap + 1) x;
END
$$;


REVOKE ALL ON FUNCTION api.earnings(bigint, json),
    api.payouts(bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.earnings(bigint, json),
    api.payouts(bigint, int, text) TO astro_web;

RESET ROLE;
