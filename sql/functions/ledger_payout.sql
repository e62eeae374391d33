-- ledger_payout: what advisors have earned reaches their wallets, and leaves.
-- See ledger.sql for what all movements have in common.

SET ROLE astro_engine;


-- billing.credit_session: credits the advisor with what a session has earned
-- and not yet credited.  Its row and the wallet are locked.  No transfer: the
-- charges themselves say whose the money is, and what an advisor sees (wallet +
-- live sessions) does not change by it.
CREATE OR REPLACE FUNCTION billing.credit_session(session bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_wallet bigint;
    v_amount bigint;
BEGIN
    SELECT s.advisor_wallet, s.charged - s.fee - s.credited
      INTO v_wallet, v_amount
      FROM consult.session s WHERE s.id = session;

    IF v_amount > 0 THEN
        UPDATE consult.session s SET credited = s.credited + v_amount
         WHERE s.id = session;
        UPDATE ledger.wallet w SET balance = w.balance + v_amount
         WHERE w.id = v_wallet;
    END IF;

    RETURN v_amount;
END
$$;


-- billing.credit: credits the advisors of the live sessions of these shards
-- with what they have earned since the last time.  Returns how many sessions
-- that were, and how much.  At any time, by anybody, also twice at once; a
-- shard at a time keeps a batch of ticks waiting for no more than a few ms.
CREATE OR REPLACE FUNCTION billing.credit(shards smallint[])
RETURNS TABLE (sessions bigint, amount bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_ids     bigint[];
    v_wallets bigint[];
BEGIN
    SELECT array_agg(x.id), array_agg(x.advisor_wallet)
      INTO v_ids, v_wallets
      FROM (SELECT s.id, s.advisor_wallet FROM consult.session s
             WHERE s.shard = ANY(credit.shards) AND NOT s.settled
               AND s.charged - s.fee > s.credited
             ORDER BY s.id FOR NO KEY UPDATE) x;

    PERFORM 1 FROM ledger.wallet w WHERE w.id = ANY(v_wallets)
      ORDER BY w.id FOR NO KEY UPDATE;

    RETURN QUERY
    WITH due AS (
        SELECT s.id, s.advisor_wallet,
               s.charged - s.fee - s.credited AS amount
          FROM consult.session s WHERE s.id = ANY(v_ids)),
    book AS (
        UPDATE consult.session s SET credited = s.credited + d.amount
          FROM due d WHERE s.id = d.id),
    purse AS (
        UPDATE ledger.wallet w SET balance = w.balance + m.amount
          FROM (SELECT d.advisor_wallet, sum(d.amount)::bigint AS amount
                  FROM due d GROUP BY d.advisor_wallet) m
         WHERE w.id = m.advisor_wallet)
    SELECT count(*), coalesce(sum(d.amount), 0)::bigint FROM due d;
END
$$;


-- billing.payout_take: amount leaves an advisor's wallet for the world.  What
-- the advisor owes is paid first (kind 'recovery'), and is not available.
CREATE OR REPLACE FUNCTION billing.payout_take(advisor bigint, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    w      ledger.wallet;
    t      ledger.transfer;
    v_left bigint;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);
    PERFORM billing.ledger_lock(advisor);
    w := billing.ledger_wallet(advisor, 'advisor');
    t := billing.ledger_done('payout', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.debit_account = w.id
                    AND t.amount = payout_take.amount, reference);

    ELSE
        v_left := w.balance - w.held
                  - billing.ledger_recover(w.id, 0, NULL, reference);

        IF v_left < amount THEN
            RAISE EXCEPTION 'only % can be paid out', v_left
                  USING ERRCODE = 'AS002';
        END IF;

        transfer_id := billing.ledger_post('payout', w.id,
                           billing.ledger_house('clearing'), amount, 0, 0,
                           NULL, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, payout_take.amount
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.payout_return: a payout has failed: all of it is the advisor's again.
-- payout: the reference that it was taken with.  Once for each payout.
CREATE OR REPLACE FUNCTION billing.payout_return(payout text, reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p       ledger.transfer;
    t       ledger.transfer;
    v_owner bigint;
BEGIN
    PERFORM billing.ledger_wants(1, reference);
    p := billing.ledger_done('payout', payout);

    IF p.id IS NULL THEN
        RAISE EXCEPTION 'there is no payout "%"', payout
              USING ERRCODE = '22023';
    END IF;

    SELECT w.owner_id INTO v_owner FROM ledger.wallet w
     WHERE w.id = p.debit_account;
    PERFORM billing.ledger_lock(v_owner);
    t := billing.ledger_done('payout_return', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.about = p.id, reference);

    ELSE
        PERFORM 1 FROM ledger.transfer x
          WHERE x.about = p.id AND x.kind = 'payout_return'
            AND x.session_id IS NULL;

        IF FOUND THEN
            RAISE EXCEPTION 'payout "%" was returned before', payout
                  USING ERRCODE = 'AS002';
        END IF;

        transfer_id := billing.ledger_post('payout_return', p.credit_account,
                           p.debit_account, p.amount, 0, 0, p.id, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, p.amount
                   FROM ledger.wallet x WHERE x.id = p.debit_account;
END
$$;


REVOKE ALL ON FUNCTION billing.credit_session(bigint),
    billing.credit(smallint[]),
    billing.payout_take(bigint, bigint, text),
    billing.payout_return(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.credit(smallint[]),
    billing.payout_take(bigint, bigint, text),
    billing.payout_return(text, text) TO astro_worker;

RESET ROLE;
