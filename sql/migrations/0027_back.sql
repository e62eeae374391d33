-- 0027: payments given back by an admin, spend caps, coupons, gifts.
--
-- Only adds: the version before knows nothing of it, and its worker, which
-- reads sessions through functions, takes a cap for the client's own maximum.

-- who gives people what is theirs (0028) reads some of it
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'astro_private') THEN
        CREATE ROLE astro_private NOLOGIN NOINHERIT;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

SET ROLE astro_owner;

-- What is given back of a payment, at the vendor's: a row, and the money set
-- aside, in one transaction with the call that the outbox makes.
CREATE TABLE ledger.refund (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id  bigint NOT NULL REFERENCES ledger.payment,
    provider    text   NOT NULL,
    amount      bigint NOT NULL CHECK (amount > 0),

    --   pending   the vendor has been asked, or will be
    --   done      the vendor has done it: the money has left the books
    --   failed    it was not, and will not be: the money is the client's again
    state       text   NOT NULL DEFAULT 'pending'
                CHECK (state IN ('pending', 'done', 'failed')),
    vendor_id   text,                   -- the vendor's name for it
    reason      text,                   -- why it is given back
    error       text,                   -- what went wrong
    made_by     bigint REFERENCES identity.account,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    CHECK ((state = 'pending') = (ended_at IS NULL))
);

CREATE INDEX refund_payment ON ledger.refund (payment_id);
CREATE UNIQUE INDEX refund_vendor ON ledger.refund (provider, vendor_id)
    WHERE vendor_id IS NOT NULL;
CREATE INDEX payment_owner ON ledger.payment (owner_id, id);

-- What a client wants to spend at most, and until when not at all.  What is
-- raised, or taken away, waits in *_next until *_at.
CREATE TABLE ledger.spend_limit (
    account_id     bigint PRIMARY KEY REFERENCES identity.account,
    day_minor      bigint CHECK (day_minor > 0),
    week_minor     bigint CHECK (week_minor > 0),
    day_next       bigint CHECK (day_next > 0),
    day_at         timestamptz,         -- NULL: nothing waits
    week_next      bigint CHECK (week_next > 0),
    week_at        timestamptz,
    excluded_until timestamptz
);

-- What the session may charge, by its client's caps; only ever lowered, and
-- never below what it has charged and holds.
-- (Not validated: the table is not read for it, and none is there.)
ALTER TABLE consult.session
    ADD COLUMN cap_minor bigint,
    ADD CONSTRAINT session_cap CHECK (cap_minor > 0) NOT VALID;

-- A code for promo, or for free minutes with an advisor.
CREATE TABLE ledger.coupon (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text   NOT NULL UNIQUE CHECK (code ~ '^[0-9A-Z]{8,32}$'),
    amount       bigint CHECK (amount BETWEEN 1 AND 1000000000),
    free_ms      bigint CHECK (free_ms BETWEEN 60000 AND 86400000),
    advisor_id   bigint REFERENCES identity.account,  -- of the minutes
    max_total    int    CHECK (max_total > 0),
    max_each     int    NOT NULL DEFAULT 1 CHECK (max_each > 0),
    used         int    NOT NULL DEFAULT 0 CHECK (used >= 0),
    expires_at   timestamptz,
    made_by      bigint REFERENCES identity.account,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((amount IS NULL) <> (free_ms IS NULL)),
    CHECK (advisor_id IS NULL OR free_ms IS NOT NULL),
    CHECK (used <= max_total)
);

CREATE TABLE ledger.coupon_use (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    coupon_id   bigint NOT NULL REFERENCES ledger.coupon,
    account_id  bigint NOT NULL REFERENCES identity.account,
    amount      bigint,
    free_ms     bigint,
    advisor_id  bigint REFERENCES identity.account,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((amount IS NULL) <> (free_ms IS NULL)),
    CHECK ((free_ms IS NULL) = (advisor_id IS NULL))
);

CREATE INDEX coupon_use_each ON ledger.coupon_use (account_id, coupon_id);
CREATE INDEX coupon_use_free ON ledger.coupon_use (account_id, advisor_id)
    WHERE free_ms IS NOT NULL;

-- Wrong codes of an account: too many, and it has to wait.
CREATE TABLE ledger.coupon_miss (
    account_id  bigint PRIMARY KEY REFERENCES identity.account,
    misses      int    NOT NULL,
    since       timestamptz NOT NULL
);

ALTER TABLE ledger.refund      ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.spend_limit ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.coupon      ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.coupon_use  ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.coupon_miss ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.refund      FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.spend_limit FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.coupon      FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.coupon_use  FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.coupon_miss FORCE ROW LEVEL SECURITY;

CREATE POLICY engine ON ledger.refund FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.spend_limit FOR ALL TO astro_engine
    USING (true);
CREATE POLICY engine ON ledger.coupon FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.coupon_use FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.coupon_miss FOR ALL TO astro_engine
    USING (true);

CREATE POLICY private ON ledger.refund FOR SELECT TO astro_private
    USING (true);
CREATE POLICY private ON ledger.spend_limit FOR SELECT TO astro_private
    USING (true);
CREATE POLICY private ON ledger.coupon_use FOR SELECT TO astro_private
    USING (true);

RESET ROLE;

GRANT SELECT ON ledger.refund, ledger.spend_limit, ledger.coupon_use
   TO astro_private;
-- amounts, and who has made it, are as they were when the row was made
GRANT SELECT, INSERT, UPDATE (state, vendor_id, error, ended_at)
   ON ledger.refund TO astro_engine;
GRANT SELECT, INSERT, UPDATE ON ledger.spend_limit TO astro_engine;
GRANT SELECT, INSERT, UPDATE (used) ON ledger.coupon TO astro_engine;
GRANT SELECT, INSERT ON ledger.coupon_use TO astro_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.coupon_miss TO astro_engine;
GRANT UPDATE (cap_minor) ON consult.session TO astro_engine;
