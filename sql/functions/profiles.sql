-- profiles: what people say of themselves, and what advisors offer; how an
-- advisor comes in, and is approved.  Functions of api, owned by astro_api.
--
-- What changes a profile takes the account's row before the advisor's, and the
-- clock of the list last (migration 0016).

SET ROLE astro_owner;


-- consult.has: the field was sent, be it as null.
CREATE OR REPLACE FUNCTION consult.has(doc json, key text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (doc -> key) IS NOT NULL
$$;


-- consult.f_price: minor units a minute: a number, or money; NULL: null, or
-- not there.
CREATE OR REPLACE FUNCTION consult.f_price(doc json, key text, at text)
RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF json_typeof(doc -> key) <> 'object' THEN
        RETURN consult.f_int(doc, key, 1, 1000000000, false, at);
    END IF;

    IF consult.f_text(doc -> key, 'currency', 3, 3, false, at || '/' || key)
       <> consult.currency() THEN
        PERFORM consult.fail('bad_request', 'the currency is '
            || consult.currency(), at || '/' || key || '/currency');
    END IF;

    RETURN consult.f_int(doc -> key, 'amount', 1, 1000000000, true,
                         at || '/' || key);
END
$$;


-- consult.f_zone: the name of a time zone that PostgreSQL knows.
CREATE OR REPLACE FUNCTION consult.f_zone(doc json, key text, at text)
RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_zone text := consult.f_text(doc, key, 1, 64, false, at);
BEGIN
    IF v_zone IS NULL THEN
        RETURN NULL;
    END IF;

    IF v_zone ~ '^[A-Z][A-Za-z]*(/[A-Za-z0-9_+-]+){0,2}$' THEN
        BEGIN
            PERFORM now() AT TIME ZONE v_zone;
            RETURN v_zone;
        EXCEPTION WHEN invalid_parameter_value THEN
            NULL;
        END;
    END IF;

    PERFORM consult.fail('bad_request', key
        || ' is a time zone like Asia/Kolkata', at || '/' || key);
END
$$;


-- consult.profile_body: a profile as its owner sees it; p may be NULL.
CREATE OR REPLACE FUNCTION consult.profile_body(a identity.account,
    p identity.profile) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT row_to_json(x) FROM (
        SELECT 'u_' || a.id AS id, a.email, a.name, a.role,
               coalesce(p.about, '') AS about, p.language,
               (SELECT row_to_json(b) FROM (
                   SELECT to_char(p.birth_date, 'YYYY-MM-DD') AS date,
                          p.birth_time AS time, p.birth_place AS place,
                          p.birth_lat AS latitude, p.birth_lon AS longitude,
                          p.birth_zone AS time_zone) b) AS birth,
               coalesce(p.charts, '[]') AS charts) x);
END
$$;


-- consult.advisor_fields: what body changes of an advisor's row; fields that
-- are not there stay.  Words of the catalogue are locked, so that none is
-- deleted meanwhile.
CREATE OR REPLACE FUNCTION consult.advisor_fields(d identity.advisor,
    body json) RETURNS identity.advisor
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    r     identity.advisor := d;
    v_sub json;
    v_bad text;
