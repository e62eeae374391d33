-- 0005: the journal in partitions, promo, the platform's account.
--
-- Session charges are nearly all of the journal, and are only ever looked up
-- by session: they get partitions of 2^20 session ids with one small index.
-- All else (session_id NULL) is in transfer_other, with the indexes by account
-- and reference.  So who wants a person's charges asks consult.session, whose
-- "charged" is the sum of its transfers; the audit proves it.
--
-- Safe under the version before: what it writes (reference without billed_ms)
-- is read as before, until the functions that follow this file are in place.
-- The rows are copied under a lock that holds off ticks, not readers: about
-- 5 s for each million.  Sessions are paid ahead for longer than that; should
-- the journal be larger, let sessions end first.

SET ROLE astro_owner;

-- who writes waits here, whatever it has locked before
LOCK TABLE ledger.transfer IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE ledger.transfer RENAME TO transfer_0001;
ALTER TABLE ledger.transfer_0001 ALTER COLUMN id DROP IDENTITY;
-- forced, its owner would copy what the policies show it: nothing
ALTER TABLE ledger.transfer_0001 NO FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.transfer_0001 RENAME CONSTRAINT transfer_pkey
   TO transfer_0001_pkey;

CREATE SEQUENCE ledger.transfer_id_seq;

DO $$
BEGIN
    PERFORM setval('ledger.transfer_id_seq', max(id))
       FROM ledger.transfer_0001 HAVING max(id) IS NOT NULL;
END
$$;

-- The columns of eight bytes come first: nothing is lost to alignment.
CREATE TABLE ledger.transfer (
    id             bigint      NOT NULL
                   DEFAULT nextval('ledger.transfer_id_seq'),
    -- the debit side pays amount, the credit side gets amount - fee, the
    -- platform keeps fee: zero-sum by construction
    debit_account  bigint      NOT NULL,
    credit_account bigint      NOT NULL,
    amount         bigint      NOT NULL,
    fee            bigint      NOT NULL DEFAULT 0,
    -- of amount: what left, or reached, a client's wallet as promo
    promo          bigint      NOT NULL DEFAULT 0,
    session_id     bigint,     -- of a charge; nothing else has one
    billed_ms      bigint,     -- the session's, after this charge
    -- gift, reversal: the session that it is about, if it is about one;
    -- refund, freeze and what else is about a payment: the top-up's id;
    -- payout_return: the payout's id
    about          bigint,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    charge_no      int,
    kind           text        NOT NULL,
    reference      text,
    CONSTRAINT transfer_money CHECK (amount > 0 AND fee BETWEEN 0 AND amount
        AND promo BETWEEN 0 AND amount),
    CONSTRAINT transfer_accounts CHECK (debit_account <> credit_account),
    CONSTRAINT transfer_kind CHECK (kind IN ('session', 'topup',
        'adjustment', 'promo', 'promo_back', 'gift', 'refund', 'freeze',
        'release', 'reversal', 'reversal_fee', 'payout', 'payout_return',
        'debt', 'recovery')),
    CONSTRAINT transfer_charge CHECK (
        (kind = 'session') = (session_id IS NOT NULL)
        AND (session_id IS NULL) = (charge_no IS NULL))
) PARTITION BY RANGE (session_id);

-- The CHECK lets a partition be attached without reading this one; and a
-- charge that no partition was made for in time is refused, not put where
-- nobody looks.
CREATE TABLE ledger.transfer_other PARTITION OF ledger.transfer
    (CONSTRAINT transfer_other CHECK (session_id IS NULL)) DEFAULT;

-- Four more than there are sessions for; the worker makes the next ones.
DO $$
DECLARE
    n bigint;
BEGIN
    FOR n IN 0 .. (SELECT last_value / 1048576 + 4
                     FROM consult.session_id_seq) LOOP
        EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.transfer '
                       'FOR VALUES FROM (%s) TO (%s)',
                       'transfer_s' || lpad(n::text, 6, '0'),
                       n * 1048576, (n + 1) * 1048576);
    END LOOP;
END
$$;

-- A charge's reference was its billed_ms.
INSERT INTO ledger.transfer (id, debit_account, credit_account, amount, fee,
            session_id, billed_ms, at, charge_no, kind, reference)
SELECT t.id, t.debit_account, t.credit_account, t.amount, t.fee, t.session_id,
       CASE WHEN t.session_id IS NOT NULL AND t.reference ~ '^[0-9]{1,15}$'
            THEN t.reference::bigint END,
       t.at, t.charge_no, t.kind,
       CASE WHEN t.session_id IS NULL THEN t.reference END
  FROM ledger.transfer_0001 t ORDER BY t.id;

