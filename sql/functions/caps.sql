-- caps: what a client wants to spend at most in a day and in a week, and until
-- when not at all.
--
-- Days and weeks are UTC's, a week begins on Monday.  What counts: what sessions
-- have charged and hold, on the day on which they were started, to their end;
-- gifts, and deposits that became an advisor's, when they did.  Promo counts as
-- money does; what is given back later does not come off.  A deposit that was
-- promised is kept, whatever the cap has become: what bookings that begin within
-- the day, or the week, hold is no room for anything else; and a new booking needs
-- room beside what all bookings hold.
--
-- A session's cap (consult.session.cap_minor) is what there was room for when it
-- started.  A gift, or a lower limit, lowers it at once, but never below what the
-- session has charged and holds: gateways were told of that.  So the session ends
-- when that is used, a minute later at the most (paid_ahead_seconds).  It is never
-- raised.
--
-- What is lowered is so at once; what is raised, or taken away, is so 24 h later,
-- and asking again begins these anew.  An exclusion is only ever made longer.
--
-- Locks: the advisory lock (1, hash of the client), as every start of a session;
-- the session; then wallets.

SET ROLE astro_engine;


-- consult.limit_of: an account's limits, as they are now; no row: none.
CREATE OR REPLACE FUNCTION consult.limit_of(account bigint)
RETURNS ledger.spend_limit
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    l     ledger.spend_limit;
    v_now timestamptz := clock_timestamp();
BEGIN
    SELECT x.* INTO l FROM ledger.spend_limit x WHERE x.account_id = account;

    IF l.day_at <= v_now THEN
        l.day_minor := l.day_next;
        l.day_next := NULL;
        l.day_at := NULL;
    END IF;

    IF l.week_at <= v_now THEN
        l.week_minor := l.week_next;
        l.week_next := NULL;
        l.week_at := NULL;
    END IF;

    IF l.excluded_until <= v_now THEN
        l.excluded_until := NULL;
    END IF;

    RETURN l;
END
$$;


