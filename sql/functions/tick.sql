-- tick: sessions charged by heart.  Functions of the billing worker, owned by
-- astro_engine.

SET ROLE astro_engine;


-- billing.tick: charges active sessions that go on as they are, the i-th
-- element of each array being about the session ids[i], in order of id.  For
-- decisions that were made from memory: a session is charged only if
--
--   - it is active, at vers[i], revs[i] and nos[i] (its charge_no), and holds
--     was[i], which is what the decision was made from
--   - neither billed_ms nor paid_until_ms would go back
--   - its shard is in the fence
--
-- As apply(), it writes the transfer, the wallet and the session, and ver stays.
-- One row:
--
--   done      the ids that are in the books; the others left no trace: read
--             the facts and decide again
--   wallets, balances, wallet_held
--             the wallets that have moved, as they are now
--
-- Raises AS003, and nothing is done, if a wallet has less available than its
-- sessions' amounts[i] + held[i] - was[i], or has promo: what is believed of it
-- is told of soon, so that is rare, and the worker tries again in halves.
-- Looking at each wallet before it is charged would be one more search of its
-- index, of four in all.
--
-- One statement: sessions are locked by what updates them, in the order of the
-- arrays, then wallets in order of id.  The settings say how: each row is found
-- by its key, in that order, and the plan is made once.  1000 sessions a call
-- take 26 us each.  A row that somebody keeps locked is not waited for: others
-- are due.
CREATE OR REPLACE FUNCTION billing.tick(ids bigint[], vers int[], revs int[],
    nos int[], was bigint[], amounts bigint[], fees bigint[], held bigint[],
    billed_ms bigint[], paid_until_ms bigint[])
