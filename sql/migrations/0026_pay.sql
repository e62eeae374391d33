-- 0026: payments that clients begin, how much they may be of, and those that
-- look odd.
--
-- Only adds, and allows one more type of notice.  The version before claims
-- calls of kind 'payment' to Stripe as any others, and its functions are those
-- of this version by then; calls to Razorpay it leaves to this one's workers.

SET ROLE astro_owner;

-- What a client wants to pay with.  What the vendor calls it is known when the
-- vendor has answered; only then is there a row of ledger.payment, by which it
-- is credited.
CREATE TABLE ledger.checkout (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id   bigint  NOT NULL REFERENCES identity.account,
    provider   text    NOT NULL CHECK (provider IN ('stripe', 'razorpay')),
    amount     bigint  NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000000),
    currency   char(3) NOT NULL,

    --   creating   the vendor is being asked
    --   ready      the client may pay
    --   paid       it came, and is in the wallet
    --   failed     nothing is to come; if it does all the same, it is paid
    state      text    NOT NULL DEFAULT 'creating' CHECK (state IN
               ('creating', 'ready', 'paid', 'failed')),
    -- the vendor's name of it: a PaymentIntent, an order
    payment_id text    CHECK (payment_id ~ '^[!-~]{1,255}$'),
    -- what Stripe's own code in the client's browser needs; with it the one
    -- payment can be made or looked at, so it is kept for as long as it is of
    -- use
    secret     text,
    reason     text,                    -- why it failed
    looks      int     NOT NULL DEFAULT 0,  -- the vendor was asked about it
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at   timestamptz,
    ended_at   timestamptz,
    UNIQUE (provider, payment_id),
    CHECK (secret IS NULL OR state = 'ready'),
    CHECK (state <> 'ready' OR payment_id IS NOT NULL),
    CHECK ((state IN ('paid', 'failed')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX checkout_owner ON ledger.checkout (owner_id, made_at);

-- How much at once, and how often; '***' is every other currency.
CREATE TABLE ledger.payment_rule (
    currency   char(3) PRIMARY KEY,
    least      bigint NOT NULL CHECK (least >= 1),
    most       bigint NOT NULL CHECK (most >= least),
    -- so many may be begun within so many seconds
    attempts   int    NOT NULL CHECK (attempts >= 1),
    window_s   int    NOT NULL CHECK (window_s BETWEEN 1 AND 86400),
    -- more of them, or of more in all, within 24 hours: somebody should look
    day_count  int    NOT NULL CHECK (day_count >= 1),
    day_amount bigint NOT NULL CHECK (day_amount >= 1)
);

INSERT INTO ledger.payment_rule VALUES
    ('INR', 5000, 20000000, 5, 600, 10, 40000000),
    ('USD', 50,   500000,   5, 600, 10, 1000000),
    ('***', 50,   500000,   5, 600, 10, 1000000);

-- What looks odd; one of a kind for each client until an admin has seen to it.
CREATE TABLE ledger.payment_flag (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checkout_id bigint NOT NULL REFERENCES ledger.checkout,
    owner_id    bigint NOT NULL REFERENCES identity.account,
    rule        text   NOT NULL CHECK (rule IN ('count', 'amount')),
    found       bigint NOT NULL,
    allowed     bigint NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    cleared_at  timestamptz,
    cleared_by  bigint REFERENCES identity.account,
    note        text,
    CHECK ((cleared_at IS NULL) = (cleared_by IS NULL))
);

CREATE UNIQUE INDEX payment_flag_open ON ledger.payment_flag (owner_id, rule)
    WHERE cleared_at IS NULL;
CREATE INDEX payment_flag_list ON ledger.payment_flag (id)
    WHERE cleared_at IS NULL;

-- The nightly look for payments of which nobody told us: who does it, since
-- when; a day that is finished is not begun again.
CREATE TABLE ledger.reconcile_run (
    day         date PRIMARY KEY,
    owner       text NOT NULL,
    taken_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);

-- 'payment': told to open sockets, in no list.
ALTER TABLE consult.notice DROP CONSTRAINT notice_type_check;
ALTER TABLE consult.notice ADD CONSTRAINT notice_type_check CHECK (type IN
    ('notification', 'queue_state', 'payment')) NOT VALID;

ALTER TABLE ledger.checkout     ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.checkout     FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.payment_flag ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.payment_flag FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON ledger.checkout FOR SELECT TO astro_api
    USING (owner_id = consult.caller());
CREATE POLICY engine ON ledger.checkout FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.payment_flag FOR ALL TO astro_engine
    USING (true);

RESET ROLE;

-- to call what begins a payment; each function of it is granted by itself
GRANT USAGE ON SCHEMA billing TO astro_api;
GRANT SELECT ON ledger.checkout TO astro_api;
GRANT SELECT, INSERT (owner_id, provider, amount, currency),
      UPDATE (state, payment_id, secret, reason, looks, ready_at, ended_at)
   ON ledger.checkout TO astro_engine;
GRANT SELECT ON ledger.payment_rule TO astro_engine;
GRANT SELECT, INSERT (checkout_id, owner_id, rule, found, allowed),
      UPDATE (cleared_at, cleared_by, note)
   ON ledger.payment_flag TO astro_engine;
GRANT SELECT, INSERT, UPDATE ON ledger.reconcile_run TO astro_engine;
