-- erase: somebody wants to be forgotten.  The account stays as a number, by which
-- the ledger and the sessions of others remain what they are; who it was is
-- nowhere any more.
--
-- What is about the person alone goes at once, in the transaction that answers.
-- The words in conversations go after it, by a worker, one conversation at a time.

SET ROLE astro_engine;


-- consult.forfeit: the cash that is left to somebody becomes the platform's, if
-- he agreed.  (Whose role was changed may have two wallets.)  Promo stays where it
-- is: it came from the platform, and nobody can spend it any more.  Returns how
-- much cash that was.
--
-- Refused, under the wallets' locks: conflict: money is owed, disputed or held;
-- field "/forfeit_balance": there is some, and he did not agree.
CREATE OR REPLACE FUNCTION consult.forfeit(account bigint, agreed boolean)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    w      ledger.wallet;
    v_left bigint := 0;
BEGIN
    PERFORM billing.ledger_lock(account);

    IF EXISTS (SELECT FROM ledger.wallet x
                WHERE x.owner_id = forfeit.account
                  AND (x.kind IN ('receivable', 'frozen')
                       AND x.balance <> 0 OR x.held <> 0)) THEN
        PERFORM consult.fail('conflict',
                             'money is owed, disputed or on its way');
    END IF;

    FOR w IN SELECT x.* FROM ledger.wallet x
              WHERE x.owner_id = forfeit.account
                AND x.kind IN ('client', 'advisor')
                AND x.balance > x.promo ORDER BY x.id
    LOOP
        v_left := v_left + w.balance - w.promo;

        IF agreed THEN
            PERFORM billing.ledger_post('adjustment', w.id,
                        billing.ledger_house('platform'),
                        w.balance - w.promo, 0, 0, NULL,
                        'erase:' || account || ':' || w.kind);
        END IF;
    END LOOP;

    IF v_left > 0 AND NOT agreed THEN
        PERFORM consult.fail('conflict', 'there is money in the wallet: '
                             'it would be forfeited', '/forfeit_balance');
    END IF;

    RETURN v_left;
END
$$;


