-- 0019: codes that are sent to a phone; people that other issuers sign in.
--
-- Only adds: nothing of the version before reads or writes any of it.  Its
-- billing worker claims the calls of vendors it knows, and no others.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'astro_signer') THEN
        CREATE ROLE astro_signer NOLOGIN NOINHERIT;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('astro_signer', 'MEMBER') THEN
        GRANT astro_signer TO CURRENT_USER;
    END IF;
END
$$;

SET ROLE astro_owner;

-- A number that somebody has proven to be his.
CREATE TABLE identity.phone (
    account_id  bigint      PRIMARY KEY REFERENCES identity.account,
    phone       text        NOT NULL UNIQUE
                CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    verified_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A code that was asked for.  What it is stands nowhere: the row has an HMAC
-- of it, under a key that the database does not know.
CREATE TABLE identity.otp (
    id         text        PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    purpose    text        NOT NULL CHECK (purpose IN ('login', 'phone')),
    phone      text        NOT NULL,
    -- whom it signs in, or whose number it shall be; NULL: nobody has this
    -- number, so nothing was sent, and no code is the right one
    account_id bigint      REFERENCES identity.account,
    mac        bytea       NOT NULL CHECK (length(mac) = 32),
    -- an HMAC of the address that asked
    origin     bytea       NOT NULL,
    tries      int         NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND 5),
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at    timestamptz NOT NULL,
    ended_at   timestamptz,
    why        text CHECK (why IN ('used', 'tries')),
    CHECK ((ended_at IS NULL) = (why IS NULL))
) WITH (fillfactor = 80);

-- how many were asked for lately, and what nobody needs any more
CREATE INDEX otp_phone  ON identity.otp (phone, made_at);
CREATE INDEX otp_origin ON identity.otp (origin, made_at);
CREATE INDEX otp_made   ON identity.otp (made_at);

-- Who somebody is for another issuer.
CREATE TABLE identity.outside (
    issuer     text        NOT NULL,
    sub        text        NOT NULL,
    account_id bigint      NOT NULL REFERENCES identity.account,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (issuer, sub)
);

CREATE INDEX outside_account ON identity.outside (account_id);

ALTER TABLE identity.phone   ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.otp     ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.outside ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.phone   FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.otp     FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.outside FORCE ROW LEVEL SECURITY;

CREATE POLICY own    ON identity.phone FOR ALL TO astro_api
    USING (account_id = consult.caller());
-- it finds out who somebody is: there is no caller yet
CREATE POLICY signer ON identity.phone   FOR ALL TO astro_signer USING (true);
CREATE POLICY signer ON identity.otp     FOR ALL TO astro_signer USING (true);
CREATE POLICY signer ON identity.outside FOR ALL TO astro_signer USING (true);
CREATE POLICY signer ON ledger.wallet    FOR INSERT TO astro_signer
    WITH CHECK (balance = 0);

-- A call that is of no use, and has something in it that nobody should read,
-- after that instant; its body is emptied when it ends.  NULL: it can wait.
ALTER TABLE billing.outbox ADD COLUMN until timestamptz;

CREATE INDEX outbox_until ON billing.outbox (until)
    WHERE until IS NOT NULL AND state = 'waiting';

RESET ROLE;

GRANT USAGE ON SCHEMA identity, ledger, consult, billing TO astro_signer;
GRANT USAGE, CREATE ON SCHEMA api TO astro_signer;
GRANT SELECT (id, email, role, blocked), INSERT (email, name, role,
      password_hash) ON identity.account TO astro_signer;
GRANT INSERT (owner_id, kind) ON ledger.wallet TO astro_signer;
GRANT SELECT, INSERT, UPDATE ON identity.phone TO astro_signer;
GRANT SELECT, INSERT, UPDATE (tries, ended_at, why), DELETE ON identity.otp
   TO astro_signer;
GRANT SELECT, INSERT ON identity.outside TO astro_signer;
GRANT SELECT, DELETE ON identity.phone TO astro_api;
