-- ledger: money that moves outside of a session's ticks.  Functions of the
-- billing worker and of those who run the deployment, owned by astro_engine.
--
-- Locks: sessions, then wallets; each in order of id.

SET ROLE astro_engine;


-- billing.topup: money from outside to a client's wallet, from the wallet
-- 'clearing', which stands for the world.  Once for each reference: a repeat
-- changes nothing and says dup.
--
-- Raises 22023 if the amount is not 1..10^15, there is no reference, the
-- account has no client's wallet, or the reference was for something else.
CREATE OR REPLACE FUNCTION billing.topup(owner bigint, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    t        ledger.transfer;
    v_wallet bigint;
BEGIN
    IF amount IS NULL OR amount NOT BETWEEN 1 AND 1000000000000000
       OR coalesce(reference, '') = '' THEN
        RAISE EXCEPTION 'a top-up is of 1 to 10^15 and has a reference'
              USING ERRCODE = '22023';
    END IF;

    SELECT w.id INTO v_wallet FROM ledger.wallet w
     WHERE w.owner_id = topup.owner AND w.kind = 'client'
       FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % has no wallet to top up', owner
              USING ERRCODE = '22023';
    END IF;

    -- whoever else tops this wallet up waits for the lock above
    SELECT x.* INTO t FROM ledger.transfer x
     WHERE x.reference = topup.reference AND x.kind = 'topup'
       AND x.session_id IS NULL;

    IF NOT FOUND THEN
        INSERT INTO ledger.transfer AS x (debit_account, credit_account,
                    amount, kind, reference)
        SELECT c.id, v_wallet, topup.amount, 'topup', topup.reference
          FROM ledger.wallet c WHERE c.kind = 'clearing'
         ORDER BY c.id LIMIT 1
        RETURNING x.* INTO STRICT t;

        UPDATE ledger.wallet w SET balance = w.balance + topup.amount
         WHERE w.id = v_wallet;

    ELSE
        IF t.credit_account <> v_wallet OR t.amount <> topup.amount THEN
            RAISE EXCEPTION 'reference "%" was used for another top-up',
                  reference USING ERRCODE = '22023';
        END IF;

        dup := true;
    END IF;

    RETURN QUERY
    SELECT t.id, w.id, w.balance, coalesce(dup, false)
      FROM ledger.wallet w WHERE w.id = v_wallet;
END
$$;


REVOKE ALL ON FUNCTION billing.topup(bigint, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.topup(bigint, bigint, text) TO astro_worker;

RESET ROLE;
