-- admin_log: what admins have done, in a chain that shows whether somebody has
-- changed it since.  Owned by astro_admin, which alone may append to it; nobody
-- who serves may change or remove a row.
--
-- hash of a row = SHA-256 of the hash of the row before (32 bytes; of the first
-- one zeros) and of the UTF-8 of
--
--     [no, at in microseconds of the epoch, admin_id, act, about, detail]
--
-- as jsonb is written by PostgreSQL.  Who has written down the last number and
-- hash somewhere else can tell later that nothing up to it was changed.

ALTER DEFAULT PRIVILEGES FOR ROLE astro_admin
      REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

SET ROLE astro_owner;


-- consult.admin_hash: the hash of a row, whatever it says its hash is.
CREATE OR REPLACE FUNCTION consult.admin_hash(before bytea,
    l consult.admin_log) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN sha256(before || convert_to(jsonb_build_array(l.no,
                      (extract(epoch FROM l.at) * 1000000)::bigint,
                      l.admin_id, l.act, l.about, l.detail)::text, 'UTF8'));
END
$$;


REVOKE ALL ON FUNCTION consult.admin_hash(bytea, consult.admin_log)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.admin_hash(bytea, consult.admin_log)
    TO astro_admin, astro_engine;

RESET ROLE;
SET ROLE astro_admin;


