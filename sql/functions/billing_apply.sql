-- billing_apply: what was decided about sessions, carried out.  A function of
-- the billing worker, owned by astro_engine; see billing.sql.

SET ROLE astro_engine;


-- billing.apply: carries out decisions, the i-th element of each array being
-- one about the session ids[i] as it was at vers[i], revs[i] and charge_nos[i],
-- when it held was[i].  Each gives a row:
--
--   done    it is in the books: transfer, wallet, session, and at settlement
--           the advisor's wallet and the event session_end; the rest of the
--           row is set.  ver is bumped, but for a tick of an active session:
--           paid_until_ms only ever moves forward there.  rev is bumped
--           always, so that nothing is carried out twice, or after something
--           that was decided later, though no money moved
--   stale   the session has moved since, or is settled
--   funds   the wallet cannot hold that much (any more)
--   shard   the session is in no shard of the fence
--
-- What is not done left no trace; read the facts again and decide again.
--
-- A transfer has the session's billed_ms after it: so each one can be proven by
-- itself, and the audit names the row that is wrong.
--
-- Promo goes before cash: what is left of the wallet's promo when its row is
-- locked, for its sessions in order of id.  The advisor is paid in full.
--
-- Locks: sessions, wallets, conversations; each in order of id.  As in tick(),
-- the settings say that rows are found by their keys: with what it knows of the
-- first few calls, the planner reads all accounts for a batch.
--
-- states[i], reasons[i], ... held[i] are the session's columns as they shall
-- be, amounts[i] of which fees[i] what is charged now.  Sessions of one wallet
-- are served in order of id: while they share the last slice, the later one is
-- told 'funds' and decides again.  (Splitting it by rate would go here.)
CREATE OR REPLACE FUNCTION billing.apply(ids bigint[], vers int[],
    charge_nos int[], states text[], reasons text[], end_ms bigint[],
    active_ms bigint[], paid_until_ms bigint[], billed_ms bigint[],
    amounts bigint[], fees bigint[], held bigint[], low_sent boolean[],
    settle boolean[], revs int[], was bigint[])
