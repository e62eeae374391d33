-- 0015: logins that can be refreshed and ended, and tokens that were revoked.
--
-- Only adds: nothing of the version before reads or writes any of it, and the
-- tokens that it gives out are as good as before.

SET ROLE astro_owner;

-- A device that is signed in: what its refresh token, which changes with each
-- use, is compared with.  An access token names it ("sid").
CREATE TABLE identity.login (
    id         text        PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    account_id bigint      NOT NULL REFERENCES identity.account,
    -- SHA-256 of the refresh token that is good now, and of no other
    refresh    bytea       NOT NULL CHECK (length(refresh) = 32),
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when the refresh token expires
    ends_at    timestamptz NOT NULL,
    ended_at   timestamptz,
    -- 'reuse': a refresh token came a second time, so somebody copied it
    why        text CHECK (why IN ('logout', 'everywhere', 'reuse')),
    CHECK ((ended_at IS NULL) = (why IS NULL))
) WITH (fillfactor = 80);

CREATE INDEX login_account ON identity.login (account_id);
CREATE INDEX login_ends    ON identity.login (ends_at);

-- Tokens that are no good though they have not expired: by the "sid" of their
-- login, or by their "jti".
CREATE TABLE identity.revoked (
    id         text        PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    account_id bigint      NOT NULL REFERENCES identity.account,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when the last such token has expired: then nobody needs the row
    until      timestamptz NOT NULL
);

-- what is new since the last look, and what nobody needs
CREATE INDEX revoked_at    ON identity.revoked (at);
CREATE INDEX revoked_until ON identity.revoked (until);

ALTER TABLE identity.login   ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.revoked ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.login   FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.revoked FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON identity.login   FOR ALL TO astro_api
    USING (account_id = consult.caller());
CREATE POLICY own ON identity.revoked FOR ALL TO astro_api
    USING (account_id = consult.caller());
-- what has expired is anybody's to sweep
CREATE POLICY sweep ON identity.login   FOR DELETE TO astro_gateway
    USING (ends_at < now() - interval '7 days');
CREATE POLICY seen  ON identity.login   FOR SELECT TO astro_gateway
    USING (ends_at < now() - interval '7 days');
CREATE POLICY sweep ON identity.revoked FOR DELETE TO astro_gateway
    USING (until < now() - interval '1 hour');
CREATE POLICY gateway ON identity.revoked FOR SELECT TO astro_gateway
    USING (true);

RESET ROLE;

GRANT SELECT, INSERT, UPDATE ON identity.login TO astro_api;
GRANT SELECT, INSERT ON identity.revoked TO astro_api;
GRANT SELECT, DELETE ON identity.login, identity.revoked TO astro_gateway;
