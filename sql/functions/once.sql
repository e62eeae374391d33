-- once: Idempotency-Key.  The module wraps the call of a route's function
-- between these two, in one statement, so that the key, the effect and the
-- answer are of one transaction (ngx_astro_routes.c).

SET ROLE astro_engine;

-- consult.once_sweep: at most 4 answers that are a day old go.  Each new key
-- calls it, so that old ones do not pile up, and nobody sweeps for long.
CREATE OR REPLACE FUNCTION consult.once_sweep() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM consult.once o
     USING (SELECT x.account_id, x.key FROM consult.once x
             WHERE x.at < clock_timestamp() - interval '24 hours'
             ORDER BY x.at LIMIT 4 FOR UPDATE SKIP LOCKED) old
     WHERE o.account_id = old.account_id AND o.key = old.key;
END
$$;

REVOKE ALL ON FUNCTION consult.once_sweep() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.once_sweep() TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.once_claim: the key is this transaction's now, and the row returned is
-- empty; or the answer that it was given.  Whoever has the key at this moment is
-- waited for.
--
--   422 idempotency_mismatch        it was used for something else
--   409 idempotency_in_progress     who has it takes long
CREATE OR REPLACE FUNCTION api.once_claim(caller bigint, key text, hash text)
RETURNS api.kept
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o consult.once;
    r api.kept;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    -- one that is too old to be replayed must not stand in the way
    DELETE FROM consult.once x
     WHERE x.account_id = once_claim.caller AND x.key = once_claim.key
       AND x.at < clock_timestamp() - interval '24 hours';

    INSERT INTO consult.once (account_id, key, hash)
    VALUES (once_claim.caller, once_claim.key, once_claim.hash)
    ON CONFLICT DO NOTHING;

    IF FOUND THEN
        PERFORM consult.once_sweep();

        -- The oldest of many go sooner.  To look costs as much as there are:
        -- once for 32 new ones, which nobody can choose.
        IF random() < 1.0 / 32 THEN
            DELETE FROM consult.once x
             WHERE x.account_id = once_claim.caller
               AND x.key IN (SELECT y.key FROM consult.once y
                              WHERE y.account_id = once_claim.caller
                              ORDER BY y.at DESC OFFSET 2000
                              FOR UPDATE SKIP LOCKED);
        END IF;

        RETURN NULL;
    END IF;

    SELECT * INTO o FROM consult.once x
     WHERE x.account_id = once_claim.caller AND x.key = once_claim.key;

    IF o.hash IS DISTINCT FROM once_claim.hash THEN
        PERFORM consult.fail('idempotency_mismatch',
                             'this key was used for another request',
                             '/Idempotency-Key');
    END IF;

    r.status := o.status;
    r.body := o.body;
    r.etag := o.etag;
    r.replayed := true;

    RETURN r;
EXCEPTION WHEN lock_not_available THEN
    PERFORM consult.fail('idempotency_in_progress',
                         'the request with this key is not over',
                         '/Idempotency-Key');
END
$$;


-- api.once_keep: keeps what the route's function returned (its row as JSON)
-- under the key, and returns it.  A refusal is not kept: the same request may
-- be made again when what was missing is there.
CREATE OR REPLACE FUNCTION api.once_keep(caller bigint, key text, answer json)
RETURNS api.kept
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r api.kept;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    r.status := (answer ->> 'status')::int;
    r.body := answer -> 'body';
    r.etag := answer ->> 'etag';
    r.replayed := false;

    IF r.status < 300 THEN
        UPDATE consult.once x
           SET status = r.status, body = r.body, etag = r.etag
         WHERE x.account_id = once_keep.caller AND x.key = once_keep.key;
    ELSE
        DELETE FROM consult.once x
         WHERE x.account_id = once_keep.caller AND x.key = once_keep.key;
    END IF;

    RETURN r;
END
$$;


-- api.act_keep: the same of what a party did with a session.
CREATE OR REPLACE FUNCTION api.act_keep(caller bigint, key text,
    answer api.session_outcome)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- the module says dup, too
    PERFORM api.once_keep(caller, key, json_build_object(
        'status', answer.status,
        'body', CASE WHEN answer.dup
                     THEN (left(answer.body::text, -1)
                           || ',"dup":true}')::json
                     ELSE answer.body END));

    RETURN answer;
END
$$;


-- api.act_kept: what it was answered, and no session: there is nothing to tell.
-- That it was done before is what a dup of NULL says.
CREATE OR REPLACE FUNCTION api.act_kept(kept api.kept)
RETURNS api.session_outcome
LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r api.session_outcome;
BEGIN
    r.status := kept.status;
    r.body := kept.body;

    RETURN r;
END
$$;


REVOKE ALL ON FUNCTION api.once_claim(bigint, text, text),
    api.once_keep(bigint, text, json),
    api.act_keep(bigint, text, api.session_outcome),
    api.act_kept(api.kept) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.once_claim(bigint, text, text),
    api.once_keep(bigint, text, json),
    api.act_keep(bigint, text, api.session_outcome),
    api.act_kept(api.kept) TO astro_web;

RESET ROLE;
