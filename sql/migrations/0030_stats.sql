-- 0030: figures of the whole: what a roll-up keeps by day, so that nobody who
-- looks at them counts rows.
--
-- What happens is put into a queue by triggers, in the transaction in which it
-- happens; billing.stats_roll() takes it out again and adds it up, so that each
-- thing is counted once and none is missed, whatever commits when.  What was
-- there before is counted by the same function, a piece at a time.
--
-- Safe under the version before: it knows nothing of these, and writes the
-- queue by the triggers.  Locks: of consult.session and of others only while a
-- trigger is made; what is read here besides is who has a session now.

CREATE SCHEMA stats AUTHORIZATION astro_owner;

SET ROLE astro_owner;

-- What is to be counted.  what: 'm' a member, an account (about); 'h' somebody
-- was here (about: the account); 's' a session is settled (about: it).
CREATE TABLE stats.fresh (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what  "char"      NOT NULL CHECK (what IN ('m', 'h', 's')),
    about bigint      NOT NULL,
    at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- All days are UTC.
CREATE TABLE stats.day (
    day       date   PRIMARY KEY,
    -- accounts made on that day, by the role they had when they were counted
    clients   bigint NOT NULL DEFAULT 0,
    advisors  bigint NOT NULL DEFAULT 0,
    others    bigint NOT NULL DEFAULT 0,
    -- of these clients: who has paid for a session since
    converted bigint NOT NULL DEFAULT 0,
    -- accounts that were here on that day; and on none after it
    active    bigint NOT NULL DEFAULT 0,
    last_here bigint NOT NULL DEFAULT 0,
    -- sessions that ended on that day, and are settled; of them those that the
    -- advisor had accepted, and those in which both were together
    sessions  bigint NOT NULL DEFAULT 0,
    answered  bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    billed_ms bigint NOT NULL DEFAULT 0,
    charged   bigint NOT NULL DEFAULT 0,
    fee       bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The same of each advisor's sessions.
CREATE TABLE stats.advisor_day (
    day       date   NOT NULL,
    advisor_id bigint NOT NULL,
    sessions  bigint NOT NULL DEFAULT 0,
    answered  bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    billed_ms bigint NOT NULL DEFAULT 0,
    charged   bigint NOT NULL DEFAULT 0,
    fee       bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, advisor_id)
) WITH (fillfactor = 50);

-- Who was here on which day.
CREATE TABLE stats.active_day (
    day        date   NOT NULL,
    account_id bigint NOT NULL,
    PRIMARY KEY (day, account_id)
);

-- Who has been counted as a member.
CREATE TABLE stats.member (
    account_id bigint PRIMARY KEY,
    role       text   NOT NULL,
    joined     date   NOT NULL,
    last_here  date,
    converted  boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70);

-- Of those who joined on that day: how many were here so many days later.
CREATE TABLE stats.cohort (
    age    int    NOT NULL,
    joined date   NOT NULL,
    here   bigint NOT NULL,
    PRIMARY KEY (age, joined)
) WITH (fillfactor = 50);

-- One row: how far it has got, and what is true of now rather than of a day.
CREATE TABLE stats.mark (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    rolled_at    timestamptz,           -- the queue was empty
    now_at       timestamptz,
    live         bigint NOT NULL DEFAULT 0,     -- sessions that have not ended
    active       bigint NOT NULL DEFAULT 0,     -- of them, those being charged
    due          bigint NOT NULL DEFAULT 0,     -- advisors' money, minor units
    due_advisors bigint NOT NULL DEFAULT 0,
    under_way    bigint NOT NULL DEFAULT 0,     -- of payouts not yet paid
    -- what was there before: accounts and sessions up to these ids
    accounts     bigint NOT NULL DEFAULT 0,
    accounts_end bigint NOT NULL DEFAULT 0,
    sessions     bigint NOT NULL DEFAULT 0,
    sessions_end bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Sessions that were not settled when the counting began: these come by the
-- queue.
CREATE TABLE stats.later (
    session_id bigint PRIMARY KEY
);

-- Who signed in and out: kept when the login itself is forgotten.
CREATE TABLE stats.signin (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint      NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    act        text        NOT NULL CHECK (act IN ('login', 'logout'))
);

CREATE INDEX signin_account ON stats.signin (account_id, id);
CREATE INDEX payment_activity ON ledger.payment (owner_id, id);

INSERT INTO stats.mark DEFAULT VALUES;


-- what happens ------------------------------------------------------------------

CREATE FUNCTION stats.fresh_member() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO stats.fresh (what, about) VALUES ('m', NEW.id);
    RETURN NULL;
END
$$;

-- A statement at a time: a gateway says hello for very many at once.
CREATE FUNCTION stats.fresh_here() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO stats.fresh (what, about)
    SELECT 'h', n.account_id FROM new_rows n;
    RETURN NULL;
END
$$;

CREATE FUNCTION stats.fresh_client() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO stats.fresh (what, about, at)
    VALUES ('h', NEW.client_id, NEW.created_at);

    IF TG_TABLE_NAME = 'session' THEN
        IF NEW.settled THEN
            INSERT INTO stats.fresh (what, about) VALUES ('s', NEW.id);
        END IF;
    END IF;

    RETURN NULL;
END
$$;

CREATE FUNCTION stats.fresh_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO stats.fresh (what, about) VALUES ('s', NEW.id);
    RETURN NULL;
END
$$;

CREATE FUNCTION stats.fresh_login() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO stats.signin (account_id, act)
        VALUES (NEW.account_id, 'login');

    ELSIF NEW.ended_at IS NOT NULL AND OLD.ended_at IS NULL THEN
        INSERT INTO stats.signin (account_id, act)
        VALUES (NEW.account_id, 'logout');
        RETURN NULL;
    END IF;

    INSERT INTO stats.fresh (what, about) VALUES ('h', NEW.account_id);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION stats.fresh_member(), stats.fresh_here(),
    stats.fresh_client(), stats.fresh_session(), stats.fresh_login()
    FROM PUBLIC;


-- who may ----------------------------------------------------------------------

ALTER TABLE stats.fresh       ENABLE ROW LEVEL SECURITY;
ALTER TABLE stats.advisor_day ENABLE ROW LEVEL SECURITY;
ALTER TABLE stats.active_day  ENABLE ROW LEVEL SECURITY;
ALTER TABLE stats.member      ENABLE ROW LEVEL SECURITY;
ALTER TABLE stats.later       ENABLE ROW LEVEL SECURITY;
ALTER TABLE stats.signin      ENABLE ROW LEVEL SECURITY;
ALTER TABLE stats.fresh       FORCE ROW LEVEL SECURITY;
ALTER TABLE stats.advisor_day FORCE ROW LEVEL SECURITY;
ALTER TABLE stats.active_day  FORCE ROW LEVEL SECURITY;
ALTER TABLE stats.member      FORCE ROW LEVEL SECURITY;
ALTER TABLE stats.later       FORCE ROW LEVEL SECURITY;
ALTER TABLE stats.signin      FORCE ROW LEVEL SECURITY;

CREATE POLICY happens ON stats.fresh FOR INSERT TO astro_owner
    WITH CHECK (true);
CREATE POLICY happens ON stats.signin FOR INSERT TO astro_owner
    WITH CHECK (true);
CREATE POLICY roll ON stats.fresh       FOR ALL TO astro_engine USING (true);
CREATE POLICY roll ON stats.advisor_day FOR ALL TO astro_engine USING (true);
CREATE POLICY roll ON stats.active_day  FOR ALL TO astro_engine USING (true);
CREATE POLICY roll ON stats.member      FOR ALL TO astro_engine USING (true);
CREATE POLICY roll ON stats.later       FOR ALL TO astro_engine USING (true);

CREATE POLICY admin ON stats.advisor_day FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY admin ON stats.active_day  FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY admin ON stats.signin      FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY admin_activity ON ledger.wallet FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY admin_activity ON consult.session FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY admin_activity ON consult.booking FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));


