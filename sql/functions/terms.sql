-- terms: what the platform keeps, and what else an operator may set while all of
-- it runs.  Nothing is cached anywhere: each is read by SQL where it is used, so
-- a change holds from its instant on, without a reload.  Sessions and bookings
-- have a copy of what held when they were made, and keep it.

SET ROLE astro_owner;


-- consult.commission: the platform's part now, in 1/10000, of an advisor and a
-- service ('': of none); base: where nothing was said, the advisor's own.
CREATE OR REPLACE FUNCTION consult.commission(advisor bigint, service text,
    base int) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN coalesce(
        (SELECT t.bps FROM consult.term t
          WHERE t.advisor_id = commission.advisor
            AND t.service = commission.service AND t.from_at <= v_now
          ORDER BY t.from_at DESC, t.id DESC LIMIT 1),
        (SELECT t.bps FROM consult.term t
          WHERE t.advisor_id = commission.advisor
            AND t.service = '' AND t.from_at <= v_now
          ORDER BY t.from_at DESC, t.id DESC LIMIT 1),
        (SELECT t.bps FROM consult.term t
          WHERE t.advisor_id = 0
            AND t.service = commission.service AND t.from_at <= v_now
          ORDER BY t.from_at DESC, t.id DESC LIMIT 1),
        (SELECT t.bps FROM consult.term t
          WHERE t.advisor_id = 0
            AND t.service = '' AND t.from_at <= v_now
          ORDER BY t.from_at DESC, t.id DESC LIMIT 1),
        commission.base);
END
$$;


