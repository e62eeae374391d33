-- 0028: when a session was settled; payouts that admins ask for, accounts of
-- advisors at the vendor of payouts; what is kept of people, for how long, what
-- they are given of it, and how it goes.
--
-- Safe under the version before: its worker settles sessions as ever, and a
-- trigger notes when.  Sessions that were settled before get it later, a few at a
-- time: 0033.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'astro_private') THEN
        CREATE ROLE astro_private NOLOGIN NOINHERIT;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('astro_private', 'MEMBER') THEN
        GRANT astro_private TO CURRENT_USER;
    END IF;
END
$$;

SET ROLE astro_owner;


-- earnings by period ----------------------------------------------------------

-- No charge of a session is more than a moment later than this.  NULL: it is
-- not settled.
ALTER TABLE consult.session ADD COLUMN settled_at timestamptz;

CREATE FUNCTION consult.session_settled() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.settled_at := clock_timestamp();
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION consult.session_settled() FROM PUBLIC;

CREATE TRIGGER session_settled
    BEFORE UPDATE OF settled ON consult.session
    FOR EACH ROW WHEN (NEW.settled AND NOT OLD.settled)
    EXECUTE FUNCTION consult.session_settled();


-- payouts ----------------------------------------------------------------------

-- An admin wants the payouts of a day made now.  A worker walks over the
-- advisors, a page at a time; what is here is where it has got to.
CREATE TABLE ledger.payout_order (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day         date        NOT NULL,
    dry_run     boolean     NOT NULL,
    asked_by    bigint      NOT NULL REFERENCES identity.account,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    after       bigint      NOT NULL DEFAULT 0,     -- the last wallet
    made        bigint      NOT NULL DEFAULT 0,
    amount      bigint      NOT NULL DEFAULT 0,
    nowhere     bigint      NOT NULL DEFAULT 0,
    started_at  timestamptz,
    finished_at timestamptz
);

CREATE UNIQUE INDEX payout_order_open ON ledger.payout_order (day, dry_run)
    WHERE finished_at IS NULL;

-- An advisor's account at the vendor of payouts.
CREATE TABLE ledger.connect (
    account_id bigint      PRIMARY KEY REFERENCES identity.account,
    country    text        NOT NULL CHECK (country ~ '^[A-Z]{2}$'),

    --   creating    the vendor is asked for one
    --   onboarding  it has one, of which the advisor has more to say
    --   enabled     it can be paid to
    --   restricted  it could be, and cannot now
    --   failed      the vendor refused to make one; reason says why
    state      text        NOT NULL DEFAULT 'creating' CHECK (state IN
               ('creating', 'onboarding', 'enabled', 'restricted',
                'failed')),
    name       text        UNIQUE CHECK (name ~ '^acct_[A-Za-z0-9]{1,250}$'),
    reason     text,
    -- how often something was asked of the vendor: a key is for one of them
    asked      int         NOT NULL DEFAULT 0,
    -- where the advisor tells the vendor more, and until when that is good
    url        text,
    url_until  timestamptz,
    -- the vendor's clock at what it said last of the account, in seconds
    said_s     bigint      NOT NULL DEFAULT 0,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (state IN ('creating', 'failed') OR name IS NOT NULL)
);

-- Where the vendor sends an advisor back to.  Empty: no accounts are made.
CREATE TABLE ledger.connect_option (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    return_url  text    NOT NULL DEFAULT ''
                CHECK (return_url ~ '^(https://[!-~]+)?$'),
    refresh_url text    NOT NULL DEFAULT ''
                CHECK (refresh_url ~ '^(https://[!-~]+)?$')
);

INSERT INTO ledger.connect_option DEFAULT VALUES;

ALTER TABLE ledger.payout       ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.payee        ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.payout_order ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.connect      ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.payout       FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.payee        FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.payout_order FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.connect      FORCE ROW LEVEL SECURITY;

CREATE POLICY engine ON ledger.payout FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.payee  FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.payout_order FOR ALL TO astro_engine
    USING (true);
CREATE POLICY engine ON ledger.connect FOR ALL TO astro_engine USING (true);
CREATE POLICY own ON ledger.payout FOR SELECT TO astro_api
    USING (advisor_id = consult.caller()
           OR (SELECT consult.caller_is_admin()));
CREATE POLICY admin ON ledger.payout_order FOR ALL TO astro_api
    USING ((SELECT consult.caller_is_admin()));
CREATE POLICY own ON ledger.connect FOR SELECT TO astro_api
    USING (account_id = consult.caller());

RESET ROLE;

GRANT SELECT ON ledger.payout, ledger.payout_run, ledger.connect,
      ledger.connect_option TO astro_api;
GRANT SELECT, INSERT (day, dry_run, asked_by) ON ledger.payout_order
   TO astro_api;
GRANT SELECT, UPDATE (after, made, amount, nowhere, started_at, finished_at)
   ON ledger.payout_order TO astro_engine;
GRANT SELECT, INSERT, UPDATE ON ledger.connect TO astro_engine;
GRANT SELECT ON ledger.connect_option TO astro_engine;
GRANT DELETE ON ledger.payee TO astro_engine;


-- what is kept of people -----------------------------------------------------------

SET ROLE astro_owner;

