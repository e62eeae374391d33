-- wallet: what people have, and where it came from.  Functions of api, owned
-- by astro_api, and by astro_group what is answered for many at a time.  Money
-- only moves in billing.

SET ROLE astro_group;


-- api.wallet_group: the wallets of those who ask, a row for each, in order of
-- ord, the place in callers.  An account may ask twice.
--
--   200 {balance,held,available}          each {amount,currency}
--   404 not_found                         no wallet (an admin)
--
-- An advisor's earnings reach the wallet when a session ends; until then they
-- are in the session.  Both are read in one statement, so the sum is exact at
-- any instant.
--
-- It is asked tens of thousands of times a second, hence: STABLE; no settings
-- of its own (astro_web has force_generic_plan); the body is put together from
-- numbers and never parsed; LIMIT 1, by which a plan made while the tables were
-- small looks up by key when they have grown.
--
-- Called by GET /api/wallet, for all requests of a moment.
CREATE OR REPLACE FUNCTION api.wallet_group(callers bigint[])
RETURNS TABLE (status int, body text, ord int)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_unit text := (SELECT ',"currency":"' || d.currency || '"}'
                      FROM ledger.deployment d WHERE d.one);
BEGIN
    PERFORM set_config('astro.callers', callers::text, true);

    RETURN QUERY
    SELECT CASE WHEN w.balance IS NULL THEN 404 ELSE 200 END,
           CASE WHEN w.balance IS NULL
                THEN '{"code":"not_found","message":"this account has no '
                     'wallet"}'
                ELSE concat('{"balance":{"amount":', w.balance, v_unit,
                            ',"held":{"amount":', w.held, v_unit,
                            ',"available":{"amount":', w.balance - w.held,
                            v_unit, '}') END,
           q.ord::int
      FROM unnest(wallet_group.callers) WITH ORDINALITY AS q(id, ord)
      LEFT JOIN LATERAL
           (SELECT m.held,
                   m.balance + CASE m.kind WHEN 'advisor' THEN
                       (SELECT coalesce(sum(s.charged - s.fee - s.credited),
                                        0)::bigint
                          FROM consult.session s
                         WHERE s.advisor_id = q.id AND NOT s.settled)
                   ELSE 0 END AS balance
              FROM ledger.wallet m
             WHERE m.owner_id = q.id
               AND m.kind = (SELECT a.role FROM identity.account a
                              WHERE a.id = q.id)
             LIMIT 1) w ON true
     ORDER BY q.ord;
END
$$;

REVOKE ALL ON FUNCTION api.wallet_group(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.wallet_group(bigint[]) TO astro_web, astro_api;

RESET ROLE;
SET ROLE astro_owner;

-- consult.wallet_body: somebody's wallet, NULL: there is none.  It looks for
-- who is given, so give it the caller.
CREATE OR REPLACE FUNCTION consult.wallet_body(owner bigint) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT g.body::json FROM api.wallet_group(ARRAY[owner]) g
             WHERE g.status = 200);
END
$$;

