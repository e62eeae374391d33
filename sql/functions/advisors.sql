-- advisors: the public list of who can be consulted: searched, looked at one by
-- one, found near a place.  Functions of api, owned by astro_api.
--
-- Searches go over identity.listing (migration 0016), which has a version of
-- each advisor for each change.  Listed are those who are approved and not
-- blocked.

SET ROLE astro_owner;

DROP FUNCTION IF EXISTS consult.advisors(bigint, bigint, int);
DROP FUNCTION IF EXISTS consult.advisors_online();


-- consult.advisor_docs: these advisors as everybody sees them, in this order;
-- who is not listed (any more) is left out.  full: with bio, queue and
-- approval.  hidden_too: also who is not approved, or blocked.
--
-- "status" is derived: offline if not connected to a gateway whose lease is
-- fresh, or away by one's own wish; busy if in a live session.  "online" is
-- status <> offline; "busy": in a live session, and not away.  A rate of null:
-- the service is not offered.  rating.average is exact to 1/1000, null without reviews.
CREATE OR REPLACE FUNCTION consult.advisor_docs(ids bigint[], full_one boolean,
    hidden_too boolean)
RETURNS TABLE (id bigint, ord bigint, doc text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_currency text     := consult.currency();
    v_busy     bigint[] := consult.busy_of(ids);
    v_gateways bigint[] := ARRAY(SELECT g.id FROM consult.gateway g
                                  WHERE consult.fresh(g));
    v_here     bigint[] := ARRAY(SELECT i.id FROM unnest(ids) AS i(id)
                                  WHERE (SELECT true FROM consult.presence p
                                          WHERE p.account_id = i.id
                                            AND p.gateway_id = ANY(v_gateways)
                                          LIMIT 1) IS NOT NULL);
BEGIN
    RETURN QUERY
    SELECT a.id, i.ord, '{"id":"u_' || a.id || '","name":' || to_json(a.name)
           || ',"headline":' || to_json(d.headline)
           || CASE WHEN full_one
                   THEN ',"bio":' || to_json(d.bio) ELSE '' END
           || ',"specialties":' || array_to_json(d.specialties)
           || ',"languages":' || array_to_json(d.languages)
           || ',"experience":' || d.experience
           || ',"city":' || to_json(d.city)
           || ',"rates":{"chat":'
           || consult.money(d.rate_chat_minor, v_currency)
           || ',"audio":' || consult.money(d.rate_audio_minor, v_currency)
           || ',"video":' || consult.money(d.rate_video_minor, v_currency)
           || '},"rating":{"average":'
           || coalesce(trim_scale(round(d.rating_sum::numeric
                           / nullif(d.rating_count, 0), 3))::text, 'null')
           || ',"count":' || d.rating_count
           || '},"online":' || s.online
           || ',"busy":' || s.busy
           || ',"status":"' || CASE WHEN NOT s.online THEN 'offline'
                                    WHEN s.busy THEN 'busy'
                                    ELSE 'online' END || '"'
           || CASE WHEN full_one
                   THEN ',"queue":' || consult.queue_length(a.id)
                   ELSE '' END
           || CASE WHEN hidden_too
                   THEN ',"approved":' || (d.approved_at IS NOT NULL)
                   ELSE '' END || '}'
      FROM unnest(advisor_docs.ids) WITH ORDINALITY AS i(id, ord),
           LATERAL (SELECT * FROM identity.account x
                     WHERE x.id = i.id LIMIT 1) a,
           LATERAL (SELECT * FROM identity.advisor x
                     WHERE x.account_id = i.id LIMIT 1) d,
           LATERAL (SELECT i.id = ANY(v_here) AND NOT d.away AS online,
                           i.id = ANY(v_busy) AND NOT d.away AS busy) s
     WHERE a.role = 'advisor'
       AND (hidden_too OR NOT a.blocked AND d.approved_at IS NOT NULL)
     ORDER BY i.ord;
END
$$;


-- consult.here: connected to some gateway whose lease is fresh.
CREATE OR REPLACE FUNCTION consult.here(who bigint) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT true FROM consult.presence p
              JOIN consult.gateway g ON g.id = p.gateway_id
             WHERE p.account_id = who AND consult.fresh(g)
             LIMIT 1) IS NOT NULL;
