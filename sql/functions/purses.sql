-- purses: whether somebody whose money was all held has more by now.

SET ROLE astro_engine;


-- billing.purses: those of these wallets that have money which is not held.
-- Asked once a second about the wallets of sessions that hold the last of it,
-- so that a top-up is found without a word from whoever made it.
CREATE OR REPLACE FUNCTION billing.purses(wallets bigint[])
RETURNS TABLE (id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.id FROM ledger.wallet w
     WHERE w.id = ANY(purses.wallets) AND w.balance > w.held;
END
$$;


REVOKE ALL ON FUNCTION billing.purses(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.purses(bigint[]) TO astro_worker;

RESET ROLE;
