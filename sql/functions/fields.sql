-- fields: refusals by exception, and the fields of what a client sent, read
-- with a precise error.  Owned by astro_owner; nothing here is for astro_web.
--
-- doc is a function's body or query: a JSON object, which ngx_astro_module has
-- checked (size, depth, UTF-8, no NUL, no key given twice).  A query's values
-- are all strings.  A field that is absent or null is NULL, or refused if it is
-- required; one that nobody reads is ignored.  "at" is the JSON pointer of doc
-- in what was sent, for objects within others.

SET ROLE astro_owner;


-- consult.fail: ends a function of api with a refusal; all it did is undone.
-- code is one of the module's list (ngx_astro.h), field a JSON pointer.  REST
-- makes it a problem document, WebSockets an error of the reply.
CREATE OR REPLACE FUNCTION consult.fail(code text, message text,
    field text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'AS400', MESSAGE = message,
                          DETAIL = code, HINT = coalesce(field, '');
END
$$;


-- consult.f_json: the member as it is, NULL if it is absent or null.
CREATE OR REPLACE FUNCTION consult.f_json(doc json, key text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := doc -> key;
BEGIN
    IF v IS NULL OR json_typeof(v) = 'null' THEN
        IF required THEN
            PERFORM consult.fail('bad_request', key || ' is missing',
                                 at || '/' || key);
        END IF;

        RETURN NULL;
    END IF;

    RETURN v;
END
$$;


-- consult.f_text: a string of min to max characters.
CREATE OR REPLACE FUNCTION consult.f_text(doc json, key text, min int,
    max int, required boolean DEFAULT true, at text DEFAULT '') RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) <> 'string' OR length(t) NOT BETWEEN min AND max THEN
        PERFORM consult.fail('bad_request', key || ' is a string of ' || min
            || ' to ' || max || ' characters', at || '/' || key);
    END IF;

    RETURN t;
END
$$;


-- consult.f_int: an integer from min to max, written as one (no 1.0, no 1e3).
CREATE OR REPLACE FUNCTION consult.f_int(doc json, key text, min bigint,
    max bigint, required boolean DEFAULT true, at text DEFAULT '')
RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) = 'number' AND t ~ '^-?[0-9]{1,18}$'
       AND t::bigint BETWEEN min AND max THEN
        RETURN t::bigint;
    END IF;

    PERFORM consult.fail('bad_request', key || ' is an integer from ' || min
                         || ' to ' || max, at || '/' || key);
END
$$;


