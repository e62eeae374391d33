-- specialties: the words that advisors may describe themselves with.  Functions
-- of api, owned by astro_api.

SET ROLE astro_api;


-- api.specialties: all, by name.
--
--   200 {"data":[{id:"k_1",slug,name}],"next_cursor":null}
--
-- Called by GET /api/specialties.
CREATE OR REPLACE FUNCTION api.specialties(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT 200, ('{"data":' || coalesce(json_agg(row_to_json(x))::text, '[]')
                 || ',"next_cursor":null}')::json
      FROM (SELECT 'k_' || s.id AS id, s.slug, s.name
              FROM identity.specialty s ORDER BY s.name, s.id) x;
END
$$;


-- api.specialty_create: {"slug","name"}: slug is what profiles and searches
-- say, a-z, 0-9 and single dashes, at most 64; name what people read.
--
--   201 {id,slug,name}
--   400 bad_request, with its field; 403 forbidden
--   409 conflict, field "/slug"           there is one
--
-- Called by POST /api/specialties.
CREATE OR REPLACE FUNCTION api.specialty_create(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_slug text := consult.f_text(doc, 'slug', 1, 64);
    v_name text := consult.f_text(doc, 'name', 1, 100);
    v_id   bigint;
BEGIN
    PERFORM consult.need_admin(caller);

    IF v_slug !~ '^[a-z0-9]+(-[a-z0-9]+)*$' THEN
        PERFORM consult.fail('bad_request', 'slug is like birth-charts',
                             '/slug');
    END IF;

    INSERT INTO identity.specialty (slug, name) VALUES (v_slug, v_name)
    ON CONFLICT DO NOTHING RETURNING id INTO v_id;

    IF v_id IS NULL THEN
        PERFORM consult.fail('conflict', 'there is such a specialty',
                             '/slug');
    END IF;

    PERFORM consult.admin_act(caller, 'specialty_create', 'k_' || v_id,
                jsonb_build_object('slug', v_slug, 'name', v_name));

    RETURN QUERY
    SELECT 201, (SELECT row_to_json(x) FROM (
               SELECT 'k_' || v_id AS id, v_slug AS slug, v_name AS name) x);
END
$$;


-- api.specialty_edit: {"name"}: another name for people; the slug stays.
--
--   200 {id,slug,name}
--   400 bad_request, with its field; 403 forbidden; 404 not_found
--
-- Called by PUT /api/specialties/{id}.
CREATE OR REPLACE FUNCTION api.specialty_edit(caller bigint,
    specialty bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_name text := consult.f_text(doc, 'name', 1, 100);
    v_slug text;
BEGIN
    PERFORM consult.need_admin(caller);

    UPDATE identity.specialty s SET name = v_name
     WHERE s.id = specialty_edit.specialty RETURNING s.slug INTO v_slug;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such specialty');
    END IF;

    PERFORM consult.admin_act(caller, 'specialty_edit', 'k_' || specialty,
                              jsonb_build_object('name', v_name));

    RETURN QUERY
    SELECT 200, (SELECT row_to_json(x) FROM (
               SELECT 'k_' || specialty AS id, v_slug AS slug,
                      v_name AS name) x);
END
$$;


-- api.specialty_delete:
--
--   204                                   gone
--   403 forbidden; 404 not_found
--   409 conflict                          an advisor has it
--
-- The row is locked first; whoever puts it into a profile shares that lock.
--
-- Called by DELETE /api/specialties/{id}.
CREATE OR REPLACE FUNCTION api.specialty_delete(caller bigint,
    specialty bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_slug text;
BEGIN
    PERFORM consult.need_admin(caller);

    SELECT s.slug INTO v_slug FROM identity.specialty s
     WHERE s.id = specialty_delete.specialty FOR UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such specialty');
    END IF;

    PERFORM 1 FROM identity.advisor d
      WHERE v_slug = ANY(d.specialties) LIMIT 1;

    IF FOUND THEN
        PERFORM consult.fail('conflict', 'advisors have this specialty');
    END IF;

    DELETE FROM identity.specialty s
     WHERE s.id = specialty_delete.specialty;

    PERFORM consult.admin_act(caller, 'specialty_delete', 'k_' || specialty,
                              jsonb_build_object('slug', v_slug));

    RETURN QUERY SELECT 204, '{}'::json;
END
$$;


REVOKE ALL ON FUNCTION api.specialties(bigint),
    api.specialty_create(bigint, json),
    api.specialty_edit(bigint, bigint, json),
    api.specialty_delete(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.specialties(bigint),
    api.specialty_create(bigint, json),
    api.specialty_edit(bigint, bigint, json),
    api.specialty_delete(bigint, bigint) TO astro_web;

RESET ROLE;
