-- 0009: what vendors tell of payments, and the payments that we expect.
--
-- Only adds: nothing of the version before reads or writes any of it.

SET ROLE astro_owner;

-- A payment that we have asked for, and what has become of it.  Made when the
-- vendor was asked; nothing is ever credited for a payment without a row here.
CREATE TABLE ledger.payment (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider      text   NOT NULL CHECK (provider IN ('stripe', 'razorpay')),
    -- the vendor's name of what we asked for: a PaymentIntent, an order
    payment_id    text   NOT NULL CHECK (payment_id ~ '^[!-~]{1,255}$'),
    owner_id      bigint NOT NULL REFERENCES identity.account,
    amount        bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000000),
    currency      char(3) NOT NULL,

    --   expected    nothing has come
    --   paid        it came, and is in the wallet
    --   failed      the vendor says that it will not come; it may, all the same
    --   wrong       something else came than we expect; nothing was credited
    status        text   NOT NULL DEFAULT 'expected' CHECK (status IN
                  ('expected', 'paid', 'failed', 'wrong')),
    came_amount   bigint,               -- what the vendor said last
    came_currency text,
    refunded      bigint NOT NULL DEFAULT 0
                  CHECK (refunded BETWEEN 0 AND amount),
    disputed      boolean NOT NULL DEFAULT false,   -- now
    transfer_id   bigint,               -- the top-up
    made_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    paid_at       timestamptz,
    UNIQUE (provider, payment_id),
    CHECK ((status = 'paid') = (transfer_id IS NOT NULL))
);

-- Everything that a vendor has signed, each event once, as it came.
CREATE TABLE ledger.webhook_inbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text   NOT NULL CHECK (provider IN ('stripe', 'razorpay')),
    event_id    text   NOT NULL CHECK (event_id ~ '^[!-~]{1,255}$'),
    type        text   NOT NULL CHECK (length(type) <= 255),
    body        text   NOT NULL,

    --   waiting     to be applied at due_at
    --   applied     done
    --   ignored     nothing was to be done; reason says why
    --   parked      it cannot be done: somebody must look; reason says why
    state       text   NOT NULL DEFAULT 'waiting' CHECK (state IN
                ('waiting', 'applied', 'ignored', 'parked')),
    reason      text,
    kind        text,                   -- what it means: paid, refunded, ...
    payment_id  text,                   -- about which payment ...
    about       text,                   -- ... and which refund or dispute
    attempts    int    NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    UNIQUE (provider, event_id)
);

CREATE INDEX webhook_due    ON ledger.webhook_inbox (due_at, id)
    WHERE state = 'waiting';
CREATE INDEX webhook_parked ON ledger.webhook_inbox (provider, payment_id)
    WHERE state = 'parked';
CREATE INDEX webhook_closed ON ledger.webhook_inbox (provider, about)
    WHERE kind IN ('won', 'lost');

RESET ROLE;

-- The web may put in what was signed, and see whether it is there; no more.
GRANT SELECT (provider, event_id),
      INSERT (provider, event_id, type, body)
   ON ledger.webhook_inbox TO astro_api;

-- What came is as it came, what was expected is as it was asked for.
GRANT SELECT, INSERT (provider, event_id, type, body),
      UPDATE (state, reason, kind, payment_id, about, attempts, due_at,
              ended_at)
   ON ledger.webhook_inbox TO astro_engine;
GRANT SELECT, INSERT (provider, payment_id, owner_id, amount, currency),
      UPDATE (status, came_amount, came_currency, refunded, disputed,
              transfer_id, paid_at)
   ON ledger.payment TO astro_engine;