REVOKE ALL ON FUNCTION consult.forfeit(bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.forfeit(bigint, boolean) TO astro_private;

RESET ROLE;
SET ROLE astro_private;


-- consult.erased: has this account been erased?  Who has locked its wallets is
-- told what stays true.
CREATE OR REPLACE FUNCTION consult.erased(account bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM identity.erasure e
                    WHERE e.account_id = account);
END
$$;


-- consult.erase_begin: of api.erase.  Returns what was left and is forfeited.
CREATE OR REPLACE FUNCTION consult.erase_begin(account bigint, login text,
    since bigint, forfeit boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    a        identity.account;
    v_left   bigint;
    v_id     bigint := account;
    v_others bigint[];
BEGIN
    -- nobody begins anything with him meanwhile: as session_start and
    -- booking_create, of a client and of an advisor, and as a payment
    PERFORM pg_advisory_xact_lock(1, hashint8(v_id));
    PERFORM pg_advisory_xact_lock(4, hashint8(v_id));
    PERFORM pg_advisory_xact_lock(7, hashint8(v_id));

    SELECT x.* INTO a FROM identity.account x WHERE x.id = v_id;

    IF a.role = 'admin' THEN
        PERFORM consult.fail('forbidden', 'an admin is not erased');
    END IF;

    IF NOT EXISTS (SELECT FROM identity.login l
                    WHERE l.id = erase_begin.login AND l.account_id = v_id
                      AND l.ended_at IS NULL
                      AND l.made_at > clock_timestamp()
                                      - interval '10 minutes')
       AND NOT (to_timestamp(since) > clock_timestamp()
                                      - interval '10 minutes'
                AND EXISTS (SELECT FROM identity.outside o
                             WHERE o.account_id = v_id)) THEN
        PERFORM consult.fail('forbidden',
                             'log in anew: it takes a login of now');
    END IF;

    IF consult.held(v_id) THEN
        PERFORM consult.fail('conflict',
                             'this account cannot be erased at present');
    END IF;

    IF EXISTS (SELECT FROM consult.session s
                WHERE s.client_id = v_id AND s.state <> 'ended')
       OR EXISTS (SELECT FROM consult.session s
                   WHERE s.advisor_id = v_id AND s.state <> 'ended')
       OR EXISTS (SELECT FROM consult.session s
                   WHERE s.advisor_id = v_id AND NOT s.settled)
       OR EXISTS (SELECT FROM consult.session s
                   WHERE s.client_wallet IN (SELECT w.id
                             FROM ledger.wallet w WHERE w.owner_id = v_id)
                     AND NOT s.settled)
       OR EXISTS (SELECT FROM consult.booking b
                   WHERE b.client_id = v_id AND b.ended_at IS NULL)
       OR EXISTS (SELECT FROM consult.booking b
                   WHERE b.advisor_id = v_id AND b.ended_at IS NULL) THEN
        PERFORM consult.fail('conflict',
                             'a session or booking is not over');
    END IF;

    IF EXISTS (SELECT FROM ledger.wallet w
                WHERE w.owner_id = v_id
                  AND (w.kind IN ('receivable', 'frozen')
                       AND w.balance <> 0 OR w.held <> 0))
       OR EXISTS (SELECT FROM ledger.payout p
                   WHERE p.advisor_id = v_id
                     AND p.state IN ('pending', 'submitted'))
       OR EXISTS (SELECT FROM ledger.checkout k
                   WHERE k.owner_id = v_id
                     AND k.state IN ('creating', 'ready')
                     AND k.made_at > clock_timestamp()
                                     - interval '1 hour') THEN
        PERFORM consult.fail('conflict',
                             'money is owed, disputed or on its way');
    END IF;

    IF EXISTS (SELECT FROM consult.conversation c
                WHERE c.client_id = v_id AND consult.disputed(c.id))
       OR EXISTS (SELECT FROM consult.conversation c
                   WHERE c.advisor_id = v_id AND consult.disputed(c.id)) THEN
        PERFORM consult.fail('conflict', 'a dispute is not decided');
    END IF;

    PERFORM billing.checkouts_end(v_id);
    v_left := consult.forfeit(v_id, forfeit);

    UPDATE identity.account x
       SET email = 'erased-' || v_id || '-' || gen_random_uuid()
                   || '@erased.invalid',
           name = 'Erased', password_hash = '', blocked = true,
           tokens_valid_from = extract(epoch FROM clock_timestamp())::bigint
                               + 1
     WHERE x.id = v_id;

    UPDATE identity.advisor x
       SET headline = '', bio = '', city = '', lat = NULL, lon = NULL,
           specialties = '{}', languages = '{}', ver = x.ver + 1
     WHERE x.account_id = v_id;

    DELETE FROM identity.listing x WHERE x.account_id = v_id;
    DELETE FROM identity.otp x
     WHERE x.account_id = v_id
        OR x.phone IN (SELECT p.phone FROM identity.phone p
                        WHERE p.account_id = v_id);
    DELETE FROM identity.profile x WHERE x.account_id = v_id;
    DELETE FROM identity.phone x WHERE x.account_id = v_id;
    DELETE FROM identity.outside x WHERE x.account_id = v_id;
    DELETE FROM identity.login x WHERE x.account_id = v_id;
    DELETE FROM stats.signin x WHERE x.account_id = v_id;
    DELETE FROM identity.export x WHERE x.account_id = v_id;
    DELETE FROM consult.last_seen x WHERE x.account_id = v_id;
    DELETE FROM consult.hours x WHERE x.advisor_id = v_id;
    DELETE FROM consult.schedule x WHERE x.advisor_id = v_id;
    DELETE FROM consult.favorite x
     WHERE x.client_id = v_id OR x.advisor_id = v_id;
    DELETE FROM consult.waiting x
     WHERE x.client_id = v_id OR x.advisor_id = v_id;
    DELETE FROM consult.notice x WHERE x.account_id = v_id;

    -- what others were told bears the name, and the words of bookings
    v_others := ARRAY(
        SELECT b.advisor_id FROM consult.booking b WHERE b.client_id = v_id
         UNION
        SELECT b.client_id FROM consult.booking b WHERE b.advisor_id = v_id
         UNION
        SELECT c.advisor_id FROM consult.conversation c
         WHERE c.client_id = v_id
         UNION
        SELECT c.client_id FROM consult.conversation c
         WHERE c.advisor_id = v_id
         UNION
        SELECT f.client_id FROM consult.favorite f WHERE f.advisor_id = v_id);

    DELETE FROM consult.notice x
     WHERE x.account_id = ANY(v_others) AND NOT consult.held(x.account_id)
       AND 'u_' || v_id IN (x.payload #>> '{client,id}',
                            x.payload #>> '{advisor,id}');
    DELETE FROM consult.once x WHERE x.account_id = v_id;
    -- his words about others, and theirs about him
    DELETE FROM consult.note x
     WHERE x.advisor_id = v_id
        OR x.client_id = v_id AND NOT consult.held(x.advisor_id);
    DELETE FROM ledger.payee x WHERE x.account_id = v_id;
    UPDATE ledger.connect x SET url = NULL WHERE x.account_id = v_id;

    UPDATE consult.review x SET text = ''
     WHERE x.client_id = v_id AND x.text <> '';
    UPDATE consult.review x SET reply = NULL
     WHERE x.advisor_id = v_id AND x.reply IS NOT NULL;
    UPDATE consult.dispute x SET said = ''
     WHERE x.opened_by = v_id AND x.said <> ''
       AND x.conversation_id IN (
           SELECT c.id FROM consult.conversation c
            WHERE c.client_id = v_id OR c.advisor_id = v_id);
    UPDATE consult.booking x SET note = '', reason = NULL
     WHERE x.client_id = v_id
       AND (x.note <> '' OR x.reason IS NOT NULL);
    UPDATE consult.booking x SET reason = NULL
     WHERE x.advisor_id = v_id AND x.reason IS NOT NULL;

    INSERT INTO identity.erasure (account_id) VALUES (v_id)
    ON CONFLICT DO NOTHING;

    RETURN v_left;
END
$$;


-- billing.erase_next: the words of somebody who wanted to be forgotten, in the
-- next 1000 events of his conversations.  One whose other party's data are to be
-- kept waits: it is looked at again a day later.  true: there may be more to do.
CREATE OR REPLACE FUNCTION billing.erase_next() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    e      identity.erasure;
    v_conv bigint;
    v_head bigint;
    v_last bigint;
BEGIN
    SELECT * INTO e FROM identity.erasure x
     WHERE x.done_at IS NULL AND NOT consult.held(x.account_id)
       AND (x.again_at IS NULL OR x.again_at <= clock_timestamp())
     ORDER BY x.account_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    SELECT least((SELECT min(c.id) FROM consult.conversation c
                   WHERE c.client_id = e.account_id AND c.id > e.after
                     AND NOT consult.held(c.advisor_id)),
                 (SELECT min(c.id) FROM consult.conversation c
                   WHERE c.advisor_id = e.account_id AND c.id > e.after
                     AND NOT consult.held(c.client_id)))
      INTO v_conv;

    IF v_conv IS NULL THEN
        UPDATE consult.session_media m SET device = NULL
         WHERE m.account_id = e.account_id AND m.device IS NOT NULL
           AND m.session_id IN (
               SELECT s.id FROM consult.session s
                WHERE s.client_wallet IN (SELECT w.id FROM ledger.wallet w
                          WHERE w.owner_id = e.account_id)
                   OR s.advisor_wallet IN (SELECT w.id FROM ledger.wallet w
                          WHERE w.owner_id = e.account_id));

        IF EXISTS (SELECT FROM consult.conversation c
                    WHERE c.client_id = e.account_id
                      AND consult.held(c.advisor_id))
           OR EXISTS (SELECT FROM consult.conversation c
                       WHERE c.advisor_id = e.account_id
                         AND consult.held(c.client_id)) THEN
            UPDATE identity.erasure x
               SET after = 0, again_at = clock_timestamp() + interval '1 day'
             WHERE x.account_id = e.account_id;
        ELSE
            DELETE FROM consult.note x WHERE x.client_id = e.account_id;
            UPDATE identity.erasure x SET done_at = clock_timestamp()
             WHERE x.account_id = e.account_id;
        END IF;

        RETURN true;
    END IF;

    SELECT c.head INTO v_head FROM consult.conversation c WHERE c.id = v_conv
       FOR NO KEY UPDATE;
    v_last := CASE WHEN e.conv = v_conv THEN e.seq ELSE 0 END + 1000;
    PERFORM consult.words_remove(v_conv, v_last - 999, v_last, e.account_id);
    UPDATE identity.erasure x
       SET after = CASE WHEN v_last >= v_head THEN v_conv ELSE x.after END,
           conv = v_conv, seq = v_last
     WHERE x.account_id = e.account_id;

    RETURN true;
END
$$;


REVOKE ALL ON FUNCTION consult.erased(bigint),
    consult.erase_begin(bigint, text, bigint, boolean),
    billing.erase_next() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.erased(bigint) TO astro_engine;
GRANT EXECUTE ON FUNCTION consult.erase_begin(bigint, text, bigint, boolean)
   TO astro_api;
GRANT EXECUTE ON FUNCTION billing.erase_next() TO astro_worker;

RESET ROLE;
SET ROLE astro_api;


-- api.erase: {forfeit_balance?}: the caller wants to be forgotten.  It takes a
-- login of the last ten minutes: whoever has found a device that is signed in
-- cannot do it.  login: the "sid" of the caller's token; since: of a token of
-- another issuer, of whose logins we know nothing, when that one says it was (its
-- auth_time, else its iat, in seconds), 0 of ours.
--
-- The account has no name, address or password any more, all tokens are
-- revoked, all sockets are closed; the words of his messages go in the next
-- seconds.  Cash that is left is forfeited to the platform, if he says so.
--
--   202 {user,forfeited}                  money
--   403 forbidden                         no login of now, or an admin
--   409 conflict                          a session or booking is not over, or a
--       dispute; money is owed, frozen or on its way; it must be kept; field
--       "/forfeit_balance": there is money left
--
-- Called by POST /api/me/erase.
CREATE OR REPLACE FUNCTION api.erase(caller bigint, login text,
    since bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_forfeit boolean := coalesce(consult.f_bool(doc, 'forfeit_balance',
                                                 false), false);
    v_left    bigint;
BEGIN
    v_left := consult.erase_begin(caller, login, since, v_forfeit);

    RETURN QUERY
    SELECT 202, json_build_object('user', 'u_' || caller, 'forfeited',
               consult.money(v_left, consult.currency())::json);
END
$$;


REVOKE ALL ON FUNCTION api.erase(bigint, text, bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.erase(bigint, text, bigint, json) TO astro_web;

RESET ROLE;
