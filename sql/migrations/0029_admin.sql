-- 0029: what admins do: the log of their acts.
--
-- Safe under the version before, which calls none of it: its own admin acts
-- go through functions that are applied with this file, and are logged.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'astro_admin') THEN
        CREATE ROLE astro_admin NOLOGIN NOINHERIT;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('astro_admin', 'MEMBER') THEN
        GRANT astro_admin TO CURRENT_USER;
    END IF;
END
$$;

SET ROLE astro_owner;

-- Is the caller of the current transaction an admin?  Policies of astro_admin
-- ask it, once a statement, so that a function of its that forgot to ask shows
-- nothing.
CREATE FUNCTION consult.admin_calls() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT a.role = 'admin' AND NOT a.blocked
                       FROM identity.account a
                      WHERE a.id = consult.caller()), false);
END
$$;

REVOKE ALL ON FUNCTION consult.admin_calls() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.admin_calls() TO astro_admin;


-- consult: the log ------------------------------------------------------------

-- One row for each act, numbered without a gap.  hash is over that of the row
-- before and all that this one says: consult.admin_hash().
CREATE TABLE consult.admin_log (
    no       bigint      PRIMARY KEY CHECK (no > 0),
    at       timestamptz NOT NULL,
    admin_id bigint      NOT NULL REFERENCES identity.account,
    act      text        NOT NULL CHECK (act ~ '^[a-z][a-z_]{1,47}$'),
    -- whom or what: "u_5", "s_9"; "" if it is about all
    about    text        NOT NULL CHECK (length(about) <= 100),
    detail   jsonb       NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
    hash     bytea       NOT NULL CHECK (length(hash) = 32)
);

CREATE INDEX admin_log_admin ON consult.admin_log (admin_id, no);
CREATE INDEX admin_log_about ON consult.admin_log (about, no);
CREATE INDEX admin_log_act   ON consult.admin_log (act, no);

-- The last row's number and hash.  Its lock makes the chain one: it is taken
-- after all others and held to the end of the transaction.
CREATE TABLE consult.admin_clock (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    no   bigint  NOT NULL,
    hash bytea   NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 10);

INSERT INTO consult.admin_clock (no, hash)
VALUES (0, decode(repeat('00', 32), 'hex'));

-- Also for the owner of the table: whoever wants to change it must take the
-- trigger away first, and then still does not have the hashes.
CREATE FUNCTION consult.admin_log_kept() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the log of admin acts is not changed'
          USING ERRCODE = 'insufficient_privilege';
END
$$;

REVOKE ALL ON FUNCTION consult.admin_log_kept() FROM PUBLIC;

CREATE TRIGGER kept BEFORE UPDATE OR DELETE OR TRUNCATE ON consult.admin_log
    FOR EACH STATEMENT EXECUTE FUNCTION consult.admin_log_kept();

ALTER TABLE consult.admin_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.admin_log FORCE ROW LEVEL SECURITY;

CREATE POLICY admin  ON consult.admin_log FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY append ON consult.admin_log FOR INSERT TO astro_admin
    WITH CHECK (true);
CREATE POLICY engine ON consult.admin_log FOR SELECT TO astro_engine
    USING (true);

RESET ROLE;

GRANT USAGE ON SCHEMA identity, ledger TO astro_admin;
GRANT USAGE, CREATE ON SCHEMA api, consult TO astro_admin;
GRANT SELECT (id, email, name, role, blocked, created_at)
   ON identity.account TO astro_admin;
GRANT SELECT, INSERT ON consult.admin_log TO astro_admin;
GRANT SELECT, UPDATE (no, hash) ON consult.admin_clock TO astro_admin;
GRANT SELECT ON consult.admin_log, consult.admin_clock TO astro_engine;


-- people: found, changed, kept out ---------------------------------------------

SET ROLE astro_owner;

-- How a name, its last word, an email or a number begins.
CREATE INDEX account_email_begins ON identity.account ((email COLLATE "C"));
CREATE INDEX account_name_begins  ON identity.account
    ((lower(name) COLLATE "C"));
CREATE INDEX account_last_begins  ON identity.account
    ((lower(substring(name FROM '[^ ]+$')) COLLATE "C"));
CREATE INDEX account_role         ON identity.account (role, id);
CREATE INDEX phone_begins         ON identity.phone ((phone COLLATE "C"));

-- Sockets that are to be closed, each once: of those who said hello up to that
-- instant (the database's clock).  Every worker reads what is new twice a
-- second.
CREATE TABLE consult.disconnect (
    no         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    account_id bigint      REFERENCES identity.account      -- NULL: all
);

CREATE INDEX disconnect_at ON consult.disconnect (at);

CREATE POLICY admin ON identity.phone  FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY admin ON ledger.wallet   FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY made  ON ledger.wallet   FOR INSERT TO astro_admin
    WITH CHECK ((SELECT consult.admin_calls()));
CREATE POLICY admin ON consult.session FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));

RESET ROLE;

GRANT SELECT (tokens_valid_from), UPDATE (name, email, role, blocked,
      tokens_valid_from) ON identity.account TO astro_admin;
GRANT SELECT (account_id, approved_at, commission_bps),
      INSERT (account_id, approved_at) ON identity.advisor TO astro_admin;
GRANT SELECT (account_id, phone, verified_at) ON identity.phone
   TO astro_admin;
