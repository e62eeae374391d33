-- ledger: money that moves outside of a session's ticks.  Functions of the
-- billing worker and of those who run the deployment, owned by astro_engine.
-- More of them: ledger_back.sql, ledger_payout.sql.
--
-- Every movement is one or more rows of ledger.transfer, happens once for each
-- reference, and leaves balance = replay of transfers, in one transaction.  A
-- repeat with the same reference changes nothing and says dup; the same
-- reference for something else is refused.  Each returns one row
--
--   transfer_id   the movement
--   wallet_id, balance   of the person it is about, after it
--   dup           a repeat: it had happened before
--   moved         how much, in minor units (not of topup)
--
-- and raises
--
--   22023  wrong use: an amount that is not 1..10^15, no reference, no such
--          account, session or payment, a reference that was for another thing
--   AS002  the books do not allow it: more than is available, than was paid,
--          than was charged
--   23505  two at once used one reference for two wallets: as 22023
--
-- Available is balance - held.  What a session holds can be spent by nobody
-- else; a movement never shortens anybody's paid_until.
--
-- Locks: the session if it is about one, then all wallets of the owners, by
-- id.  A wallet of kind 'receivable' or 'frozen' is made under the lock of its
-- owner's first one.  'clearing' and 'platform' are locked by nobody: their
-- balances are kept nowhere.

SET ROLE astro_engine;


