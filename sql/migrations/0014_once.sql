-- 0014: answers kept for a day by the client's Idempotency-Key.
--
-- Safe under the version before: it does not know of them.

SET ROLE astro_owner;

CREATE TABLE consult.once (
    account_id bigint      NOT NULL REFERENCES identity.account,
    key        text        NOT NULL,
    -- of method, path and body: the same key asks for the same
    hash       text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    status     int         NOT NULL DEFAULT 0,
    body       json,
    etag       text,
    PRIMARY KEY (account_id, key)
);

CREATE INDEX once_at ON consult.once (at);

ALTER TABLE consult.once ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.once FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON consult.once FOR ALL TO astro_api
    USING (account_id = consult.caller());
CREATE POLICY engine ON consult.once FOR ALL TO astro_engine USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON consult.once TO astro_api;
-- UPDATE: to lock them
GRANT SELECT, UPDATE, DELETE ON consult.once TO astro_engine;

-- An answer; replayed: it was given before, and nothing was done now.
CREATE TYPE api.kept AS (
    status   int,
    body     json,
    etag     text,
    replayed boolean
);

RESET ROLE;