END
$$;


-- consult.advisor_search: a page of the list; at: the change of the list whose
-- state is paged through.  cap is one more than the page has.
--
-- First the list is walked in its order, by the index of the sort, for two
-- thousand rows: enough for a page unless few match.  Then those few are
-- gathered, by whatever index the planner takes, and sorted.  The "+ 0" and
-- "|| ''" of the second keep it from walking once more.  Of those who are online
-- the second begins with all who may be, unless these are too many.
--
-- Whether somebody is online takes two lookups, so it is asked last, of who has
-- come through all filters.  The settings of joins are for these lookups, too:
-- to hash the list takes longer.
--
-- The text of the statements is put together from what stands here; all that
-- a client sent goes in as parameters, which the planner sees.
CREATE OR REPLACE FUNCTION consult.advisor_search(query json, cap int,
    cursor text, OUT ids bigint[], OUT at bigint)
LANGUAGE plpgsql STABLE
SET enable_seqscan = on
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_memoize = off
SET random_page_cost = 1.1 AS $$
DECLARE
    v_specialty text   := consult.f_text(query, 'specialty', 1, 64, false);
    v_service   text   := consult.f_enum(query, 'service',
                                         '{chat,audio,video}', false);
    v_min       bigint := consult.q_int(query, 'price_min', 0, 1000000000);
    v_max       bigint := consult.q_int(query, 'price_max', 0, 1000000000);
    v_rating    numeric := consult.q_number(query, 'rating', 0, 5);
    v_language  text   := consult.f_text(query, 'language', 1, 35, false);
    v_online    boolean := consult.q_bool(query, 'online');
    v_name      text   := lower(consult.f_text(query, 'q', 1, 64, false));
    v_sort      text   := coalesce(consult.f_enum(query, 'sort',
                              '{price,-price,rating,name,newest}', false),
                              'id');
    v_price     text   := coalesce(v_service, 'price');
    v_key       text   := CASE v_sort WHEN 'rating' THEN 'rank'
                               WHEN 'name' THEN 'name_key'
                               WHEN 'id' THEN 'account_id'
                               WHEN 'newest' THEN 'account_id'
                               ELSE v_price END;
    v_down      text   := CASE WHEN v_sort IN ('-price', 'rating', 'newest')
                               THEN 'DESC' ELSE 'ASC' END;
    v_from      identity.listing;
    v_gateways  bigint[];           -- whose leases are fresh
    v_here      bigint[];           -- all who may be online, if they are few
    v_number    bigint;
    v_key_is    text   := '';       -- conditions on the sort's own column
    v_others    text   := '';
    v_few       boolean := false;
    v_walk      boolean := true;
    v_rows      text;
    v_order     text;