RETURNS TABLE (id bigint, status text, ver int, balance bigint,
    wallet_held bigint, head bigint, event_seq bigint, event_frame text,
    snapshot json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    s          consult.session;
    v_shards   smallint[];
    v_fence    bytea;
    v_ids      bigint[];
    v_status   text[];
    v_over     bigint[];
    v_seqs     bigint[];
    v_frames   text[];
    v_at       int;
    v_seq      bigint;
    v_frame    text;
BEGIN
    v_shards := nullif(current_setting('astro.fenced', true), '');

    IF v_shards IS NULL THEN
        RAISE EXCEPTION 'billing.apply() before billing.fence()'
              USING ERRCODE = 'AS001';
    END IF;

    v_fence := billing.shard_set(v_shards);

    PERFORM 1 FROM consult.session x
      WHERE x.id = ANY(apply.ids) ORDER BY x.id FOR NO KEY UPDATE;

    PERFORM 1 FROM ledger.wallet w
      WHERE w.id IN (SELECT x.client_wallet FROM consult.session x
                      WHERE x.id = ANY(apply.ids)
                      UNION ALL
                     SELECT x.advisor_wallet
                       FROM unnest(apply.ids, apply.settle) AS d(id, settle)
                       JOIN consult.session x ON x.id = d.id
                      WHERE d.settle)
      ORDER BY w.id FOR NO KEY UPDATE;

    -- The rows are locked and this statement's snapshot is younger than the
    -- locks: what it sees is what is.
    WITH wish AS (
        SELECT d.*, x.client_wallet, x.advisor_wallet, x.held AS held_now,
               x.fee AS fee_now, x.charged AS charged_now, x.credited,
               w.balance - w.held AS available, w.promo AS promo_now,
               d.amount + d.held - x.held AS need,
               CASE WHEN x.settled OR x.ver <> d.ver
                         OR x.charge_no <> d.charge_no
                         OR x.rev <> d.rev OR x.held <> d.was
                         OR x.billed_ms > d.billed_ms
                         OR x.state = d.state
                            AND x.paid_until_ms > d.paid_until_ms
                         THEN 'stale'
                    WHEN get_byte(v_fence, x.shard) = 0 THEN 'shard'
                    ELSE 'done' END AS status
          FROM unnest(apply.ids, apply.vers, apply.charge_nos, apply.states,
                      apply.reasons, apply.end_ms, apply.active_ms,
                      apply.paid_until_ms, apply.billed_ms, apply.amounts,
                      apply.fees, apply.held, apply.low_sent, apply.settle,
                      apply.revs, apply.was)
               AS d(id, ver, charge_no, state, reason, end_ms, active_ms,
                    paid_until_ms, billed_ms, amount, fee, held, low_sent,
                    settle, rev, was)
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
        SELECT told.*,
               greatest(least(amount, promo_now + amount
                   - sum(amount) OVER (PARTITION BY client_wallet
                                       ORDER BY id)), 0)::bigint AS promo
          FROM told WHERE verdict = 'done'),
    journal AS (
        INSERT INTO ledger.transfer (debit_account, credit_account, amount,
                    fee, promo, kind, session_id, charge_no, billed_ms)
        SELECT d.client_wallet, d.advisor_wallet, d.amount, d.fee, d.promo,
               'session', d.id, d.charge_no + 1, d.billed_ms
          FROM done d WHERE d.amount > 0 ORDER BY d.id),
    purse AS (
        UPDATE ledger.wallet w
           SET balance = w.balance + m.balance, held = w.held + m.held,
               promo = w.promo - m.promo
          FROM (SELECT u.wallet, sum(u.balance)::bigint AS balance,
                       sum(u.held)::bigint AS held,
                       sum(u.promo)::bigint AS promo
                  FROM (SELECT d.client_wallet AS wallet,
                               -d.amount AS balance,
                               d.held - d.held_now AS held, d.promo
                          FROM done d
                         UNION ALL
                        SELECT d.advisor_wallet,
                               d.charged_now + d.amount - d.fee_now - d.fee
                               - d.credited, 0, 0
                          FROM done d WHERE d.settle) u
                 GROUP BY u.wallet
                HAVING sum(u.balance) <> 0 OR sum(u.held) <> 0) m
         WHERE w.id = m.wallet),
    book AS (
        UPDATE consult.session x
           SET ver = x.ver + (d.settle OR x.state <> d.state
                              OR x.state <> 'active')::int,
               rev = x.rev + 1,
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
               promo = x.promo + d.promo,
               held = d.held,
               credited = CASE WHEN d.settle
                               THEN x.charged + d.amount - x.fee - d.fee
                               ELSE x.credited END,
               low_sent = d.low_sent,
               settled = d.settle
          FROM done d WHERE x.id = d.id)
    SELECT array_agg(t.id), array_agg(t.verdict),
           array_agg(t.id) FILTER (WHERE t.verdict = 'done' AND t.settle)
      INTO v_ids, v_status, v_over
      FROM told t;

    -- At most as many as sessions ended just now; conversations in order.
    IF v_over IS NOT NULL THEN
        v_seqs := array_fill(NULL::bigint, ARRAY[cardinality(v_ids)]);
        v_frames := array_fill(NULL::text, ARRAY[cardinality(v_ids)]);
    END IF;

    FOR s IN
        SELECT x.* FROM consult.session x WHERE x.id = ANY(v_over)
         ORDER BY x.conversation_id
    LOOP
        SELECT e.seq, e.frame INTO v_seq, v_frame
          FROM consult.append_event(s.conversation_id, 'session_end', NULL,
                                    NULL, consult.end_payload(s)) e;

        v_at := array_position(v_ids, s.id);
        v_seqs[v_at] := v_seq;
        v_frames[v_at] := v_frame;
    END LOOP;

    RETURN QUERY
    SELECT v.id, v.status, x.ver, w.balance, w.held, c.head, v.seq, v.frame,
           CASE v.status WHEN 'done' THEN consult.snapshot(x) END
      FROM unnest(v_ids, v_status, v_seqs, v_frames)
           AS v(id, status, seq, frame)
      JOIN consult.session x ON x.id = v.id
      JOIN ledger.wallet w ON w.id = x.client_wallet
      JOIN consult.conversation c ON c.id = x.conversation_id;
END
$$;


-- billing.apply without revs and was, which are then not asked for: for workers
-- of the version before.
CREATE OR REPLACE FUNCTION billing.apply(ids bigint[], vers int[],
    charge_nos int[], states text[], reasons text[], end_ms bigint[],
    active_ms bigint[], paid_until_ms bigint[], billed_ms bigint[],
    amounts bigint[], fees bigint[], held bigint[], low_sent boolean[],
    settle boolean[])
RETURNS TABLE (id bigint, status text, ver int, balance bigint,
    wallet_held bigint, head bigint, event_seq bigint, event_frame text,
    snapshot json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT * FROM billing.apply(ids, vers, charge_nos, states, reasons,
                      apply.end_ms, apply.active_ms, apply.paid_until_ms,
                      apply.billed_ms, amounts, fees, apply.held,
                      apply.low_sent, apply.settle, NULL, NULL);
END
$$;


REVOKE ALL ON FUNCTION billing.apply(bigint[], int[], int[], text[], text[],
        bigint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[],
        boolean[], boolean[], int[], bigint[]),
    billing.apply(bigint[], int[], int[], text[], text[], bigint[], bigint[],
        bigint[], bigint[], bigint[], bigint[], bigint[], boolean[],
        boolean[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.apply(bigint[], int[], int[], text[],
        text[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[],
        bigint[], boolean[], boolean[], int[], bigint[]),
    billing.apply(bigint[], int[], int[], text[], text[], bigint[], bigint[],
        bigint[], bigint[], bigint[], bigint[], bigint[], boolean[],
        boolean[]) TO astro_worker;

RESET ROLE;
