-- auth: logins, from the password's yes to the last token's end.  Owned by
-- astro_api; the module makes and compares nothing but hashes of what it sends.
--
-- A refresh token is "<account>.<login>.<secret>".  Its first part says whose
-- rows may be seen at all; that it is true is what the hash proves.

SET ROLE astro_owner;


-- consult.login_end: ends a login of the caller, and revokes its tokens.
CREATE OR REPLACE FUNCTION consult.login_end(login text, why text,
    token_s bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE identity.login l
       SET ended_at = clock_timestamp(), why = login_end.why
     WHERE l.id = login_end.login AND l.ended_at IS NULL;

    -- a minute for clocks that disagree
    INSERT INTO identity.revoked (id, account_id, until)
    VALUES (login_end.login, consult.caller(),
            now() + (login_end.token_s + 60) * interval '1 second')
    ON CONFLICT DO NOTHING;
END
$$;

REVOKE ALL ON FUNCTION consult.login_end(text, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.login_end(text, text, bigint) TO astro_api;

RESET ROLE;
SET ROLE astro_gateway;

-- api.auth_sweep: forgets a few logins and revocations that nobody can use
-- any more.  Called now and then by api.login_open.
CREATE OR REPLACE FUNCTION api.auth_sweep() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM identity.login WHERE id IN (
        SELECT l.id FROM identity.login l
         WHERE l.ends_at < now() - interval '7 days'
           AND NOT consult.held(l.account_id)
         ORDER BY l.ends_at LIMIT 20);
    DELETE FROM identity.revoked WHERE id IN (
        SELECT r.id FROM identity.revoked r
         WHERE r.until < now() - interval '1 hour'
         ORDER BY r.until LIMIT 20);
END
$$;

REVOKE ALL ON FUNCTION api.auth_sweep() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.auth_sweep() TO astro_api, astro_web;

RESET ROLE;
SET ROLE astro_api;


-- api.login_open: somebody has proven who he is; a login begins.
--
--   login     32 hex digits of randomness
--   refresh   SHA-256 of its refresh token, hex
--   life_s    for how long the refresh token is good
--
--   200, id, role, iat    iat: when the access token has to say it was issued,
--                         epoch s: not before tokens_valid_from, which may be a
--                         second ahead
--   403 forbidden         the account is blocked
--   401 unauthorized      gone
--
-- Called by POST /api/auth/login and all others that sign in.
CREATE OR REPLACE FUNCTION api.login_open(account bigint, login text,
    refresh text, life_s bigint)
RETURNS TABLE (status int, body json, id bigint, role text, iat bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    a identity.account;
BEGIN
    PERFORM set_config('astro.caller', account::text, true);

    SELECT * INTO a FROM identity.account x WHERE x.id = login_open.account;

    IF NOT FOUND THEN
        PERFORM consult.fail('unauthorized', 'no such account');
    END IF;

    IF a.blocked THEN
        PERFORM consult.fail('forbidden', 'this account is blocked');
    END IF;

    INSERT INTO identity.login (id, account_id, refresh, used_at, ends_at)
    VALUES (login_open.login, a.id, decode(login_open.refresh, 'hex'),
            greatest(clock_timestamp(), to_timestamp(a.tokens_valid_from)),
            now() + login_open.life_s * interval '1 second');

    PERFORM api.auth_sweep();

    RETURN QUERY
    SELECT 200, '{}'::json, a.id, a.role,
           greatest(consult.ms(clock_timestamp()) / 1000,
                    a.tokens_valid_from);
END
$$;


-- api.login_refresh: a refresh token for the next one.  One that was used
-- before ends its login: it was copied, and who of the two is the thief cannot
-- be known.  So this answers, and does not raise, when it refuses: what it
-- did must stay.
--
--   account, login   as the token says
--   refresh          its SHA-256, hex
--   fresh            that of the one to come
--   token_s          how long access tokens live: so long its revocation is kept
--
--   200, id, role, iat
--   401 unauthorized      no such login, expired, ended, or used before; or the
--                         account was signed out everywhere since
--   403 forbidden         the account is blocked
--
-- Called by POST /api/auth/refresh.
CREATE OR REPLACE FUNCTION api.login_refresh(account bigint, login text,
    refresh text, fresh text, life_s bigint, token_s bigint)
RETURNS TABLE (status int, body json, id bigint, role text, iat bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    l identity.login;
    a identity.account;
BEGIN
    PERFORM set_config('astro.caller', account::text, true);

    SELECT * INTO l FROM identity.login x
     WHERE x.id = login_refresh.login
       AND x.account_id = login_refresh.account FOR UPDATE;

    IF NOT FOUND OR l.ended_at IS NOT NULL OR l.ends_at < now() THEN
        RETURN QUERY SELECT 401, consult.error('unauthorized',
                                'this login has ended'),
                            NULL::bigint, NULL::text, NULL::bigint;
        RETURN;
    END IF;

    IF l.refresh <> decode(login_refresh.refresh, 'hex') THEN
        PERFORM consult.login_end(l.id, 'reuse', token_s);

        RETURN QUERY SELECT 401, consult.error('unauthorized',
                                'this refresh token was used before'),
                            NULL::bigint, NULL::text, NULL::bigint;
        RETURN;
    END IF;

    SELECT * INTO a FROM identity.account x WHERE x.id = l.account_id;

    IF a.blocked THEN
        PERFORM consult.fail('forbidden', 'this account is blocked');
    END IF;

    -- signed out everywhere since, be it by an admin or by hand
    IF l.used_at < to_timestamp(a.tokens_valid_from) THEN
        UPDATE identity.login x
           SET ended_at = clock_timestamp(), why = 'everywhere'
         WHERE x.id = l.id;

        RETURN QUERY SELECT 401, consult.error('unauthorized',
                                'this login has ended'),
                            NULL::bigint, NULL::text, NULL::bigint;
        RETURN;
    END IF;

    UPDATE identity.login x
       SET refresh = decode(login_refresh.fresh, 'hex'),
           used_at = greatest(clock_timestamp(),
                              to_timestamp(a.tokens_valid_from)),
           ends_at = now() + login_refresh.life_s * interval '1 second'
     WHERE x.id = l.id;

    RETURN QUERY
    SELECT 200, '{}'::json, a.id, a.role,
           greatest(consult.ms(clock_timestamp()) / 1000,
                    a.tokens_valid_from);
END
$$;


-- api.logout: signs out this device, or the caller everywhere.
--
--   login      the "sid" of the caller's token; "" if it has none
--   token      its "jti"; "" if it has none
--   token_s    how long access tokens live
--   asked      {"everywhere": true}, or {}
--
--   200 {"everywhere"}
--   409 conflict          a token without sid and jti: it can only be everywhere
--
-- Workers find it within a second (api.heal).  Called by
-- POST /api/auth/logout.
CREATE OR REPLACE FUNCTION api.logout(caller bigint, login text, token text,
    token_s bigint, asked json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_all boolean := coalesce(consult.f_bool(logout.asked, 'everywhere',
                                             false), false);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_all THEN
        PERFORM api.tokens_revoke(caller, caller);

        UPDATE identity.login l
           SET ended_at = clock_timestamp(), why = 'everywhere'
         WHERE l.account_id = logout.caller AND l.ended_at IS NULL;

    ELSIF login <> '' THEN
        PERFORM consult.login_end(login, 'logout', token_s);

    ELSIF token <> '' THEN
        INSERT INTO identity.revoked (id, account_id, until)
        VALUES (logout.token, logout.caller,
                now() + (logout.token_s + 60) * interval '1 second')
        ON CONFLICT DO NOTHING;

    ELSE
        PERFORM consult.fail('conflict',
                             'this token has no name to be revoked by',
                             '/everywhere');
    END IF;

    RETURN QUERY SELECT 200, json_build_object('everywhere', v_all);
END
$$;


REVOKE ALL ON FUNCTION api.login_open(bigint, text, text, bigint),
    api.login_refresh(bigint, text, text, text, bigint, bigint),
    api.logout(bigint, text, text, bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.login_open(bigint, text, text, bigint),
    api.login_refresh(bigint, text, text, text, bigint, bigint),
    api.logout(bigint, text, text, bigint, json) TO astro_web;

RESET ROLE;
