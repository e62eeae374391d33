-- schedule: when advisors work, and the slots that follow from it.
--
-- Hours are said by the clock on the advisor's wall: weekly ones, and those of
-- single dates, which then replace their weekday's.  They become instants by
-- one rule, which also holds on the days when that clock is changed: a span
-- begins at the first instant at which the clock shows its beginning or later,
-- and ends at the first at which it shows its end or later.  So an hour that is
-- skipped has no slots, and one that the clock shows twice has them twice.

SET ROLE astro_owner;


-- consult.first_instant: the first instant at which the clocks of this zone
-- show this, or later.
--
-- Their offset is looked up a day before and a day after.  Mostly one of the
-- two gives the instant, the earlier one if the clock shows it twice.  If
-- neither does, it is skipped: they are changed between the two, at a whole
-- minute.
CREATE OR REPLACE FUNCTION consult.first_instant(shown timestamp, zone text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_utc    timestamptz := shown AT TIME ZONE 'UTC';
    v_before timestamptz := v_utc - interval '24 hours';
    v_after  timestamptz := v_utc + interval '24 hours';
BEGIN
    -- local time minus its offset from UTC, by either offset
    v_before := v_utc - ((v_before AT TIME ZONE zone)
                         - (v_before AT TIME ZONE 'UTC'));
    v_after := v_utc - ((v_after AT TIME ZONE zone)
                        - (v_after AT TIME ZONE 'UTC'));

    IF least(v_before, v_after) AT TIME ZONE zone = shown THEN
        RETURN least(v_before, v_after);
    END IF;

    IF greatest(v_before, v_after) AT TIME ZONE zone = shown THEN
        RETURN greatest(v_before, v_after);
    END IF;

    RETURN (SELECT min(m) FROM generate_series(least(v_before, v_after),
                                   greatest(v_before, v_after),
                                   interval '1 minute') m
             WHERE m AT TIME ZONE zone >= shown);
END
$$;


-- consult.f_minutes: a time of the day, "09:30", "24:00" as an end.
CREATE OR REPLACE FUNCTION consult.f_minutes(doc json, key text, at text)
RETURNS int
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_text text := consult.f_text(doc, key, 5, 5, true, at);
BEGIN
    IF v_text !~ '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$' THEN
        PERFORM consult.fail('bad_request', key || ' is a time like 09:30',
                             at || '/' || key);
    END IF;

    RETURN left(v_text, 2)::int * 60 + right(v_text, 2)::int;
END
$$;


-- consult.schedule_part: refuses an element of a list that is no object.
CREATE OR REPLACE FUNCTION consult.schedule_part(part json, at text)
RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF json_typeof(part) <> 'object' THEN
        PERFORM consult.fail('bad_request', 'hours are objects', at);
    END IF;
END
$$;


-- consult.schedule_end: the member "to", which is after "from".
CREATE OR REPLACE FUNCTION consult.schedule_end(part json, at text)
RETURNS int
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_to int := consult.f_minutes(part, 'to', at);
BEGIN
    IF v_to <= consult.f_minutes(part, 'from', at) THEN
        PERFORM consult.fail('bad_request', 'to is after from, on that day',
                             at || '/to');
    END IF;

    RETURN v_to;
END
$$;


-- consult.clock: minutes of a day as people write them.
CREATE OR REPLACE FUNCTION consult.clock(minutes int) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT lpad((minutes / 60)::text, 2, '0') || ':'
           || lpad((minutes % 60)::text, 2, '0')
$$;


-- consult.schedule_body: an advisor's hours as the advisor said them.
CREATE OR REPLACE FUNCTION consult.schedule_body(advisor bigint) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT row_to_json(x) FROM (
        SELECT c.time_zone, coalesce(c.slot_min, 30) AS slot_minutes,
               coalesce(c.lead_min, 60) AS lead_minutes,
               coalesce(c.ahead_days, 30) AS ahead_days,
               coalesce((SELECT json_agg(row_to_json(w) ORDER BY w.day, w.from)
                   FROM (SELECT h.weekday AS day,
                                consult.clock(h.from_min) AS "from",
                                consult.clock(h.to_min) AS "to"
                           FROM consult.hours h
                          WHERE h.advisor_id = advisor
                            AND h.weekday IS NOT NULL) w), '[]') AS week,
               coalesce((SELECT json_agg(row_to_json(d) ORDER BY d.date)
                   FROM (SELECT h.day AS date,
                                coalesce(json_agg(json_build_object(
                                    'from', consult.clock(h.from_min),
                                    'to', consult.clock(h.to_min))
                                    ORDER BY h.from_min)
                                FILTER (WHERE h.from_min IS NOT NULL), '[]')
                                AS hours
                           FROM consult.hours h
                          WHERE h.advisor_id = advisor AND h.day IS NOT NULL
                          GROUP BY h.day) d), '[]') AS days
          FROM (SELECT) one
          LEFT JOIN consult.schedule c ON c.advisor_id = advisor) x);