-- consult.admin_act: an admin has done something: a row of the log, in the
-- transaction of what was done.
--
--   act       what, as a word: "advisor_approve"
--   about     whom or what: "u_5"; "" if nobody
--   detail    an object of what else is to be known; the reason, amounts
--
-- It refuses with 403 whoever is no admin (any more).  A detail that has what
-- only its owner may know is a bug, and refused as one: no passwords, codes,
-- tokens, hashes or words of a conversation.
--
-- Call it last: it locks the end of the log until the transaction ends, and
-- that lock comes after all others.
CREATE OR REPLACE FUNCTION consult.admin_act(caller bigint, act text,
    about text, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before bytea;
    l        consult.admin_log;
BEGIN
    PERFORM 1 FROM identity.account a
      WHERE a.id = admin_act.caller AND a.role = 'admin' AND NOT a.blocked;

    IF NOT FOUND THEN
        PERFORM consult.fail('forbidden', 'only for admins');
    END IF;

    l.detail := coalesce(jsonb_strip_nulls(admin_act.detail), '{}');

    IF jsonb_path_exists(l.detail, '$.** ? (@.type() == "object")'
                         '.keyvalue().key ? (@ like_regex "^(.*_)?(password'
                         '|hash|secret|token|refresh|otp|pin|card|sdp'
                         '|message|transcript|key)$" flag "i")') THEN
        RAISE EXCEPTION 'the detail of % has what no log may have', act;
    END IF;

    UPDATE consult.admin_clock c SET no = c.no + 1 WHERE c.one
    RETURNING c.no, c.hash INTO STRICT l.no, v_before;

    l.at := clock_timestamp();
    l.admin_id := admin_act.caller;
    l.act := admin_act.act;
    l.about := coalesce(admin_act.about, '');
    l.hash := consult.admin_hash(v_before, l);

    INSERT INTO consult.admin_log SELECT l.*;

    UPDATE consult.admin_clock c SET hash = l.hash WHERE c.one;
END
$$;


REVOKE ALL ON FUNCTION consult.admin_act(bigint, text, text, jsonb)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.admin_act(bigint, text, text, jsonb)
    TO astro_api, astro_gateway, astro_signer, astro_engine;


-- api.admin_log: what admins have done, newest first.  query, all optional:
--
--   admin, about     "u_1"; "u_5", "s_9": exactly
--   act              the word
--   from, to         from this instant on; before that one
--
--   200 {"data":[{no,at,admin,name,act,about,detail,hash}],"next_cursor"}
--       hash: of the chain, up to this row
--   400 bad_request, field "/cursor" or that of the query; 403 forbidden
--
-- To look is no act: nothing is logged.  Called by GET /api/admin/log.
CREATE OR REPLACE FUNCTION api.admin_log(caller bigint, query json, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_admin  bigint := consult.f_id(query, 'admin', 'u', false);
    v_about  text   := consult.f_text(query, 'about', 1, 100, false);
    v_act    text   := consult.f_text(query, 'act', 1, 48, false);
    v_from   timestamptz := consult.f_time(query, 'from', false);
    v_to     timestamptz := consult.f_time(query, 'to', false);
    v_docs   text[];
    v_ids    bigint[];
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT consult.admin_calls() THEN
        PERFORM consult.fail('forbidden', 'only for admins');
    END IF;

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    SELECT array_agg(row_to_json(x)::text ORDER BY x.no DESC),
           array_agg(x.no ORDER BY x.no DESC)
      INTO v_docs, v_ids
      FROM (SELECT l.no, consult.rfc3339(l.at) AS at,
                   'u_' || l.admin_id AS admin, a.name, l.act, l.about,
                   l.detail, encode(l.hash, 'hex') AS hash
              FROM consult.admin_log l
              JOIN identity.account a ON a.id = l.admin_id
             WHERE l.no < v_before
               AND (v_admin IS NULL OR l.admin_id = v_admin)
               AND (v_about IS NULL OR l.about = v_about)
               AND (v_act IS NULL OR l.act = v_act)
               AND (v_from IS NULL OR l.at >= v_from)
               AND (v_to IS NULL OR l.at < v_to)
             ORDER BY l.no DESC LIMIT v_cap + 1) x;

    RETURN QUERY SELECT 200, consult.page(v_docs, v_ids, v_cap);
END
$$;


REVOKE ALL ON FUNCTION api.admin_log(bigint, json, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.admin_log(bigint, json, int, text)
    TO astro_web;

RESET ROLE;
SET ROLE astro_engine;


-- billing.audit_chain: the first row of the log that is not as it was written,
-- or what is missing of it; mostly nothing.  Columns as of
-- billing.audit_wrongs.
CREATE OR REPLACE FUNCTION billing.audit_chain(cursor refcursor)
RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET cursor_tuple_fraction = 1 AS $$
#variable_conflict use_column
BEGIN
    OPEN cursor NO SCROLL FOR
    SELECT 'chain', NULL::bigint, NULL::bigint, NULL::bigint, w.what
      FROM ((SELECT x.no, CASE WHEN x.no <> x.place
                 THEN format('act %s is missing: after %s comes %s', x.place,
                             x.place - 1, x.no)
                 ELSE format('act %s (%s, by u_%s) is not what was written, '
                             'or not after act %s as it is now', x.no, x.act,
                             x.admin_id, x.no - 1) END AS what
               FROM (SELECT l.no, l.act, l.admin_id, l.hash,
                            row_number() OVER o AS place,
                            consult.admin_hash(coalesce(lag(l.hash) OVER o,
                                decode(repeat('00', 32), 'hex')), l) AS must
                       FROM consult.admin_log l
                     WINDOW o AS (ORDER BY l.no)) x
              WHERE x.no <> x.place OR x.hash <> x.must
              ORDER BY x.no LIMIT 1)
            UNION ALL
            SELECT 9223372036854775807,
                   format('the last act is %s, and it was %s that was '
                          'written last', coalesce(l.no, 0), c.no)
              FROM consult.admin_clock c
              LEFT JOIN (SELECT * FROM consult.admin_log x
                          ORDER BY x.no DESC LIMIT 1) l ON true
             WHERE c.no <> coalesce(l.no, 0)
                OR l.no IS NOT NULL AND c.hash <> l.hash) w
     ORDER BY w.no LIMIT 1;
    RETURN cursor;
END
$$;


REVOKE ALL ON FUNCTION billing.audit_chain(refcursor) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.audit_chain(refcursor) TO astro_worker;

RESET ROLE;