-- Nothing of these people is removed, whoever asks: somebody has a right to it.
CREATE TABLE identity.hold (
    account_id bigint      PRIMARY KEY REFERENCES identity.account,
    reason     text        NOT NULL,
    held_by    bigint      NOT NULL REFERENCES identity.account,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What somebody was given of what we have of them: made by a worker, a part at
-- a time; gone when it is not to be had any more.
CREATE TABLE identity.export (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint      NOT NULL REFERENCES identity.account,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- the document that is being made, and how many rows of it are
    doc        int         NOT NULL DEFAULT 1,
    skip       bigint      NOT NULL DEFAULT 0,
    parts      int         NOT NULL DEFAULT 0,
    ready_at   timestamptz,
    until      timestamptz
);

CREATE UNIQUE INDEX export_making ON identity.export (account_id)
    WHERE ready_at IS NULL;
CREATE INDEX export_account ON identity.export (account_id, id);
CREATE INDEX export_until ON identity.export (until) WHERE until IS NOT NULL;

CREATE TABLE identity.export_part (
    export_id  bigint NOT NULL REFERENCES identity.export ON DELETE CASCADE,
    no         int    NOT NULL,
    account_id bigint NOT NULL REFERENCES identity.account,
    name       text   NOT NULL,
    entries    int    NOT NULL,
    body       json   NOT NULL,
    PRIMARY KEY (export_id, no)
);

-- Who wanted to be forgotten: what can be done at once is done, the
-- conversations one after the other.
CREATE TABLE identity.erasure (
    account_id bigint      PRIMARY KEY REFERENCES identity.account,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    after      bigint      NOT NULL DEFAULT 0,      -- the last conversation
    done_at    timestamptz
);

CREATE INDEX erasure_open ON identity.erasure (account_id)
    WHERE done_at IS NULL;

-- Of this conversation nothing up to this event is kept.
CREATE TABLE consult.removed (
    conversation_id bigint PRIMARY KEY REFERENCES consult.conversation,
    seq             bigint NOT NULL
);

-- How far the daily walk has got over what is too old.
CREATE TABLE billing.retention (
    kind        text   PRIMARY KEY,
    day         date   NOT NULL,
    after       bigint NOT NULL DEFAULT 0,
    removed     bigint NOT NULL DEFAULT 0,
    finished_at timestamptz
);

ALTER TABLE identity.hold        ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.export      ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.export_part ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.erasure     ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.hold        FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.export      FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.export_part FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.erasure     FORCE ROW LEVEL SECURITY;

CREATE POLICY admin ON identity.hold FOR ALL TO astro_api
    USING ((SELECT consult.caller_is_admin()));
CREATE POLICY own ON identity.export FOR ALL TO astro_api
    USING (account_id = consult.caller());
CREATE POLICY own ON identity.export_part FOR SELECT TO astro_api
    USING (account_id = consult.caller());

-- astro_private removes, and gives people what is theirs; what it may do of it is
-- what is granted.  (It may read more: sql/functions/export.sql.)
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['identity.hold', 'identity.export',
        'identity.export_part', 'identity.erasure', 'identity.profile',
        'identity.phone', 'identity.otp', 'identity.outside',
        'identity.login', 'consult.conversation', 'consult.event',
        'consult.message_change', 'consult.quote', 'consult.reaction',
        'consult.session', 'consult.session_media',
        'consult.session_quality', 'consult.booking', 'consult.notice',
        'consult.once', 'consult.waiting', 'consult.favorite',
        'consult.review', 'consult.note', 'consult.schedule',
        'consult.hours', 'ledger.wallet', 'ledger.payout', 'ledger.payee',
        'ledger.connect'] LOOP
        EXECUTE format('CREATE POLICY private ON %s FOR ALL TO astro_private '
                       'USING (true)', t);
    END LOOP;
END
$$;

RESET ROLE;

GRANT USAGE ON SCHEMA identity, ledger, consult TO astro_private;
GRANT USAGE, CREATE ON SCHEMA billing TO astro_private;
GRANT CREATE ON SCHEMA consult TO astro_private;

GRANT SELECT, INSERT (account_id, reason, held_by), UPDATE (reason, held_by,
      at), DELETE ON identity.hold TO astro_api;
GRANT SELECT, INSERT (account_id), DELETE ON identity.export TO astro_api;
GRANT SELECT ON identity.export_part TO astro_api;

GRANT SELECT ON identity.hold, consult.conversation, consult.session,
      ledger.wallet, ledger.payout TO astro_private;
GRANT SELECT, UPDATE, DELETE ON identity.export TO astro_private;
GRANT SELECT, INSERT, DELETE ON identity.export_part TO astro_private;
GRANT SELECT, INSERT, UPDATE ON identity.erasure, consult.removed
   TO astro_private;
GRANT SELECT, INSERT, UPDATE, DELETE ON billing.retention TO astro_private;
GRANT SELECT, UPDATE (email, name, password_hash, blocked, tokens_valid_from)
   ON identity.account TO astro_private;
GRANT SELECT, UPDATE (headline, bio, specialties, languages, city, lat, lon,
      ver) ON identity.advisor TO astro_private;
-- to lock a conversation; nobody can write an id
GRANT UPDATE (id) ON consult.conversation TO astro_private;
GRANT SELECT, UPDATE (payload) ON consult.event TO astro_private;
GRANT SELECT, INSERT, UPDATE, DELETE ON consult.message_change
   TO astro_private;
GRANT SELECT, UPDATE (note, reason) ON consult.booking TO astro_private;
GRANT SELECT, UPDATE (text, reply) ON consult.review TO astro_private;
GRANT SELECT, UPDATE (device), DELETE ON consult.session_media
   TO astro_private;
GRANT SELECT, UPDATE (url) ON ledger.connect TO astro_private;
GRANT SELECT, DELETE ON identity.profile, identity.phone, identity.otp,
      identity.outside, identity.login, identity.listing, consult.quote,
      consult.reaction, consult.session_quality, consult.notice,
      consult.once, consult.waiting, consult.favorite, consult.note,
      consult.schedule, consult.hours, consult.last_seen, ledger.payee
   TO astro_private;
