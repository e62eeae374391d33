-- outside: people whom other issuers sign in.  Owned by astro_signer.
--
-- The module has verified the token.  An issuer's word is taken for who somebody
-- is with that issuer, and for nothing else: an e-mail address in a token never
-- opens the account that has it here, for we have not seen its owner.

SET ROLE astro_signer;


-- api.outside: whose account that is; made on first sight, as a client with an
-- empty wallet and no password.  A verified address is taken if nobody has it;
-- else one that goes nowhere.
--
--   200, account, role
--   403 forbidden                          the account is blocked
--
-- Called for a token of a directive astro_issuer that was not seen before.
CREATE OR REPLACE FUNCTION api.outside(issuer text, sub text, email text,
    name text)
RETURNS TABLE (status int, body json, account bigint, role text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_account bigint;
    v_role    text;
    v_blocked boolean;
    v_name    text := coalesce(nullif(left(btrim(outside.name), 100), ''),
                               'Guest');
    v_nowhere text := encode(sha256(convert_to(outside.issuer || ' '
                                               || outside.sub, 'UTF8')),
                             'hex') || '@outside.invalid';
BEGIN
    SELECT o.account_id INTO v_account FROM identity.outside o
     WHERE o.issuer = outside.issuer AND o.sub = outside.sub;

    IF NOT FOUND THEN
        -- two at once make one account
        PERFORM pg_advisory_xact_lock(6, hashtext(outside.issuer || ' '
                                                  || outside.sub));

        SELECT o.account_id INTO v_account FROM identity.outside o
         WHERE o.issuer = outside.issuer AND o.sub = outside.sub;
    END IF;

    IF NOT FOUND AND outside.email ~ '^[^@ ]+@[^@ ]+$' THEN
        INSERT INTO identity.account AS a (email, name, role, password_hash)
        VALUES (lower(outside.email), v_name, 'client', '')
        ON CONFLICT DO NOTHING RETURNING a.id INTO v_account;
    END IF;

    IF v_account IS NULL THEN
        INSERT INTO identity.account AS a (email, name, role, password_hash)
        VALUES (v_nowhere, v_name, 'client', '')
        RETURNING a.id INTO v_account;
    END IF;

    IF NOT EXISTS (SELECT FROM identity.outside o
                    WHERE o.issuer = outside.issuer AND o.sub = outside.sub)
    THEN
        INSERT INTO identity.outside (issuer, sub, account_id)
        VALUES (outside.issuer, outside.sub, v_account);

        INSERT INTO ledger.wallet (owner_id, kind)
        VALUES (v_account, 'client');
    END IF;

    SELECT a.role, a.blocked INTO v_role, v_blocked
      FROM identity.account a WHERE a.id = v_account;

    IF v_blocked THEN
        RETURN QUERY SELECT 403, consult.error('forbidden',
                                'this account is blocked'),
                            NULL::bigint, NULL::text;
        RETURN;
    END IF;

    RETURN QUERY SELECT 200, '{}'::json, v_account, v_role;
END
$$;

REVOKE ALL ON FUNCTION api.outside(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.outside(text, text, text, text) TO astro_web;

RESET ROLE;