DROP TABLE ledger.transfer_0001;

DO $$
DECLARE
    p text;
BEGIN
    FOR p IN SELECT c.relname FROM pg_inherits i
               JOIN pg_class c ON c.oid = i.inhrelid
              WHERE i.inhparent = 'ledger.transfer'::regclass LOOP
        -- Whoever serves and gets at a partition by its own name sees
        -- nothing: there is no policy for it.
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ROW LEVEL SECURITY', p);
        EXECUTE format('ALTER TABLE ledger.%I FORCE ROW LEVEL SECURITY', p);

        IF p LIKE 'transfer\_s%' THEN
            EXECUTE format('CREATE UNIQUE INDEX %I ON ledger.%I '
                           '(session_id, charge_no)', p || '_charge', p);
            -- its owner adds it up before dropping it
            EXECUTE format('CREATE POLICY owner ON ledger.%I FOR SELECT '
                           'TO astro_owner USING (true)', p);
        END IF;
    END LOOP;
END
$$;

ALTER TABLE ledger.transfer_other ADD CONSTRAINT transfer_other_pkey
   PRIMARY KEY (id);
CREATE INDEX transfer_debit  ON ledger.transfer_other (debit_account, id);
CREATE INDEX transfer_credit ON ledger.transfer_other (credit_account, id);
-- Everything happens once for each reference; what takes several transfers
-- has one of each kind.
CREATE UNIQUE INDEX transfer_reference
    ON ledger.transfer_other (reference, kind) WHERE reference IS NOT NULL;
CREATE INDEX transfer_about ON ledger.transfer_other (about, kind)
    WHERE about IS NOT NULL;

ALTER TABLE ledger.transfer ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.transfer FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON ledger.transfer FOR SELECT TO astro_api
    USING (debit_account = ANY(ARRAY(SELECT w.id FROM ledger.wallet w))
           OR credit_account = ANY(ARRAY(SELECT w.id FROM ledger.wallet w)));
CREATE POLICY engine ON ledger.transfer FOR ALL TO astro_engine USING (true);


-- Wallets ---------------------------------------------------------------------

-- A batch updates every row of a page in one transaction: the page needs room
-- for all of them once more.
ALTER TABLE ledger.wallet SET (fillfactor = 45);
ALTER TABLE consult.session SET (fillfactor = 45);

-- Kept for nobody: 'clearing' is the world, 'platform' what the house pays for
-- (promo) besides what it earns (fees).  'receivable' is what its owner owes
-- the platform, as a balance below zero; 'frozen' what a disputed payment has
-- set aside of its owner's money.
ALTER TABLE ledger.wallet
    ADD COLUMN promo bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT wallet_kind_check,
    DROP CONSTRAINT wallet_check,
    DROP CONSTRAINT wallet_check1,
    ADD CONSTRAINT wallet_money CHECK (held >= 0 AND balance >= held
        OR kind = 'receivable' AND held = 0 AND balance <= 0),
    ADD CONSTRAINT wallet_promo CHECK (promo = 0
        OR promo > 0 AND promo <= balance AND kind = 'client'),
    ADD CONSTRAINT wallet_kind CHECK (kind IN ('client', 'advisor',
        'clearing', 'platform', 'receivable', 'frozen')),
    ADD CONSTRAINT wallet_owner CHECK ((owner_id IS NULL)
        = (kind IN ('clearing', 'platform')));

ALTER TABLE ledger.wallet NO FORCE ROW LEVEL SECURITY;
INSERT INTO ledger.wallet (owner_id, kind) VALUES (NULL, 'platform');
ALTER TABLE ledger.wallet FORCE ROW LEVEL SECURITY;

-- of charged: what the client paid with promo
ALTER TABLE consult.session
    ADD COLUMN promo bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT session_promo CHECK (promo BETWEEN 0 AND charged);

-- The sessions of a wallet, newest first: its charges.
CREATE INDEX session_client  ON consult.session (client_wallet, id);
CREATE INDEX session_advisor ON consult.session (advisor_wallet, id);

RESET ROLE;

-- Nobody who serves may change or remove what is written.
GRANT SELECT ON ledger.transfer TO astro_api;
GRANT SELECT, INSERT ON ledger.transfer TO astro_engine;
GRANT USAGE ON SEQUENCE ledger.transfer_id_seq TO astro_engine;
-- wallets of kinds 'receivable' and 'frozen' are made when they are needed
GRANT INSERT (owner_id, kind) ON ledger.wallet TO astro_engine;
