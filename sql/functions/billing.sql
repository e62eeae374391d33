-- billing: what must be atomic when consultations are metered.  Functions of
-- the billing worker, owned by astro_engine.
--
-- What a session owes and when it ends is decided in C; apply(), in
-- billing_apply.sql, carries such decisions out, if the rows are still as they
-- were when it was decided.
--
-- Locks: shard leases, gateways, sessions, wallets, conversations; each in
-- order of id.
--
-- Where enable_seqscan is off the planner is told what it cannot know: that
-- plans made while a table was small are used when it has grown.

SET ROLE astro_engine;


-- billing.lease: renews the shards of this owner and takes every one that has
-- expired, under a new epoch.  Returns all that are the owner's now.
--
-- A lease is in the database's time.  One that ends more than twice as far
-- ahead as any that is made now was made before the clock was put back: it is
-- taken like one that has expired, so that an owner that died then does not
-- keep its shards until the clock is there again.  The epoch keeps an owner
-- that lives from charging until it has renewed.
--
-- Taking needs FOR UPDATE, which a batch that has passed its fence holds off;
-- such a shard is taken the next time.
CREATE OR REPLACE FUNCTION billing.lease(owner text, ttl_ms int)
RETURNS TABLE (shard smallint, epoch bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_expires timestamptz := clock_timestamp()
                             + make_interval(secs => ttl_ms / 1000.0);
    v_far     timestamptz := v_expires
                             + make_interval(secs => ttl_ms / 1000.0);
BEGIN
    UPDATE billing.shard_lease l SET expires_at = v_expires
     WHERE l.owner = lease.owner AND l.expires_at > clock_timestamp();

    UPDATE billing.shard_lease l
       SET owner = lease.owner, epoch = l.epoch + 1, expires_at = v_expires
     WHERE l.shard IN (SELECT x.shard FROM billing.shard_lease x
                        WHERE x.expires_at <= clock_timestamp()
                           OR x.expires_at > v_far
                        ORDER BY x.shard FOR UPDATE SKIP LOCKED);

    RETURN QUERY
    SELECT l.shard, l.epoch FROM billing.shard_lease l
     WHERE l.owner = lease.owner AND l.expires_at = v_expires
     ORDER BY l.shard;
END
$$;


-- billing.lease_next: in how many ms the first of the other owners' leases ends,
-- unless it is renewed; NULL if they have none.  To be asked after lease(): 0 is
-- one that has ended, which a batch beyond its fence kept it from taking.
CREATE OR REPLACE FUNCTION billing.lease_next(owner text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now  timestamptz := clock_timestamp();
    v_ends timestamptz;
BEGIN
    SELECT min(greatest(l.expires_at, v_now)) INTO v_ends
      FROM billing.shard_lease l
     WHERE l.owner IS DISTINCT FROM lease_next.owner
       AND l.expires_at < 'infinity';

    RETURN CASE v_ends WHEN v_now THEN 0
                ELSE consult.ms(v_ends) - consult.ms(v_now) + 1 END;
END
$$;


-- billing.release: hands all shards of this owner over, to whoever asks next.
CREATE OR REPLACE FUNCTION billing.release(owner text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE billing.shard_lease l
       SET owner = NULL, expires_at = '-infinity'
     WHERE l.owner = release.owner;
END
$$;


-- billing.fence: the first statement of every transaction that bills.  Raises
-- AS001 unless all these shards are this owner's, under these epochs, now; and
-- keeps them so until the transaction ends.  apply() refuses to work without.
-- It is part of every batch: a nested loop compares each lease with each of a
-- hundred shards asked for, which took a third of the time of a tick.
CREATE OR REPLACE FUNCTION billing.fence(owner text, shards smallint[],
    epochs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    v_held int;
BEGIN
    SELECT count(*) INTO v_held
      FROM (SELECT FROM billing.shard_lease l
              JOIN unnest(fence.shards, fence.epochs) AS f(shard, epoch)
                ON f.shard = l.shard AND f.epoch = l.epoch
             WHERE l.owner = fence.owner
               AND l.expires_at > clock_timestamp()
             ORDER BY l.shard FOR KEY SHARE OF l) x;

    IF v_held IS DISTINCT FROM cardinality(shards) THEN
        RAISE EXCEPTION 'not the owner of % of these % shards',
              cardinality(shards) - v_held, cardinality(shards)
              USING ERRCODE = 'AS001';
    END IF;

    PERFORM set_config('astro.fenced', shards::text, true);
END
$$;


-- billing.shard_set: a byte for each of the 256 shards, 1 for those named.  For
-- asking of each row of a batch, where "= ANY" would go through the array.
CREATE OR REPLACE FUNCTION billing.shard_set(shards smallint[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_set   bytea := decode(repeat('00', 256), 'hex');
    v_shard smallint;
BEGIN
    FOREACH v_shard IN ARRAY shards LOOP
        v_set := set_byte(v_set, v_shard, 1);
    END LOOP;

    RETURN v_set;
END
$$;


-- billing.scan: the sessions of these shards that are not settled, with the
-- version of each.  For workers of the version before; others: scan2.
CREATE OR REPLACE FUNCTION billing.scan(shards smallint[])
RETURNS TABLE (id bigint, ver int, shard smallint, client_wallet bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.id, s.ver, s.shard, s.client_wallet
      FROM consult.session s
     WHERE s.shard = ANY(scan.shards) AND NOT s.settled;
END
$$;


-- billing.find: the same of these sessions, whatever their shards; likewise.
CREATE OR REPLACE FUNCTION billing.find(ids bigint[])
RETURNS TABLE (id bigint, ver int, shard smallint, client_wallet bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.id, s.ver, s.shard, s.client_wallet
      FROM consult.session s
     WHERE s.id = ANY(find.ids) AND NOT s.settled;
END
$$;


-- billing.gateways: the leases that are not closed.
CREATE OR REPLACE FUNCTION billing.gateways()
RETURNS TABLE (id bigint, life_ms bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT g.id, g.life_ms FROM consult.gateway g
                  WHERE NOT g.closed;
END
$$;


-- billing.reap: closes the lease of a gateway that was seen dead at life_ms,
-- unless it has renewed since: its open intervals end there (reason 'dead'),
-- its presence goes, active sessions that lost a party are reconnecting.
-- Returns the sessions that had an interval of it.
--
-- FOR UPDATE keeps out a join, which share-locks its gateway: no interval can
-- be opened behind this.
CREATE OR REPLACE FUNCTION billing.reap(gateway bigint, life_ms bigint)
RETURNS TABLE (id bigint, ver int, state text, paid_until_ms bigint,
    client_id bigint, advisor_id bigint, conversation_id bigint, head bigint,
    snapshot json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_sessions bigint[];
    v_renewed  timestamptz;
BEGIN
    PERFORM 1 FROM consult.gateway g
      WHERE g.id = reap.gateway AND g.life_ms = reap.life_ms
        AND NOT g.closed FOR UPDATE;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    UPDATE consult.gateway g SET closed = true WHERE g.id = reap.gateway
    RETURNING g.renewed_at INTO v_renewed;

    -- nobody is proven to have been there any longer
    WITH gone AS (
        DELETE FROM consult.presence p WHERE p.gateway_id = reap.gateway
        RETURNING p.account_id)
    INSERT INTO consult.last_seen AS l (account_id, seen_at, left_at)
    SELECT g.account_id, v_renewed, v_renewed FROM gone g ORDER BY g.account_id
    ON CONFLICT (account_id) DO UPDATE
       SET seen_at = greatest(l.seen_at, excluded.seen_at),
           left_at = greatest(l.left_at, excluded.left_at);

    v_sessions := ARRAY(SELECT DISTINCT i.session_id
                          FROM consult.interval i
                         WHERE i.gateway_id = reap.gateway
                           AND i.close_life_ms IS NULL);

    PERFORM 1 FROM consult.session x
      WHERE x.id = ANY(v_sessions) ORDER BY x.id FOR NO KEY UPDATE;

    UPDATE consult.interval i
       SET close_life_ms = greatest(i.open_life_ms,
                                    least(reap.life_ms, i.cut_life_ms)),
           close_reason = 'dead'
     WHERE i.gateway_id = reap.gateway AND i.close_life_ms IS NULL;

    -- a party may still be connected elsewhere
    UPDATE consult.session x
       SET ver = x.ver + 1,
           state = CASE x.state WHEN 'active' THEN 'reconnecting'
                        ELSE x.state END,
           state_ms = CASE x.state WHEN 'active'
                           THEN consult.ms(clock_timestamp())
                           ELSE x.state_ms END
     WHERE x.id = ANY(v_sessions) AND x.state <> 'ended'
       AND (SELECT count(DISTINCT i.account_id) FROM consult.interval i
             WHERE i.session_id = x.id AND i.close_life_ms IS NULL) < 2;

    RETURN QUERY
    SELECT x.id, x.ver, x.state, x.paid_until_ms, x.client_id, x.advisor_id,
           x.conversation_id, c.head, consult.snapshot(x)
      FROM consult.session x
      JOIN consult.conversation c ON c.id = x.conversation_id
     WHERE x.id = ANY(v_sessions) ORDER BY x.id;
END
$$;


REVOKE ALL ON FUNCTION billing.shard_set(smallint[]),
    billing.lease(text, int), billing.lease_next(text), billing.release(text),
    billing.fence(text, smallint[], bigint[]), billing.scan(smallint[]),
    billing.find(bigint[]),
    billing.gateways(), billing.reap(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.lease(text, int), billing.lease_next(text),
    billing.release(text),
    billing.fence(text, smallint[], bigint[]), billing.scan(smallint[]),
    billing.find(bigint[]),
    billing.gateways(), billing.reap(bigint, bigint) TO astro_worker;

RESET ROLE;
