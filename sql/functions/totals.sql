-- totals: what the journal comes to by day and kind, the platform's revenue in
-- it; kept by a roll-up, as nothing that every charge would have to touch.

SET ROLE astro_owner;

-- ledger.transfer_barrier: the highest id that any transfer has, or may still
-- get by a transaction that began before; none of those is under way when this
-- returns, and none begins before the caller's transaction ends.
--
-- Ids are drawn under the lock of an INSERT, so the lock tells: no clock, no
-- guess at how long a transaction may take.  Raises 55P03 if one takes longer
-- than 100 ms; ask again later.
CREATE OR REPLACE FUNCTION ledger.transfer_barrier() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms' AS $$
BEGIN
    LOCK TABLE ONLY ledger.transfer IN SHARE MODE;

    RETURN (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END
              FROM ledger.transfer_id_seq s);
END
$$;

REVOKE ALL ON FUNCTION ledger.transfer_barrier() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.transfer_barrier() TO astro_engine;

RESET ROLE;
SET ROLE astro_engine;


-- billing.totals_roll: adds to ledger.daily what was written since the last
-- time, up to the mark that the last time left, and leaves the next mark.  At
-- any time, by anybody; one works, others get NULL.  Returns how many transfers
-- were added.  A transfer is counted once, however often this dies.
CREATE OR REPLACE FUNCTION billing.totals_roll() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
SET jit = off AS $$
#variable_conflict use_column
DECLARE
    m       ledger.daily_mark;
    v_added bigint;
BEGIN
    SELECT x.* INTO m FROM ledger.daily_mark x FOR UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    WITH fresh AS (
        SELECT (t.at AT TIME ZONE 'UTC')::date AS day, t.kind,
               count(*) AS transfers, sum(t.amount)::bigint AS amount,
               sum(t.fee)::bigint AS fee, sum(t.promo)::bigint AS promo
          FROM ledger.transfer t
         WHERE t.id > m.rolled_id AND t.id <= m.safe_id
         GROUP BY 1, 2),
    added AS (
        INSERT INTO ledger.daily AS d (day, kind, transfers, amount, fee,
                    promo)
        SELECT f.* FROM fresh f
        ON CONFLICT (day, kind) DO UPDATE
           SET transfers = d.transfers + excluded.transfers,
               amount = d.amount + excluded.amount,
               fee = d.fee + excluded.fee,
               promo = d.promo + excluded.promo)
    SELECT coalesce(sum(f.transfers), 0) INTO v_added FROM fresh f;

    UPDATE ledger.daily_mark x SET rolled_id = m.safe_id;

    BEGIN
        UPDATE ledger.daily_mark x SET safe_id = ledger.transfer_barrier();
    EXCEPTION WHEN lock_not_available THEN
        NULL;
    END;

    RETURN v_added;
END
$$;


-- billing.totals: the journal by kind, all days together, as far as it is rolled
-- up (a minute or two behind).  fee is what the platform has kept; what it gave
-- (promo, reversal_fee) and took back (promo_back) are kinds of their own.
CREATE OR REPLACE FUNCTION billing.totals()
RETURNS TABLE (kind text, transfers bigint, amount bigint, fee bigint,
    promo bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.kind, sum(d.transfers)::bigint, sum(d.amount)::bigint,
           sum(d.fee)::bigint, sum(d.promo)::bigint
      FROM ledger.daily d GROUP BY d.kind ORDER BY d.kind;
END
$$;


-- billing.credit_next: credits the live sessions of one shard that nobody has
-- credited for after_s seconds.  Returns how many that were; NULL if no shard is
-- due.
CREATE OR REPLACE FUNCTION billing.credit_next(after_s int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_shard smallint;
BEGIN
    SELECT t.shard INTO v_shard FROM billing.credit_turn t
     WHERE t.at < clock_timestamp() - make_interval(secs => after_s)
     ORDER BY t.shard LIMIT 1 FOR UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    UPDATE billing.credit_turn t SET at = clock_timestamp()
     WHERE t.shard = v_shard;

    RETURN (SELECT c.sessions FROM billing.credit(ARRAY[v_shard]) c);
END
$$;


REVOKE ALL ON FUNCTION billing.totals_roll(), billing.totals(),
    billing.credit_next(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.totals_roll(), billing.totals(),
    billing.credit_next(int) TO astro_worker;

RESET ROLE;