BEGIN
    r.headline := coalesce(consult.f_text(body, 'headline', 0, 200, false),
                           d.headline);
    r.bio := coalesce(consult.f_text(body, 'bio', 0, 5000, false), d.bio);
    r.city := coalesce(consult.f_text(body, 'city', 0, 100, false), d.city);
    r.experience := coalesce(consult.f_int(body, 'experience', 0, 100,
                                           false), d.experience);
    r.specialties := ARRAY(SELECT DISTINCT unnest(consult.f_texts(body,
                         'specialties', 20, 1, 64, false)));
    r.languages := ARRAY(SELECT DISTINCT unnest(consult.f_texts(body,
                         'languages', 20, 2, 35, false)));

    IF NOT consult.has(body, 'specialties') THEN
        r.specialties := d.specialties;
    ELSE
        PERFORM 1 FROM identity.specialty s
          WHERE s.slug = ANY(r.specialties) ORDER BY s.id FOR KEY SHARE;

        SELECT w INTO v_bad FROM unnest(r.specialties) w
         WHERE w NOT IN (SELECT s.slug FROM identity.specialty s) LIMIT 1;

        IF FOUND THEN
            PERFORM consult.fail('bad_request', 'there is no specialty '
                                 || v_bad, '/specialties');
        END IF;
    END IF;

    IF NOT consult.has(body, 'languages') THEN
        r.languages := d.languages;
    ELSE
        SELECT w INTO v_bad FROM unnest(r.languages) w
         WHERE w !~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$' LIMIT 1;

        IF FOUND THEN
            PERFORM consult.fail('bad_request',
                'languages are tags like en or pt-BR', '/languages');
        END IF;
    END IF;

    IF consult.has(body, 'location') THEN
        -- about a kilometre: who asks for distances from three places must not
        -- find the door
        v_sub := consult.f_object(body, 'location', false);
        r.lat := round(consult.f_number(v_sub, 'latitude', -90, 90,
                                        v_sub IS NOT NULL, '/location'), 2);
        r.lon := round(consult.f_number(v_sub, 'longitude', -180, 180,
                                        v_sub IS NOT NULL, '/location'), 2);
    END IF;

    v_sub := consult.f_object(body, 'rates', false);

    IF consult.has(v_sub, 'chat') THEN
        r.rate_chat_minor := consult.f_price(v_sub, 'chat', '/rates');
    END IF;

    IF consult.has(v_sub, 'audio') THEN
        r.rate_audio_minor := consult.f_price(v_sub, 'audio', '/rates');
    END IF;

    IF consult.has(v_sub, 'video') THEN
        r.rate_video_minor := consult.f_price(v_sub, 'video', '/rates');
    END IF;

    RETURN r;
END
$$;


-- consult.advisor_own: an advisor's profile as its owner and admins see it.
CREATE OR REPLACE FUNCTION consult.advisor_own(who bigint) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT (left(c.doc, -1) || ',"away":' || d.away || ',"location":'
                    || coalesce('{"latitude":' || d.lat || ',"longitude":'
                                || d.lon || '}', 'null') || '}')::json
              FROM identity.advisor d,
                   consult.advisor_docs(ARRAY[who], true, true) c
             WHERE d.account_id = who);
END
$$;


