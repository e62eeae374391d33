-- identity: who people are.  Functions of api, owned by astro_api.
--
-- Passwords never come here: ngx_astro_module hashes and compares.

SET ROLE astro_owner;

-- consult.account_body: an account as its owner sees it.
CREATE OR REPLACE FUNCTION consult.account_body(a identity.account)
RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ('{"id":"u_' || a.id || '","email":' || to_json(a.email)
            || ',"name":' || to_json(a.name) || ',"role":"' || a.role
            || '","created_at":"' || consult.rfc3339(a.created_at)
            || '"}')::json
$$;

REVOKE ALL ON FUNCTION consult.account_body(identity.account) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.account_body(identity.account) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.register: a new client with an empty wallet.  The email is stored in
-- lower case.
--
--   201 {id,email,name,role,created_at}
--   409 conflict, field "/email"          somebody has this email
--
-- Called by POST /api/auth/register, which has checked the form of all three.
CREATE OR REPLACE FUNCTION api.register(email text, password_hash text,
    name text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a identity.account;
BEGIN
    INSERT INTO identity.account (email, name, role, password_hash)
    VALUES (lower(register.email), register.name, 'client',
            register.password_hash)
    ON CONFLICT DO NOTHING
    RETURNING * INTO a;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 409, consult.error('conflict',
                                'there is an account with this email',
                                '/email');
        RETURN;
    END IF;

    PERFORM set_config('astro.caller', a.id::text, true);

    INSERT INTO ledger.wallet (owner_id, kind) VALUES (a.id, 'client');

    RETURN QUERY SELECT 201, consult.account_body(a);
END
$$;


-- api.credentials: what a login is compared with; one row, or none if nobody
-- has this email.  Called by POST /api/auth/login; the hash goes no further.
CREATE OR REPLACE FUNCTION api.credentials(email text)
RETURNS TABLE (id bigint, role text, password_hash text, blocked boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.id, a.role, a.password_hash, a.blocked
      FROM identity.account a
     WHERE a.email = lower(credentials.email);
END
$$;


-- api.me: the caller's own account.
--
--   200 {id,email,name,role,created_at}
--   401 unauthorized                      gone, or blocked
--
-- Called by GET /api/me.
CREATE OR REPLACE FUNCTION api.me(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 200, consult.account_body(a)
      FROM identity.account a
     WHERE a.id = me.caller AND NOT a.blocked;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 401, consult.error('unauthorized',
                                'this account is blocked or gone');
    END IF;
END
$$;


REVOKE ALL ON FUNCTION api.register(text, text, text), api.credentials(text),
    api.me(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.register(text, text, text),
    api.credentials(text), api.me(bigint) TO astro_web;

RESET ROLE;