GRANT SELECT, INSERT (owner_id, kind) ON ledger.wallet TO astro_admin;
GRANT SELECT ON consult.session, ledger.deployment TO astro_admin;
GRANT SELECT (account_id, seen_at) ON consult.last_seen TO astro_admin;
GRANT SELECT (id, started_ms) ON consult.gateway TO astro_admin;
GRANT SELECT, INSERT (at, account_id), DELETE ON consult.disconnect
   TO astro_admin;
GRANT SELECT ON consult.disconnect TO astro_gateway;
-- for the type of outcomes
GRANT USAGE ON SCHEMA api TO astro_engine;


-- disputes ----------------------------------------------------------------------

SET ROLE astro_owner;

-- A dispute may be opened for so long after the end of its session.
CREATE TABLE consult.dispute_option (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    open_days int     NOT NULL DEFAULT 14 CHECK (open_days BETWEEN 0 AND 365)
);

INSERT INTO consult.dispute_option DEFAULT VALUES;

-- One for each session, by one of its parties; decided once.  evidence is what
-- was so when it was opened: consult.evidence().
CREATE TABLE consult.dispute (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id      bigint      NOT NULL UNIQUE REFERENCES consult.session,
    conversation_id bigint      NOT NULL,
    client_id       bigint      NOT NULL,
    advisor_id      bigint      NOT NULL,
    opened_by       bigint      NOT NULL,
    reason          text        NOT NULL CHECK (reason IN ('not_served',
                    'quality', 'behaviour', 'billing', 'other')),
    said            text        NOT NULL,
    evidence        json        NOT NULL,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    state           text        NOT NULL DEFAULT 'open'
                    CHECK (state IN ('open', 'refused', 'refunded')),
    amount          bigint      CHECK (amount > 0),
    decision        text,
    decided_at      timestamptz,
    decided_by      bigint      REFERENCES identity.account,
    CHECK (opened_by IN (client_id, advisor_id)),
    CHECK ((state = 'refunded') = (amount IS NOT NULL)),
    CHECK ((state = 'open') = (decided_at IS NULL)),
    CHECK ((state = 'open') = (decided_by IS NULL))
);

CREATE INDEX dispute_state        ON consult.dispute (state, id);
CREATE INDEX dispute_conversation ON consult.dispute (conversation_id);

ALTER TABLE consult.dispute ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.dispute FORCE ROW LEVEL SECURITY;

CREATE POLICY own    ON consult.dispute FOR SELECT TO astro_api
    USING (consult.caller() IN (client_id, advisor_id));
CREATE POLICY admin  ON consult.dispute FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls()));
CREATE POLICY engine ON consult.dispute FOR ALL TO astro_engine USING (true);

-- What people have said to each other is for admins only where there is a
-- dispute about it.
CREATE POLICY admin ON consult.conversation FOR SELECT TO astro_admin
    USING ((SELECT consult.admin_calls())
           AND (SELECT true FROM consult.dispute d
                 WHERE d.conversation_id = conversation.id LIMIT 1));
CREATE POLICY admin ON consult.event FOR SELECT TO astro_admin
    USING ((SELECT true FROM consult.conversation c
             WHERE c.id = conversation_id));
CREATE POLICY admin ON consult.message_change FOR SELECT TO astro_admin
    USING ((SELECT true FROM consult.conversation c
             WHERE c.id = conversation_id));
CREATE POLICY engine ON consult.session_quality FOR SELECT TO astro_engine
    USING (true);

RESET ROLE;

GRANT SELECT ON consult.dispute_option TO astro_engine;
GRANT SELECT, INSERT, UPDATE (state, amount, decision, decided_at, decided_by)
   ON consult.dispute TO astro_engine;
GRANT SELECT ON consult.dispute TO astro_api, astro_admin;
GRANT SELECT ON consult.session_quality TO astro_engine;
GRANT SELECT ON consult.conversation, consult.event, consult.message_change
   TO astro_admin;


-- commission ----------------------------------------------------------------------

SET ROLE astro_owner;

-- The platform's part, from an instant on: of one advisor or all (0), for one
-- service or all ('').  bps NULL: no more of its own, as for everybody.  Of
-- those in force the most special one holds; without any,
-- identity.advisor.commission_bps.  Rows are added, never changed.
CREATE TABLE consult.term (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    advisor_id bigint      NOT NULL DEFAULT 0,
    service    text        NOT NULL DEFAULT ''
               CHECK (service IN ('', 'chat', 'audio', 'video')),
    from_at    timestamptz NOT NULL,
    bps        int         CHECK (bps BETWEEN 0 AND 10000),
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    made_by    bigint      REFERENCES identity.account
);

CREATE INDEX term_scope ON consult.term (advisor_id, service, from_at, id);

-- what was agreed with one of them stays, whatever becomes of all others
INSERT INTO consult.term (advisor_id, from_at, bps)
SELECT d.account_id, '-infinity', d.commission_bps
  FROM identity.advisor d WHERE d.commission_bps <> 3000;

RESET ROLE;

GRANT SELECT ON consult.term TO astro_api, astro_engine, astro_admin;
GRANT INSERT (advisor_id, service, from_at, bps, made_by) ON consult.term
   TO astro_admin;
GRANT SELECT, UPDATE ON consult.booking_option, consult.chat_option,
      consult.dispute_option, ledger.tariff TO astro_admin;