-- consult.not_excluded: refuses who has excluded himself.
CREATE OR REPLACE FUNCTION consult.not_excluded(account bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l ledger.spend_limit := consult.limit_of(account);
BEGIN
    IF l.excluded_until IS NOT NULL THEN
        PERFORM consult.fail('forbidden', 'you have excluded yourself until '
                             || consult.rfc3339(l.excluded_until));
    END IF;
END
$$;


-- consult.spent: what an account has spent from since to until, but for one
-- session (or NULL).
CREATE OR REPLACE FUNCTION consult.spent(account bigint, since timestamptz,
    until timestamptz, but bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    v_wallet bigint := (billing.ledger_wallet(account, 'client')).id;
BEGIN
    RETURN coalesce((SELECT sum(s.charged + s.held) FROM consult.session s
                      WHERE s.client_wallet = v_wallet
                        AND s.created_at >= since AND s.created_at < until
                        AND s.id IS DISTINCT FROM but), 0)
           + coalesce((SELECT sum(t.amount) FROM ledger.transfer t
                        WHERE t.debit_account = v_wallet
                          AND t.session_id IS NULL
                          AND t.kind IN ('gift', 'deposit')
                          AND t.at >= since AND t.at < until), 0);
END
$$;


-- consult.promised: what an account's bookings hold that begin before until, but
-- for that of one session (or NULL).
CREATE OR REPLACE FUNCTION consult.promised(account bigint,
    until timestamptz, but bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    RETURN coalesce((SELECT sum(b.held) FROM consult.booking b
                      WHERE b.client_id = account AND b.ended_at IS NULL
                        AND b.start_at < until
                        AND (but IS NULL
                             OR b.session_id IS DISTINCT FROM but)), 0);
END
$$;


-- consult.cap_room: what an account may still spend on the day and in the week of
-- this instant, besides what one session (or NULL) takes of it, and what is
-- promised until their end, or until then; NULL: as much as it has.
CREATE OR REPLACE FUNCTION consult.cap_room(account bigint, at timestamptz,
    but bigint, until timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l     ledger.spend_limit := consult.limit_of(account);
    v_day timestamptz := date_trunc('day', at, 'UTC');
    v_mon timestamptz := date_trunc('week', at, 'UTC');
BEGIN
    RETURN least(CASE WHEN l.day_minor IS NOT NULL
                      THEN l.day_minor - consult.spent(account, v_day,
                               v_day + interval '24 h', but)
                           - consult.promised(account,
                               greatest(until, v_day + interval '24 h'), but)
                      END,
                 CASE WHEN l.week_minor IS NOT NULL
                      THEN l.week_minor - consult.spent(account, v_mon,
                               v_mon + interval '168 h', but)
                           - consult.promised(account,
                               greatest(until, v_mon + interval '168 h'), but)
                      END);
END
$$;


-- consult.cap_begin: a session that has just been made, in its transaction: what
-- it may charge.  need: what it must be able to charge to be of any use.  Refuses
-- with 403 (excluded) and 409.
CREATE OR REPLACE FUNCTION consult.cap_begin(session bigint, need numeric)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    s      consult.session;
    v_room bigint;
BEGIN
    SELECT x.* INTO STRICT s FROM consult.session x WHERE x.id = session;

    v_room := consult.cap_room(s.client_id, s.created_at, s.id, NULL);

    -- of a booking, by the advisor, who need not know why
    IF consult.caller() <> s.client_id
       AND (v_room < greatest(need, 1)
            OR (consult.limit_of(s.client_id)).excluded_until IS NOT NULL)
    THEN
        PERFORM consult.fail('conflict', 'the client cannot pay for it now');
    END IF;

    PERFORM consult.not_excluded(s.client_id);

    IF v_room < greatest(need, 1) THEN
        PERFORM consult.fail('conflict', 'the limit of what you want to '
                             'spend is reached');
    END IF;

    IF v_room IS NOT NULL THEN
        UPDATE consult.session x SET cap_minor = v_room WHERE x.id = s.id;
    END IF;
END
$$;


-- consult.cap_again: the live session of an account, if there is one, may charge
-- less from now on, if so.  Who calls it has the advisory lock.
CREATE OR REPLACE FUNCTION consult.cap_again(account bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    s     consult.session;
    v_cap bigint;
BEGIN
    FOR s IN SELECT x.* FROM consult.session x
              WHERE x.client_id = account AND x.state <> 'ended'
              ORDER BY x.id FOR NO KEY UPDATE
    LOOP
        v_cap := consult.cap_room(account, s.created_at, s.id, NULL);
        CONTINUE WHEN v_cap IS NULL;

        -- what is begun is paid for, and what is held was told of
        v_cap := greatest(v_cap, s.charged + s.held, s.min_minor, 1);

        IF v_cap < coalesce(s.cap_minor, v_cap + 1) THEN
            UPDATE consult.session x
               SET cap_minor = v_cap, ver = x.ver + 1, rev = x.rev + 1
             WHERE x.id = s.id;
        END IF;
    END LOOP;
END
$$;


-- consult.cap_spend: an account is about to spend amount beside its sessions, in
-- this transaction, under the advisory lock: refuses it if there is no room beside
-- that and what is promised, as cap_room.
CREATE OR REPLACE FUNCTION consult.cap_spend(account bigint, amount bigint,
    until timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM consult.not_excluded(account);

    IF consult.cap_room(account, clock_timestamp(), NULL, until)
       < amount THEN
        PERFORM consult.fail('conflict', 'the limit of what you want to '
                             'spend is reached');
    END IF;
END
$$;


-- consult.limit_set: sets what is given (day, week: NULL takes it away; only
-- what the flags say is touched) and returns the limits as they are then.
CREATE OR REPLACE FUNCTION consult.limit_set(account bigint, set_day boolean,
    day bigint, set_week boolean, week bigint, until timestamptz)
RETURNS ledger.spend_limit
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    l       ledger.spend_limit;
    v_never constant bigint := 9223372036854775807;
    v_later timestamptz := clock_timestamp() + interval '24 h';
BEGIN
    PERFORM pg_advisory_xact_lock(1, hashint8(account));

    l := consult.limit_of(account);
    l.account_id := account;

    IF set_day THEN
        IF coalesce(day, v_never) <= coalesce(l.day_minor, v_never) THEN
            l.day_minor := day;
            l.day_next := NULL;
            l.day_at := NULL;
        ELSIF l.day_at IS NULL OR l.day_next IS DISTINCT FROM day THEN
            l.day_next := day;
            l.day_at := v_later;
        END IF;
    END IF;

    IF set_week THEN
        IF coalesce(week, v_never) <= coalesce(l.week_minor, v_never) THEN
            l.week_minor := week;
            l.week_next := NULL;
            l.week_at := NULL;
        ELSIF l.week_at IS NULL OR l.week_next IS DISTINCT FROM week THEN
            l.week_next := week;
            l.week_at := v_later;
        END IF;
    END IF;

    l.excluded_until := greatest(l.excluded_until, until);

    INSERT INTO ledger.spend_limit SELECT l.*
    ON CONFLICT (account_id) DO UPDATE
       SET day_minor = excluded.day_minor, week_minor = excluded.week_minor,
           day_next = excluded.day_next, day_at = excluded.day_at,
           week_next = excluded.week_next, week_at = excluded.week_at,
           excluded_until = excluded.excluded_until;

    PERFORM consult.cap_again(account);

    RETURN l;
END
$$;


-- consult.limit_body: the limits as their account sees them.
CREATE OR REPLACE FUNCTION consult.limit_body(account bigint) RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l     ledger.spend_limit := consult.limit_of(account);
    v_cur text := consult.currency();
    v_day timestamptz := date_trunc('day', clock_timestamp(), 'UTC');
    v_mon timestamptz := date_trunc('week', clock_timestamp(), 'UTC');
BEGIN
    RETURN (SELECT row_to_json(x) FROM (
        SELECT consult.money(l.day_minor, v_cur)::json AS day,
               consult.money(l.week_minor, v_cur)::json AS week,
               consult.rfc3339(l.excluded_until) AS excluded_until,
               CASE WHEN l.day_at IS NOT NULL THEN json_build_object(
                   'limit', consult.money(l.day_next, v_cur)::json,
                   'at', consult.rfc3339(l.day_at)) END AS day_next,
               CASE WHEN l.week_at IS NOT NULL THEN json_build_object(
                   'limit', consult.money(l.week_next, v_cur)::json,
                   'at', consult.rfc3339(l.week_at)) END AS week_next,
               consult.money(consult.spent(account, v_day,
                   v_day + interval '24 h', NULL), v_cur)::json AS spent_day,
               consult.money(consult.spent(account, v_mon,
                   v_mon + interval '168 h', NULL), v_cur)::json
                   AS spent_week) x);
END
$$;


-- Of the version before.
DROP FUNCTION IF EXISTS consult.cap_room(bigint, timestamptz, bigint),
    consult.cap_spend(bigint, bigint);


REVOKE ALL ON FUNCTION consult.limit_of(bigint),
    consult.not_excluded(bigint),
    consult.spent(bigint, timestamptz, timestamptz, bigint),
    consult.promised(bigint, timestamptz, bigint),
    consult.cap_room(bigint, timestamptz, bigint, timestamptz),
    consult.cap_begin(bigint, numeric), consult.cap_again(bigint),
    consult.cap_spend(bigint, bigint, timestamptz),
    consult.limit_set(bigint, boolean, bigint, boolean, bigint, timestamptz),
    consult.limit_body(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.not_excluded(bigint),
    consult.cap_begin(bigint, numeric),
    consult.cap_spend(bigint, bigint, timestamptz),
    consult.limit_set(bigint, boolean, bigint, boolean, bigint, timestamptz),
    consult.limit_body(bigint) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.limits: {day,week,excluded_until,day_next,week_next,spent_day,spent_week}:
-- money or null; *_next is {limit,at}, a limit (null: none) that is one later.
--
-- Called by GET /api/me/limits.
CREATE OR REPLACE FUNCTION api.limits(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT 200, consult.limit_body(caller);
END
$$;


-- api.limits_edit: {"day":50000,"week":null,"excluded_until":"2026-.."}: what is
-- there is set; null takes a limit away.  Money in minor units.  Lower is at once,
-- higher in 24 h; an exclusion, of at most five years, is only ever made longer.
--
--   200 as api.limits
--   400 bad_request, with its field
--   409 conflict, field "/excluded_until"    you are excluded for longer
--
-- Called by PUT /api/me/limits.
CREATE OR REPLACE FUNCTION api.limits_edit(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l       ledger.spend_limit;
    v_day   bigint := consult.f_int(doc, 'day', 1, 1000000000000, false);
    v_week  bigint := consult.f_int(doc, 'week', 1, 1000000000000, false);
    v_until timestamptz := consult.f_time(doc, 'excluded_until', false);
BEGIN
    IF v_until <= clock_timestamp()
       OR v_until > clock_timestamp() + interval '5 years' THEN
        PERFORM consult.fail('bad_request', 'excluded_until is within five '
                             'years from now', '/excluded_until');
    END IF;

    l := consult.limit_set(caller, consult.has(doc, 'day'), v_day,
                           consult.has(doc, 'week'), v_week, v_until);

    IF v_until < l.excluded_until THEN
        PERFORM consult.fail('conflict', 'you are excluded until '
                             || consult.rfc3339(l.excluded_until),
                             '/excluded_until');
    END IF;

    RETURN QUERY SELECT 200, consult.limit_body(caller);
END
$$;


REVOKE ALL ON FUNCTION api.limits(bigint), api.limits_edit(bigint, json)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.limits(bigint), api.limits_edit(bigint, json)
    TO astro_web;

RESET ROLE;
