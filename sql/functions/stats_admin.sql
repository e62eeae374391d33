-- stats_admin: figures for admins, from what billing.stats_roll() and
-- totals_roll() keep by day (UTC).  Functions of api, owned by astro_admin.

SET ROLE astro_admin;


-- consult.stats_period: the days that a query means: "period" (today, 7d, 30d,
-- all) or "from" and "to", both counted; without any: usual.  all: since -infinity.
CREATE OR REPLACE FUNCTION consult.stats_period(query json, usual text,
    OUT since date, OUT till date)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_today  date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_period text := consult.f_enum(query, 'period', '{today,7d,30d,all}',
                                    false);
BEGIN
    since := consult.f_date(query, 'from', false);
    till := coalesce(consult.f_date(query, 'to', false), v_today);

    IF v_period IS NOT NULL AND (since IS NOT NULL OR till <> v_today) THEN
        PERFORM consult.fail('bad_request', 'either a period, or from and to',
                             '/period');
    END IF;

    IF since IS NULL AND till = v_today THEN
        since := CASE coalesce(v_period, usual) WHEN 'today' THEN v_today
                      WHEN '7d' THEN v_today - 6 WHEN '30d' THEN v_today - 29
                      END;
    END IF;

    since := coalesce(since, '-infinity');

    IF since > till THEN
        PERFORM consult.fail('bad_request', 'from is after to', '/from');
    END IF;
END
$$;