-- billing.ledger_wants: refuses what no movement can be.
CREATE OR REPLACE FUNCTION billing.ledger_wants(amount bigint, reference text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF amount IS NULL OR amount NOT BETWEEN 1 AND 1000000000000000
       OR coalesce(reference, '') = '' THEN
        RAISE EXCEPTION 'a movement is of 1 to 10^15 and has a reference'
              USING ERRCODE = '22023';
    END IF;
END
$$;


-- billing.ledger_lock: locks all wallets of these accounts, by id.
CREATE OR REPLACE FUNCTION billing.ledger_lock(VARIADIC owners bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM 1 FROM ledger.wallet w WHERE w.owner_id = ANY(owners)
      ORDER BY w.id FOR NO KEY UPDATE;
END
$$;


-- billing.ledger_wallet: the wallet of an account, which is locked.  One of
-- kind 'receivable' or 'frozen' is made if there is none.
CREATE OR REPLACE FUNCTION billing.ledger_wallet(owner bigint, kind text)
RETURNS ledger.wallet
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    w ledger.wallet;
BEGIN
    SELECT x.* INTO w FROM ledger.wallet x
     WHERE x.owner_id = ledger_wallet.owner AND x.kind = ledger_wallet.kind;

    IF NOT FOUND AND ledger_wallet.kind IN ('receivable', 'frozen') THEN
        INSERT INTO ledger.wallet AS x (owner_id, kind)
        VALUES (ledger_wallet.owner, ledger_wallet.kind)
        RETURNING x.* INTO w;
    END IF;

    IF w.id IS NULL THEN
        RAISE EXCEPTION 'account % has no wallet of kind %', owner,
              ledger_wallet.kind USING ERRCODE = '22023';
    END IF;

    RETURN w;
END
$$;


-- billing.ledger_house: the wallet of the world ('clearing') or of the
-- platform.
CREATE OR REPLACE FUNCTION billing.ledger_house(kind text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT w.id FROM ledger.wallet w
             WHERE w.owner_id IS NULL AND w.kind = ledger_house.kind
             ORDER BY w.id LIMIT 1);
END
$$;


-- billing.ledger_done: the transfer of this kind and reference, if there is
-- one.  Call it under the lock of the wallet that it would be about.
CREATE OR REPLACE FUNCTION billing.ledger_done(kind text, reference text)
RETURNS ledger.transfer
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    t ledger.transfer;
BEGIN
    SELECT x.* INTO t FROM ledger.transfer x
     WHERE x.reference = ledger_done.reference AND x.kind = ledger_done.kind
       AND x.session_id IS NULL;

    RETURN t;
END
$$;


-- billing.ledger_same: refuses a reference that was for something else.
CREATE OR REPLACE FUNCTION billing.ledger_same(same boolean, reference text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF same IS NOT TRUE THEN
        RAISE EXCEPTION 'reference "%" was used for something else', reference
              USING ERRCODE = '22023';
    END IF;
END
$$;


-- billing.ledger_post: writes one transfer and moves what it says.  Both
-- wallets are locked.  An amount of 0 moves nothing and gives NULL.
CREATE OR REPLACE FUNCTION billing.ledger_post(kind text, debit bigint,
    credit bigint, amount bigint, fee bigint, promo bigint, about bigint,
    reference text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_id bigint;
BEGIN
    IF amount = 0 THEN
        RETURN NULL;
    END IF;

    INSERT INTO ledger.transfer AS t (debit_account, credit_account, amount,
                fee, promo, kind, about, reference)
    VALUES (debit, credit, ledger_post.amount, ledger_post.fee,
            ledger_post.promo, ledger_post.kind, ledger_post.about,
            ledger_post.reference)
    RETURNING t.id INTO v_id;

    -- promo is promo in a client's wallet alone
    UPDATE ledger.wallet w
       SET balance = w.balance - ledger_post.amount,
           promo = w.promo - CASE w.kind WHEN 'client' THEN ledger_post.promo
                                         ELSE 0 END
     WHERE w.id = debit AND w.owner_id IS NOT NULL;

    UPDATE ledger.wallet w
       SET balance = w.balance + ledger_post.amount - ledger_post.fee,
           promo = w.promo + CASE w.kind WHEN 'client' THEN ledger_post.promo
                                         ELSE 0 END
     WHERE w.id = credit AND w.owner_id IS NOT NULL;

    RETURN v_id;
END
$$;


-- billing.ledger_owe: gives a wallet what it lacks, as its owner's debt.
CREATE OR REPLACE FUNCTION billing.ledger_owe(w ledger.wallet, amount bigint,
    about bigint, reference text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF amount > 0 THEN
        PERFORM billing.ledger_post('debt',
            (billing.ledger_wallet(w.owner_id, 'receivable')).id, w.id, amount,
            0, 0, about, reference);
    END IF;
END
$$;


-- billing.ledger_recover: pays a debt of the owner from what is available in
-- cash, leaving spare.
CREATE OR REPLACE FUNCTION billing.ledger_recover(wallet bigint, spare bigint,
    about bigint, reference text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    w ledger.wallet;
    d ledger.wallet;
    v_amount bigint;
BEGIN
    SELECT x.* INTO w FROM ledger.wallet x WHERE x.id = wallet;
    SELECT x.* INTO d FROM ledger.wallet x
     WHERE x.owner_id = w.owner_id AND x.kind = 'receivable';

    v_amount := greatest(least(- d.balance,
                               w.balance - greatest(w.held, w.promo) - spare),
                         0);

    IF d.id IS NULL OR v_amount = 0 THEN
        RETURN 0;
    END IF;

    PERFORM billing.ledger_post('recovery', w.id, d.id, v_amount, 0, 0, about,
                                reference);
    RETURN v_amount;
END
$$;


-- billing.topup: money from outside to a client's wallet, from the wallet
-- 'clearing', which stands for the world.  What the client owes is paid from it
-- (kind 'recovery'), as far as it is available.
CREATE OR REPLACE FUNCTION billing.topup(owner bigint, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    w ledger.wallet;
    t ledger.transfer;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);
    PERFORM billing.ledger_lock(owner);
    w := billing.ledger_wallet(owner, 'client');
    t := billing.ledger_done('topup', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.credit_account = w.id
                                    AND t.amount = topup.amount, reference);

    ELSE
        transfer_id := billing.ledger_post('topup',
                           billing.ledger_house('clearing'), w.id, amount, 0,
                           0, NULL, reference);
        PERFORM billing.ledger_recover(w.id, 0, transfer_id, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.promo: money that the platform gives a client.  It is a part of the
-- balance, and spent before the rest; whoever is paid with it is paid in full.
-- payment: the reference of the top-up that it was given with, or NULL; a
-- refund of that takes its part of it back.
CREATE OR REPLACE FUNCTION billing.promo(owner bigint, amount bigint,
    reference text, payment text DEFAULT NULL)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    w ledger.wallet;
    t ledger.transfer;
    p ledger.transfer;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);
    PERFORM billing.ledger_lock(owner);
    w := billing.ledger_wallet(owner, 'client');

    IF payment IS NOT NULL THEN
        p := billing.ledger_done('topup', payment);

        IF p.credit_account IS DISTINCT FROM w.id THEN
            RAISE EXCEPTION 'account % has no payment "%"', owner, payment
                  USING ERRCODE = '22023';
        END IF;
    END IF;

    t := billing.ledger_done('promo', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.credit_account = w.id
                    AND t.amount = promo.amount
                    AND t.about IS NOT DISTINCT FROM p.id, reference);

    ELSE
        transfer_id := billing.ledger_post('promo',
                           billing.ledger_house('platform'), w.id, amount, 0,
                           amount, p.id, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, promo.amount
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.gift: from a client to an advisor, in a session of the two or in none
-- (NULL), of what is available.  The platform keeps the session's commission,
-- or the advisor's of today.  The row is about the client's wallet.
CREATE OR REPLACE FUNCTION billing.gift(client bigint, advisor bigint,
    amount bigint, session bigint, reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    w     ledger.wallet;
    a     ledger.wallet;
    t     ledger.transfer;
    v_bps int;
BEGIN
    PERFORM billing.ledger_wants(amount, reference);

    IF session IS NULL THEN
        SELECT consult.commission(gift.advisor, '', d.commission_bps)
          INTO v_bps FROM identity.advisor d
         WHERE d.account_id = gift.advisor;

    ELSE
        SELECT s.commission_bps INTO v_bps FROM consult.session s
         WHERE s.id = gift.session AND s.client_id = gift.client
           AND s.advisor_id = gift.advisor;
    END IF;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such advisor, or no such session of the two'
              USING ERRCODE = '22023';
    END IF;

    PERFORM billing.ledger_lock(client, advisor);
    w := billing.ledger_wallet(client, 'client');
    a := billing.ledger_wallet(advisor, 'advisor');
    t := billing.ledger_done('gift', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.debit_account = w.id
                    AND t.credit_account = a.id AND t.amount = gift.amount
                    AND t.about IS NOT DISTINCT FROM session, reference);

    ELSIF w.balance - w.held < amount THEN
        RAISE EXCEPTION 'only % is available', w.balance - w.held
              USING ERRCODE = 'AS002';

    ELSE
        transfer_id := billing.ledger_post('gift', w.id, a.id, amount,
                           div(amount::numeric * v_bps, 10000)::bigint,
                           least(w.promo, amount), session, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, gift.amount
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


-- billing.adjust: what nothing else is for, from the platform (amount > 0) or
-- to it (amount < 0: of the cash that is available).  Of a client's or an
-- advisor's wallet.  moved is signed.
CREATE OR REPLACE FUNCTION billing.adjust(owner bigint, amount bigint,
    reference text)
RETURNS TABLE (transfer_id bigint, wallet_id bigint, balance bigint,
    dup boolean, moved bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    w          ledger.wallet;
    t          ledger.transfer;
    v_platform bigint := billing.ledger_house('platform');
    v_debit    bigint;
    v_credit   bigint;
BEGIN
    PERFORM billing.ledger_wants(abs(amount), reference);
    PERFORM billing.ledger_lock(owner);
    w := billing.ledger_wallet(owner,
             (SELECT a.role FROM identity.account a WHERE a.id = owner));
    v_debit := CASE WHEN amount > 0 THEN v_platform ELSE w.id END;
    v_credit := CASE WHEN amount > 0 THEN w.id ELSE v_platform END;
    t := billing.ledger_done('adjustment', reference);
    transfer_id := t.id;
    dup := t.id IS NOT NULL;

    IF dup THEN
        PERFORM billing.ledger_same(t.debit_account = v_debit
                    AND t.credit_account = v_credit
                    AND t.amount = abs(adjust.amount), reference);

    ELSIF w.balance - greatest(w.held, w.promo) < - amount THEN
        RAISE EXCEPTION 'only % is available in cash',
              w.balance - greatest(w.held, w.promo) USING ERRCODE = 'AS002';

    ELSE
        transfer_id := billing.ledger_post('adjustment', v_debit, v_credit,
                           abs(amount), 0, 0, NULL, reference);
    END IF;

    RETURN QUERY SELECT transfer_id, x.id, x.balance, dup, adjust.amount
                   FROM ledger.wallet x WHERE x.id = w.id;
END
$$;


REVOKE ALL ON FUNCTION billing.ledger_wants(bigint, text),
    billing.ledger_lock(bigint[]), billing.ledger_wallet(bigint, text),
    billing.ledger_house(text), billing.ledger_done(text, text),
    billing.ledger_same(boolean, text),
    billing.ledger_post(text, bigint, bigint, bigint, bigint, bigint, bigint,
        text),
    billing.ledger_owe(ledger.wallet, bigint, bigint, text),
    billing.ledger_recover(bigint, bigint, bigint, text),
    billing.topup(bigint, bigint, text),
    billing.promo(bigint, bigint, text, text),
    billing.gift(bigint, bigint, bigint, bigint, text),
    billing.adjust(bigint, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.topup(bigint, bigint, text),
    billing.promo(bigint, bigint, text, text),
    billing.gift(bigint, bigint, bigint, bigint, text),
    billing.adjust(bigint, bigint, text) TO astro_worker;

RESET ROLE;
