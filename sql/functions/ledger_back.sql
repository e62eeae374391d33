-- ledger_back: payments and charges taken back, and disputes.  See ledger.sql
-- for what all movements have in common.
--
-- Money that its owner has spent meanwhile becomes a debt (kind 'debt', from
-- the owner's wallet 'receivable'), never a balance below what is held: a
-- client pays it with the next top-up, an advisor with the next payout.

SET ROLE astro_engine;


-- billing.refund: amount of a payment went back to the client, outside: takes
-- it from the wallet, with the same part of the promo that came with the
-- payment (kind 'promo_back').  What disputes have frozen of the payment is
-- taken first.  Never more than the payment in all.
--
-- payment: the reference of the top-up.
CREATE OR REPLACE FUNCTION billing.refund(payment text, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT x.* FROM billing.ledger_refund(payment, amount,
                                     reference, NULL) x;
END
$$;


-- billing.dispute_lost: a dispute of a payment is lost: a refund of amount, for
-- which what this dispute has frozen is released, and nothing of another one.
-- dispute: the reference that it was frozen with, if it was; that of the refund
-- is the same and ":lost".
CREATE OR REPLACE FUNCTION billing.dispute_lost(payment text, amount bigint,
    dispute text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM billing.ledger_wants(amount, dispute);

    RETURN QUERY SELECT x.* FROM billing.ledger_refund(payment, amount,
                                     dispute || ':lost', dispute) x;
END
$$;


-- billing.ledger_refund: of refund (dispute NULL) and dispute_lost.
CREATE OR REPLACE FUNCTION billing.ledger_refund(payment text, amount bigint,
    reference text, dispute text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_thaw  bigint;
    p       ledger.transfer;
    t       ledger.transfer;
    w       ledger.wallet;
    s       record;
    v_bonus bigint;
    v_cash  bigint;
    v_promo bigint;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);
    p := billing.ledger_payment(payment);
    w := billing.ledger_of_payment(p);
    t := billing.ledger_done('refund', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.about = p.id
                                    AND t.amount = ledger_refund.amount,
                                    reference);

    ELSE
        s := billing.ledger_payment_sums(p.id);

        IF amount > p.amount - s.refunded THEN
            RAISE EXCEPTION 'only % of the payment is left to refund',
                  p.amount - s.refunded USING ERRCODE = 'AS002';
        END IF;

        v_thaw := CASE WHEN dispute IS NULL THEN least(s.frozen, amount)
                       ELSE billing.ledger_dispute_left(p.id, dispute) END;

        IF v_thaw > 0 THEN
            PERFORM billing.ledger_post('release',
                        (billing.ledger_wallet(w.owner_id, 'frozen')).id, w.id,
                        v_thaw, 0, 0, p.id, reference);
            w := billing.ledger_wallet(w.owner_id, 'client');
        END IF;

        v_bonus := div(s.promo::numeric * (s.refunded + amount), p.amount)
                   - s.promo_back;
        v_cash := least(amount, w.balance - greatest(w.held, w.promo));
        v_promo := least(v_bonus, w.promo, w.balance - w.held - v_cash);

        PERFORM billing.ledger_owe(w, amount - v_cash + v_bonus - v_promo,
                                   p.id, reference);
        transfer_id := billing.ledger_post('refund', w.id,
                           billing.ledger_house('clearing'), amount, 0, 0,
                           p.id, reference);
        PERFORM billing.ledger_post('promo_back', w.id,
                    billing.ledger_house('platform'), v_bonus, 0, v_promo,
                    p.id, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, ledger_refund.amount
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.dispute_freeze: a payment is disputed: sets as much of amount aside as
-- is available in cash.  It cannot be spent until it is released or refunded.
-- moved is what was frozen; 0, and no transfer_id, if there was nothing (then
-- the reference is not used up).
CREATE OR REPLACE FUNCTION billing.dispute_freeze(payment text, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p ledger.transfer;
    t ledger.transfer;
    w ledger.wallet;
    s record;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);
    p := billing.ledger_payment(payment);
    w := billing.ledger_of_payment(p);
    t := billing.ledger_done('freeze', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;
    moved := t.amount;

    IF dup THEN
        PERFORM billing.ledger_same(t.about = p.id
                                    AND t.amount <= dispute_freeze.amount,
                                    reference);

    ELSE
        s := billing.ledger_payment_sums(p.id);

        IF amount > p.amount - s.refunded - s.frozen THEN
            RAISE EXCEPTION 'only % of the payment is left to dispute',
                  p.amount - s.refunded - s.frozen USING ERRCODE = 'AS002';
        END IF;

        moved := least(amount, w.balance - greatest(w.held, w.promo));
        transfer_id := billing.ledger_post('freeze', w.id,
                           (billing.ledger_wallet(w.owner_id, 'frozen')).id,
                           moved, 0, 0, p.id, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, moved
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.dispute_release: a dispute of a payment is won: gives back what is
-- still frozen for this one, nothing of another one.  reference: that of the
-- freeze; the release's own is that and ":won".  moved is how much it was; 0, and
-- no transfer_id, if nothing.
CREATE OR REPLACE FUNCTION billing.dispute_release(payment text, reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    p     ledger.transfer;
    t     ledger.transfer;
    w     ledger.wallet;
    v_ref text := reference || ':won';
BEGIN
    PERFORM billing.ledger_wants(1, reference);
    p := billing.ledger_payment(payment);
    w := billing.ledger_of_payment(p);
    t := billing.ledger_done('release', v_ref);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;
    moved := t.amount;

    IF dup THEN
        PERFORM billing.ledger_same(t.about = p.id, v_ref);

    ELSE
        moved := billing.ledger_dispute_left(p.id, reference);
        transfer_id := billing.ledger_post('release',
                           (billing.ledger_wallet(w.owner_id, 'frozen')).id,
                           w.id, moved, 0, 0, p.id, v_ref);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, moved
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.reverse: gives a client amount of what a session charged back, in the
-- split in which it was paid: the advisor gives amount less the fee's part
-- (kind 'reversal'), the platform the fee's part ('reversal_fee'); promo comes
-- back as promo.  Parts are of all that was reversed so far, rounded down, so
-- that the last one makes it exact.  Never more than was charged.  The session
-- may be live: what it has earned the advisor is credited first.
--
-- The row is about the client's wallet.
CREATE OR REPLACE FUNCTION billing.reverse(session bigint, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    s        consult.session;
    w        ledger.wallet;
    a        ledger.wallet;
    r        record;
    v_done   record;
    v_fee    bigint;
    v_promo  bigint;
    v_first  bigint;    -- of promo: the advisor's transfer
    v_second bigint;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);

    SELECT x.* INTO s FROM consult.session x WHERE x.id = session
       FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no session %', session
              USING ERRCODE = '22023';
    END IF;

    PERFORM billing.ledger_lock(s.client_id, s.advisor_id);
    PERFORM billing.credit_session(s.id);
    w := billing.ledger_wallet(s.client_id, 'client');
    a := billing.ledger_wallet(s.advisor_id, 'advisor');

    -- all of it may have been the platform's
    SELECT min(x.id) AS id, sum(x.amount)::bigint AS amount,
           min(x.about) AS about INTO v_done
      FROM ledger.transfer x
     WHERE x.reference = reverse.reference AND x.session_id IS NULL
       AND x.kind IN ('reversal', 'reversal_fee');
    transfer_id := v_done.id;
    dup := v_done.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(v_done.about = s.id
                    AND v_done.amount = reverse.amount, reference);

    ELSE
        SELECT coalesce(sum(x.amount), 0)::bigint AS amount,
               coalesce(sum(x.amount) FILTER (WHERE x.kind = 'reversal_fee'),
                        0)::bigint AS fee,
               coalesce(sum(x.promo), 0)::bigint AS promo INTO r
          FROM ledger.transfer x
         WHERE x.about = s.id AND x.session_id IS NULL
           AND x.kind IN ('reversal', 'reversal_fee');

        IF amount > s.charged - r.amount THEN
            RAISE EXCEPTION 'only % of the charge is left to reverse',
                  s.charged - r.amount USING ERRCODE = 'AS002';
        END IF;

        v_fee := billing.ledger_part(s.charged, s.fee, r.amount, r.fee,
                                     amount);
        v_promo := billing.ledger_part(s.charged, s.promo, r.amount, r.promo,
                                       amount);
        v_first := least(v_promo, amount - v_fee);

        PERFORM billing.ledger_owe(a, amount - v_fee - (a.balance - a.held),
                                   s.id, reference);
        transfer_id := billing.ledger_post('reversal', a.id, w.id,
                           amount - v_fee, 0, v_first, s.id, reference);
        v_second := billing.ledger_post('reversal_fee',
                        billing.ledger_house('platform'), w.id, v_fee, 0,
                        v_promo - v_first, s.id, reference);
        transfer_id := coalesce(transfer_id, v_second);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, reverse.amount
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.ledger_part: of a whole of which part is of one kind, done is
-- reversed, done_part of it of that kind: how much of the next amount is.
-- Never leaves more of that kind, or less, than there is.
CREATE OR REPLACE FUNCTION billing.ledger_part(whole bigint, part bigint,
    done bigint, done_part bigint, amount bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(0, amount - ((whole - part) - (done - done_part)),
                    least(div(part::numeric * (done + amount), whole)::bigint
                          - done_part, amount, part - done_part))
$$;


-- billing.ledger_payment: the top-up with this reference.
CREATE OR REPLACE FUNCTION billing.ledger_payment(payment text)
RETURNS ledger.transfer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    p ledger.transfer;
BEGIN
    p := billing.ledger_done('topup', payment);

    IF p.id IS NULL THEN
        RAISE EXCEPTION 'there is no payment "%"', payment
              USING ERRCODE = '22023';
    END IF;

    RETURN p;
END
$$;


-- billing.ledger_of_payment: the wallet that it went to, after locking all of
-- its owner's.
CREATE OR REPLACE FUNCTION billing.ledger_of_payment(p ledger.transfer)
RETURNS ledger.wallet
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_owner bigint;
BEGIN
    SELECT w.owner_id INTO v_owner FROM ledger.wallet w
     WHERE w.id = p.credit_account;
    PERFORM billing.ledger_lock(v_owner);

    RETURN billing.ledger_wallet(v_owner, 'client');
END
$$;


-- billing.ledger_payment_sums: what has become of a payment so far.
CREATE OR REPLACE FUNCTION billing.ledger_payment_sums(payment bigint,
    OUT refunded bigint, OUT frozen bigint, OUT promo bigint,
    OUT promo_back bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    SELECT coalesce(sum(t.amount) FILTER (WHERE t.kind = 'refund'), 0),
           coalesce(sum(CASE t.kind WHEN 'freeze' THEN t.amount
                             ELSE - t.amount END)
                        FILTER (WHERE t.kind IN ('freeze', 'release')), 0),
           coalesce(sum(t.amount) FILTER (WHERE t.kind = 'promo'), 0),
           coalesce(sum(t.amount) FILTER (WHERE t.kind = 'promo_back'), 0)
      INTO refunded, frozen, promo, promo_back
      FROM ledger.transfer t
     WHERE t.about = payment AND t.session_id IS NULL
       AND t.kind IN ('refund', 'freeze', 'release', 'promo', 'promo_back');
END
$$;


-- billing.ledger_dispute_left: of what is frozen of a payment, that for this
-- dispute: what it froze less what was released for it, but no more than there is
-- (a refund that names no dispute takes of all).
CREATE OR REPLACE FUNCTION billing.ledger_dispute_left(payment bigint,
    dispute text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_all bigint;
    v_own bigint;
BEGIN
    SELECT coalesce(sum(x.frozen), 0),
           coalesce(sum(x.frozen) FILTER (WHERE x.own), 0)
      INTO v_all, v_own
      FROM (SELECT CASE t.kind WHEN 'freeze' THEN t.amount
                        ELSE - t.amount END AS frozen,
                   t.reference = CASE t.kind WHEN 'freeze' THEN dispute
                        ELSE dispute || ':won' END
                   OR t.kind = 'release'
                      AND t.reference = dispute || ':lost' AS own
              FROM ledger.transfer t
             WHERE t.about = payment AND t.session_id IS NULL
               AND t.kind IN ('freeze', 'release')) x;

    RETURN greatest(least(v_all, v_own), 0);
END
$$;


REVOKE ALL ON FUNCTION billing.refund(text, bigint, text),
    billing.ledger_refund(text, bigint, text, text),
    billing.dispute_lost(text, bigint, text),
    billing.ledger_dispute_left(bigint, text),
    billing.dispute_freeze(text, bigint, text),
    billing.dispute_release(text, text),
    billing.reverse(bigint, bigint, text),
    billing.ledger_part(bigint, bigint, bigint, bigint, bigint),
    billing.ledger_payment(text),
    billing.ledger_of_payment(ledger.transfer),
    billing.ledger_payment_sums(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.refund(text, bigint, text),
    billing.dispute_lost(text, bigint, text),
    billing.dispute_freeze(text, bigint, text),
    billing.dispute_release(text, text),
    billing.reverse(bigint, bigint, text) TO astro_worker;

RESET ROLE;
