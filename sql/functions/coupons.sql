-- coupons: codes for promo, or for free minutes with an advisor.
--
-- Promo is a part of the wallet's balance that the platform has given
-- (billing.promo, reference "coupon:<use>"): it is spent before cash, and never
-- goes to a card.  Whoever is paid with it is paid in full: the advisor gets
-- amount - fee as of cash, so the platform funds it.  Free minutes are the
-- advisor's, who gets nothing for them, as nobody pays for them; they are added
-- to what the tariff gives the two (free_ms).
--
-- Codes cannot be found by trying: one that is unknown, has expired or is used up
-- is told apart by nobody, ten wrong ones in an hour are the last, and those that
-- we make have 80 random bits.
--
-- Locks: the coupon, then the wallet.

SET ROLE astro_engine;


-- consult.coupon_name: a code as it is kept: without blanks and dashes.
CREATE OR REPLACE FUNCTION consult.coupon_name(said text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT upper(regexp_replace(said, '[[:space:]-]', '', 'g'))
$$;


-- consult.coupon_redeem: a client gives a code: (status, body).  It raises
-- nothing, for what is wrong is counted.
CREATE OR REPLACE FUNCTION consult.coupon_redeem(account bigint, code text,
    advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c         ledger.coupon;
    u         ledger.coupon_use;
    v_now     timestamptz := clock_timestamp();
    v_misses  int;
    v_advisor bigint;
BEGIN
    INSERT INTO ledger.coupon_miss AS m (account_id, misses, since)
    VALUES (coupon_redeem.account, 0, v_now)
    ON CONFLICT (account_id) DO UPDATE
       SET misses = CASE WHEN m.since < v_now - interval '1 hour' THEN 0
                         ELSE m.misses END,
           since = CASE WHEN m.since < v_now - interval '1 hour' THEN v_now
                        ELSE m.since END
    RETURNING m.misses INTO v_misses;

    IF v_misses >= 10 THEN
        RETURN QUERY SELECT 429, consult.error('rate_limited',
            'too many wrong codes: try again in an hour');
        RETURN;
    END IF;

    SELECT x.* INTO c FROM ledger.coupon x
     WHERE x.code = consult.coupon_name(coupon_redeem.code)
       FOR NO KEY UPDATE;

    IF c.id IS NULL OR c.expires_at <= v_now OR c.used >= c.max_total THEN
        UPDATE ledger.coupon_miss m SET misses = m.misses + 1
         WHERE m.account_id = coupon_redeem.account;
        RETURN QUERY SELECT 404, consult.error('not_found',
                                               'no such coupon', '/code');
        RETURN;
    END IF;

    IF (SELECT count(*) FROM ledger.coupon_use x
         WHERE x.coupon_id = c.id
           AND x.account_id = coupon_redeem.account) >= c.max_each THEN
        RETURN QUERY SELECT 409, consult.error('conflict',
            'you have used this coupon', '/code');
        RETURN;
    END IF;

    IF c.free_ms IS NOT NULL THEN
        v_advisor := coalesce(c.advisor_id, coupon_redeem.advisor);

        IF v_advisor IS NULL OR coupon_redeem.advisor <> v_advisor
           OR NOT EXISTS (SELECT FROM identity.advisor d
                           WHERE d.account_id = v_advisor) THEN
            RETURN QUERY SELECT 400, consult.error('bad_request',
                'say with which advisor the minutes are to be', '/advisor');
            RETURN;
        END IF;
    END IF;

    UPDATE ledger.coupon x SET used = x.used + 1 WHERE x.id = c.id;

    INSERT INTO ledger.coupon_use (coupon_id, account_id, amount, free_ms,
                advisor_id)
    VALUES (c.id, coupon_redeem.account, c.amount, c.free_ms, v_advisor)
    RETURNING * INTO u;

    IF u.amount IS NOT NULL THEN
        PERFORM billing.promo(account, u.amount, 'coupon:' || u.id);
    END IF;

    RETURN QUERY SELECT 201, row_to_json(x) FROM (
        SELECT consult.money(u.amount, consult.currency())::json AS amount,
               u.free_ms / 60000 AS free_minutes,
               'u_' || u.advisor_id AS advisor,
               consult.rfc3339(u.at) AS at) x;
END
$$;


-- consult.free_given: the free ms that a client has with an advisor by coupons,
-- used or not.
CREATE OR REPLACE FUNCTION consult.free_given(client bigint, advisor bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    RETURN coalesce((SELECT sum(u.free_ms) FROM ledger.coupon_use u
                      WHERE u.account_id = client AND u.advisor_id = advisor
                        AND u.free_ms IS NOT NULL), 0);
END
$$;


-- consult.coupon_make: a coupon; a code is made if there is none.  NULL: there is
-- one of that code.
CREATE OR REPLACE FUNCTION consult.coupon_make(c ledger.coupon)
RETURNS ledger.coupon
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
DECLARE
    made ledger.coupon;
BEGIN
    INSERT INTO ledger.coupon (code, amount, free_ms, advisor_id, max_total,
                max_each, expires_at, made_by)
    VALUES (coalesce(c.code, upper(substr(encode(sha256(
                uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
                'hex'), 1, 20))),
            c.amount, c.free_ms, c.advisor_id, c.max_total, c.max_each,
            c.expires_at, c.made_by)
    ON CONFLICT (code) DO NOTHING
    RETURNING * INTO made;

    RETURN made;
END
$$;


-- consult.coupon_body: a coupon as admins see it.
CREATE OR REPLACE FUNCTION consult.coupon_body(c ledger.coupon) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT row_to_json(x) FROM (
        SELECT 'o_' || c.id AS id, c.code,
               consult.money(c.amount, consult.currency())::json AS amount,
               c.free_ms / 60000 AS free_minutes,
               'u_' || c.advisor_id AS advisor, c.max_total, c.max_each,
               c.used, consult.rfc3339(c.expires_at) AS expires_at,
               consult.rfc3339(c.made_at) AS made_at) x);
END
$$;


-- consult.coupons_list: the newest first: (id, a document).
CREATE OR REPLACE FUNCTION consult.coupons_list(before bigint, cap int)
RETURNS TABLE (id bigint, doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.id, consult.coupon_body(c)::text FROM ledger.coupon c
     WHERE c.id < coupons_list.before ORDER BY c.id DESC LIMIT cap;
END
$$;


REVOKE ALL ON FUNCTION consult.coupon_name(text),
    consult.coupon_redeem(bigint, text, bigint),
    consult.free_given(bigint, bigint), consult.coupon_make(ledger.coupon),
    consult.coupon_body(ledger.coupon),
    consult.coupons_list(bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.coupon_name(text),
    consult.coupon_redeem(bigint, text, bigint),
    consult.free_given(bigint, bigint), consult.coupon_make(ledger.coupon),
    consult.coupon_body(ledger.coupon),
    consult.coupons_list(bigint, int) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.coupon_redeem: {"code":"WELCOME2026","advisor":"u_2"}: blanks, dashes and
-- small letters are as good.  advisor: of free minutes.
--
--   201 {amount,free_minutes,advisor,at}
--   400 bad_request, with its field
--   404 not_found     no such code, or it has expired, or is used up
--   409 conflict      the caller has used it
--   429 rate_limited  ten wrong ones in an hour
--
-- Called by POST /api/wallet/coupons.
CREATE OR REPLACE FUNCTION api.coupon_redeem(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT x.status, x.body
      FROM consult.coupon_redeem(caller,
               consult.f_text(doc, 'code', 1, 64),
               consult.f_id(doc, 'advisor', 'u', false)) x;
END
$$;


-- api.coupon_create: an admin makes a coupon:
--
--   {"code":"WELCOME2026","amount":20000,"max_total":1000,"max_each":1,
--    "expires_at":".."}
--   {"free_minutes":5,"advisor":"u_2"}
--
-- Either amount (minor units) or free_minutes; without a code one is made up;
-- without an advisor the client says whom the minutes are with.
--
--   201 {id,code,amount,free_minutes,advisor,max_total,max_each,used,
--        expires_at,made_at}
--   400 bad_request, with its field; 403 forbidden; 409 conflict, field "/code"
--
-- Called by POST /api/admin/coupons.
CREATE OR REPLACE FUNCTION api.coupon_create(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c ledger.coupon;
BEGIN
    PERFORM consult.need_admin(caller);

    c.code := consult.coupon_name(consult.f_text(doc, 'code', 8, 40, false));
    c.amount := consult.f_int(doc, 'amount', 1, 1000000000, false);
    c.free_ms := consult.f_int(doc, 'free_minutes', 1, 1440, false) * 60000;
    c.advisor_id := consult.f_id(doc, 'advisor', 'u', false);
    c.max_total := consult.f_int(doc, 'max_total', 1, 1000000000, false);
    c.max_each := coalesce(consult.f_int(doc, 'max_each', 1, 1000, false), 1);
    c.expires_at := consult.f_time(doc, 'expires_at', false);
    c.made_by := caller;

    IF c.code !~ '^[0-9A-Z]{8,32}$' THEN
        PERFORM consult.fail('bad_request', 'a code has 8 to 32 letters and '
                             'digits', '/code');
    END IF;

    IF (c.amount IS NULL) = (c.free_ms IS NULL) THEN
        PERFORM consult.fail('bad_request', 'either an amount or free '
                             'minutes', '/amount');
    END IF;

    IF c.advisor_id IS NOT NULL
       AND (c.free_ms IS NULL
            OR NOT EXISTS (SELECT FROM identity.advisor d
                            WHERE d.account_id = c.advisor_id)) THEN
        PERFORM consult.fail('bad_request', 'an advisor, of free minutes',
                             '/advisor');
    END IF;

    c := consult.coupon_make(c);

    IF c.id IS NULL THEN
        PERFORM consult.fail('conflict', 'there is a coupon of this code',
                             '/code');
    END IF;

    PERFORM consult.admin_act(caller, 'coupon_create', 'o_' || c.id,
        jsonb_build_object('amount', c.amount, 'free_ms', c.free_ms,
                           'advisor', 'u_' || c.advisor_id,
                           'max_total', c.max_total, 'max_each', c.max_each));

    RETURN QUERY SELECT 201, consult.coupon_body(c);
END
$$;


-- api.coupons: what there is, the newest first.
--
-- Called by GET /api/admin/coupons.
CREATE OR REPLACE FUNCTION api.coupons(caller bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap   int    := least(greatest(cap, 1), 200);
    v_after bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_docs  text[];
    v_ids   bigint[];
BEGIN
    PERFORM consult.need_admin(caller);

    IF v_after IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    SELECT array_agg(x.doc ORDER BY x.id DESC),
           array_agg(x.id ORDER BY x.id DESC)
      INTO v_docs, v_ids FROM consult.coupons_list(v_after, v_cap + 1) x;

    RETURN QUERY SELECT 200, consult.page(v_docs, v_ids, v_cap);
END
$$;


REVOKE ALL ON FUNCTION api.coupon_redeem(bigint, json),
    api.coupon_create(bigint, json), api.coupons(bigint, int, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.coupon_redeem(bigint, json),
    api.coupon_create(bigint, json), api.coupons(bigint, int, text)
    TO astro_web;

RESET ROLE;
