-- stats: the roll-up of what triggers have put into stats.fresh, by day (UTC).
--
-- What each figure is, as SQL over the tables themselves, is in README.md;
-- test_stats.py compares.

SET ROLE astro_engine;


-- billing.stats_members: these accounts are members, if they were not yet.
-- stats_roll() alone calls this and what follows, with stats.mark locked.
CREATE OR REPLACE FUNCTION billing.stats_members(accounts bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    WITH new AS (
        INSERT INTO stats.member (account_id, role, joined)
        SELECT a.id, a.role, (a.created_at AT TIME ZONE 'UTC')::date
          FROM identity.account a
         WHERE a.id = ANY(accounts)
        ON CONFLICT DO NOTHING
        RETURNING role, joined)
    INSERT INTO stats.day AS d (day, clients, advisors, others)
    SELECT n.joined, count(*) FILTER (WHERE n.role = 'client'),
           count(*) FILTER (WHERE n.role = 'advisor'),
           count(*) FILTER (WHERE n.role NOT IN ('client', 'advisor'))
      FROM new n GROUP BY n.joined
    ON CONFLICT (day) DO UPDATE
       SET clients = d.clients + excluded.clients,
           advisors = d.advisors + excluded.advisors,
           others = d.others + excluded.others;
END
$$;


-- billing.stats_here: these members were here at these times.
CREATE OR REPLACE FUNCTION billing.stats_here(accounts bigint[],
    times timestamptz[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    v_days     date[];
    v_accounts bigint[];
BEGIN
    WITH new AS (
        INSERT INTO stats.active_day (day, account_id)
        SELECT DISTINCT (x.at AT TIME ZONE 'UTC')::date, x.id
          FROM unnest(accounts, times) AS x(id, at)
        ON CONFLICT DO NOTHING
        RETURNING day, account_id)
    SELECT array_agg(n.day), array_agg(n.account_id)
      INTO v_days, v_accounts FROM new n;

    INSERT INTO stats.day AS d (day, active)
    SELECT n.day, count(*) FROM unnest(v_days) AS n(day) GROUP BY n.day
    ON CONFLICT (day) DO UPDATE SET active = d.active + excluded.active;

    INSERT INTO stats.cohort AS c (age, joined, here)
    SELECT n.day - m.joined, m.joined, count(*)
      FROM unnest(v_days, v_accounts) AS n(day, id)
      JOIN stats.member m ON m.account_id = n.id
     WHERE n.day >= m.joined
     GROUP BY 1, 2
    ON CONFLICT (age, joined) DO UPDATE SET here = c.here + excluded.here;

    -- from the last day that each was known to be here, to this one
    WITH later AS (
        SELECT m.account_id AS id, m.last_here AS before, max(n.day) AS after
          FROM unnest(v_days, v_accounts) AS n(day, id)
          JOIN stats.member m ON m.account_id = n.id
         GROUP BY 1, 2
        HAVING coalesce(max(n.day) > m.last_here, true)),
    moved AS (
        UPDATE stats.member m SET last_here = l.after
          FROM later l WHERE m.account_id = l.id)
    INSERT INTO stats.day AS d (day, last_here)
    SELECT x.day, sum(x.n)
      FROM (SELECT l.before, -1 FROM later l WHERE l.before IS NOT NULL
            UNION ALL SELECT l.after, 1 FROM later l) AS x(day, n)
     GROUP BY x.day
    ON CONFLICT (day) DO UPDATE SET last_here = d.last_here
                                                + excluded.last_here;
END
$$;


-- billing.stats_sessions: these sessions are settled.
CREATE OR REPLACE FUNCTION billing.stats_sessions(sessions bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    WITH s AS (
        SELECT (coalesce(x.ended_at, x.created_at) AT TIME ZONE 'UTC')::date
                   AS day, x.advisor_id, count(*) AS sessions,
               count(*) FILTER (WHERE x.accepted_at IS NOT NULL
                                   OR x.billed_ms > 0) AS answered,
               count(*) FILTER (WHERE x.billed_ms > 0) AS completed,
               sum(x.billed_ms)::bigint AS billed_ms,
               sum(x.charged)::bigint AS charged, sum(x.fee)::bigint AS fee
          FROM consult.session x
         WHERE x.id = ANY(stats_sessions.sessions)
         GROUP BY 1, 2),
    each AS (
        INSERT INTO stats.advisor_day AS d (day, advisor_id, sessions,
               answered, completed, billed_ms, charged, fee)
        SELECT s.* FROM s
        ON CONFLICT (day, advisor_id) DO UPDATE
           SET sessions = d.sessions + excluded.sessions,
               answered = d.answered + excluded.answered,
               completed = d.completed + excluded.completed,
               billed_ms = d.billed_ms + excluded.billed_ms,
               charged = d.charged + excluded.charged,
               fee = d.fee + excluded.fee)
    INSERT INTO stats.day AS d (day, sessions, answered, completed,
           billed_ms, charged, fee)
    SELECT s.day, sum(s.sessions), sum(s.answered), sum(s.completed),
           sum(s.billed_ms), sum(s.charged), sum(s.fee)
      FROM s GROUP BY s.day
    ON CONFLICT (day) DO UPDATE
       SET sessions = d.sessions + excluded.sessions,
           answered = d.answered + excluded.answered,
           completed = d.completed + excluded.completed,
           billed_ms = d.billed_ms + excluded.billed_ms,
           charged = d.charged + excluded.charged,
           fee = d.fee + excluded.fee;

    WITH paid AS (
        UPDATE stats.member m SET converted = true
         WHERE m.account_id = ANY(ARRAY(
                   SELECT x.client_id FROM consult.session x
                    WHERE x.id = ANY(stats_sessions.sessions)
                      AND x.charged > 0))
           AND NOT m.converted AND m.role = 'client'
        RETURNING m.joined)
    INSERT INTO stats.day AS d (day, converted)
    SELECT p.joined, count(*) FROM paid p GROUP BY p.joined
    ON CONFLICT (day) DO UPDATE SET converted = d.converted
                                                + excluded.converted;
END
$$;


-- billing.stats_roll: takes up to 20,000 things out of the queue, or counts as
-- many that were there before, and adds them up; then what is true of now, at
-- most twice a minute.  At any time, by anybody; one works.  Returns NULL if
-- there is nothing more to do now, or another one works.
CREATE OR REPLACE FUNCTION billing.stats_roll() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    c_many   constant int := 20000;
    m        stats.mark;
    v_begun  timestamptz := clock_timestamp();
    v_what   "char"[];
    v_about  bigint[];
    v_at     timestamptz[];
    v_done   bigint := 0;
    v_ids    bigint[];
    v_who    bigint[];
    v_when   timestamptz[];
BEGIN
    SELECT x.* INTO m FROM stats.mark x FOR UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    IF m.accounts < m.accounts_end THEN
        v_ids := ARRAY(SELECT a.id FROM identity.account a
                        WHERE a.id > m.accounts AND a.id <= m.accounts_end
                        ORDER BY a.id LIMIT c_many);
        PERFORM billing.stats_members(v_ids);
        UPDATE stats.mark x SET accounts = coalesce(
            v_ids[cardinality(v_ids)], x.accounts_end);
        RETURN cardinality(v_ids);
    END IF;

    IF m.sessions < m.sessions_end THEN
        SELECT array_agg(s.id ORDER BY s.id),
               array_agg(s.client_id ORDER BY s.id),
               array_agg(s.created_at ORDER BY s.id)
          INTO v_ids, v_who, v_when
          FROM (SELECT x.id, x.client_id, x.created_at FROM consult.session x
                 WHERE x.id > m.sessions AND x.id <= m.sessions_end
                 ORDER BY x.id LIMIT c_many) s;

        PERFORM billing.stats_here(v_who, v_when);
        PERFORM billing.stats_sessions(ARRAY(
            SELECT i.id FROM unnest(v_ids) AS i(id)
             WHERE (SELECT true FROM stats.later l
                     WHERE l.session_id = i.id LIMIT 1) IS NULL));
        UPDATE stats.mark x SET sessions = coalesce(
            v_ids[cardinality(v_ids)], x.sessions_end);
        RETURN coalesce(cardinality(v_ids), 0);
    END IF;

    WITH taken AS (
        DELETE FROM stats.fresh f
         WHERE f.id = ANY(ARRAY(SELECT x.id FROM stats.fresh x
                                 ORDER BY x.id LIMIT c_many))
        RETURNING f.what, f.about, f.at)
    SELECT count(*), array_agg(t.what), array_agg(t.about), array_agg(t.at)
      INTO v_done, v_what, v_about, v_at FROM taken t;

    IF v_done > 0 THEN
        v_ids := ARRAY(SELECT x.about FROM unnest(v_what, v_about)
                           AS x(what, about) WHERE x.what = 's');

        -- whoever is counted in any way is a member first
        PERFORM billing.stats_members(ARRAY(
            SELECT x.about FROM unnest(v_what, v_about) AS x(what, about)
             WHERE x.what <> 's'
            UNION
            SELECT s.client_id FROM consult.session s
             WHERE s.id = ANY(v_ids)));

        SELECT array_agg(x.about), array_agg(x.at) INTO v_who, v_when
          FROM unnest(v_what, v_about, v_at) AS x(what, about, at)
         WHERE x.what = 'h';

        PERFORM billing.stats_here(v_who, v_when);
        PERFORM billing.stats_sessions(v_ids);
    END IF;

    IF v_done = c_many THEN
        RETURN v_done;
    END IF;

    UPDATE stats.mark x SET rolled_at = v_begun;

    IF coalesce(m.now_at < v_begun - interval '30 s', true) THEN
        PERFORM billing.stats_now();
    END IF;

    RETURN NULL;
END
$$;


-- billing.stats_now: what is true of now, into stats.mark.  due: what advisors
-- have and is not on its way to them, with what their live sessions have earned
-- so far.  It reads all wallets: some hundred ms of a million.
CREATE OR REPLACE FUNCTION billing.stats_now() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE stats.mark x
       SET now_at = clock_timestamp(),
           (live, active) = (
               SELECT count(*) FILTER (WHERE s.state <> 'ended'),
                      count(*) FILTER (WHERE s.state = 'active')
                 FROM consult.session s WHERE NOT s.settled),
           (due, due_advisors) = (
               SELECT coalesce(sum(w.balance), 0),
                      count(*) FILTER (WHERE w.balance > 0)
                 FROM ledger.wallet w WHERE w.kind = 'advisor'),
           under_way = (
               SELECT coalesce(sum(p.amount), 0) FROM ledger.payout p
                WHERE p.state IN ('pending', 'submitted'));

    UPDATE stats.mark x
       SET due = x.due + (SELECT coalesce(sum(s.charged - s.fee
                                              - s.credited), 0)
                            FROM consult.session s WHERE NOT s.settled);
END
$$;


-- billing.stats_gauges: for billing.gauges(); the rates are of the last 30 days,
-- in 1/10000, and there is none of nothing.
CREATE OR REPLACE FUNCTION billing.stats_gauges()
RETURNS TABLE (name text, labels text, value bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    d       record;
BEGIN
    SELECT sum(x.sessions) AS sessions, sum(x.answered) AS answered,
           sum(x.completed) AS completed, sum(x.clients) AS clients,
           sum(x.converted) AS converted, sum(x.last_here) AS active,
           sum(x.last_here) FILTER (WHERE x.day = v_today) AS today
      INTO d FROM stats.day x WHERE x.day > v_today - 30;

    RETURN QUERY
    SELECT g.name, g.labels, g.value::bigint
      FROM stats.mark m
     CROSS JOIN LATERAL (VALUES
           ('business_sessions', 'state="live"', m.live),
           ('business_sessions', 'state="active"', m.active),
           ('business_users', 'active="day"', d.today),
           ('business_users', 'active="month"', d.active),
           ('business_rate', 'of="answered"',
            10000 * d.answered / nullif(d.sessions, 0)),
           ('business_rate', 'of="completed"',
            10000 * d.completed / nullif(d.sessions, 0)),
           ('business_rate', 'of="converted"',
            10000 * d.converted / nullif(d.clients, 0)),
           ('business_rate', 'of="retained"', (
            SELECT 10000 * sum(c.here) / nullif(sum(y.clients + y.advisors
                                                    + y.others), 0)
              FROM stats.day y
              LEFT JOIN stats.cohort c ON c.age = 7 AND c.joined = y.day
             WHERE y.day BETWEEN v_today - 37 AND v_today - 8)),
           ('business_due', '', m.due),
           ('business_revenue', 'days="1"', billing.stats_kept(v_today)),
           ('business_revenue', 'days="30"',
            billing.stats_kept(v_today - 29))) AS g(name, labels, value)
     WHERE m.now_at IS NOT NULL AND g.value IS NOT NULL;
END
$$;


-- billing.stats_kept: what the platform has kept since that day: its fees, less
-- what it gave back of them.
CREATE OR REPLACE FUNCTION billing.stats_kept(since date) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT coalesce(sum(d.fee), 0)
                   - coalesce(sum(d.amount) FILTER (WHERE d.kind
                                                    = 'reversal_fee'), 0)
              FROM ledger.daily d WHERE d.day >= since);
END
$$;


REVOKE ALL ON FUNCTION billing.stats_members(bigint[]),
    billing.stats_here(bigint[], timestamptz[]),
    billing.stats_sessions(bigint[]), billing.stats_now(),
    billing.stats_roll(), billing.stats_gauges(), billing.stats_kept(date)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.stats_roll() TO astro_worker;

RESET ROLE;
