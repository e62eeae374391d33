-- payout_order: payouts that an admin asks for.  A worker makes them: it knows
-- the minimum and the vendor.

SET ROLE astro_owner;

-- consult.payout_order_body: an order as admins see it.
CREATE OR REPLACE FUNCTION consult.payout_order_body(o ledger.payout_order)
RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object('id', 'r_' || o.id, 'date', o.day,
               'dry_run', o.dry_run, 'state',
               CASE WHEN o.finished_at IS NOT NULL THEN 'done'
                    WHEN o.started_at IS NOT NULL THEN 'running'
                    ELSE 'waiting' END,
               'made', o.made,
               'amount', consult.money(o.amount, consult.currency())::json,
               'nowhere', o.nowhere, 'asked_by', 'u_' || o.asked_by,
               'asked_at', consult.rfc3339(o.asked_at),
               'finished_at', consult.rfc3339(o.finished_at))
$$;

REVOKE ALL ON FUNCTION consult.payout_order_body(ledger.payout_order)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.payout_order_body(ledger.payout_order)
   TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.payouts_process: the payouts of a day, now; {date?,dry_run?}: today (UTC),
-- false.  Of a day that was paid out already it pays those who have something
-- and have had no payout of that day.  While the same is being done, that is
-- the answer: it is not begun twice.
--
--   202, or 200 if it was asked for before and is not done:
--       {id,date,dry_run,state,made,amount,nowhere,asked_by,asked_at,
--        finished_at}
--       state: waiting, running, done; made, amount: payouts, or those that
--       would be; nowhere: who would be paid, and has no account to be paid to
--   400 bad_request, with its field
--   403 forbidden                         no admin (any more)
--
-- Called by POST /api/admin/payouts.
CREATE OR REPLACE FUNCTION api.payouts_process(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_today date    := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_day   date    := coalesce(consult.f_date(doc, 'date', false), v_today);
    v_dry   boolean := coalesce(consult.f_bool(doc, 'dry_run', false), false);
    v_made  boolean;
    o       ledger.payout_order;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT consult.caller_is_admin() THEN
        PERFORM consult.fail('forbidden', 'only an admin has payouts made');
    END IF;

    IF v_day > v_today THEN
        PERFORM consult.fail('bad_request', 'this day has not begun',
                             '/date');
    END IF;

    INSERT INTO ledger.payout_order AS x (day, dry_run, asked_by)
    VALUES (v_day, v_dry, caller)
    ON CONFLICT (day, dry_run) WHERE finished_at IS NULL DO NOTHING
    RETURNING x.* INTO o;

    v_made := FOUND;

    IF v_made THEN
        PERFORM consult.admin_act(caller, 'payouts_process', 'r_' || o.id,
                    jsonb_build_object('date', v_day, 'dry_run', v_dry));
    ELSE
        SELECT x.* INTO o FROM ledger.payout_order x
         WHERE x.day = v_day AND x.dry_run = v_dry AND x.finished_at IS NULL;

        IF NOT FOUND THEN
            PERFORM consult.fail('conflict', 'it has just been done');
        END IF;
    END IF;

    RETURN QUERY SELECT CASE WHEN v_made THEN 202 ELSE 200 END,
                        consult.payout_order_body(o);
END
$$;


-- api.payouts_list: payouts of all, by day, the latest first, and what was asked
-- for last.  cap: 1 to 200 days.
--
--   200 {data:[{date,finished_at,payouts:[{state,count,amount}]}],next_cursor,
--        orders:[as of api.payouts_process, the last 20]}
--       finished_at: of the day's run, null while it is not over
--   400 bad_request, field "/cursor"
--   403 forbidden                         no admin (any more)
--
-- Called by GET /api/admin/payouts.
CREATE OR REPLACE FUNCTION api.payouts_list(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- days since 2000
    v_before bigint := consult.cursor_id(cursor, 1000000);
    v_page   json;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT consult.caller_is_admin() THEN
        PERFORM consult.fail('forbidden', 'only an admin sees all payouts');
    END IF;

    IF v_before IS NULL OR v_before > 1000000 THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    -- from day to day by the index
    WITH RECURSIVE day AS (
        SELECT (SELECT max(p.day) FROM ledger.payout p
                 WHERE p.day < date '2000-01-01' + v_before::int) AS day,
               1 AS n
         UNION ALL
        SELECT (SELECT max(p.day) FROM ledger.payout p WHERE p.day < d.day),
               d.n + 1
          FROM day d WHERE d.day IS NOT NULL AND d.n <= cap)
    SELECT consult.page(array_agg(x.doc ORDER BY x.n DESC),
                        array_agg(x.n ORDER BY x.n DESC), cap) INTO v_page
      FROM (SELECT (d.day - date '2000-01-01')::bigint AS n,
                   json_build_object('date', d.day, 'finished_at',
                       (SELECT consult.rfc3339(r.finished_at)
                          FROM ledger.payout_run r WHERE r.day = d.day),
                       'payouts',
                       (SELECT json_agg(json_build_object('state', y.state,
                                   'count', y.n, 'amount',
                                   consult.money(y.amount,
                                                 consult.currency())::json)
                                        ORDER BY y.state)
                          FROM (SELECT p.state, count(*) AS n,
                                       sum(p.amount)::bigint AS amount
                                  FROM ledger.payout p WHERE p.day = d.day
                                 GROUP BY p.state) y))::text AS doc
              FROM day d WHERE d.day IS NOT NULL) x;

    RETURN QUERY
    SELECT 200, (left(v_page::text, -1) || ',"orders":' || coalesce(
               (SELECT json_agg(consult.payout_order_body(o)
                                ORDER BY o.id DESC)
                  FROM (SELECT x.* FROM ledger.payout_order x
                         ORDER BY x.id DESC LIMIT 20) o), '[]'::json)::text
           || '}')::json;
END
$$;


REVOKE ALL ON FUNCTION api.payouts_process(bigint, json),
    api.payouts_list(bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.payouts_process(bigint, json),
    api.payouts_list(bigint, int, text) TO astro_web;

RESET ROLE;
SET ROLE astro_engine;


-- billing.payout_order_next: a page of the oldest order that nobody is busy
-- with.  No row: there is none.  Where it has got to is in the row, in the same
-- transaction: whatever dies, another worker goes on there.
CREATE OR REPLACE FUNCTION billing.payout_order_next(minimums text, cap int)
RETURNS TABLE (id bigint, made int, amount bigint, nowhere int, done boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    o ledger.payout_order;
    p record;
BEGIN
    SELECT x.* INTO o FROM ledger.payout_order x
     WHERE x.finished_at IS NULL
     ORDER BY x.day, x.dry_run LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF o.dry_run THEN
        SELECT * INTO STRICT p
          FROM billing.payout_preview(o.day, minimums, o.after, cap);
    ELSE
        SELECT * INTO STRICT p
          FROM billing.payout_page(o.day, minimums, o.after, cap);
    END IF;

    IF p.last IS NULL AND NOT o.dry_run THEN
        PERFORM billing.payout_finish(o.day);
    END IF;

    UPDATE ledger.payout_order x
       SET after = coalesce(p.last, x.after), made = x.made + p.made,
           amount = x.amount + p.amount, nowhere = x.nowhere + p.nowhere,
           started_at = coalesce(x.started_at, clock_timestamp()),
           finished_at = CASE WHEN p.last IS NULL THEN clock_timestamp() END
     WHERE x.id = o.id;

    RETURN QUERY SELECT o.id, CASE WHEN o.dry_run THEN 0 ELSE p.made END,
                        p.amount, p.nowhere, p.last IS NULL;
END
$$;


REVOKE ALL ON FUNCTION billing.payout_order_next(text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.payout_order_next(text, int)
   TO astro_worker;

RESET ROLE;