-- consult.q_int: the same of a query, whose values are strings.
CREATE OR REPLACE FUNCTION consult.q_int(query json, key text, min bigint,
    max bigint, required boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(query, key, required);
    t text := query ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF t ~ '^-?[0-9]{1,18}$' AND t::bigint BETWEEN min AND max THEN
        RETURN t::bigint;
    END IF;

    PERFORM consult.fail('bad_request', key || ' is an integer from ' || min
                         || ' to ' || max, '/' || key);
END
$$;


-- consult.f_number: a number from min to max, exact.
CREATE OR REPLACE FUNCTION consult.f_number(doc json, key text, min numeric,
    max numeric, required boolean DEFAULT true, at text DEFAULT '')
RETURNS numeric
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    -- a huge exponent would make a huge numeric
    IF json_typeof(v) = 'number' AND length(t) <= 40
       AND t ~ '^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$'
       AND t::numeric BETWEEN min AND max THEN
        RETURN t::numeric;
    END IF;

    PERFORM consult.fail('bad_request', key || ' is a number from ' || min
                         || ' to ' || max, at || '/' || key);
END
$$;


-- consult.q_number: the same of a query.
CREATE OR REPLACE FUNCTION consult.q_number(query json, key text, min numeric,
    max numeric, required boolean DEFAULT false) RETURNS numeric
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(query, key, required);
    t text := query ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF length(t) <= 40 AND t ~ '^-?[0-9]+(\.[0-9]+)?$'
       AND t::numeric BETWEEN min AND max THEN
        RETURN t::numeric;
    END IF;

    PERFORM consult.fail('bad_request', key || ' is a number from ' || min
                         || ' to ' || max, '/' || key);
END
$$;


-- consult.f_bool: true or false; of a query, these words.
CREATE OR REPLACE FUNCTION consult.f_bool(doc json, key text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) <> 'boolean' THEN
        PERFORM consult.fail('bad_request', key || ' is true or false',
                             at || '/' || key);
    END IF;

    RETURN v::text = 'true';
END
$$;

CREATE OR REPLACE FUNCTION consult.q_bool(query json, key text,
    required boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN consult.f_enum(query, key, '{true,false}', required) = 'true';
END
$$;


-- consult.f_enum: one of these words.
CREATE OR REPLACE FUNCTION consult.f_enum(doc json, key text, words text[],
    required boolean DEFAULT true, at text DEFAULT '') RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) <> 'string' OR NOT t = ANY (words) THEN
        PERFORM consult.fail('bad_request', key || ' is one of '
            || array_to_string(words, ', '), at || '/' || key);
    END IF;

    RETURN t;
END
$$;


-- consult.f_uuid: a UUID of 36 characters.
CREATE OR REPLACE FUNCTION consult.f_uuid(doc json, key text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) <> 'string'
       OR t !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        PERFORM consult.fail('bad_request', key || ' is a UUID',
                             at || '/' || key);
    END IF;

    RETURN t::uuid;
END
$$;


-- consult.id_of: the number of an id like "u_5", or NULL: it is none.
CREATE OR REPLACE FUNCTION consult.id_of(kind text, id text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF left(id, 2) = kind || '_' AND substr(id, 3) ~ '^[1-9][0-9]{0,16}$'
       AND substr(id, 3)::bigint < 1::bigint << 56 THEN
        RETURN substr(id, 3)::bigint;
    END IF;

    RETURN NULL;
END
$$;


-- consult.f_id: the number of an id of that kind.
CREATE OR REPLACE FUNCTION consult.f_id(doc json, key text, kind text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json   := consult.f_json(doc, key, required, at);
    n bigint := consult.id_of(kind, doc ->> key);
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) <> 'string' OR n IS NULL THEN
        PERFORM consult.fail('bad_request', key || ' is an id like ' || kind
                             || '_1', at || '/' || key);
    END IF;

    RETURN n;
END
$$;


-- consult.f_list: an array of at most max values of any kind, as it is.
CREATE OR REPLACE FUNCTION consult.f_list(doc json, key text, max int,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) = 'array' THEN
        IF json_array_length(v) <= max THEN
            RETURN v;
        END IF;
    END IF;

    PERFORM consult.fail('bad_request', key || ' is an array of at most '
                         || max || ' values', at || '/' || key);
END
$$;


-- consult.f_texts: an array of at most max strings of shortest to longest characters.
CREATE OR REPLACE FUNCTION consult.f_texts(doc json, key text, max int,
    shortest int, longest int, required boolean DEFAULT true, at text DEFAULT '')
RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json   := consult.f_list(doc, key, max, required, at);
    i int    := 0;
    r text[] := '{}';
    e json;
    t text;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    FOR e IN SELECT x FROM json_array_elements(v) x LOOP
        t := e #>> '{}';

        IF json_typeof(e) <> 'string'
           OR length(t) NOT BETWEEN shortest AND longest THEN
            PERFORM consult.fail('bad_request', key || ' has strings of '
                || shortest || ' to ' || longest || ' characters',
                at || '/' || key || '/' || i);
        END IF;

        r := r || t;
        i := i + 1;
    END LOOP;

    RETURN r;
END
$$;


-- consult.f_object: an object, as it is; read its fields with at = '/key'.
CREATE OR REPLACE FUNCTION consult.f_object(doc json, key text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
BEGIN
    IF v IS NOT NULL AND json_typeof(v) <> 'object' THEN
        PERFORM consult.fail('bad_request', key || ' is an object',
                             at || '/' || key);
    END IF;

    RETURN v;
END
$$;


-- consult.f_date: a day as YYYY-MM-DD, of the years 1 to 9999.
CREATE OR REPLACE FUNCTION consult.f_date(doc json, key text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS date
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) = 'string' AND t ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN
        BEGIN
            RETURN make_date(left(t, 4)::int, substr(t, 6, 2)::int,
                             right(t, 2)::int);
        EXCEPTION WHEN datetime_field_overflow THEN
            NULL;
        END;
    END IF;

    PERFORM consult.fail('bad_request', key || ' is a day like 2026-01-31',
                         at || '/' || key);
END
$$;


-- consult.f_time: an instant: RFC 3339, or whole milliseconds of the epoch (as
-- a number; in a query as digits); from 1970 to 9999.
CREATE OR REPLACE FUNCTION consult.f_time(doc json, key text,
    required boolean DEFAULT true, at text DEFAULT '') RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v json := consult.f_json(doc, key, required, at);
    t text := doc ->> key;
    r timestamptz;
BEGIN
    IF v IS NULL THEN
        RETURN NULL;
    END IF;

    IF json_typeof(v) IN ('number', 'string') AND t ~ '^[0-9]{1,15}$' THEN
        r := to_timestamp(t::bigint / 1000)
             + t::bigint % 1000 * interval '1 millisecond';

    ELSIF json_typeof(v) = 'string'
          AND t ~* ('^[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}:[0-9]{2}'
                    '(\.[0-9]{1,9})?(z|[+-][0-9]{2}:[0-9]{2})$') THEN
        BEGIN
            r := upper(t)::timestamptz;
        EXCEPTION WHEN data_exception THEN
            NULL;
        END;
    END IF;

    IF r IS NULL OR r < to_timestamp(0) OR r >= to_timestamp(253402300800) THEN
        PERFORM consult.fail('bad_request', key
            || ' is a time like 2026-01-31T10:00:00Z', at || '/' || key);
    END IF;

    RETURN r;
END
$$;


-- consult.f_match: what If-Match said ('m', NULL: nothing) against the etag of
-- what is about to be changed, whose row is locked.
CREATE OR REPLACE FUNCTION consult.f_match(given text, etag text)
RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF given IS NOT NULL AND given <> '*'
       AND NOT etag = ANY (string_to_array(given, ',')) THEN
        PERFORM consult.fail('precondition_failed',
                             'it was changed meanwhile, read it again');
    END IF;
END
$$;


DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'consult'::regnamespace
                AND (p.proname IN ('fail', 'id_of')
                     OR p.proname ~ '^[fq]_[a-z]+$')
    LOOP
        EXECUTE 'REVOKE ALL ON FUNCTION ' || f || ' FROM PUBLIC';
        EXECUTE 'GRANT EXECUTE ON FUNCTION ' || f
                || ' TO astro_api, astro_gateway, astro_engine, astro_admin';
    END LOOP;
END
$$;

RESET ROLE;
