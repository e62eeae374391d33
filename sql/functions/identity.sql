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

-- consult.is_admin: may this account act on others?
CREATE OR REPLACE FUNCTION consult.is_admin(who bigint) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT a.role = 'admin' AND NOT a.blocked
                       FROM identity.account a WHERE a.id = who), false);
END
$$;

REVOKE ALL ON FUNCTION consult.account_body(identity.account),
    consult.is_admin(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.account_body(identity.account),
    consult.is_admin(bigint) TO astro_api;

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
     WHERE a.email = lower(credentials.email)
       -- whom another issuer signs in has no password here
       AND a.password_hash <> '';
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


-- api.tokens_revoke: signs somebody out everywhere: tokens issued before this
-- moment are no good any more.  One's own, or by an admin anybody's.
--
--   200 {"user","tokens_valid_from"}      epoch seconds; a token whose iat is
--                                         smaller is refused
--   403 forbidden                         somebody else's, and no admin
--   404 not_found                         no such account
--
-- hint: publish it on Redis, channel <prefix>events, when this is committed.
-- Workers that hear it look at once; without it they find out within 5 s.
-- A token of the second in which this happens counts as issued before.
CREATE OR REPLACE FUNCTION api.tokens_revoke(caller bigint, account bigint)
RETURNS TABLE (status int, body json, hint text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_from bigint := consult.ms(clock_timestamp()) / 1000 + 1;
BEGIN
    IF account <> caller AND NOT consult.is_admin(caller) THEN
        RETURN QUERY SELECT 403, consult.error('forbidden',
                                'only an admin signs out others'), NULL::text;
        RETURN;
    END IF;

    UPDATE identity.account a
       SET tokens_valid_from = greatest(a.tokens_valid_from, v_from)
     WHERE a.id = tokens_revoke.account
    RETURNING a.tokens_valid_from INTO v_from;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 404, consult.error('not_found',
                                'no such account'), NULL::text;
        RETURN;
    END IF;

    IF account <> caller THEN
        PERFORM consult.admin_act(caller, 'tokens_revoke', 'u_' || account,
                                  '{}');
    END IF;

    RETURN QUERY
    SELECT 200, ('{"user":"u_' || account || '","tokens_valid_from":'
                 || v_from || '}')::json, 'A ' || account;
END
$$;


-- api.account_block: an admin blocks an account, or lets it in again.
--
--   200 {"user","blocked"}
--   403 forbidden                         no admin, or oneself
--   404 not_found                         no such account
--
-- hint: as of api.tokens_revoke.
CREATE OR REPLACE FUNCTION api.account_block(caller bigint, account bigint,
    blocked boolean)
RETURNS TABLE (status int, body json, hint text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- as api.admin_user_block
    PERFORM pg_advisory_xact_lock(7, 0);

    IF account = caller OR NOT consult.is_admin(caller) THEN
        RETURN QUERY SELECT 403, consult.error('forbidden',
                                'only an admin blocks others'), NULL::text;
        RETURN;
    END IF;

    UPDATE identity.account a SET blocked = account_block.blocked
     WHERE a.id = account_block.account;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 404, consult.error('not_found',
                                'no such account'), NULL::text;
        RETURN;
    END IF;

    PERFORM consult.admin_act(caller, 'account_block', 'u_' || account,
                jsonb_build_object('blocked', account_block.blocked));

    RETURN QUERY
    SELECT 200, ('{"user":"u_' || account || '","blocked":' || blocked
                 || '}')::json, 'A ' || account;
END
$$;


REVOKE ALL ON FUNCTION api.register(text, text, text), api.credentials(text),
    api.me(bigint), api.tokens_revoke(bigint, bigint),
    api.account_block(bigint, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.register(text, text, text),
    api.credentials(text), api.me(bigint),
    api.tokens_revoke(bigint, bigint),
    api.account_block(bigint, bigint, boolean) TO astro_web;

RESET ROLE;
