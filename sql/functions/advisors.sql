-- advisors: the public list of who can be consulted.  Functions of api, owned
-- by astro_api.

SET ROLE astro_owner;

-- consult.advisors: advisors (not blocked ones) in order of id, after "after",
-- at most cap; or the one with id "only", with the bio.
--
-- "online": connected to some gateway whose lease is fresh.  "busy": has a
-- live session.  A rate of null: the service is not offered.
CREATE OR REPLACE FUNCTION consult.advisors(after bigint, only_id bigint,
    cap int)
RETURNS TABLE (id bigint, doc text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_currency text := consult.currency();
    v_ids      bigint[];
    v_busy     bigint[];
BEGIN
    IF only_id IS NOT NULL THEN
        v_ids := ARRAY[only_id];

    ELSE
        v_ids := ARRAY(SELECT d.account_id
                         FROM identity.advisor d
                         JOIN identity.account a ON a.id = d.account_id
                        WHERE d.account_id > advisors.after
                          AND a.role = 'advisor' AND NOT a.blocked
                        ORDER BY d.account_id LIMIT advisors.cap);
    END IF;

    v_busy := consult.busy_of(v_ids);

    RETURN QUERY
    SELECT a.id, '{"id":"u_' || a.id || '","name":' || to_json(a.name)
           || ',"headline":' || to_json(d.headline)
           || CASE WHEN only_id IS NULL THEN ''
                   ELSE ',"bio":' || to_json(d.bio) END
           || ',"specialties":' || array_to_json(d.specialties)
           || ',"rates":{"chat":'
           || consult.money(d.rate_chat_minor, v_currency)
           || ',"audio":' || consult.money(d.rate_audio_minor, v_currency)
           || ',"video":' || consult.money(d.rate_video_minor, v_currency)
           || '},"online":'
           || ((SELECT true FROM consult.presence p
                  JOIN consult.gateway g ON g.id = p.gateway_id
                 WHERE p.account_id = a.id AND consult.fresh(g)
                 LIMIT 1) IS NOT NULL)
           || ',"busy":' || (a.id = ANY(v_busy)) || '}'
      FROM identity.advisor d
      JOIN identity.account a ON a.id = d.account_id
     WHERE d.account_id = ANY(v_ids) AND a.role = 'advisor' AND NOT a.blocked
     ORDER BY a.id;
END
$$;

REVOKE ALL ON FUNCTION consult.advisors(bigint, bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.advisors(bigint, bigint, int) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.advisors: a page of the list, in order of id.  cap: 1 to 200.
--
--   200 {"data":[{id,name,headline,specialties,rates:{chat,audio,video},
--        online,busy}],"next_cursor":null|".."}
--   400 bad_request, field "/cursor"
--
-- Called by GET /api/advisors.
CREATE OR REPLACE FUNCTION api.advisors(caller bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_after bigint := consult.cursor_id(cursor, 0);
    v_cap   int    := least(greatest(coalesce(cap, 50), 1), 200);
BEGIN
    IF v_after IS NULL THEN
        RETURN QUERY SELECT 400, consult.error('bad_request',
                                'no such cursor', '/cursor');
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(d.doc ORDER BY d.id),
                             array_agg(d.id ORDER BY d.id), v_cap)
      FROM consult.advisors(v_after, NULL, v_cap + 1) d;
END
$$;


-- api.advisor: one advisor, with the bio.
--
--   200 {id,name,headline,bio,specialties,rates,online,busy}
--   404 not_found
--
-- Called by GET /api/advisors/{id}.
CREATE OR REPLACE FUNCTION api.advisor(caller bigint, advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 200, d.doc::json FROM consult.advisors(0, advisor, 1) d;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 404, consult.error('not_found',
                                               'no such advisor');
    END IF;
END
$$;


REVOKE ALL ON FUNCTION api.advisors(bigint, int, text),
    api.advisor(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.advisors(bigint, int, text),
    api.advisor(bigint, bigint) TO astro_web;

RESET ROLE;
