-- 0017: what parties do in a session beside talking: pauses, what they show,
-- how well it went; and who waits for an advisor.
--
-- Safe under the version before: it never pauses a session, and none of the
-- new tables is its own.

SET ROLE astro_owner;

-- How often it was paused: a gateway that has not heard of a pause finds it
-- here.
ALTER TABLE consult.session ADD COLUMN pauses int NOT NULL DEFAULT 0;

-- Who had which of their devices on, from when.
CREATE TABLE consult.session_media (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint      NOT NULL REFERENCES consult.session,
    account_id bigint      NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    mic        boolean     NOT NULL,
    cam        boolean     NOT NULL,
    screen     boolean     NOT NULL,
    device     text        CHECK (length(device) <= 64)
);

CREATE INDEX session_media_session ON consult.session_media (session_id, id);

-- What a party's browser measured of the connection: one row a second at most.
CREATE TABLE consult.session_quality (
    session_id bigint      NOT NULL REFERENCES consult.session,
    account_id bigint      NOT NULL,
    at         timestamptz NOT NULL,            -- whole seconds
    rtt_ms     int         NOT NULL CHECK (rtt_ms BETWEEN 0 AND 60000),
    jitter_ms  int         NOT NULL CHECK (jitter_ms BETWEEN 0 AND 60000),
    -- lost packets, in 1/10000
    loss_bps   int         NOT NULL CHECK (loss_bps BETWEEN 0 AND 10000),
    poor       boolean     NOT NULL,
    PRIMARY KEY (session_id, account_id, at)
);

-- Who waits for an advisor, in order of id.
CREATE TABLE consult.waiting (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    advisor_id  bigint      NOT NULL REFERENCES identity.account,
    client_id   bigint      NOT NULL REFERENCES identity.account,
    service     text        NOT NULL
                CHECK (service IN ('chat', 'audio', 'video')),
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when the client was last seen to be connected
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- it is their turn, until then; NULL: not yet
    offer_until timestamptz,
    UNIQUE (advisor_id, client_id)
);

CREATE INDEX waiting_order  ON consult.waiting (advisor_id, id);
CREATE INDEX waiting_client ON consult.waiting (client_id, id);

ALTER TABLE consult.session_media   ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.session_quality ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.waiting         ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.session_media   FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.session_quality FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.waiting         FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON consult.session_media FOR ALL TO astro_api
    USING ((SELECT true FROM consult.session s WHERE s.id = session_id));
CREATE POLICY own ON consult.session_quality FOR ALL TO astro_api
    USING ((SELECT true FROM consult.session s WHERE s.id = session_id));
CREATE POLICY own ON consult.waiting FOR ALL TO astro_api
    USING (consult.caller() IN (client_id, advisor_id));
CREATE POLICY engine ON consult.waiting FOR ALL TO astro_engine USING (true);

RESET ROLE;

GRANT UPDATE (max_ms, pauses) ON consult.session TO astro_api;
GRANT SELECT, INSERT ON consult.session_media TO astro_api;
GRANT SELECT, INSERT, UPDATE ON consult.session_quality TO astro_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON consult.waiting TO astro_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON consult.waiting TO astro_engine;