-- from now on -------------------------------------------------------------------

CREATE TRIGGER stats_member AFTER INSERT ON identity.account
    FOR EACH ROW EXECUTE FUNCTION stats.fresh_member();
CREATE TRIGGER stats_login AFTER INSERT OR UPDATE ON identity.login
    FOR EACH ROW EXECUTE FUNCTION stats.fresh_login();
CREATE TRIGGER stats_booking AFTER INSERT ON consult.booking
    FOR EACH ROW EXECUTE FUNCTION stats.fresh_client();
CREATE TRIGGER stats_here AFTER INSERT ON consult.presence
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION stats.fresh_here();
CREATE TRIGGER stats_client AFTER INSERT ON consult.session
    FOR EACH ROW EXECUTE FUNCTION stats.fresh_client();
CREATE TRIGGER stats_session AFTER UPDATE OF settled ON consult.session
    FOR EACH ROW WHEN (NEW.settled AND NOT OLD.settled)
    EXECUTE FUNCTION stats.fresh_session();

RESET ROLE;

GRANT USAGE ON SCHEMA stats TO astro_engine, astro_admin;
GRANT USAGE ON SCHEMA billing TO astro_admin;
GRANT SELECT, DELETE ON stats.fresh TO astro_engine;
GRANT SELECT, INSERT, UPDATE ON stats.day, stats.advisor_day,
      stats.active_day, stats.member, stats.cohort TO astro_engine;
GRANT SELECT, UPDATE ON stats.mark TO astro_engine;
GRANT SELECT, DELETE ON stats.later TO astro_engine;
GRANT SELECT ON stats.day, stats.advisor_day, stats.active_day, stats.cohort,
      stats.mark, stats.signin, ledger.daily, ledger.deployment TO astro_admin;
GRANT SELECT (id, client_id, advisor_id, client_wallet, advisor_wallet,
      service, state, reason, created_at, ended_at, billed_ms, charged)
   ON consult.session TO astro_admin;
GRANT SELECT (id, client_id, advisor_id, service, state, start_at, created_at,
      deposit) ON consult.booking TO astro_admin;
GRANT SELECT (id, provider, owner_id, amount, currency, status, made_at,
      paid_at) ON ledger.payment TO astro_admin;
GRANT SELECT (id, owner_id, kind) ON ledger.wallet TO astro_admin;

-- What was there before.  No session changes meanwhile: its triggers have just
-- been made.
GRANT INSERT ON stats.later TO astro_engine;
SET ROLE astro_engine;

INSERT INTO stats.later (session_id)
SELECT s.id FROM consult.session s WHERE NOT s.settled;

UPDATE stats.mark SET
       accounts_end = (SELECT coalesce(max(a.id), 0) FROM identity.account a),
       sessions_end = (SELECT coalesce(max(s.id), 0) FROM consult.session s);

RESET ROLE;
REVOKE INSERT ON stats.later FROM astro_engine;
