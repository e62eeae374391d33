-- 0006: what a minute costs may depend on more than one rate.
--
-- Safe under the version before: every option is off by default, so the
-- sessions that it starts are charged as ever; it never hears of a session that
-- has an option (functions/billing_facts.sql).

SET ROLE astro_owner;

-- Snapshots, as the rate is.  No CHECK is validated: the table is not read for
-- it, and what is there has the defaults.
ALTER TABLE consult.session
    ADD COLUMN whole_minute boolean NOT NULL DEFAULT false,
    ADD COLUMN min_minor    bigint  NOT NULL DEFAULT 0,
    ADD COLUMN free_ms      bigint  NOT NULL DEFAULT 0,
    ADD COLUMN max_minor    bigint,           -- client's own maximum
    -- how many rows of consult.segment there are: mostly none is looked for
    ADD COLUMN segments     int     NOT NULL DEFAULT 0,
    ADD CONSTRAINT session_tariff CHECK (min_minor >= 0 AND segments >= 0
        AND free_ms BETWEEN 0 AND 86400000 AND max_minor > 0) NOT VALID;

-- From an instant of the lease timeline on a session is of another service, at
-- another rate.  The first segment is the session's own row.
CREATE TABLE consult.segment (
    session_id bigint NOT NULL REFERENCES consult.session,
    no         int    NOT NULL CHECK (no > 0),
    from_ms    bigint NOT NULL,
    service    text   NOT NULL CHECK (service IN ('chat', 'audio', 'video')),
    rate_minor bigint NOT NULL CHECK (rate_minor > 0),
    PRIMARY KEY (session_id, no)
);

-- What a deployment's sessions of a service are started with.
CREATE TABLE ledger.tariff (
    service      text    PRIMARY KEY
                 CHECK (service IN ('chat', 'audio', 'video')),
    -- each minute begun is charged
    whole_minute boolean NOT NULL DEFAULT false,
    -- anything beyond the free time costs at least this, in minor units
    min_minor    bigint  NOT NULL DEFAULT 0
                 CHECK (min_minor BETWEEN 0 AND 1000000000),
    -- once for each client and advisor
    free_ms      bigint  NOT NULL DEFAULT 0
                 CHECK (free_ms BETWEEN 0 AND 86400000)
);

INSERT INTO ledger.tariff (service) VALUES ('chat'), ('audio'), ('video');

ALTER TABLE consult.segment ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.segment FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON consult.segment FOR ALL TO astro_api
    USING ((SELECT true FROM consult.session s WHERE s.id = session_id));
CREATE POLICY engine ON consult.segment FOR ALL TO astro_engine USING (true);

RESET ROLE;

GRANT SELECT ON ledger.tariff TO astro_api;
GRANT INSERT (whole_minute, min_minor, free_ms, max_minor), UPDATE (segments)
   ON consult.session TO astro_api;
GRANT SELECT, INSERT ON consult.segment TO astro_api;
GRANT SELECT ON consult.segment TO astro_engine;