END
$$;


-- consult.slots: the slots of an advisor that begin in "from" <= start < till,
-- without those that are taken, too near or too far.
CREATE OR REPLACE FUNCTION consult.slots(advisor bigint, "from" timestamptz,
    till timestamptz)
RETURNS TABLE (start_at timestamptz, end_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    c       consult.schedule;
    v_now   timestamptz := clock_timestamp();
    v_slot  interval;
    v_first timestamptz;
    v_last  timestamptz;
BEGIN
    SELECT x.* INTO c FROM consult.schedule x
     WHERE x.advisor_id = slots.advisor;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    v_slot := make_interval(mins => c.slot_min);
    v_first := greatest(slots."from",
                        v_now + make_interval(mins => c.lead_min));
    v_last := least(slots.till,
                    v_now + make_interval(hours => c.ahead_days * 24));

    IF v_first >= v_last THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH day AS (
        SELECT d::date AS day
          FROM generate_series((v_first AT TIME ZONE c.time_zone)::date - 1,
                               (v_last AT TIME ZONE c.time_zone)::date + 1,
                               interval '1 day') d),
    said AS MATERIALIZED (
        SELECT h.* FROM consult.hours h WHERE h.advisor_id = slots.advisor),
    work AS (
        SELECT consult.first_instant(d.day + make_interval(mins => h.from_min),
                                     c.time_zone) AS start_at,
               consult.first_instant(d.day + make_interval(mins => h.to_min),
                                     c.time_zone) AS end_at
          FROM day d
          JOIN said h ON h.from_min IS NOT NULL
               AND (h.day = d.day
                    OR h.weekday = extract(isodow FROM d.day)
                       AND NOT EXISTS (SELECT FROM said x
                                        WHERE x.day = d.day)))
    SELECT s.start_at, s.start_at + v_slot
      FROM (SELECT generate_series(w.start_at, w.end_at - v_slot, v_slot)
                   AS start_at
              FROM work w) s
     WHERE s.start_at >= v_first AND s.start_at < v_last
       AND NOT EXISTS (SELECT FROM consult.taken(slots.advisor, v_first,
                                                 v_last + v_slot) t
                        WHERE t.start_at < s.start_at + v_slot
                          AND t.end_at > s.start_at)
     ORDER BY s.start_at;
END
$$;


REVOKE ALL ON FUNCTION consult.first_instant(timestamp, text),
    consult.f_minutes(json, text, text), consult.clock(int),
    consult.schedule_part(json, text), consult.schedule_end(json, text),
    consult.schedule_body(bigint),
    consult.slots(bigint, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.first_instant(timestamp, text),
    consult.f_minutes(json, text, text), consult.clock(int),
    consult.schedule_part(json, text), consult.schedule_end(json, text),
    consult.schedule_body(bigint),
    consult.slots(bigint, timestamptz, timestamptz) TO astro_api;

RESET ROLE;
SET ROLE astro_engine;


-- consult.taken: when an advisor is booked; not by whom.
CREATE OR REPLACE FUNCTION consult.taken(advisor bigint, "from" timestamptz,
    till timestamptz)
RETURNS TABLE (start_at timestamptz, end_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT b.start_at, b.end_at FROM consult.booking b
     WHERE b.advisor_id = taken.advisor AND b.ended_at IS NULL
       AND b.start_at < taken.till AND b.end_at > taken."from";
END
$$;

REVOKE ALL ON FUNCTION consult.taken(bigint, timestamptz, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.taken(bigint, timestamptz, timestamptz)
    TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.schedule: when the caller, an advisor, works.
--
--   200 {time_zone,slot_minutes,lead_minutes,ahead_days,week:[{day:1..7,from,
--        to}],days:[{date,hours:[{from,to}]}]}, with an ETag.  day 1 is Monday.
--        time_zone null: nothing was said yet, nobody can book
--   404 not_found                         no advisor
--
-- Called by GET /api/advisors/me/schedule.
CREATE OR REPLACE FUNCTION api.schedule(caller bigint)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    PERFORM 1 FROM identity.advisor d WHERE d.account_id = schedule.caller;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    RETURN QUERY
    SELECT 200, consult.schedule_body(caller),
           coalesce((SELECT c.ver FROM consult.schedule c
                      WHERE c.advisor_id = schedule.caller), 0)::text;
END
$$;


-- api.schedule_edit: all of it anew: {"time_zone","slot_minutes"?,
-- "lead_minutes"?,"ahead_days"?,"week":[..],"days"?:[..]}.  What is booked
-- stays booked.
--
--   200 as api.schedule
--   400 bad_request, with its field; also for hours that overlap
--   404 not_found                         no advisor
--   412 precondition_failed
--
-- Called by PUT /api/advisors/me/schedule.
CREATE OR REPLACE FUNCTION api.schedule_edit(caller bigint, doc json,
    match text)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_zone  text := consult.f_zone(doc, 'time_zone', '');
    v_slot  int  := coalesce(consult.f_int(doc, 'slot_minutes', 10, 480,
                                           false), 30);
    v_lead  int  := coalesce(consult.f_int(doc, 'lead_minutes', 0, 20160,
                                           false), 60);
    v_ahead int  := coalesce(consult.f_int(doc, 'ahead_days', 1, 90, false),
                             30);
    v_week  json := consult.f_list(doc, 'week', 50);
    v_days  json := coalesce(consult.f_list(doc, 'days', 200, false), '[]');
    v_at    text;
    v_date  date;
    d       record;
    h       record;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_zone IS NULL THEN
        PERFORM consult.fail('bad_request', 'time_zone is missing',
                             '/time_zone');
    END IF;

    PERFORM 1 FROM identity.advisor x
      WHERE x.account_id = schedule_edit.caller;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    -- the row, first, so that one change follows the other
    INSERT INTO consult.schedule (advisor_id, time_zone, slot_min, lead_min,
                                  ahead_days, ver)
    VALUES (caller, v_zone, v_slot, v_lead, v_ahead, 0)
    ON CONFLICT DO NOTHING;

    PERFORM consult.f_match(match, c.ver::text)
       FROM (SELECT x.ver FROM consult.schedule x
              WHERE x.advisor_id = schedule_edit.caller
                FOR NO KEY UPDATE) c;

    UPDATE consult.schedule c
       SET time_zone = v_zone, slot_min = v_slot, lead_min = v_lead,
           ahead_days = v_ahead, ver = c.ver + 1
     WHERE c.advisor_id = schedule_edit.caller;

    DELETE FROM consult.hours x WHERE x.advisor_id = schedule_edit.caller;

    FOR d IN SELECT e.value, e.n - 1 AS n
               FROM json_array_elements(v_week) WITH ORDINALITY e(value, n)
    LOOP
        v_at := '/week/' || d.n;
        PERFORM consult.schedule_part(d.value, v_at);

        INSERT INTO consult.hours (advisor_id, weekday, from_min, to_min)
        VALUES (caller, consult.f_int(d.value, 'day', 1, 7, true, v_at),
                consult.f_minutes(d.value, 'from', v_at),
                consult.schedule_end(d.value, v_at));
    END LOOP;

    FOR d IN SELECT e.value, e.n - 1 AS n
               FROM json_array_elements(v_days) WITH ORDINALITY e(value, n)
    LOOP
        v_at := '/days/' || d.n;
        PERFORM consult.schedule_part(d.value, v_at);
        v_date := consult.f_date(d.value, 'date', true, v_at);

        PERFORM 1 FROM consult.hours x
          WHERE x.advisor_id = schedule_edit.caller AND x.day = v_date;

        IF FOUND THEN
            PERFORM consult.fail('bad_request', 'a date is named once',
                                 v_at || '/date');
        END IF;

        IF json_array_length(consult.f_list(d.value, 'hours', 20, true, v_at))
           = 0 THEN
            INSERT INTO consult.hours (advisor_id, day)
            VALUES (caller, v_date);
        END IF;

        FOR h IN SELECT e.value, e.n - 1 AS n
                   FROM json_array_elements(d.value -> 'hours')
                        WITH ORDINALITY e(value, n)
        LOOP
            PERFORM consult.schedule_part(h.value,
                                          v_at || '/hours/' || h.n);

            INSERT INTO consult.hours (advisor_id, day, from_min, to_min)
            VALUES (caller, v_date,
                    consult.f_minutes(h.value, 'from',
                                      v_at || '/hours/' || h.n),
                    consult.schedule_end(h.value,
                                         v_at || '/hours/' || h.n));
        END LOOP;
    END LOOP;

    SELECT x.weekday INTO h
      FROM (SELECT y.weekday, y.from_min,
                   lag(y.to_min) OVER (PARTITION BY y.weekday, y.day
                                       ORDER BY y.from_min, y.to_min) AS before
              FROM consult.hours y
             WHERE y.advisor_id = schedule_edit.caller) x
     WHERE x.from_min < x.before LIMIT 1;

    IF FOUND THEN
        PERFORM consult.fail('bad_request', 'hours of a day do not overlap',
                             CASE WHEN h.weekday IS NULL THEN '/days'
                                  ELSE '/week' END);
    END IF;

    RETURN QUERY SELECT * FROM api.schedule(caller);
END
$$;


-- api.slots: what can be booked of an advisor; query: from and to, times, at
-- most 31 days apart.
--
--   200 {data:[{start,end}],next_cursor:null,time_zone,slot_minutes,
--        terms:{deposit_bps,free_cancel_ms,late_bps}}
--       time_zone and slot_minutes are null if the advisor takes no bookings
--   400 bad_request, with its field
--   404 not_found                         no such advisor
--
-- Called by GET /api/advisors/{id}/slots.
CREATE OR REPLACE FUNCTION api.slots(caller bigint, advisor bigint, query json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_from timestamptz := consult.f_time(query, 'from');
    v_to   timestamptz := consult.f_time(query, 'to');
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_to <= v_from OR v_to > v_from + interval '744 hours' THEN
        PERFORM consult.fail('bad_request',
                             'to is at most 31 days after from', '/to');
    END IF;

    PERFORM 1 FROM identity.advisor d
       JOIN identity.account a ON a.id = d.account_id
      WHERE d.account_id = slots.advisor AND a.role = 'advisor'
        AND NOT a.blocked AND d.approved_at IS NOT NULL;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such advisor');
    END IF;

    RETURN QUERY
    SELECT 200, ('{"data":[' || coalesce(string_agg(
                     '{"start":"' || consult.rfc3339(s.start_at)
                     || '","end":"' || consult.rfc3339(s.end_at) || '"}', ','
                     ORDER BY s.start_at), '')
                 || '],"next_cursor":null,"time_zone":'
                 || coalesce((SELECT to_json(c.time_zone)::text
                                     || ',"slot_minutes":' || c.slot_min
                                FROM consult.schedule c
                               WHERE c.advisor_id = slots.advisor),
                             'null,"slot_minutes":null')
                 || (SELECT ',"terms":{"deposit_bps":' || o.deposit_bps
                            || ',"free_cancel_ms":' || o.free_cancel_ms
                            || ',"late_bps":' || o.late_bps || '}'
                       FROM consult.booking_option o WHERE o.one)
                 || '}')::json
      FROM consult.slots(slots.advisor, v_from, v_to) s;
END
$$;


REVOKE ALL ON FUNCTION api.schedule(bigint),
    api.schedule_edit(bigint, json, text), api.slots(bigint, bigint, json)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.schedule(bigint),
    api.schedule_edit(bigint, json, text), api.slots(bigint, bigint, json)
    TO astro_web;

RESET ROLE;