BEGIN
    IF coalesce(cursor, '') = '' THEN
        at := (SELECT c.no FROM identity.listing_clock c WHERE c.one);

    ELSE
        IF v_sort = 'id' AND cursor ~ '^[0-9]{1,18}$' THEN
            -- of the version before
            at := (SELECT c.no FROM identity.listing_clock c WHERE c.one);
            v_from.account_id := cursor::bigint;

        ELSIF cursor ~ '^[0-9]{1,18}\.[0-9]{1,18}$' THEN
            at := split_part(cursor, '.', 1)::bigint;

            SELECT * INTO v_from FROM identity.listing l
             WHERE l.account_id = split_part(cursor, '.', 2)::bigint
               AND l.born <= advisor_search.at AND l.dead > advisor_search.at;
        END IF;

        v_number := CASE v_key WHEN 'rank' THEN v_from.rank
                         WHEN 'chat'  THEN v_from.chat
                         WHEN 'audio' THEN v_from.audio
                         WHEN 'video' THEN v_from.video
                         WHEN 'price' THEN v_from.price
                         WHEN 'account_id' THEN v_from.account_id END;

        IF v_from.account_id IS NULL
           OR v_number IS NULL AND v_key <> 'name_key' THEN
            PERFORM consult.fail('bad_request', 'no such cursor, or it is '
                                 'more than an hour old', '/cursor');
        END IF;

        v_key_is := CASE v_key WHEN 'account_id'
            THEN format(' AND l.account_id %s $11',
                        CASE v_down WHEN 'DESC' THEN '<' ELSE '>' END)
            ELSE format(' AND (l.%I, l.account_id) %s (%s, $11)', v_key,
                        CASE v_down WHEN 'DESC' THEN '<' ELSE '>' END,
                        CASE v_key WHEN 'name_key'
                             THEN '$12 COLLATE "C"' ELSE '$10' END) END;
    END IF;

    v_rows := concat(CASE WHEN v_service IS NOT NULL OR v_key = v_price
                          THEN format(' AND l.%I IS NOT NULL', v_price) END,
                     CASE WHEN v_min IS NOT NULL
                          THEN format(' AND l.%I >= $4', v_price) END,
                     CASE WHEN v_max IS NOT NULL
                          THEN format(' AND l.%I <= $5', v_price) END);

    IF v_key = v_price THEN
        v_key_is := v_key_is || v_rows;
    ELSE
        v_others := v_others || v_rows;
    END IF;

    IF v_rating IS NOT NULL AND v_key = 'rank' THEN
        v_key_is := v_key_is || ' AND l.rank >= $6';
    ELSIF v_rating IS NOT NULL THEN
        v_others := v_others || ' AND l.rank >= $6';
    END IF;

    IF v_name IS NOT NULL AND v_key = 'name_key' THEN
        v_key_is := v_key_is || ' AND l.name_key >= $7 AND l.name_key < $8';
    ELSIF v_name IS NOT NULL THEN
        v_others := v_others || ' AND l.name_key >= $7 AND l.name_key < $8';
    END IF;

    IF v_specialty IS NOT NULL THEN
        v_others := v_others || ' AND l.specialties @> ARRAY[$2]';
    END IF;

    IF v_language IS NOT NULL THEN
        v_others := v_others || ' AND l.languages @> ARRAY[$3]';
    END IF;

    IF v_online THEN
        v_here := ARRAY(SELECT h.account_id FROM consult.advisor_here h
                         LIMIT 3001);
        v_few := cardinality(v_here) <= 3000;
        -- of so few there is hardly a page within what is walked
        v_walk := NOT v_few
                  OR v_others = '' AND cardinality(v_here) >= 300;
    END IF;

    IF v_online IS NOT NULL THEN
        v_gateways := ARRAY(SELECT g.id FROM consult.gateway g
                             WHERE consult.fresh(g));
        v_others := v_others || CASE WHEN v_online THEN ' AND (' ELSE
                                ' AND NOT (' END
            || '(SELECT true FROM consult.presence p'
               ' WHERE p.account_id = l.account_id AND p.gateway_id = ANY($9)'
               ' LIMIT 1) IS NOT NULL'
               ' AND (SELECT true FROM identity.advisor d'
               ' WHERE d.account_id = l.account_id AND d.away'
               ' LIMIT 1) IS NULL)';
    END IF;

    v_order := format(' ORDER BY l.%I %2$s, l.account_id %2$s', v_key,
                      v_down);

    FOR i IN 1..2 LOOP
        CONTINUE WHEN i = 1 AND NOT v_walk;

        v_rows := CASE WHEN i = 1
            THEN '(SELECT * FROM identity.listing l WHERE l.born <= $1'
                 ' AND l.dead > $1' || v_key_is || v_order || ' LIMIT 2000) l'
                 ' WHERE true' || v_others || v_order
            WHEN v_few
            THEN 'unnest($14) o(id), identity.listing l WHERE l.account_id'
                 ' = o.id AND l.born <= $1 AND l.dead > $1'
                 || v_key_is || v_others || v_order
            ELSE 'identity.listing l WHERE l.born <= $1 AND l.dead > $1'
                 || v_key_is || v_others
                 || format(' ORDER BY l.%I%s %3$s, l.account_id + 0 %3$s',
                           v_key, CASE v_key WHEN 'name_key' THEN ' || '''''
                                       ELSE ' + 0' END, v_down) END;

        -- after a name that begins so comes nothing up to the next name
        EXECUTE 'SELECT ARRAY(SELECT l.account_id FROM ' || v_rows
                || ' LIMIT $13)' INTO ids
          USING at, v_specialty, v_language, v_min, v_max,
                ceil(v_rating * 1000)::bigint * 10000000, v_name,
                v_name || chr(1114111), v_gateways, v_number,
                v_from.account_id, v_from.name_key::text, cap, v_here;

        EXIT WHEN cardinality(ids) = cap;
    END LOOP;
END
$$;


REVOKE ALL ON FUNCTION consult.advisor_docs(bigint[], boolean, boolean),
    consult.here(bigint),
    consult.advisor_search(json, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.advisor_docs(bigint[], boolean, boolean),
    consult.here(bigint),
    consult.advisor_search(json, int, text) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.advisors: a page of the list.  query, all optional:
--
--   specialty, language     a word of theirs, exactly
--   service                 chat, audio or video: who offers it
--   price_min, price_max    minor units a minute, of that service, or of the
--                           cheapest that each offers
--   rating                  at least so many stars, 0 to 5
--   online                  true or false
--   q                       how the name begins
--   sort                    price, -price (as price_min's), rating (best
--                           first), name, newest; without it by id
--
--   200 {"data":[{id,name,headline,specialties,languages,experience,city,
--        rates:{chat,audio,video},rating:{average,count},online,busy,
--        status}],"next_cursor":null|".."}
--   400 bad_request, field "/cursor" or that of the query
--
-- All pages of one walk are of the list as it was at the first: nobody is
-- skipped or seen twice, whatever changes.  What is said of each, and who is
-- online, is of now; who is listed no more is left out.  A cursor is
-- "<change>.<id>" and good for an hour.
--
-- Called by GET /api/advisors.
CREATE OR REPLACE FUNCTION api.advisors(caller bigint, query json, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap  int := least(greatest(coalesce(cap, 50), 1), 200);
    v_ids  bigint[];
    v_at   bigint;
    v_next text;
BEGIN
    SELECT s.ids, s.at INTO v_ids, v_at
      FROM consult.advisor_search(query, v_cap + 1, cursor) s;

    IF cardinality(v_ids) > v_cap THEN
        v_next := '"' || v_at || '.' || v_ids[v_cap] || '"';
    END IF;

    RETURN QUERY
    SELECT 200, ('{"data":['
                 || coalesce(string_agg(d.doc, ',' ORDER BY d.ord), '')
                 || '],"next_cursor":' || coalesce(v_next, 'null')
                 || '}')::json
      FROM consult.advisor_docs(v_ids[:v_cap], false, false) d;
END
$$;


-- api.advisors without a query: for nginx workers that know of none.
CREATE OR REPLACE FUNCTION api.advisors(caller bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT p.status, p.body FROM api.advisors(caller, '{}', cap, cursor) p;
EXCEPTION WHEN SQLSTATE 'AS400' THEN
    RETURN QUERY SELECT 400, consult.error('bad_request', 'no such cursor',
                                           '/cursor');
END
$$;


-- api.advisor: one advisor, with bio and queue (how many wait).
--
--   200 as in the list, with "bio", "queue" and, for a client, "free_ms": how
--       long a session of each service with this advisor is free by now
--   404 not_found
--
-- Called by GET /api/advisors/{id}.
CREATE OR REPLACE FUNCTION api.advisor(caller bigint, advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_used bigint;
    v_free text;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    -- as api.session_start gives it
    IF (SELECT p.role FROM identity.account p WHERE p.id = advisor.caller)
       = 'client' THEN
        SELECT coalesce(sum(CASE WHEN x.settled
                                 THEN least(x.billed_ms, x.free_ms)
                                 ELSE x.free_ms END), 0) INTO v_used
          FROM consult.conversation c
          JOIN consult.session x ON x.conversation_id = c.id
         WHERE c.client_id = advisor.caller AND c.advisor_id = advisor.advisor;

        SELECT '{' || string_agg(to_json(t.service)::text || ':' || greatest(
                   least(t.free_ms + consult.free_given(caller, advisor),
                         86400000) - v_used, 0), ',' ORDER BY t.service) || '}'
          INTO v_free
          FROM ledger.tariff t;
    END IF;

    RETURN QUERY
    SELECT 200, (left(d.doc, -1) || coalesce(',"free_ms":' || v_free, '')
                 || '}')::json
      FROM consult.advisor_docs(ARRAY[advisor], true, false) d;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 404, consult.error('not_found',
                                               'no such advisor');
    END IF;
END
$$;


-- api.advisors_nearby: who is within radius_km (50, at most 20040) of
-- latitude, longitude (degrees, WGS 84 taken for a sphere of 6371008.8 m),
-- nearest first, at most cap.
--
--   200 {"data":[{..as in the list, "distance_m"}],"next_cursor":null}
--   400 bad_request, with its field
--
-- The box keeps most others out by the index; over a pole, or over the 180th
-- meridian, it is all longitudes, or two boxes.
--
-- Called by GET /api/advisors/nearby.
CREATE OR REPLACE FUNCTION api.advisors_nearby(caller bigint, query json,
    cap int)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_earth constant float8 := 6371008.8;
    v_lat   float8 := consult.q_number(query, 'latitude', -90, 90, true);
    v_lon   float8 := consult.q_number(query, 'longitude', -180, 180, true);
    v_m     float8 := 1000 * coalesce(consult.q_number(query, 'radius_km',
                                          0, 20040), 50);
    v_high  float8 := degrees(v_m / v_earth) + 1e-6;
    v_wide  float8 := 360;
    v_ids   bigint[];
    v_dist  float8[];
BEGIN
    IF abs(v_lat) + v_high < 90 THEN
        v_wide := degrees(asin(least(sin(radians(v_high))
                                     / cos(radians(v_lat)), 1))) + 1e-6;
    END IF;

    SELECT array_agg(n.account_id ORDER BY n.m, n.account_id),
           array_agg(n.m ORDER BY n.m, n.account_id)
      INTO v_ids, v_dist
      FROM (SELECT d.account_id, w.m
              FROM identity.advisor d
              JOIN identity.account a ON a.id = d.account_id,
                   LATERAL (SELECT 2 * v_earth * asin(least(1, sqrt(
                       sin(radians(d.lat - v_lat) / 2) ^ 2
                       + cos(radians(v_lat)) * cos(radians(d.lat))
                         * sin(radians(d.lon - v_lon) / 2) ^ 2)))) w(m)
             WHERE d.lat BETWEEN v_lat - v_high AND v_lat + v_high
               AND (d.lon BETWEEN v_lon - v_wide AND v_lon + v_wide
                    OR d.lon >= v_lon - v_wide + 360
                    OR d.lon <= v_lon + v_wide - 360)
               AND d.lat IS NOT NULL AND d.approved_at IS NOT NULL
               AND a.role = 'advisor' AND NOT a.blocked AND w.m <= v_m
             ORDER BY w.m, d.account_id
             LIMIT least(greatest(coalesce(cap, 50), 1), 200)) n;

    RETURN QUERY
    SELECT 200, ('{"data":[' || coalesce(string_agg(
                     left(d.doc, -1) || ',"distance_m":'
                     || round(v_dist[d.ord])::bigint || '}', ','
                     ORDER BY d.ord), '')
                 || '],"next_cursor":null}')::json
      FROM consult.advisor_docs(v_ids, false, false) d;
END
$$;


REVOKE ALL ON FUNCTION api.advisors(bigint, json, int, text),
    api.advisors(bigint, int, text), api.advisor(bigint, bigint),
    api.advisors_nearby(bigint, json, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.advisors(bigint, json, int, text),
    api.advisors(bigint, int, text), api.advisor(bigint, bigint),
    api.advisors_nearby(bigint, json, int) TO astro_web;

RESET ROLE;