-- consult.stats_caller: refuses whoever is no admin.
CREATE OR REPLACE FUNCTION consult.stats_caller(caller bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT consult.admin_calls() THEN
        PERFORM consult.fail('forbidden', 'only for admins');
    END IF;
END
$$;


-- consult.stats_rate: a part of a whole, to 1/10000; NULL: there is no whole.
CREATE OR REPLACE FUNCTION consult.stats_rate(part numeric, whole numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT round(part / nullif(whole, 0), 4)
$$;


-- consult.stats_retained: of those who joined in these days, and so long ago,
-- the part that was here "age" days later.
CREATE OR REPLACE FUNCTION consult.stats_retained(since date, till date,
    age int) RETURNS numeric
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_last date := least(till, (clock_timestamp() AT TIME ZONE 'UTC')::date
                               - age);
BEGIN
    RETURN consult.stats_rate(
        (SELECT coalesce(sum(c.here), 0) FROM stats.cohort c
          WHERE c.age = stats_retained.age AND c.joined >= since
            AND c.joined <= v_last),
        (SELECT sum(d.clients + d.advisors + d.others) FROM stats.day d
          WHERE d.day >= since AND d.day <= v_last));
END
$$;


-- api.admin_stats: the whole business in figures.  query: period (today, 7d,
-- 30d, all: usual) or from and to (days, UTC, both counted).
--
--   200 {period:{from,to}, as_of, users:{total,clients,advisors,new,active},
--        sessions:{live,active,ended,answered,completed,minutes,
--        completion_rate}, revenue:{gross,fees,given_back,net,topups,refunds,
--        promo,payouts}, payouts_due:{amount,advisors,under_way},
--        conversion_rate, retention:{d1,d7,d30}}
--   400 bad_request, with its field; 403 forbidden
--
-- as_of: all up to then is in it; null: the roll-up has not run.  total, clients,
-- advisors, live, active and payouts_due are of now, the rest of the period.
-- Rates are 0 to 1, or null.  Called by GET /api/admin/stats.
CREATE OR REPLACE FUNCTION api.admin_stats(caller bigint, query json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on AS $$
#variable_conflict use_column
DECLARE
    c       text := consult.currency();
    v_since date;
    v_till  date;
    v_here  bigint;
    m       stats.mark;
    d       record;
    t       record;
    r       record;
BEGIN
    PERFORM consult.stats_caller(caller);

    SELECT p.since, p.till INTO v_since, v_till
      FROM consult.stats_period(query, 'all') p;

    SELECT x.* INTO m FROM stats.mark x;

    SELECT coalesce(sum(x.clients + x.advisors + x.others), 0) AS total,
           coalesce(sum(x.clients), 0) AS clients,
           coalesce(sum(x.advisors), 0) AS advisors
      INTO t FROM stats.day x;

    SELECT coalesce(min(x.day), v_till) AS first,
           coalesce(sum(x.clients + x.advisors + x.others), 0) AS joined,
           coalesce(sum(x.clients), 0) AS clients,
           coalesce(sum(x.converted), 0) AS converted,
           coalesce(sum(x.sessions), 0) AS sessions,
           coalesce(sum(x.answered), 0) AS answered,
           coalesce(sum(x.completed), 0) AS completed,
           coalesce(sum(x.billed_ms), 0) AS billed_ms,
           coalesce(sum(x.active), 0) AS active,
           coalesce(sum(x.last_here), 0) AS last_here
      INTO d FROM stats.day x WHERE x.day BETWEEN v_since AND v_till;

    -- up to today it is who was here last within the period; else they are
    -- counted, of a day by what was counted
    v_here := CASE
        WHEN v_till >= (clock_timestamp() AT TIME ZONE 'UTC')::date
        THEN d.last_here
        WHEN v_since = v_till THEN d.active
        ELSE (SELECT count(DISTINCT a.account_id) FROM stats.active_day a
               WHERE a.day BETWEEN v_since AND v_till) END;

    SELECT coalesce(sum(x.amount) FILTER (WHERE x.kind IN ('session', 'gift',
                        'deposit')), 0) AS gross,
           coalesce(sum(x.fee), 0) AS fees,
           coalesce(sum(x.amount) FILTER (WHERE x.kind = 'reversal_fee'), 0)
               AS back,
           coalesce(sum(x.amount) FILTER (WHERE x.kind = 'topup'), 0)
               AS topups,
           coalesce(sum(x.amount) FILTER (WHERE x.kind = 'refund'), 0)
               AS refunds,
           coalesce(sum(x.amount) FILTER (WHERE x.kind = 'promo'), 0)
               - coalesce(sum(x.amount) FILTER (WHERE x.kind = 'promo_back'),
                          0) AS promo,
           coalesce(sum(x.amount) FILTER (WHERE x.kind = 'payout'), 0)
               - coalesce(sum(x.amount) FILTER (WHERE x.kind
                                                = 'payout_return'), 0)
               AS payouts
      INTO r FROM ledger.daily x WHERE x.day BETWEEN v_since AND v_till;

    RETURN QUERY SELECT 200, json_build_object(
        'period', json_build_object('from', CASE WHEN isfinite(v_since)
            THEN v_since ELSE d.first END, 'to', v_till),
        'as_of', consult.rfc3339(m.rolled_at),
        'users', json_build_object('total', t.total, 'clients', t.clients,
            'advisors', t.advisors, 'new', d.joined, 'active', v_here),
        'sessions', json_build_object('live', m.live, 'active', m.active,
            'ended', d.sessions, 'answered', d.answered,
            'completed', d.completed, 'minutes', div(d.billed_ms, 60000),
            'completion_rate', consult.stats_rate(d.completed, d.sessions)),
        'revenue', json_build_object(
            'gross', consult.money(r.gross::bigint, c)::json,
            'fees', consult.money(r.fees::bigint, c)::json,
            'given_back', consult.money(r.back::bigint, c)::json,
            'net', consult.money((r.fees - r.back)::bigint, c)::json,
            'topups', consult.money(r.topups::bigint, c)::json,
            'refunds', consult.money(r.refunds::bigint, c)::json,
            'promo', consult.money(r.promo::bigint, c)::json,
            'payouts', consult.money(r.payouts::bigint, c)::json),
        'payouts_due', json_build_object(
            'amount', consult.money(m.due, c)::json,
            'advisors', m.due_advisors,
            'under_way', consult.money(m.under_way, c)::json),
        'conversion_rate', consult.stats_rate(d.converted, d.clients),
        'retention', json_build_object(
            'd1', consult.stats_retained(v_since, v_till, 1),
            'd7', consult.stats_retained(v_since, v_till, 7),
            'd30', consult.stats_retained(v_since, v_till, 30)));
END
$$;


-- api.admin_analytics: what is behind the figures, as rows.  query: report (days:
-- usual; advisors), format (json: usual; csv), period (30d) or from and to, of
-- 731 days at most.
--
--   200 {period:{from,to},currency,data:[..]}, or the rows as text/csv
--   400 bad_request, with its field; 403 forbidden
--
-- A row of days: day, new clients and advisors, converted, active, sessions,
-- answered, completed, billed_ms, gross, fees, given_back, topups, refunds,
-- payouts, and who of that day's new ones was here after 1, 7, 30 days.  A row
-- of advisors: advisor, name, sessions, answered, completed, billed_ms, charged,
-- fee; by charged, the most first.  Money is in minor units.
--
-- Called by GET /api/admin/analytics.
CREATE OR REPLACE FUNCTION api.admin_analytics(caller bigint, query json)
RETURNS TABLE (status int, body json, etag text, text_csv text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on AS $$
#variable_conflict use_column
DECLARE
    v_report text := coalesce(consult.f_enum(query, 'report',
                                  '{days,advisors}', false), 'days');
    v_format text := coalesce(consult.f_enum(query, 'format', '{json,csv}',
                                             false), 'json');
    v_since  date;
    v_till   date;
    v_rows   json;
    v_csv    text;
BEGIN
    PERFORM consult.stats_caller(caller);

    SELECT p.since, p.till INTO v_since, v_till
      FROM consult.stats_period(query, '30d') p;

    IF NOT isfinite(v_since) OR v_till - v_since > 730 THEN
        PERFORM consult.fail('bad_request', 'at most 731 days', '/from');
    END IF;

    IF v_report = 'days' THEN
        SELECT coalesce(json_agg(row_to_json(x) ORDER BY x.day), '[]'),
               'day,clients,advisors,converted,active,sessions,answered,'
               'completed,billed_ms,gross,fees,given_back,topups,refunds,'
               'payouts,here_d1,here_d7,here_d30' || E'\r\n'
               || coalesce(string_agg(concat_ws(',', x.day, x.clients,
                   x.advisors, x.converted, x.active, x.sessions, x.answered,
                   x.completed, x.billed_ms, x.gross, x.fees, x.given_back,
                   x.topups, x.refunds, x.payouts, x.here_d1, x.here_d7,
                   x.here_d30), E'\r\n' ORDER BY x.day) || E'\r\n', '')
          INTO v_rows, v_csv
          FROM (SELECT g.day::date AS day, coalesce(d.clients, 0) AS clients,
                       coalesce(d.advisors, 0) AS advisors,
                       coalesce(d.converted, 0) AS converted,
                       coalesce(d.active, 0) AS active,
                       coalesce(d.sessions, 0) AS sessions,
                       coalesce(d.answered, 0) AS answered,
                       coalesce(d.completed, 0) AS completed,
                       coalesce(d.billed_ms, 0) AS billed_ms,
                       coalesce(l.gross, 0) AS gross,
                       coalesce(l.fees, 0) AS fees,
                       coalesce(l.back, 0) AS given_back,
                       coalesce(l.topups, 0) AS topups,
                       coalesce(l.refunds, 0) AS refunds,
                       coalesce(l.payouts, 0) AS payouts,
                       coalesce(a.d1, 0) AS here_d1,
                       coalesce(a.d7, 0) AS here_d7,
                       coalesce(a.d30, 0) AS here_d30
                  FROM generate_series(v_since::timestamp, v_till,
                                       '1 day') AS g(day)
                  LEFT JOIN stats.day d ON d.day = g.day::date
                  LEFT JOIN (SELECT y.day,
                               sum(y.amount) FILTER (WHERE y.kind IN
                                   ('session', 'gift', 'deposit')) AS gross,
                               sum(y.fee) AS fees,
                               sum(y.amount) FILTER (WHERE y.kind
                                   = 'reversal_fee') AS back,
                               sum(y.amount) FILTER (WHERE y.kind
                                   = 'topup') AS topups,
                               sum(y.amount) FILTER (WHERE y.kind
                                   = 'refund') AS refunds,
                               coalesce(sum(y.amount) FILTER (WHERE y.kind
                                   = 'payout'), 0)
                               - coalesce(sum(y.amount) FILTER (WHERE y.kind
                                   = 'payout_return'), 0) AS payouts
                          FROM ledger.daily y
                         WHERE y.day BETWEEN v_since AND v_till
                         GROUP BY y.day) l ON l.day = g.day::date
                  LEFT JOIN (SELECT c.joined,
                               sum(c.here) FILTER (WHERE c.age = 1) AS d1,
                               sum(c.here) FILTER (WHERE c.age = 7) AS d7,
                               sum(c.here) FILTER (WHERE c.age = 30) AS d30
                          FROM stats.cohort c
                         WHERE c.age IN (1, 7, 30)
                           AND c.joined BETWEEN v_since AND v_till
                         GROUP BY c.joined) a ON a.joined = g.day::date) x;
    ELSE
        SELECT coalesce(json_agg(json_build_object('advisor', x.advisor,
                   'name', x.name, 'sessions', x.sessions,
                   'answered', x.answered, 'completed', x.completed,
                   'billed_ms', x.billed_ms, 'charged', x.charged,
                   'fee', x.fee) ORDER BY x.charged DESC, x.id), '[]'),
               'advisor,name,sessions,answered,completed,billed_ms,charged,'
               'fee' || E'\r\n'
               || coalesce(string_agg(concat_ws(',', x.advisor,
                   consult.csv_text(x.name), x.sessions, x.answered,
                   x.completed, x.billed_ms, x.charged, x.fee), E'\r\n'
                   ORDER BY x.charged DESC, x.id) || E'\r\n', '')
          INTO v_rows, v_csv
          FROM (SELECT 'u_' || s.id AS advisor, a.name, s.*
                  FROM (SELECT y.advisor_id AS id,
                               sum(y.sessions) AS sessions,
                               sum(y.answered) AS answered,
                               sum(y.completed) AS completed,
                               sum(y.billed_ms) AS billed_ms,
                               sum(y.charged) AS charged, sum(y.fee) AS fee
                          FROM stats.advisor_day y
                         WHERE y.day BETWEEN v_since AND v_till
                         GROUP BY y.advisor_id
                         ORDER BY sum(y.charged) DESC, y.advisor_id
                         LIMIT 1000) s
                  JOIN identity.account a ON a.id = s.id) x;
    END IF;

    RETURN QUERY SELECT 200, json_build_object(
        'period', json_build_object('from', v_since, 'to', v_till),
        'currency', consult.currency(), 'data', v_rows), NULL::text,
        CASE v_format WHEN 'csv' THEN v_csv END;
END
$$;


-- consult.csv_text: a field of a CSV file (RFC 4180); what a spreadsheet would
-- take for a formula has an apostrophe before it.
CREATE OR REPLACE FUNCTION consult.csv_text(said text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT '"' || CASE WHEN said ~ '^[=+@\t\r-]' THEN '''' ELSE '' END
           || replace(said, '"', '""') || '"'
$$;


-- api.admin_activity: what an account has done, newest first: when it was made,
-- logins and logouts, sessions, bookings, payments.
--
--   200 {"data":[{at,act,about,..}],"next_cursor"}
--       act: register, login, logout, session, booking, payment
--       about: of a session, a booking: its id; of a payment: its vendor
--       state, service, with: of a session, a booking; ended_at, reason,
--       charged: of a session; amount: of a payment, the deposit of a booking
--   400 bad_request, field "/cursor"; 403 forbidden; 404 not_found
--
-- A cursor is "<at in microseconds>.<kind><id>".  Called by
-- GET /api/admin/users/{u}/activity.
CREATE OR REPLACE FUNCTION api.admin_activity(caller bigint, account bigint,
    cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c        text   := consult.currency();
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_at     timestamptz := 'infinity';
    v_key    text   := '';
    v_wallets bigint[];
    v_docs   text[];
    v_marks  text[];
BEGIN
    PERFORM consult.stats_caller(caller);

    PERFORM 1 FROM identity.account a WHERE a.id = admin_activity.account;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such account');
    END IF;

    IF coalesce(cursor, '') <> '' THEN
        IF cursor !~ '^[0-9]{1,17}\.[a-z][0-9]{1,18}$' THEN
            PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
        END IF;

        v_at := to_timestamp(0) + split_part(cursor, '.', 1)::bigint
                                  * interval '1 microsecond';
        v_key := split_part(cursor, '.', 2);
    END IF;

    v_wallets := ARRAY(SELECT w.id FROM ledger.wallet w
                        WHERE w.owner_id = admin_activity.account);

    SELECT array_agg(x.doc ORDER BY x.at DESC, x.key DESC),
           array_agg((extract(epoch FROM x.at) * 1000000)::bigint || '.'
                     || x.key ORDER BY x.at DESC, x.key DESC)
      INTO v_docs, v_marks
      FROM (SELECT y.at, y.key, json_strip_nulls(json_build_object(
                       'at', consult.rfc3339(y.at), 'act', y.act,
                       'about', y.about, 'state', y.state,
                       'service', y.service, 'with', 'u_' || y.peer,
                       'ended_at', consult.rfc3339(y.ended_at),
                       'reason', y.reason,
                       'charged', consult.money(y.charged, c)::json,
                       'amount', consult.money(y.amount, y.currency)::json
                   ))::text AS doc
              FROM (SELECT a.created_at AS at, 'a' || a.id AS key,
                           'register' AS act, NULL AS about, NULL AS state,
                           NULL AS service, NULL::bigint AS peer,
                           NULL::timestamptz AS ended_at, NULL AS reason,
                           NULL::bigint AS charged, NULL::bigint AS amount,
                           NULL AS currency
                      FROM identity.account a
                     WHERE a.id = admin_activity.account
                    UNION ALL
                    SELECT s.at, 'l' || s.id, s.act, NULL, NULL, NULL, NULL,
                           NULL, NULL, NULL, NULL, NULL
                      FROM stats.signin s
                     WHERE s.account_id = admin_activity.account
                    UNION ALL
                    SELECT s.created_at, 's' || s.id, 'session',
                           's_' || s.id, s.state, s.service,
                           s.client_id + s.advisor_id
                           - admin_activity.account, s.ended_at, s.reason,
                           s.charged, NULL, NULL
                      FROM consult.session s
                     WHERE s.client_wallet = ANY(v_wallets)
                        OR s.advisor_wallet = ANY(v_wallets)
                    UNION ALL
                    SELECT b.created_at, 'b' || b.id, 'booking',
                           'b_' || b.id, b.state, b.service,
                           b.client_id + b.advisor_id
                           - admin_activity.account, NULL, NULL, NULL,
                           b.deposit, c
                      FROM consult.booking b
                     WHERE b.client_id = admin_activity.account
                        OR b.advisor_id = admin_activity.account
                    UNION ALL
                    SELECT p.made_at, 'p' || p.id, 'payment', p.provider,
                           p.status, NULL, NULL, NULL, NULL, NULL, p.amount,
                           p.currency::text
                      FROM ledger.payment p
                     WHERE p.owner_id = admin_activity.account) y
             WHERE (y.at, y.key) < (v_at, v_key)
             ORDER BY y.at DESC, y.key DESC LIMIT v_cap + 1) x;

    RETURN QUERY SELECT 200, ('{"data":['
        || coalesce(array_to_string(v_docs[:v_cap], ','), '')
        || '],"next_cursor":' || CASE WHEN cardinality(v_docs) > v_cap
            THEN '"' || v_marks[v_cap] || '"' ELSE 'null' END || '}')::json;
END
$$;


REVOKE ALL ON FUNCTION consult.stats_period(json, text),
    consult.stats_caller(bigint), consult.stats_rate(numeric, numeric),
    consult.stats_retained(date, date, int), consult.csv_text(text),
    api.admin_stats(bigint, json), api.admin_analytics(bigint, json),
    api.admin_activity(bigint, bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.admin_stats(bigint, json),
    api.admin_analytics(bigint, json),
    api.admin_activity(bigint, bigint, int, text) TO astro_web;

RESET ROLE;
