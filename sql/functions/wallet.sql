-- wallet: what people have, and where it came from.  Functions of api, owned
-- by astro_api.  Money only moves in billing.
--
-- Also used by api.hello.

SET ROLE astro_owner;

-- consult.wallet_body: the wallet of the account that the transaction runs
-- for, NULL if it has none.
--
-- An advisor's earnings reach the wallet when a session ends; until then they
-- are in the session.  Both are read in one statement, so the sum is exact at
-- any instant.
CREATE OR REPLACE FUNCTION consult.wallet_body(owner bigint) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_currency text;
    v_balance  bigint;
    v_held     bigint;
BEGIN
    SELECT d.currency::text, w.held,
           w.balance + CASE w.kind WHEN 'advisor' THEN
               (SELECT coalesce(sum(s.charged - s.fee - s.credited), 0)::bigint
                  FROM consult.session s
                 WHERE s.advisor_id = owner AND NOT s.settled)
           ELSE 0 END
      INTO v_currency, v_held, v_balance
      FROM ledger.deployment d, ledger.wallet w
     WHERE d.one AND w.owner_id = owner
       AND w.kind = (SELECT a.role FROM identity.account a WHERE a.id = owner);

    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    RETURN ('{"balance":' || consult.money(v_balance, v_currency)
            || ',"held":' || consult.money(v_held, v_currency)
            || ',"available":'
            || consult.money(v_balance - v_held, v_currency) || '}')::json;
END
$$;

REVOKE ALL ON FUNCTION consult.wallet_body(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.wallet_body(bigint) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.wallet: the caller's wallet.
--
--   200 {balance,held,available}          each {amount,currency}
--   404 not_found                         no wallet (an admin)
--
-- Called by GET /api/wallet.
CREATE OR REPLACE FUNCTION api.wallet(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    status := 200;
    body := consult.wallet_body(caller);

    IF body IS NULL THEN
        status := 404;
        body := consult.error('not_found', 'this account has no wallet');
    END IF;

    RETURN NEXT;
END
$$;


-- api.wallet_transactions: the journal of the caller's wallet, newest first.
-- cap: 1 to 200.
--
--   200 {"data":[{id,kind,direction:"debit"|"credit",amount,fee,session,at}],
--        "next_cursor":null|".."}
--       A debit took amount from the wallet.  A credit gave it amount - fee.
--   400 bad_request, field "/cursor"
--
-- Called by GET /api/wallet/transactions.
CREATE OR REPLACE FUNCTION api.wallet_transactions(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before   bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_cap      int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_wallet   bigint;
    v_currency text;
BEGIN
    IF v_before IS NULL THEN
        RETURN QUERY SELECT 400, consult.error('bad_request',
                                'no such cursor', '/cursor');
        RETURN;
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    SELECT w.id, consult.currency() INTO v_wallet, v_currency
      FROM ledger.wallet w
     WHERE w.owner_id = wallet_transactions.caller
       AND w.kind = (SELECT a.role FROM identity.account a
                      WHERE a.id = wallet_transactions.caller);

    RETURN QUERY
    SELECT 200, consult.page(array_agg(t.doc ORDER BY t.id DESC),
                             array_agg(t.id ORDER BY t.id DESC), v_cap)
      FROM (SELECT u.id,
                   '{"id":"t_' || u.id || '","kind":"' || u.kind
                   || '","direction":"' || u.direction
                   || '","amount":' || consult.money(u.amount, v_currency)
                   || ',"fee":' || consult.money(u.fee, v_currency)
                   || ',"session":'
                   || coalesce('"s_' || u.session_id || '"', 'null')
                   || ',"at":"' || consult.rfc3339(u.at) || '"}' AS doc
              FROM ((SELECT 'debit' AS direction, d.*
                       FROM ledger.transfer d
                      WHERE d.debit_account = v_wallet AND d.id < v_before
                      ORDER BY d.id DESC LIMIT v_cap + 1)
                    UNION ALL
                    (SELECT 'credit', c.*
                       FROM ledger.transfer c
                      WHERE c.credit_account = v_wallet AND c.id < v_before
                      ORDER BY c.id DESC LIMIT v_cap + 1)) u
             ORDER BY u.id DESC LIMIT v_cap + 1) t;
END
$$;


REVOKE ALL ON FUNCTION api.wallet(bigint),
    api.wallet_transactions(bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.wallet(bigint),
    api.wallet_transactions(bigint, int, text) TO astro_web;

RESET ROLE;
