-- 0008: calls to vendors, and paying advisors out.
--
-- Only adds: nothing of the version before reads or writes any of it.

SET ROLE astro_owner;

-- What a vendor shall be told, written in the transaction that is the reason
-- for it.  A row is claimed for a while by whoever sends it; whoever comes
-- later, because that one died, sends the same bytes under the same key.
CREATE TABLE billing.outbox (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vendor    text   NOT NULL,
    path      text   NOT NULL CHECK (path LIKE '/%'),
    body      text   NOT NULL,          -- a form, encoded
    key       text   NOT NULL UNIQUE CHECK (key ~ '^[!-~]{1,200}$'),
    kind      text   NOT NULL,          -- who is told what came of it ...
    about     bigint NOT NULL,          -- ... and of which row of theirs

    --   waiting     to be sent at due_at, or claimed until then
    --   delivered   the vendor said yes
    --   refused     the vendor said no, and nothing was done
    --   parked      given up: somebody must look
    state     text   NOT NULL DEFAULT 'waiting' CHECK (state IN
              ('waiting', 'delivered', 'refused', 'parked')),
    attempts  int    NOT NULL DEFAULT 0,
    claim     int    NOT NULL DEFAULT 0,    -- bumped when it is claimed
    -- calls that may have reached the vendor, and nobody knows what came of
    doubts    int    NOT NULL DEFAULT 0 CHECK (doubts >= 0),
    owner     text,                         -- the last to claim it
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_at  timestamptz,                  -- the key's first use
    ended_at  timestamptz,
    code      int,                          -- HTTP's, of the last answer
    error     text,                         -- what went wrong last
    CHECK ((state IN ('delivered', 'refused')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX outbox_due    ON billing.outbox (due_at) WHERE state = 'waiting';
CREATE INDEX outbox_parked ON billing.outbox (id)     WHERE state = 'parked';
CREATE INDEX outbox_ended  ON billing.outbox (ended_at)
    WHERE ended_at IS NOT NULL;


-- Where an advisor wants the money: an account at the vendor.
CREATE TABLE ledger.payee (
    account_id  bigint PRIMARY KEY REFERENCES identity.account,
    vendor      text   NOT NULL DEFAULT 'stripe' CHECK (vendor = 'stripe'),
    destination text   NOT NULL CHECK (destination ~ '^[A-Za-z0-9_]{1,255}$')
);

-- One for each advisor and day.  The money has left the advisor's wallet as
-- soon as there is a row, and is back in it when the row is 'failed'.
CREATE TABLE ledger.payout (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    advisor_id   bigint NOT NULL REFERENCES identity.account,
    wallet_id    bigint NOT NULL,
    day          date   NOT NULL,
    amount       bigint NOT NULL CHECK (amount > 0),
    currency     char(3) NOT NULL,
    vendor       text   NOT NULL,
    destination  text   NOT NULL,

    --   pending     nobody was told yet
    --   submitted   the vendor may have been told
    --   paid        the vendor said so
    --   failed      it was not, and will not be
    state        text   NOT NULL DEFAULT 'pending' CHECK (state IN
                 ('pending', 'submitted', 'paid', 'failed')),
    vendor_id    text,                  -- the vendor's name for it
    reason       text,                  -- why it failed
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    submitted_at timestamptz,
    ended_at     timestamptz,
    UNIQUE (advisor_id, day),
    CHECK (state <> 'paid' OR vendor_id IS NOT NULL),
    CHECK (state <> 'failed' OR reason IS NOT NULL)
) WITH (fillfactor = 70);

CREATE INDEX payout_day ON ledger.payout (day, state);
CREATE UNIQUE INDEX payout_vendor ON ledger.payout (vendor, vendor_id)
    WHERE vendor_id IS NOT NULL;

-- The daily run: a day with a row here has no more payouts to be made.
CREATE TABLE ledger.payout_run (
    day         date PRIMARY KEY,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

RESET ROLE;

GRANT SELECT, INSERT, UPDATE, DELETE ON billing.outbox TO astro_engine;
GRANT SELECT, INSERT, UPDATE ON ledger.payee TO astro_engine;
GRANT SELECT, INSERT ON ledger.payout_run TO astro_engine;
-- amounts and destinations are as they were when the row was made
GRANT SELECT, INSERT,
      UPDATE (state, vendor_id, reason, submitted_at, ended_at)
   ON ledger.payout TO astro_engine;