REVOKE ALL ON FUNCTION consult.wallet_body(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.wallet_body(bigint) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.wallet: the caller's wallet, as api.wallet_group's.
--
--   200 {balance,held,available}          each {amount,currency}
--   404 not_found                         no wallet (an admin)
--
-- Called by nginx workers of the version before, and by this one when a group
-- could not be answered.
CREATE OR REPLACE FUNCTION api.wallet(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT g.status, g.body::json FROM api.wallet_group(ARRAY[caller]) g;
END
$$;


-- api.wallet_transactions: what moved in the caller's wallet, newest first: one
-- entry for each session that has charged something (also while it lives; it
-- is the sum of its transfers), one for each other transfer.  cap: 1 to 200.
--
--   200 {"data":[{id,kind,direction:"debit"|"credit",amount,fee,session,at}],
--        "next_cursor":null|".."}
--       A debit took amount from the wallet.  A credit gave it amount - fee.
--       A session's id is that of the session, its "at" when it was started;
--       it grows while it lives.  "session" is also set for what is about one:
--       a gift in it, a reversal of it.
--   400 bad_request, field "/cursor"
--
-- A cursor is where the page ended in either list, "<transfer>.<session>": each
-- goes down by id, so that nothing is seen twice or left out, whatever is
-- added meanwhile.  They are merged by time.
--
-- Called by GET /api/wallet/transactions.
CREATE OR REPLACE FUNCTION api.wallet_transactions(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_top      constant bigint := 9223372036854775807;
    v_cap      int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_transfer bigint := v_top;
    v_session  bigint := v_top;
    v_wallet   bigint;
    v_kind     text;
    v_currency text;
    v_docs     text[];
    v_next     text;
BEGIN
    IF coalesce(cursor, '') <> '' THEN
        IF cursor !~ '^[0-9]{1,18}[.][0-9]{1,18}$' THEN
            RETURN QUERY SELECT 400, consult.error('bad_request',
                                    'no such cursor', '/cursor');
            RETURN;
        END IF;

        -- 0: still at the start of that list
        v_transfer := coalesce(nullif(split_part(cursor, '.', 1)::bigint, 0),
                               v_top);
        v_session := coalesce(nullif(split_part(cursor, '.', 2)::bigint, 0),
                              v_top);
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    SELECT w.id, w.kind, consult.currency() INTO v_wallet, v_kind, v_currency
      FROM ledger.wallet w
     WHERE w.owner_id = wallet_transactions.caller
       AND w.kind = (SELECT a.role FROM identity.account a
                      WHERE a.id = wallet_transactions.caller);

    -- A list's time never rises on its way down, so that sorting merges.
    WITH other AS (
        SELECT u.id, 0::bigint AS session_id, u.kind, u.direction, u.amount,
               u.fee, u.at, min(u.at) OVER (ORDER BY u.id DESC) AS place,
               CASE WHEN u.kind IN ('gift', 'reversal', 'reversal_fee')
                    THEN u.about END AS about
          FROM ((SELECT 'debit' AS direction, d.*
                   FROM ledger.transfer d
                  WHERE d.debit_account = v_wallet AND d.session_id IS NULL
                    AND d.id < v_transfer
                  ORDER BY d.id DESC LIMIT v_cap + 1)
                UNION ALL
                (SELECT 'credit', c.*
                   FROM ledger.transfer c
                  WHERE c.credit_account = v_wallet AND c.session_id IS NULL
                    AND c.id < v_transfer
                  ORDER BY c.id DESC LIMIT v_cap + 1)) u
         ORDER BY u.id DESC LIMIT v_cap + 1),
    held AS (
        SELECT s.* FROM consult.session s
         WHERE v_kind = 'client' AND s.client_wallet = v_wallet
           AND s.id < v_session AND s.charged > 0
         ORDER BY s.client_wallet DESC, s.id DESC LIMIT v_cap + 1),
    given AS (
        SELECT s.* FROM consult.session s
         WHERE v_kind = 'advisor' AND s.advisor_wallet = v_wallet
           AND s.id < v_session AND s.charged > 0
         ORDER BY s.advisor_wallet DESC, s.id DESC LIMIT v_cap + 1),
    entry AS (
        SELECT o.* FROM other o
         UNION ALL
        SELECT 0, s.id, 'session', CASE v_kind WHEN 'client' THEN 'debit'
                                               ELSE 'credit' END,
               s.charged, s.fee, s.created_at,
               min(s.created_at) OVER (ORDER BY s.id DESC), s.id
          FROM (SELECT * FROM held UNION ALL SELECT * FROM given) s),
    page AS (
        SELECT e.*, row_number() OVER (ORDER BY e.place DESC,
                                       e.session_id DESC, e.id DESC) AS n
          FROM entry e)
    SELECT array_agg(
               '{"id":"' || CASE p.session_id WHEN 0 THEN 't_' || p.id
                                 ELSE 's_' || p.session_id END
               || '","kind":"' || p.kind
               || '","direction":"' || p.direction
               || '","amount":' || consult.money(p.amount, v_currency)
               || ',"fee":' || consult.money(p.fee, v_currency)
               || ',"session":' || coalesce('"s_' || p.about || '"', 'null')
               || ',"at":"' || consult.rfc3339(p.at) || '"}' ORDER BY p.n)
               FILTER (WHERE p.n <= v_cap),
           CASE WHEN max(p.n) > v_cap THEN
               coalesce(min(nullif(p.id, 0)) FILTER (WHERE p.n <= v_cap),
                        nullif(v_transfer, v_top), 0) || '.'
               || coalesce(min(nullif(p.session_id, 0))
                               FILTER (WHERE p.n <= v_cap),
                           nullif(v_session, v_top), 0) END
      INTO v_docs, v_next
      FROM page p;

    RETURN QUERY
    SELECT 200, ('{"data":[' || coalesce(array_to_string(v_docs, ','), '')
                 || '],"next_cursor":' || coalesce('"' || v_next || '"',
                                                   'null') || '}')::json;
END
$$;


REVOKE ALL ON FUNCTION api.wallet(bigint),
    api.wallet_transactions(bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.wallet(bigint),
    api.wallet_transactions(bigint, int, text) TO astro_web;

RESET ROLE;
