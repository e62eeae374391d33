-- otp: codes of six digits that are sent to a phone, to log in or to prove that
-- a number is one's own.  Owned by astro_signer, who finds out who somebody is.
--
-- No code comes here.  The module makes a nonce; the billing worker makes the
-- code of it when it sends the message, with a key that both have in a file and
-- the database has not.  Here is an HMAC of the code, to compare with.
--
-- An answer never says whether anybody has the number.

SET ROLE astro_engine;

-- billing.sms_put: a message to that number, of use until then.  The form is
-- the vendor's, but for the sender, and "{code}", for which the worker puts
-- what it makes of the nonce behind it.  nobody: as if, so that it takes as
-- long, but it is never sent.
CREATE OR REPLACE FUNCTION billing.sms_put(id text, phone text, nonce text,
    about bigint, until timestamptz, nobody boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO billing.outbox (vendor, path, body, key, kind, about, until,
                                state, ended_at, error)
    VALUES ('twilio', '/Messages.json',
            CASE WHEN nobody THEN '' ELSE
                'To=' || replace(phone, '+', '%2B')
                || '&Body=Your+code+is+{code}.+It+is+good+for+5+minutes.'
                || '+Do+not+tell+it+to+anybody.&{nonce}=' || nonce END,
            'otp-' || id, 'otp', about, until,
            CASE WHEN nobody THEN 'refused' ELSE 'waiting' END,
            CASE WHEN nobody THEN clock_timestamp() END,
            CASE WHEN nobody THEN 'nobody has this number' END);
END
$$;

REVOKE ALL ON FUNCTION billing.sms_put(text, text, text, bigint, timestamptz,
    boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.sms_put(text, text, text, bigint,
    timestamptz, boolean) TO astro_signer;

RESET ROLE;
SET ROLE astro_owner;

GRANT EXECUTE ON FUNCTION consult.error(text, text, text),
    consult.rfc3339(timestamptz) TO astro_signer;

RESET ROLE;
SET ROLE astro_signer;


-- api.otp_request: a code is wanted.
--
--   caller   who wants to prove that the number is his; 0: to log in
--   id       32 hex digits of randomness: the challenge
--   mac      HMAC of the code, hex
--   nonce    hex
--   phone    E.164
--   origin   HMAC of the address that asks, hex
--
--   202 {challenge,expires_in,resend_in}   also if nobody has this number
--   429 rate_limited, retry_s              this number: 30 s after the last, 5
--                                          an hour, 10 a day, of which one
--                                          address has 3 and 6, so that nobody
--                                          keeps another from his number alone;
--                                          this address: 20 an hour
--
-- Called by POST /api/auth/otp/request and POST /api/me/phone.
CREATE OR REPLACE FUNCTION api.otp_request(caller bigint, id text, mac text,
    nonce text, phone text, origin text)
RETURNS TABLE (status int, body json, retry_s int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_account bigint;
    v_wait    interval;
    v_now     timestamptz := clock_timestamp();
    v_origin  bytea := decode(otp_request.origin, 'hex');
BEGIN
    -- two at once would each be the first
    PERFORM pg_advisory_xact_lock(4, hashtext(otp_request.phone));
    PERFORM pg_advisory_xact_lock(5, hashtext(otp_request.origin));

    SELECT max(x.free_at) - v_now INTO v_wait FROM (
        SELECT max(o.made_at) + interval '30 seconds' AS free_at
          FROM identity.otp o
         WHERE o.phone = otp_request.phone
           AND o.made_at > v_now - interval '30 seconds'
        UNION ALL
        (SELECT o.made_at + interval '1 hour' FROM identity.otp o
          WHERE o.phone = otp_request.phone
            AND o.made_at > v_now - interval '1 hour'
          ORDER BY o.made_at DESC OFFSET 4 LIMIT 1)
        UNION ALL
        (SELECT o.made_at + interval '1 day' FROM identity.otp o
          WHERE o.phone = otp_request.phone
            AND o.made_at > v_now - interval '1 day'
          ORDER BY o.made_at DESC OFFSET 9 LIMIT 1)
        UNION ALL
        (SELECT o.made_at + interval '1 hour' FROM identity.otp o
          WHERE o.phone = otp_request.phone AND o.origin = v_origin
            AND o.made_at > v_now - interval '1 hour'
          ORDER BY o.made_at DESC OFFSET 2 LIMIT 1)
        UNION ALL
        (SELECT o.made_at + interval '1 day' FROM identity.otp o
          WHERE o.phone = otp_request.phone AND o.origin = v_origin
            AND o.made_at > v_now - interval '1 day'
          ORDER BY o.made_at DESC OFFSET 5 LIMIT 1)
        UNION ALL
        (SELECT o.made_at + interval '1 hour' FROM identity.otp o
          WHERE o.origin = v_origin
            AND o.made_at > v_now - interval '1 hour'
          ORDER BY o.made_at DESC OFFSET 19 LIMIT 1)) x;

    IF v_wait > interval '0' THEN
        RETURN QUERY SELECT 429, consult.error('rate_limited',
                                'too many codes were asked for'),
                            ceil(extract(epoch FROM v_wait))::int;
        RETURN;
    END IF;

    IF caller = 0 THEN
        SELECT p.account_id INTO v_account FROM identity.phone p
         WHERE p.phone = otp_request.phone;
    ELSE
        v_account := caller;
    END IF;

    INSERT INTO identity.otp (id, purpose, phone, account_id, mac, origin,
                              made_at, ends_at)
    VALUES (otp_request.id,
            CASE WHEN caller = 0 THEN 'login' ELSE 'phone' END,
            otp_request.phone, v_account, decode(otp_request.mac, 'hex'),
            v_origin, v_now, v_now + interval '5 minutes');

    PERFORM billing.sms_put(otp_request.id, otp_request.phone,
                            otp_request.nonce, coalesce(v_account, 0),
                            v_now + interval '5 minutes', v_account IS NULL);

    -- what no limit asks about any more
    DELETE FROM identity.otp o WHERE o.id IN (
        SELECT x.id FROM identity.otp x
         WHERE x.made_at < v_now - interval '25 hours'
         ORDER BY x.made_at LIMIT 10 FOR UPDATE SKIP LOCKED);

    RETURN QUERY
    SELECT 202, json_build_object('challenge', otp_request.id,
                                  'expires_in', 300, 'resend_in', 30),
           0;
END
$$;


-- api.otp_verify: is it the code?  Each challenge takes one right answer, and
-- five wrong ones; then, or after five minutes, nothing is right any more.  It
-- does not raise: a wrong try has to stay.
--
--   caller   as of api.otp_request
--   id       the challenge
--   mac      HMAC of what was given for the code, hex
--
--   200 {phone,verified_at}, account       {} to log in: the module's to answer
--   401 unauthorized                       no, to log in
--   400 bad_request, field "/code"         no, of one's own number
--   409 conflict, field "/phone"           meanwhile it is somebody else's
--
-- Called by POST /api/auth/otp/verify and POST /api/me/phone/verify.
CREATE OR REPLACE FUNCTION api.otp_verify(caller bigint, id text, mac text)
RETURNS TABLE (status int, body json, account bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o       identity.otp;
    v_right boolean := false;
BEGIN
    SELECT * INTO o FROM identity.otp x
     WHERE x.id = otp_verify.id
       AND x.purpose = CASE WHEN caller = 0 THEN 'login' ELSE 'phone' END
       AND (caller = 0 OR x.account_id = caller)
       FOR UPDATE;

    IF FOUND AND o.ended_at IS NULL AND o.ends_at > clock_timestamp() THEN
        v_right := o.mac = decode(otp_verify.mac, 'hex')
                   AND o.account_id IS NOT NULL;

        UPDATE identity.otp x
           SET tries = x.tries + (NOT v_right)::int,
               ended_at = CASE WHEN v_right OR x.tries = 4
                               THEN clock_timestamp() END,
               why = CASE WHEN v_right THEN 'used'
                          WHEN x.tries = 4 THEN 'tries' END
         WHERE x.id = o.id;
    END IF;

    IF NOT v_right AND caller = 0 THEN
        RETURN QUERY SELECT 401, consult.error('unauthorized',
                                'wrong, or too late'), NULL::bigint;
        RETURN;
    END IF;

    IF NOT v_right THEN
        RETURN QUERY SELECT 400, consult.error('bad_request',
                                'wrong, or too late', '/code'), NULL::bigint;
        RETURN;
    END IF;

    IF caller = 0 THEN
        RETURN QUERY SELECT 200, '{}'::json, o.account_id;
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM identity.phone p
                WHERE p.phone = o.phone AND p.account_id <> caller)
    THEN
        RETURN QUERY SELECT 409, consult.error('conflict',
                                'another account has this number', '/phone'),
                            NULL::bigint;
        RETURN;
    END IF;

    RETURN QUERY
    INSERT INTO identity.phone AS p (account_id, phone)
    VALUES (o.account_id, o.phone)
    ON CONFLICT (account_id) DO UPDATE
       SET phone = excluded.phone, verified_at = excluded.verified_at
    RETURNING 200, json_build_object('phone', p.phone, 'verified_at',
                                     consult.rfc3339(p.verified_at)),
              p.account_id;

EXCEPTION WHEN unique_violation THEN
    -- in the same moment as another account: the try is undone with it
    RETURN QUERY SELECT 409, consult.error('conflict',
                            'another account has this number', '/phone'),
                        NULL::bigint;
END
$$;

REVOKE ALL ON FUNCTION api.otp_request(bigint, text, text, text, text, text),
    api.otp_verify(bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.otp_request(bigint, text, text, text, text,
    text), api.otp_verify(bigint, text, text) TO astro_web;

RESET ROLE;
SET ROLE astro_api;


-- api.phone: the caller's own number.
--
--   200 {phone,verified_at}
--   404 not_found                          none was proven
--
-- Called by GET /api/me/phone.
CREATE OR REPLACE FUNCTION api.phone(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY
    SELECT 200, json_build_object('phone', p.phone, 'verified_at',
                                  consult.rfc3339(p.verified_at))
      FROM identity.phone p WHERE p.account_id = phone.caller;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no number was proven');
    END IF;
END
$$;


-- api.phone_remove: the caller's number is forgotten; it signs nobody in.
--
--   204
--
-- Called by DELETE /api/me/phone.
CREATE OR REPLACE FUNCTION api.phone_remove(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    DELETE FROM identity.phone p WHERE p.account_id = phone_remove.caller;

    RETURN QUERY SELECT 204, NULL::json;
END
$$;

REVOKE ALL ON FUNCTION api.phone(bigint), api.phone_remove(bigint)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.phone(bigint), api.phone_remove(bigint)
    TO astro_web;

RESET ROLE;