REVOKE ALL ON FUNCTION consult.commission(bigint, text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.commission(bigint, text, int)
    TO astro_api, astro_engine;

RESET ROLE;
SET ROLE astro_admin;


-- consult.config_body: all that can be set; commission: of one advisor (0: of
-- all), what holds and what is to come.
CREATE OR REPLACE FUNCTION consult.config_body(advisor bigint) RETURNS json
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN json_build_object(
        'commission', coalesce(
            (SELECT json_agg(json_build_object(
                        'advisor', 'u_' || nullif(t.advisor_id, 0),
                        'service', nullif(t.service, ''), 'bps', t.bps,
                        'from', CASE WHEN isfinite(t.from_at)
                                     THEN consult.rfc3339(t.from_at) END,
                        'by', 'u_' || t.made_by)
                        ORDER BY t.service, t.from_at, t.id)
               FROM consult.term t
              WHERE t.advisor_id = config_body.advisor
                AND NOT EXISTS (
                    SELECT FROM consult.term n
                     WHERE n.advisor_id = t.advisor_id
                       AND n.service = t.service AND n.from_at <= v_now
                       AND (n.from_at, n.id) > (t.from_at, t.id))), '[]'),
        'tariff', (SELECT json_object_agg(x.service,
                              row_to_json(x)::jsonb - 'service')
                     FROM ledger.tariff x),
        'booking', (SELECT row_to_json(x)::jsonb - 'one'
                      FROM consult.booking_option x),
        'chat', (SELECT row_to_json(x)::jsonb - 'one'
                   FROM consult.chat_option x),
        'dispute', (SELECT row_to_json(x)::jsonb - 'one'
                      FROM consult.dispute_option x));
END
$$;

REVOKE ALL ON FUNCTION consult.config_body(bigint) FROM PUBLIC;


-- api.config: what can be set.  query: advisor ("u_5"): their own commission
-- instead of everybody's.
--
--   200 {"commission":[{advisor,service,bps,from,by}],   null: all; since ever
--        "tariff":{"chat":{whole_minute,min_minor,free_ms},..},
--        "booking":{..},"chat":{..},"dispute":{..}}      one-row tables
--   400 bad_request, field "/advisor"; 403 forbidden
--
-- Called by GET /api/admin/config.
CREATE OR REPLACE FUNCTION api.config(caller bigint, query json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_advisor bigint := consult.f_id(query, 'advisor', 'u', false);
BEGIN
    PERFORM consult.admin_begins(caller);

    RETURN QUERY SELECT 200, consult.config_body(coalesce(v_advisor, 0));
END
$$;


-- api.config_edit: what is there is set, all of it or nothing.
--
--   {"commission":{"bps":2500|null,"advisor"?,"service"?,"from"?},
--    "tariff":{"chat":{"whole_minute","min_minor","free_ms"},..},
--    "booking":{..},"chat":{..},"dispute":{..},"reason"?}
--
-- A commission is in force from "from" on, which is not in the past (now), for
-- sessions, bookings and gifts that begin then; the rest for what is done from
-- now on.
--
--   200 as api.config
--   400 bad_request, with its field; 403 forbidden
--   404 not_found, field "/commission/advisor"
--
-- Called by PUT /api/admin/config.
CREATE OR REPLACE FUNCTION api.config_edit(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_terms   json  := consult.f_object(doc, 'commission', false);
    v_tariff  json  := consult.f_object(doc, 'tariff', false);
    v_reason  text  := nullif(consult.f_text(doc, 'reason', 0, 500, false),
                              '');
    v_changes jsonb := '{}';
    v_advisor bigint;
    v_service text;
    v_from    timestamptz;
    v_bps     int;
    v_part    json;
    v_old     text;
    v_new     text;
    r         record;
BEGIN
    PERFORM consult.admin_begins(caller);

    IF v_terms IS NOT NULL THEN
        v_advisor := consult.f_id(v_terms, 'advisor', 'u', false,
                                  '/commission');
        v_service := consult.f_enum(v_terms, 'service',
                                    '{chat,audio,video}', false,
                                    '/commission');
        v_from := consult.f_time(v_terms, 'from', false, '/commission');
        v_bps := consult.f_int(v_terms, 'bps', 0, 10000, false,
                               '/commission');

        IF v_bps IS NULL AND v_terms -> 'bps' IS NULL THEN
            PERFORM consult.fail('bad_request', 'bps is missing',
                                 '/commission/bps');
        END IF;

        IF v_from < clock_timestamp()
           OR v_from > clock_timestamp() + interval '10 years' THEN
            PERFORM consult.fail('bad_request', 'from is not in the past, '
                                 'nor in another age', '/commission/from');
        END IF;

        IF v_advisor IS NOT NULL THEN
            PERFORM 1 FROM identity.advisor d
              WHERE d.account_id = v_advisor;

            IF NOT FOUND THEN
                PERFORM consult.fail('not_found', 'no such advisor',
                                     '/commission/advisor');
            END IF;
        END IF;

        INSERT INTO consult.term (advisor_id, service, from_at, bps, made_by)
        VALUES (coalesce(v_advisor, 0), coalesce(v_service, ''),
                coalesce(v_from, clock_timestamp()), v_bps, caller);

        v_changes := jsonb_build_object('commission', jsonb_build_object(
            'bps', v_bps, 'service', v_service,
            'from', consult.rfc3339(v_from)));
    END IF;

    FOR r IN
        SELECT * FROM (VALUES
            ('tariff', 'whole_minute', 0, 0),
            ('tariff', 'min_minor', 0, 1000000000),
            ('tariff', 'free_ms', 0, 86400000),
            ('booking', 'deposit_bps', 0, 10000),
            ('booking', 'answer_ms', 60000, 604800000),
            ('booking', 'remind_ms', 0, 86400000),
            ('booking', 'open_ms', 0, 3600000),
            ('booking', 'absent_ms', 60000, 7200000),
            ('booking', 'free_cancel_ms', 0, 604800000),
            ('booking', 'late_bps', 0, 10000),
            ('booking', 'offer_ms', 1000, 3600000),
            ('booking', 'waiting_grace_ms', 1000, 3600000),
            ('booking', 'favorite_ms', 60000, 604800000),
            ('chat', 'followup_ms', 0, 604800000),
            ('chat', 'edit_ms', 0, 604800000),
            ('dispute', 'open_days', 0, 365)) AS x(part, name, least, most),
            LATERAL unnest(CASE x.part WHEN 'tariff'
                                THEN '{chat,audio,video}'::text[]
                                ELSE '{""}' END) AS s(service)
    LOOP
        v_part := CASE r.part
            WHEN 'tariff' THEN consult.f_object(v_tariff, r.service, false,
                                                '/tariff')
            ELSE consult.f_object(doc, r.part, false) END;

        v_new := CASE r.name
            WHEN 'whole_minute'
            THEN consult.f_bool(v_part, r.name, false,
                                '/tariff/' || r.service)::text
            ELSE consult.f_int(v_part, r.name, r.least, r.most, false,
                     '/' || concat_ws('/', r.part,
                                      nullif(r.service, '')))::text END;
        CONTINUE WHEN v_new IS NULL;

        -- names are those above, values parameters
        v_part := NULL;
        EXECUTE CASE r.part
            WHEN 'tariff' THEN format('SELECT %I::text FROM ledger.tariff'
                                      ' WHERE service = $1 FOR UPDATE',
                                      r.name)
            ELSE format('SELECT %I::text FROM consult.%I WHERE one'
                        ' FOR UPDATE', r.name, r.part || '_option') END
           INTO STRICT v_old USING r.service;
        CONTINUE WHEN v_old = v_new;

        EXECUTE CASE r.part
            WHEN 'tariff' THEN format('UPDATE ledger.tariff SET %I = ($2)::%s'
                                      ' WHERE service = $1', r.name,
                                      CASE r.name WHEN 'whole_minute'
                                           THEN 'boolean' ELSE 'bigint' END)
            ELSE format('UPDATE consult.%I SET %I = ($2)::bigint WHERE one',
                        r.part || '_option', r.name) END
          USING r.service, v_new;

        v_changes := v_changes || jsonb_build_object(
            concat_ws('.', r.part, nullif(r.service, ''), r.name),
            jsonb_build_object('from', v_old, 'to', v_new));
    END LOOP;

    PERFORM consult.admin_act(caller, 'config_edit',
                coalesce('u_' || v_advisor, ''),
                jsonb_build_object('changes', v_changes,
                                   'reason', v_reason));

    RETURN QUERY SELECT 200, consult.config_body(coalesce(v_advisor, 0));
END
$$;


REVOKE ALL ON FUNCTION api.config(bigint, json),
    api.config_edit(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.config(bigint, json),
    api.config_edit(bigint, json) TO astro_web;

RESET ROLE;
