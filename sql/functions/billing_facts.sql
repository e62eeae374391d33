-- billing_facts: what the engine decides from.  Functions of the billing
-- worker, owned by astro_engine.

SET ROLE astro_engine;


-- billing.facts3: all that a decision about a session is made from, in one
-- moment.  Sessions that are settled, or in none of these shards, give no row.
--
--   payer_ok     the client is one; anybody else is charged nothing
--   now_ms       the database's clock: for coarse timeouts alone
--   lease_ms     the furthest instant that a live gateway of this session has
--                renewed to; est_ms: where its clock is likely to be by now
--   intervals    {party,from_ms,to_ms,open,unpaid} of each; party 0 is the
--                client.  An open one proves presence until the last renewal
--                less the gateway's silence; under a closed lease, until that
--                lease's last renewal; never beyond a cut, and it is as good
--                as closed when it has proven all up to that
--   segments     {from_ms,rate_minor} of each after the first, in order
--   promo        part of balance; gateways: of the intervals, one by one
--   cap_minor    what the client's spend caps let it charge, or NULL (caps.sql)
--
-- The order of the columns is the order in which C reads them.
CREATE OR REPLACE FUNCTION billing.facts3(ids bigint[], shards smallint[])
RETURNS TABLE (id bigint, ver int, shard smallint, charge_no int, state text,
    reason text, client_id bigint, advisor_id bigint, conversation_id bigint,
    client_wallet bigint, rate_minor bigint, commission_bps int,
    max_ms bigint, state_ms bigint, end_ms bigint, active_ms bigint,
    paid_until_ms bigint, billed_ms bigint, charged bigint, fee bigint,
    held bigint, low_sent boolean, payer_ok boolean, balance bigint,
    wallet_held bigint, now_ms bigint, lease_ms bigint, est_ms bigint,
    silence_ms int, intervals bigint[], whole_minute boolean,
    min_minor bigint, free_ms bigint, max_minor bigint, segments bigint[],
    rev int, promo bigint, gateways bigint[], cap_minor bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_now   bigint := consult.ms(clock_timestamp());
    v_fence bytea  := billing.shard_set(shards);
BEGIN
    RETURN QUERY
    SELECT s.id, s.ver, s.shard, s.charge_no, s.state, s.reason, s.client_id,
           s.advisor_id, s.conversation_id, s.client_wallet, s.rate_minor,
           s.commission_bps, s.max_ms, s.state_ms, s.end_ms, s.active_ms,
           s.paid_until_ms, s.billed_ms, s.charged, s.fee, s.held, s.low_sent,
           a.role = 'client' AND w.kind = 'client'
               AND w.owner_id = s.client_id,
           w.balance, w.held, v_now, coalesce(p.lease_ms, v_now),
           coalesce(p.est_ms, v_now), coalesce(p.silence_ms, 0), p.intervals,
           s.whole_minute, s.min_minor, s.free_ms, s.max_minor,
           CASE WHEN s.segments > 0 THEN
               (SELECT array_agg(ARRAY[x.from_ms, x.rate_minor] ORDER BY x.no)
                  FROM consult.segment x WHERE x.session_id = s.id) END,
           s.rev, w.promo, p.gateways, s.cap_minor
      FROM consult.session s
      JOIN ledger.wallet w ON w.id = s.client_wallet
      JOIN identity.account a ON a.id = s.client_id
     CROSS JOIN LATERAL (
           SELECT max(x.lease_ms) AS lease_ms,
                  max(x.lease_ms + x.age_ms) AS est_ms,
                  max(x.silence_ms) AS silence_ms,
                  array_agg(ARRAY[x.party, x.from_ms, x.to_ms, x.open,
                                  x.unpaid]) AS intervals,
                  array_agg(x.gateway) AS gateways
             FROM (SELECT g.id AS gateway,
                          CASE i.account_id WHEN s.client_id THEN 0 ELSE 1 END
                              ::bigint AS party,
                          g.started_ms + i.open_life_ms AS from_ms,
                          g.started_ms
                              + consult.proven_life(i.open_life_ms,
                                    i.close_life_ms, i.cut_life_ms, g.closed,
                                    g.life_ms, g.silence_ms) AS to_ms,
                          consult.proves_on(i.close_life_ms, i.cut_life_ms,
                              g.closed, g.life_ms, g.silence_ms)
                              ::int::bigint AS open,
                          (i.cut_life_ms IS NOT NULL
                           OR (i.close_reason IS NOT NULL
                               AND i.close_reason IN ('unpaid', 'paused')))
                              ::int::bigint AS unpaid,
                          CASE WHEN NOT g.closed
                               THEN g.started_ms
                                    + greatest(g.life_ms, i.open_life_ms)
                               END AS lease_ms,
                          least(greatest(v_now - consult.ms(g.renewed_at), 0),
                                3000) AS age_ms,
                          CASE WHEN NOT g.closed THEN g.silence_ms END
                              AS silence_ms
                     FROM consult.interval i
                     JOIN consult.gateway g ON g.id = i.gateway_id
                    WHERE i.session_id = s.id) x) p
     WHERE s.id = ANY(facts3.ids) AND get_byte(v_fence, s.shard) = 1
       AND NOT s.settled;
END
$$;


-- billing.facts2: the same for workers of the version before, which know of no
-- caps: one is the client's own maximum to them.
CREATE OR REPLACE FUNCTION billing.facts2(ids bigint[], shards smallint[])
RETURNS TABLE (id bigint, ver int, shard smallint, charge_no int, state text,
    reason text, client_id bigint, advisor_id bigint, conversation_id bigint,
    client_wallet bigint, rate_minor bigint, commission_bps int,
    max_ms bigint, state_ms bigint, end_ms bigint, active_ms bigint,
    paid_until_ms bigint, billed_ms bigint, charged bigint, fee bigint,
    held bigint, low_sent boolean, payer_ok boolean, balance bigint,
    wallet_held bigint, now_ms bigint, lease_ms bigint, est_ms bigint,
    silence_ms int, intervals bigint[], whole_minute boolean,
    min_minor bigint, free_ms bigint, max_minor bigint, segments bigint[],
    rev int, promo bigint, gateways bigint[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT f.id, f.ver, f.shard, f.charge_no, f.state, f.reason, f.client_id,
           f.advisor_id, f.conversation_id, f.client_wallet, f.rate_minor,
           f.commission_bps, f.max_ms, f.state_ms, f.end_ms, f.active_ms,
           f.paid_until_ms, f.billed_ms, f.charged, f.fee, f.held, f.low_sent,
           f.payer_ok, f.balance, f.wallet_held, f.now_ms, f.lease_ms,
           f.est_ms, f.silence_ms, f.intervals, f.whole_minute, f.min_minor,
           f.free_ms, least(f.max_minor, f.cap_minor), f.segments, f.rev,
           f.promo, f.gateways
      FROM billing.facts3(facts2.ids, facts2.shards) f;
END
$$;


-- billing.facts: the same for workers of long before.  They know of one
-- rate alone, so they are not told of a session whose tariff says more: it is
-- paid ahead, its gateways stop it in time, and a worker that can charges it.
CREATE OR REPLACE FUNCTION billing.facts(ids bigint[], shards smallint[])
RETURNS TABLE (id bigint, ver int, shard smallint, charge_no int, state text,
    reason text, client_id bigint, advisor_id bigint, conversation_id bigint,
    client_wallet bigint, rate_minor bigint, commission_bps int,
    max_ms bigint, state_ms bigint, end_ms bigint, active_ms bigint,
    paid_until_ms bigint, billed_ms bigint, charged bigint, fee bigint,
    held bigint, low_sent boolean, payer_ok boolean, balance bigint,
    wallet_held bigint, now_ms bigint, lease_ms bigint, est_ms bigint,
    silence_ms int, intervals bigint[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT f.id, f.ver, f.shard, f.charge_no, f.state, f.reason, f.client_id,
           f.advisor_id, f.conversation_id, f.client_wallet, f.rate_minor,
           f.commission_bps, f.max_ms, f.state_ms, f.end_ms, f.active_ms,
           f.paid_until_ms, f.billed_ms, f.charged, f.fee, f.held, f.low_sent,
           f.payer_ok, f.balance, f.wallet_held, f.now_ms, f.lease_ms,
           f.est_ms, f.silence_ms, f.intervals
      FROM billing.facts2(facts.ids, facts.shards) f
     WHERE NOT f.whole_minute AND f.min_minor = 0 AND f.free_ms = 0
       AND f.max_minor IS NULL AND f.segments IS NULL;
END
$$;


REVOKE ALL ON FUNCTION billing.facts3(bigint[], smallint[]),
    billing.facts2(bigint[], smallint[]),
    billing.facts(bigint[], smallint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.facts3(bigint[], smallint[]),
    billing.facts2(bigint[], smallint[]),
    billing.facts(bigint[], smallint[]) TO astro_worker;

RESET ROLE;