-- consult.advisor_new: an account that is an advisor, with its wallet.
CREATE OR REPLACE FUNCTION consult.advisor_new(body json, hash text,
    approved timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_email text := lower(consult.f_text(body, 'email', 3, 254));
    v_name  text := consult.f_text(body, 'name', 1, 100);
    v_who   bigint;
    d       identity.advisor;
BEGIN
    IF v_email !~ '^[^@[:space:]]+@[^@[:space:]]+$'
       OR octet_length(v_email) > 254 THEN
        PERFORM consult.fail('bad_request', 'email is an address', '/email');
    END IF;

    d.headline := '';
    d.bio := '';
    d.city := '';
    d.experience := 0;
    d.specialties := '{}';
    d.languages := '{}';
    d := consult.advisor_fields(d, body);

    INSERT INTO identity.account (email, name, role, password_hash)
    VALUES (v_email, v_name, 'advisor', hash)
    ON CONFLICT DO NOTHING
    RETURNING id INTO v_who;

    IF v_who IS NULL THEN
        PERFORM consult.fail('conflict',
                    'there is an account with this email', '/email');
    END IF;

    PERFORM set_config('astro.caller', v_who::text, true);

    INSERT INTO ledger.wallet (owner_id, kind) VALUES (v_who, 'advisor');

    INSERT INTO identity.advisor (account_id, headline, bio, specialties,
           rate_chat_minor, rate_audio_minor, rate_video_minor, languages,
           experience, city, lat, lon, approved_at)
    VALUES (v_who, d.headline, d.bio, d.specialties, d.rate_chat_minor,
           d.rate_audio_minor, d.rate_video_minor, d.languages, d.experience,
           d.city, d.lat, d.lon, approved);

    RETURN v_who;
END
$$;


-- consult.need_admin: refuses whom the token calls an admin, and who is none.
CREATE OR REPLACE FUNCTION consult.need_admin(who bigint) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT consult.is_admin(who) THEN
        PERFORM consult.fail('forbidden', 'only for admins');
    END IF;
END
$$;


REVOKE ALL ON FUNCTION consult.has(json, text),
    consult.f_price(json, text, text), consult.f_zone(json, text, text),
    consult.profile_body(identity.account, identity.profile),
    consult.advisor_fields(identity.advisor, json),
    consult.advisor_own(bigint),
    consult.advisor_new(json, text, timestamptz),
    consult.need_admin(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.has(json, text),
    consult.f_price(json, text, text), consult.f_zone(json, text, text),
    consult.profile_body(identity.account, identity.profile),
    consult.advisor_fields(identity.advisor, json),
    consult.advisor_own(bigint),
    consult.advisor_new(json, text, timestamptz),
    consult.need_admin(bigint) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.profile: the caller's own profile, with the birth data.
--
--   200 {id,email,name,role,about,language,birth:{date,time,place,latitude,
--        longitude,time_zone},charts}, with an ETag
--   401 unauthorized                      gone, or blocked
--
-- Called by GET /api/me/profile.
CREATE OR REPLACE FUNCTION api.profile(caller bigint)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a identity.account;
    p identity.profile;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO a FROM identity.account x
     WHERE x.id = profile.caller AND NOT x.blocked;

    IF NOT FOUND THEN
        PERFORM consult.fail('unauthorized',
                             'this account is blocked or gone');
    END IF;

    SELECT * INTO p FROM identity.profile x
     WHERE x.account_id = profile.caller;

    RETURN QUERY SELECT 200, consult.profile_body(a, p),
                        'p' || coalesce(p.ver, 0);
END
$$;


-- api.profile_edit: changes the fields that are there; null empties one.
--
--   name 1 to 100; about to 2000; language a tag; birth {date, time "HH:MM",
--   place, latitude, longitude, time_zone}, as a whole; charts: at most 20
--   objects, kept as they are
--
--   200 as api.profile, with the new ETag
--   400 bad_request, with its field
--   412 precondition_failed               If-Match is of another version
--
-- Called by PUT /api/me/profile.
CREATE OR REPLACE FUNCTION api.profile_edit(caller bigint, doc json,
    match text)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a       identity.account;
    p       identity.profile;
    v_birth json;
    v_name  text := consult.f_text(doc, 'name', 1, 100, false);
    v_i     int;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO a FROM identity.account x
     WHERE x.id = profile_edit.caller AND NOT x.blocked FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('unauthorized',
                             'this account is blocked or gone');
    END IF;

    INSERT INTO identity.profile (account_id, ver) VALUES (a.id, 0)
    ON CONFLICT DO NOTHING;

    SELECT * INTO p FROM identity.profile x
     WHERE x.account_id = a.id FOR NO KEY UPDATE;

    PERFORM consult.f_match(match, 'p' || p.ver);

    IF consult.has(doc, 'about') THEN
        p.about := coalesce(consult.f_text(doc, 'about', 0, 2000, false), '');
    END IF;

    IF consult.has(doc, 'language') THEN
        p.language := consult.f_text(doc, 'language', 2, 35, false);
    END IF;

    IF p.language !~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$' THEN
        PERFORM consult.fail('bad_request', 'language is a tag like en',
                             '/language');
    END IF;

    IF consult.has(doc, 'birth') THEN
        v_birth := consult.f_object(doc, 'birth', false);
        p.birth_date := consult.f_date(v_birth, 'date', false, '/birth');
        p.birth_time := consult.f_text(v_birth, 'time', 5, 5, false,
                                       '/birth');
        p.birth_place := consult.f_text(v_birth, 'place', 1, 200, false,
                                        '/birth');
        p.birth_lat := consult.f_number(v_birth, 'latitude', -90, 90, false,
                                        '/birth');
        p.birth_lon := consult.f_number(v_birth, 'longitude', -180, 180,
                                        false, '/birth');
        p.birth_zone := consult.f_zone(v_birth, 'time_zone', '/birth');

        IF p.birth_time !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' THEN
            PERFORM consult.fail('bad_request', 'time is like 07:45',
                                 '/birth/time');
        END IF;
    END IF;

    IF consult.has(doc, 'charts') THEN
        p.charts := coalesce(consult.f_list(doc, 'charts', 20, false), '[]');

        SELECT c.n INTO v_i FROM json_array_elements(p.charts)
               WITH ORDINALITY AS c(v, n)
         WHERE json_typeof(c.v) <> 'object' LIMIT 1;

        IF FOUND THEN
            PERFORM consult.fail('bad_request', 'a chart is an object',
                                 '/charts/' || (v_i - 1));
        END IF;
    END IF;

    IF v_name <> a.name THEN
        UPDATE identity.account x SET name = v_name WHERE x.id = a.id
        RETURNING * INTO a;
    END IF;

    UPDATE identity.profile x
       SET about = p.about, language = p.language,
           birth_date = p.birth_date, birth_time = p.birth_time,
           birth_place = p.birth_place, birth_lat = p.birth_lat,
           birth_lon = p.birth_lon, birth_zone = p.birth_zone,
           charts = p.charts, ver = x.ver + 1
     WHERE x.account_id = a.id RETURNING * INTO p;

    RETURN QUERY SELECT 200, consult.profile_body(a, p), 'p' || p.ver;
END
$$;


-- api.advisor_me: the caller's own profile as an advisor.
--
--   200 as api.advisor, with approved, away, location; with an ETag
--   404 not_found                         no advisor
--
-- Called by GET /api/advisors/me.
CREATE OR REPLACE FUNCTION api.advisor_me(caller bigint)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_ver  int := (SELECT d.ver FROM identity.advisor d
                    WHERE d.account_id = caller);
    v_body json := consult.advisor_own(caller);
BEGIN
    IF v_body IS NULL THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    RETURN QUERY SELECT 200, v_body, 'a' || v_ver;
END
$$;


-- api.advisor_edit: changes the fields that are there.
--
--   name 1 to 100, headline to 200, bio to 5000, city to 100, experience 0 to
--   100 years, specialties and languages (at most 20 each), location
--   {latitude, longitude}, kept to 1/100 of a degree, or null, rates {chat, audio, video}: minor units a
--   minute, or money; null: not offered (any more)
--
--   200 as api.advisor_me, with the new ETag
--   400 bad_request, with its field
--   404 not_found                         no advisor
--   412 precondition_failed               If-Match is of another version
--
-- A session keeps the rate that it was started with.
--
-- Called by PUT /api/advisors/me.
CREATE OR REPLACE FUNCTION api.advisor_edit(caller bigint, doc json,
    match text)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_name text := consult.f_text(doc, 'name', 1, 100, false);
    d      identity.advisor;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    PERFORM 1 FROM identity.account x
      WHERE x.id = advisor_edit.caller AND x.role = 'advisor'
        AND NOT x.blocked FOR NO KEY UPDATE;

    IF FOUND THEN
        SELECT * INTO d FROM identity.advisor x
         WHERE x.account_id = advisor_edit.caller FOR NO KEY UPDATE;
    END IF;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    PERFORM consult.f_match(match, 'a' || d.ver);
    d := consult.advisor_fields(d, doc);

    UPDATE identity.account x SET name = v_name
     WHERE x.id = advisor_edit.caller AND x.name <> v_name;

    UPDATE identity.advisor x
       SET headline = d.headline, bio = d.bio, city = d.city,
           experience = d.experience, specialties = d.specialties,
           languages = d.languages, lat = d.lat, lon = d.lon,
           rate_chat_minor = d.rate_chat_minor,
           rate_audio_minor = d.rate_audio_minor,
           rate_video_minor = d.rate_video_minor, ver = x.ver + 1
     WHERE x.account_id = advisor_edit.caller RETURNING * INTO d;

    RETURN QUERY SELECT 200, consult.advisor_own(caller), 'a' || d.ver;
END
$$;


-- api.advisor_status: what the caller wants to be: {"status":..}
--
--   online, available   to be found and rung while connected
--   offline             not to be, though connected; a live session goes on
--   busy                follows from a session: true, or refused
--
--   200 {user,status,online,busy}         as it is now
--   404 not_found                         no advisor
--   409 session_state                     available, while in a session
--   409 conflict, field "/status"         busy, while in none
--
-- Called by PUT /api/advisors/me/status, which tells the watchers.
CREATE OR REPLACE FUNCTION api.advisor_status(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_want text := consult.f_enum(doc, 'status',
                                  '{online,available,busy,offline}');
    v_busy boolean := cardinality(consult.busy_of(ARRAY[caller])) > 0;
BEGIN
    PERFORM 1 FROM identity.advisor d
      WHERE d.account_id = advisor_status.caller FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    IF v_want = 'busy' AND NOT v_busy THEN
        PERFORM consult.fail('conflict', 'busy is who is in a session',
                             '/status');
    END IF;

    IF v_want IN ('online', 'available') AND v_busy THEN
        PERFORM consult.fail('session_state', 'you are in a session',
                             '/status');
    END IF;

    UPDATE identity.advisor d SET away = v_want = 'offline'
     WHERE d.account_id = advisor_status.caller AND v_want <> 'busy'
       AND d.away <> (v_want = 'offline');

    -- who comes back has come
    IF v_want = 'offline' THEN
        PERFORM consult.advisor_away(caller);
    END IF;

    RETURN QUERY
    SELECT 200, (SELECT row_to_json(x) FROM (
               SELECT 'u_' || caller AS "user",
                      CASE WHEN NOT o.online THEN 'offline'
                           WHEN v_busy THEN 'busy' ELSE 'online'
                      END AS status,
                      o.online, o.online AND v_busy AS busy) x)
      FROM (SELECT consult.here(caller) AND NOT d.away AS online
              FROM identity.advisor d WHERE d.account_id = caller) o;
END
$$;


-- api.advisor_create: an admin makes an advisor: email, password, name, and
-- what api.advisor_edit takes.  hash is of the password, which is blanked in
-- body.
--
--   201 as api.advisor_me
--   400 bad_request, with its field; 403 forbidden
--   409 conflict, field "/email"
--
-- Called by POST /api/admin/advisors.
CREATE OR REPLACE FUNCTION api.advisor_create(caller bigint, doc json,
    hash text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_who bigint;
BEGIN
    PERFORM consult.need_admin(caller);

    -- a statement of its own: the next one sees what it made
    v_who := consult.advisor_new(doc, hash, now());
    PERFORM consult.admin_act(caller, 'advisor_create', 'u_' || v_who, '{}');

    RETURN QUERY SELECT 201, consult.advisor_own(v_who);
END
$$;


-- api.advisor_signup: somebody becomes an advisor, whom nobody sees or rings
-- before an admin approves.
--
--   201 as api.advisor_me, approved false
--   400 bad_request, with its field
--   409 conflict, field "/email"
--
-- Called by POST /api/auth/register/advisor.
CREATE OR REPLACE FUNCTION api.advisor_signup(doc json, hash text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_who bigint := consult.advisor_new(doc, hash, NULL);
BEGIN
    RETURN QUERY SELECT 201, consult.advisor_own(v_who);
END
$$;


-- api.advisors_waiting: who has signed up and waits for approval, oldest first.
--
--   200 {"data":[as api.advisor, with approved],"next_cursor"}
--   400 bad_request, field "/cursor"; 403 forbidden
--
-- Called by GET /api/admin/advisors/waiting.
CREATE OR REPLACE FUNCTION api.advisors_waiting(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_after bigint := consult.cursor_id(cursor, 0);
    v_ids   bigint[];
BEGIN
    PERFORM consult.need_admin(caller);

    IF v_after IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    v_ids := ARRAY(SELECT d.account_id FROM identity.advisor d
                    WHERE d.approved_at IS NULL AND d.account_id > v_after
                    ORDER BY d.account_id LIMIT cap + 1);

    RETURN QUERY
    SELECT 200, consult.page(array_agg(d.doc ORDER BY d.ord),
                             array_agg(d.id ORDER BY d.ord), cap)
      FROM consult.advisor_docs(v_ids, true, true) d;
END
$$;


-- api.advisor_approve: {"approved":true} lets an advisor be found and rung,
-- false takes that back.
--
--   200 as api.advisor_me
--   403 forbidden; 404 not_found          no such advisor
--
-- Called by PUT /api/admin/advisors/{id}/approval.
CREATE OR REPLACE FUNCTION api.advisor_approve(caller bigint, advisor bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_yes boolean := consult.f_bool(doc, 'approved');
BEGIN
    PERFORM consult.need_admin(caller);

    UPDATE identity.advisor d
       SET approved_at = CASE WHEN v_yes
                              THEN coalesce(d.approved_at, now()) END
     WHERE d.account_id = advisor_approve.advisor;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such advisor');
    END IF;

    PERFORM consult.admin_act(caller, 'advisor_approve', 'u_' || advisor,
                              jsonb_build_object('approved', v_yes));

    RETURN QUERY SELECT 200, consult.advisor_own(advisor);
END
$$;


REVOKE ALL ON FUNCTION api.profile(bigint),
    api.profile_edit(bigint, json, text), api.advisor_me(bigint),
    api.advisor_edit(bigint, json, text), api.advisor_status(bigint, json),
    api.advisor_create(bigint, json, text), api.advisor_signup(json, text),
    api.advisors_waiting(bigint, int, text),
    api.advisor_approve(bigint, bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.profile(bigint),
    api.profile_edit(bigint, json, text), api.advisor_me(bigint),
    api.advisor_edit(bigint, json, text), api.advisor_status(bigint, json),
    api.advisor_create(bigint, json, text), api.advisor_signup(json, text),
    api.advisors_waiting(bigint, int, text),
    api.advisor_approve(bigint, bigint, json) TO astro_web;

RESET ROLE;