RETURNS TABLE (done bigint[], wallets bigint[], balances bigint[],
    wallet_held bigint[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
SET lock_timeout = '500ms' AS $$
#variable_conflict use_column
DECLARE
    v_shards smallint[];
    v_fence  bytea;
    v_paying int;
BEGIN
    v_shards := nullif(current_setting('astro.fenced', true), '');

    IF v_shards IS NULL THEN
        RAISE EXCEPTION 'billing.tick() before billing.fence()'
              USING ERRCODE = 'AS001';
    END IF;

    v_fence := billing.shard_set(v_shards);

    WITH book AS (
        UPDATE consult.session x
           SET charge_no = x.charge_no + (d.amount > 0)::int,
               billed_ms = d.billed_ms,
               charged = x.charged + d.amount,
               fee = x.fee + d.fee,
               held = d.held,
               paid_until_ms = d.paid_until_ms
          FROM unnest(tick.ids, tick.vers, tick.revs, tick.nos, tick.was,
                      tick.amounts, tick.fees, tick.held, tick.billed_ms,
                      tick.paid_until_ms)
               AS d(id, ver, rev, no, was, amount, fee, held, billed_ms,
                    paid_until_ms)
         WHERE x.id = d.id AND x.ver = d.ver AND x.rev = d.rev
           AND x.charge_no = d.no AND x.held = d.was
           AND x.state = 'active' AND NOT x.settled
           AND x.billed_ms <= d.billed_ms
           AND x.paid_until_ms <= d.paid_until_ms
           AND get_byte(v_fence, x.shard) = 1
        RETURNING x.id, x.client_wallet, x.advisor_wallet, x.charge_no,
                  x.billed_ms, d.amount, d.fee, d.held - d.was AS held),
    journal AS (
        INSERT INTO ledger.transfer (debit_account, credit_account, amount,
                    fee, session_id, billed_ms, charge_no, kind)
        SELECT b.client_wallet, b.advisor_wallet, b.amount, b.fee, b.id,
               b.billed_ms, b.charge_no, 'session'
          FROM book b WHERE b.amount > 0),
    pay AS (
        SELECT b.client_wallet AS id, sum(b.amount)::bigint AS amount,
               sum(b.held)::bigint AS held
          FROM book b GROUP BY b.client_wallet ORDER BY b.client_wallet),
    purse AS (
        UPDATE ledger.wallet w
           SET balance = w.balance - p.amount, held = w.held + p.held
          FROM pay p
         WHERE w.id = p.id AND w.promo = 0
           AND w.balance - w.held >= p.amount + p.held
        RETURNING w.id, w.balance, w.held)
    SELECT (SELECT array_agg(b.id) FROM book b),
           (SELECT count(*) FROM pay),
           array_agg(p.id), array_agg(p.balance), array_agg(p.held)
      INTO done, v_paying, wallets, balances, wallet_held
      FROM purse p;

    IF v_paying <> coalesce(cardinality(wallets), 0) THEN
        RAISE EXCEPTION 'a wallet has less than is believed, or promo'
              USING ERRCODE = 'AS003';
    END IF;

    done := coalesce(done, '{}');
    wallets := coalesce(wallets, '{}');
    balances := coalesce(balances, '{}');
    wallet_held := coalesce(wallet_held, '{}');

    RETURN NEXT;
END
$$;


-- billing.lives: the leases of gateways that are not closed.
--
--   lease_ms    the instant of the last renewal
--   silence_ms  an open interval is proven until this much before it
--   age_ms      for how long it was not renewed, 3 s at the most
--   now_ms      the database's clock
CREATE OR REPLACE FUNCTION billing.lives()
RETURNS TABLE (id bigint, lease_ms bigint, silence_ms int, age_ms bigint,
    now_ms bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := consult.ms(clock_timestamp());
BEGIN
    RETURN QUERY
    SELECT g.id, g.started_ms + g.life_ms, g.silence_ms,
           least(greatest(v_now - consult.ms(g.renewed_at), 0), 3000), v_now
      FROM consult.gateway g WHERE NOT g.closed ORDER BY g.id;
END
$$;


-- billing.scan2: the sessions of these shards that are not settled.  counts
-- and sums are what the caller knows of each shard, so that only those that
-- differ need be listed; for now all are (summing up here was seen to take
-- longer than listing them).
CREATE OR REPLACE FUNCTION billing.scan2(shards smallint[], counts int[],
    sums bigint[])
RETURNS TABLE (id bigint, ver int, rev int, shard smallint,
    client_wallet bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.id, s.ver, s.rev, s.shard, s.client_wallet
      FROM consult.session s
     WHERE s.shard = ANY(scan2.shards) AND NOT s.settled;
END
$$;


-- billing.scan3: the same, and whether a session is active: who has to read
-- them all reads those first, for they are being charged.
CREATE OR REPLACE FUNCTION billing.scan3(shards smallint[], counts int[],
    sums bigint[])
RETURNS TABLE (id bigint, ver int, rev int, shard smallint,
    client_wallet bigint, active boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.id, s.ver, s.rev, s.shard, s.client_wallet, s.state = 'active'
      FROM consult.session s
     WHERE s.shard = ANY(scan3.shards) AND NOT s.settled;
END
$$;


-- billing.find2: the same of these sessions, whatever their shards.
CREATE OR REPLACE FUNCTION billing.find2(ids bigint[])
RETURNS TABLE (id bigint, ver int, rev int, shard smallint,
    client_wallet bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.id, s.ver, s.rev, s.shard, s.client_wallet
      FROM consult.session s
     WHERE s.id = ANY(find2.ids) AND NOT s.settled;
END
$$;


REVOKE ALL ON FUNCTION billing.tick(bigint[], int[], int[], int[], bigint[],
        bigint[], bigint[], bigint[], bigint[], bigint[]),
    billing.lives(), billing.scan2(smallint[], int[], bigint[]),
    billing.scan3(smallint[], int[], bigint[]),
    billing.find2(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.tick(bigint[], int[], int[], int[],
        bigint[], bigint[], bigint[], bigint[], bigint[], bigint[]),
    billing.lives(), billing.scan2(smallint[], int[], bigint[]),
    billing.scan3(smallint[], int[], bigint[]),
    billing.find2(bigint[]) TO astro_worker;

RESET ROLE;
