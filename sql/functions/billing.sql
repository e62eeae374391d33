-- billing: what must be atomic when consultations are metered.  Functions of
-- the billing worker, owned by astro_engine.
--
-- What a session owes and when it ends is decided in C; apply() carries such
-- decisions out, if the rows are still as they were when it was decided.
--
-- Locks: shard leases, gateways, wallets, sessions, conversations; each in
-- order of id.
--
-- Where enable_seqscan is off the planner is told what it cannot know: that
-- plans made while a table was small are used when it has grown.

SET ROLE astro_engine;


-- billing.lease: renews the shards of this owner and takes every one that has
-- expired, under a new epoch.  Returns all that are the owner's now.
--
-- A lease is in the database's time.  Taking needs FOR UPDATE, which a batch
-- that has passed its fence holds off; such a shard is taken the next time.
CREATE OR REPLACE FUNCTION billing.lease(owner text, ttl_ms int)
RETURNS TABLE (shard smallint, epoch bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_expires timestamptz := clock_timestamp()
                             + make_interval(secs => ttl_ms / 1000.0);
BEGIN
    UPDATE billing.shard_lease l SET expires_at = v_expires
     WHERE l.owner = lease.owner AND l.expires_at > clock_timestamp();

    UPDATE billing.shard_lease l
       SET owner = lease.owner, epoch = l.epoch + 1, expires_at = v_expires
     WHERE l.shard IN (SELECT x.shard FROM billing.shard_lease x
                        WHERE x.expires_at <= clock_timestamp()
                        ORDER BY x.shard FOR UPDATE SKIP LOCKED);

    RETURN QUERY
    SELECT l.shard, l.epoch FROM billing.shard_lease l
     WHERE l.owner = lease.owner AND l.expires_at = v_expires
     ORDER BY l.shard;
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
CREATE OR REPLACE FUNCTION billing.fence(owner text, shards smallint[],
    epochs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
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


-- billing.scan: the sessions of these shards that are not settled, with the
-- version of each.
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


-- billing.find: the same of these sessions, whatever their shards.
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


-- billing.apply: carries out decisions, the i-th element of each array being
-- one about the session ids[i] as it was at vers[i] and charge_nos[i].  Each
-- gives a row:
--
--   done    it is in the books: transfer, wallet, session, and at settlement
--           the advisor's wallet and the event session_end; the rest of the
--           row is set.  ver is bumped, but for a tick of an active session:
--           paid_until_ms only ever moves forward there
--   stale   the session has moved since, or is settled
--   funds   the wallet cannot hold that much (any more)
--   shard   the session is in no shard of the fence
--
-- What is not done left no trace; read the facts again and decide again.
--
-- A transfer's reference is the session's billed_ms after it: so each one can
-- be proven by itself, and the audit names the row that is wrong.
--
-- states[i], reasons[i], ... held[i] are the session's columns as they shall
-- be, amounts[i] of which fees[i] what is charged now.  Sessions of one wallet
-- are served in order of id: while they share the last slice, the later one is
-- told 'funds' and decides again.  (Splitting it by rate would go here.)
CREATE OR REPLACE FUNCTION billing.apply(ids bigint[], vers int[],
    charge_nos int[], states text[], reasons text[], end_ms bigint[],
    active_ms bigint[], paid_until_ms bigint[], billed_ms bigint[],
    amounts bigint[], fees bigint[], held bigint[], low_sent boolean[],
    settle boolean[])
RETURNS TABLE (id bigint, status text, ver int, balance bigint,
    wallet_held bigint, head bigint, event_seq bigint, event_frame text,
    snapshot json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    s          consult.session;
    v_shards   smallint[];
    v_ids      bigint[];
    v_status   text[];
    v_balances bigint[];
    v_held     bigint[];
    v_over     bigint[];
    v_settled  bigint[] := '{}';
    v_seqs     bigint[] := '{}';
    v_frames   text[]   := '{}';
    v_seq      bigint;
    v_frame    text;
BEGIN
    v_shards := nullif(current_setting('astro.fenced', true), '');

    IF v_shards IS NULL THEN
        RAISE EXCEPTION 'billing.apply() before billing.fence()'
              USING ERRCODE = 'AS001';
    END IF;

    PERFORM 1 FROM ledger.wallet w
      WHERE w.id IN (SELECT x.client_wallet FROM consult.session x
                      WHERE x.id = ANY(apply.ids)
                      UNION ALL
                     SELECT x.advisor_wallet
                       FROM unnest(apply.ids, apply.settle) AS d(id, settle)
                       JOIN consult.session x ON x.id = d.id
                      WHERE d.settle)
      ORDER BY w.id FOR NO KEY UPDATE;

    PERFORM 1 FROM consult.session x
      WHERE x.id = ANY(apply.ids) ORDER BY x.id FOR NO KEY UPDATE;

    -- The rows are locked and this statement's snapshot is younger than the
    -- locks: what it sees is what is.
    WITH wish AS (
        SELECT d.*, x.client_wallet, x.advisor_wallet, x.held AS held_now,
               x.fee AS fee_now, x.charged AS charged_now, x.credited,
               w.balance AS balance_now, w.held AS wallet_held_now,
               w.balance - w.held AS available,
               d.amount + d.held - x.held AS need,
               CASE WHEN x.settled OR x.ver <> d.ver
                         OR x.charge_no <> d.charge_no
                         OR x.billed_ms > d.billed_ms
                         OR x.state = d.state
                            AND x.paid_until_ms > d.paid_until_ms
                         THEN 'stale'
                    WHEN x.shard <> ALL(v_shards) THEN 'shard'
                    ELSE 'done' END AS status
          FROM unnest(apply.ids, apply.vers, apply.charge_nos, apply.states,
                      apply.reasons, apply.end_ms, apply.active_ms,
                      apply.paid_until_ms, apply.billed_ms, apply.amounts,
                      apply.fees, apply.held, apply.low_sent, apply.settle)
               AS d(id, ver, charge_no, state, reason, end_ms, active_ms,
                    paid_until_ms, billed_ms, amount, fee, held, low_sent,
                    settle)
          JOIN consult.session x ON x.id = d.id
          JOIN ledger.wallet w ON w.id = x.client_wallet),
    sum AS (
        SELECT wish.*,
               sum(greatest(need, 0)) FILTER (WHERE status = 'done')
                   OVER (PARTITION BY client_wallet ORDER BY id) AS needed
          FROM wish),
    told AS (
        SELECT sum.*, CASE WHEN status = 'done' AND need > 0
                                AND needed > available THEN 'funds'
                           ELSE status END AS verdict
          FROM sum),
    done AS (
        SELECT * FROM told WHERE verdict = 'done'),
    journal AS (
        INSERT INTO ledger.transfer (debit_account, credit_account, amount,
                    fee, kind, session_id, charge_no, reference)
        SELECT d.client_wallet, d.advisor_wallet, d.amount, d.fee, 'session',
               d.id, d.charge_no + 1, d.billed_ms
          FROM done d WHERE d.amount > 0 ORDER BY d.id),
    purse AS (
        UPDATE ledger.wallet w
           SET balance = w.balance + m.balance, held = w.held + m.held
          FROM (SELECT u.wallet, sum(u.balance)::bigint AS balance,
                       sum(u.held)::bigint AS held
                  FROM (SELECT d.client_wallet AS wallet,
                               -d.amount AS balance,
                               d.held - d.held_now AS held FROM done d
                         UNION ALL
                        SELECT d.advisor_wallet,
                               d.charged_now + d.amount - d.fee_now - d.fee
                               - d.credited, 0
                          FROM done d WHERE d.settle) u
                 GROUP BY u.wallet
                HAVING sum(u.balance) <> 0 OR sum(u.held) <> 0) m
         WHERE w.id = m.wallet
        RETURNING w.id, w.balance, w.held),
    book AS (
        UPDATE consult.session x
           SET ver = x.ver + (d.settle OR x.state <> d.state
                              OR x.state <> 'active')::int,
               state = d.state,
               reason = CASE x.state WHEN d.state
                             THEN coalesce(d.reason, x.reason)
                             ELSE d.reason END,
               state_ms = CASE x.state WHEN d.state THEN x.state_ms
                               ELSE consult.ms(clock_timestamp()) END,
               ended_at = CASE d.state WHEN 'ended'
                               THEN coalesce(x.ended_at, clock_timestamp())
                               END,
               end_ms = d.end_ms,
               active_ms = d.active_ms,
               paid_until_ms = d.paid_until_ms,
               charge_no = x.charge_no + (d.amount > 0)::int,
               billed_ms = d.billed_ms,
               charged = x.charged + d.amount,
               fee = x.fee + d.fee,
               held = d.held,
               credited = CASE WHEN d.settle
                               THEN x.charged + d.amount - x.fee - d.fee
                               ELSE x.credited END,
               low_sent = d.low_sent,
               settled = d.settle
          FROM done d WHERE x.id = d.id)
    SELECT array_agg(t.id), array_agg(t.verdict),
           array_agg(coalesce(p.balance, t.balance_now)),
           array_agg(coalesce(p.held, t.wallet_held_now)),
           array_agg(t.id) FILTER (WHERE t.verdict = 'done' AND t.settle)
      INTO v_ids, v_status, v_balances, v_held, v_over
      FROM told t LEFT JOIN purse p ON p.id = t.client_wallet;

    -- At most as many as sessions ended just now; conversations in order.
    FOR s IN
        SELECT x.* FROM consult.session x WHERE x.id = ANY(v_over)
         ORDER BY x.conversation_id
    LOOP
        SELECT e.seq, e.frame INTO v_seq, v_frame
          FROM consult.append_event(s.conversation_id, 'session_end', NULL,
                                    NULL, consult.end_payload(s)) e;

        v_settled := v_settled || s.id;
        v_seqs := v_seqs || v_seq;
        v_frames := v_frames || v_frame;
    END LOOP;

    RETURN QUERY
    SELECT v.id, v.status, x.ver, v.balance, v.held, c.head, e.seq, e.frame,
           CASE v.status WHEN 'done' THEN consult.snapshot(x) END
      FROM unnest(v_ids, v_status, v_balances, v_held)
           AS v(id, status, balance, held)
      JOIN consult.session x ON x.id = v.id
      JOIN consult.conversation c ON c.id = x.conversation_id
      LEFT JOIN unnest(v_settled, v_seqs, v_frames) AS e(id, seq, frame)
        ON e.id = v.id;
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
       SET close_life_ms = greatest(i.open_life_ms, reap.life_ms),
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

    INSERT INTO ledger.transfer AS x (debit_account, credit_account, amount,
                kind, reference)
    SELECT c.id, v_wallet, topup.amount, 'topup', topup.reference
      FROM ledger.wallet c WHERE c.kind = 'clearing'
     ORDER BY c.id LIMIT 1
    ON CONFLICT (reference) WHERE kind = 'topup' DO NOTHING
    RETURNING x.* INTO t;

    IF FOUND THEN
        UPDATE ledger.wallet w SET balance = w.balance + topup.amount
         WHERE w.id = v_wallet;

    ELSE
        SELECT x.* INTO STRICT t FROM ledger.transfer x
         WHERE x.kind = 'topup' AND x.reference = topup.reference;

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


-- For the audit, in pages of cap rows after an id; called in one REPEATABLE
-- READ transaction.  They fetch and add up; what must be equal to what is said
-- in C.  A page is by the indexes, whatever old statistics say: after a first
-- analysis that saw top-ups alone, a whole table would be read for each row.

-- billing.audit_sessions: a session, its transfers as {id,charge_no,amount,
-- fee,debit_account,credit_account,billed_ms} of each in order of charge_no,
-- and its intervals as billing.facts gives them.  The billed_ms of a transfer
-- is its reference, -1 if that is no number.
CREATE OR REPLACE FUNCTION billing.audit_sessions(after bigint, cap int)
RETURNS TABLE (id bigint, state text, reason text, client_wallet bigint,
    advisor_wallet bigint, rate_minor bigint, commission_bps int,
    max_ms bigint, end_ms bigint, paid_until_ms bigint, charge_no int,
    billed_ms bigint, charged bigint, fee bigint, held bigint,
    credited bigint, settled boolean, transfers bigint[], intervals bigint[])
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.id, s.state, s.reason, s.client_wallet, s.advisor_wallet,
           s.rate_minor, s.commission_bps, s.max_ms, s.end_ms,
           s.paid_until_ms, s.charge_no, s.billed_ms, s.charged, s.fee,
           s.held, s.credited, s.settled, t.rows, i.rows
      FROM (SELECT * FROM consult.session x WHERE x.id > audit_sessions.after
             ORDER BY x.id LIMIT audit_sessions.cap) s
     CROSS JOIN LATERAL (
           SELECT array_agg(ARRAY[x.id, x.charge_no, x.amount, x.fee,
                      x.debit_account, x.credit_account,
                      CASE WHEN x.reference ~ '^[0-9]{1,15}$'
                           THEN x.reference::bigint ELSE -1 END]
                      ORDER BY x.charge_no) AS rows
             FROM ledger.transfer x WHERE x.session_id = s.id) t
     CROSS JOIN LATERAL (
           SELECT array_agg(ARRAY[
                      CASE x.account_id WHEN s.client_id THEN 0 ELSE 1 END,
                      g.started_ms + x.open_life_ms,
                      g.started_ms + CASE
                          WHEN x.close_life_ms IS NOT NULL
                          THEN x.close_life_ms
                          WHEN g.closed
                          THEN greatest(x.open_life_ms, g.life_ms)
                          ELSE greatest(x.open_life_ms,
                                        g.life_ms - g.silence_ms) END,
                      (x.close_life_ms IS NULL AND NOT g.closed)::int,
                      (x.close_reason IS NOT DISTINCT FROM 'unpaid')::int])
                      AS rows
             FROM consult.interval x
             JOIN consult.gateway g ON g.id = x.gateway_id
            WHERE x.session_id = s.id) i
     ORDER BY s.id;
END
$$;


-- billing.audit_wallets: a wallet; what its transfers took and gave; what live
-- sessions hold of it, and owe it.
CREATE OR REPLACE FUNCTION billing.audit_wallets(after bigint, cap int)
RETURNS TABLE (id bigint, kind text, balance bigint, held bigint,
    debits numeric, credits numeric, sessions_hold numeric,
    sessions_owe numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH page AS (
        SELECT w.* FROM ledger.wallet w WHERE w.id > audit_wallets.after
         ORDER BY w.id LIMIT audit_wallets.cap),
    hold AS (
        SELECT s.client_wallet AS wallet, sum(s.held) AS held
          FROM consult.session s
         WHERE s.client_wallet IN (SELECT p.id FROM page p) AND s.held > 0
         GROUP BY s.client_wallet),
    owe AS (
        SELECT s.advisor_wallet AS wallet,
               sum(s.charged - s.fee - s.credited) AS owed
          FROM consult.session s
         WHERE s.advisor_wallet IN (SELECT p.id FROM page p)
           AND s.charged - s.fee - s.credited > 0
         GROUP BY s.advisor_wallet)
    SELECT p.id, p.kind, p.balance, p.held,
           coalesce((SELECT sum(t.amount) FROM ledger.transfer t
                      WHERE t.debit_account = p.id), 0),
           coalesce((SELECT sum(t.amount - t.fee) FROM ledger.transfer t
                      WHERE t.credit_account = p.id), 0),
           coalesce(h.held, 0), coalesce(o.owed, 0)
      FROM page p
      LEFT JOIN hold h ON h.wallet = p.id
      LEFT JOIN owe o ON o.wallet = p.id
     ORDER BY p.id;
END
$$;


-- billing.audit_transfers: transfers that are of no session that there is,
-- with the kinds of their wallets (NULL: no such wallet).
CREATE OR REPLACE FUNCTION billing.audit_transfers(after bigint, cap int)
RETURNS TABLE (id bigint, kind text, session_id bigint, debit_account bigint,
    credit_account bigint, amount bigint, fee bigint, debit_kind text,
    credit_kind text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.id, t.kind, t.session_id, t.debit_account, t.credit_account,
           t.amount, t.fee, d.kind, c.kind
      FROM ledger.transfer t
      LEFT JOIN consult.session s ON s.id = t.session_id
      LEFT JOIN ledger.wallet d ON d.id = t.debit_account
      LEFT JOIN ledger.wallet c ON c.id = t.credit_account
     WHERE t.id > audit_transfers.after AND s.id IS NULL
     ORDER BY t.id LIMIT audit_transfers.cap;
END
$$;


REVOKE ALL ON FUNCTION billing.lease(text, int), billing.release(text),
    billing.fence(text, smallint[], bigint[]), billing.scan(smallint[]),
    billing.find(bigint[]),
    billing.apply(bigint[], int[], int[], text[], text[], bigint[], bigint[],
        bigint[], bigint[], bigint[], bigint[], bigint[], boolean[],
        boolean[]),
    billing.gateways(), billing.reap(bigint, bigint),
    billing.topup(bigint, bigint, text),
    billing.audit_sessions(bigint, int), billing.audit_wallets(bigint, int),
    billing.audit_transfers(bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.lease(text, int), billing.release(text),
    billing.fence(text, smallint[], bigint[]), billing.scan(smallint[]),
    billing.find(bigint[]),
    billing.apply(bigint[], int[], int[], text[], text[], bigint[], bigint[],
        bigint[], bigint[], bigint[], bigint[], bigint[], boolean[],
        boolean[]),
    billing.gateways(), billing.reap(bigint, bigint),
    billing.topup(bigint, bigint, text),
    billing.audit_sessions(bigint, int), billing.audit_wallets(bigint, int),
    billing.audit_transfers(bigint, int) TO astro_worker;

RESET ROLE;
