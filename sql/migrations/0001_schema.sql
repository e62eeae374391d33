-- 0001: roles, schemas and tables of the first release.
--
-- Every instant that money depends on is a bigint of milliseconds on the
-- "lease timeline": the database's clock read once when a gateway lease was
-- opened, plus what the gateway's CLOCK_BOOTTIME counted since.  See
-- sql/README.md, "Time".

-- Roles are per cluster, so a second database of the same cluster finds them
-- (or is making them at this moment, hence the exception).
DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['astro_owner', 'astro_api', 'astro_gateway',
                             'astro_engine', 'astro_web', 'astro_worker'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
                EXECUTE format('CREATE ROLE %I %s NOINHERIT', r,
                               CASE WHEN r IN ('astro_web', 'astro_worker')
                                    THEN 'LOGIN' ELSE 'NOLOGIN' END);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;

        -- Who migrates without being a superuser acts as these.
        IF NOT pg_has_role(r, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', r);
        END IF;
    END LOOP;
END
$$;

-- Nobody who serves may wait for long, or keep locks while it thinks.
ALTER ROLE astro_web    SET lock_timeout = '2s';
ALTER ROLE astro_web    SET statement_timeout = '10s';
ALTER ROLE astro_web    SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE astro_web    SET jit = off;
-- All that serves is a lookup by key: a plan made once is the right one for
-- every parameter, and one made while a table was small may not scan it when
-- it has grown.
ALTER ROLE astro_web    SET plan_cache_mode = force_generic_plan;
ALTER ROLE astro_web    SET enable_seqscan = off;
ALTER ROLE astro_worker SET lock_timeout = '2s';
ALTER ROLE astro_worker SET idle_in_transaction_session_timeout = '1s';
ALTER ROLE astro_worker SET jit = off;

CREATE SCHEMA identity AUTHORIZATION astro_owner;
CREATE SCHEMA ledger   AUTHORIZATION astro_owner;
CREATE SCHEMA consult  AUTHORIZATION astro_owner;
CREATE SCHEMA api      AUTHORIZATION astro_owner;
CREATE SCHEMA billing  AUTHORIZATION astro_owner;

REVOKE ALL ON SCHEMA public FROM PUBLIC;

SET ROLE astro_owner;


-- identity: who people are --------------------------------------------------

CREATE TABLE identity.account (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text        NOT NULL CHECK (email = lower(email)),
    name          text        NOT NULL,
    role          text        NOT NULL
                  CHECK (role IN ('client', 'advisor', 'admin')),
    password_hash text        NOT NULL,
    blocked       boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (email)
);

CREATE TABLE identity.advisor (
    account_id       bigint PRIMARY KEY REFERENCES identity.account,
    headline         text   NOT NULL DEFAULT '',
    bio              text   NOT NULL DEFAULT '',
    specialties      text[] NOT NULL DEFAULT '{}',
    -- minor units per minute; NULL: the service is not offered
    rate_chat_minor  bigint CHECK (rate_chat_minor  BETWEEN 1 AND 1000000000),
    rate_audio_minor bigint CHECK (rate_audio_minor BETWEEN 1 AND 1000000000),
    rate_video_minor bigint CHECK (rate_video_minor BETWEEN 1 AND 1000000000),
    -- the platform's part, in 1/10000
    commission_bps   int    NOT NULL DEFAULT 3000
                     CHECK (commission_bps BETWEEN 0 AND 10000)
);


-- ledger: money, in integer minor units of the deployment's one currency -----

-- One row: what holds for the whole deployment.
CREATE TABLE ledger.deployment (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    currency char(3) NOT NULL DEFAULT 'INR' CHECK (currency ~ '^[A-Z]{3}$')
);

INSERT INTO ledger.deployment DEFAULT VALUES;

CREATE TABLE ledger.wallet (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id bigint REFERENCES identity.account,
    -- 'clearing' stands for the outside world: top-ups come from it.  Its
    -- balance is never stored (it would be one hot row), the audit sums it.
    kind     text   NOT NULL CHECK (kind IN ('client', 'advisor', 'clearing')),
    balance  bigint NOT NULL DEFAULT 0,
    held     bigint NOT NULL DEFAULT 0,
    CHECK (held >= 0 AND balance >= held),
    CHECK ((owner_id IS NULL) = (kind = 'clearing')),
    UNIQUE (owner_id, kind)
) WITH (fillfactor = 70);

CREATE TABLE ledger.transfer (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    debit_account  bigint      NOT NULL,
    credit_account bigint      NOT NULL,
    -- the debit side pays amount, the credit side gets amount - fee, the
    -- platform keeps fee: zero-sum by construction
    amount         bigint      NOT NULL CHECK (amount > 0),
    fee            bigint      NOT NULL DEFAULT 0
                   CHECK (fee BETWEEN 0 AND amount),
    kind           text        NOT NULL
                   CHECK (kind IN ('topup', 'session', 'adjustment')),
    session_id     bigint,
    charge_no      int,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    reference      text,
    CHECK (debit_account <> credit_account),
    CHECK ((kind = 'session') = (session_id IS NOT NULL)),
    CHECK ((session_id IS NULL) = (charge_no IS NULL)),
    UNIQUE (session_id, charge_no)
);

CREATE INDEX transfer_debit  ON ledger.transfer (debit_account, id);
CREATE INDEX transfer_credit ON ledger.transfer (credit_account, id);

-- a top-up happens once for each reference
CREATE UNIQUE INDEX transfer_topup ON ledger.transfer (reference)
    WHERE kind = 'topup';


-- consult: conversations, sessions, and where their parties are --------------

CREATE TABLE consult.conversation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES identity.account,
    advisor_id bigint NOT NULL REFERENCES identity.account,
    -- the highest event.seq; bumped in the transaction that stores an event
    head       bigint NOT NULL DEFAULT 0,
    UNIQUE (client_id, advisor_id),
    CHECK (client_id <> advisor_id)
) WITH (fillfactor = 70);

CREATE INDEX conversation_advisor ON consult.conversation (advisor_id, id);

CREATE TABLE consult.event (
    conversation_id bigint      NOT NULL,
    seq             bigint      NOT NULL CHECK (seq > 0),
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    type            text        NOT NULL,
    sender_id       bigint,                 -- NULL: the system
    cid             uuid,
    payload         json        NOT NULL,
    PRIMARY KEY (conversation_id, seq)
);

CREATE UNIQUE INDEX event_cid
    ON consult.event (conversation_id, sender_id, cid) WHERE cid IS NOT NULL;

-- One row for each run of an nginx worker: its lease and its clock.  The
-- instant "life_ms" of this gateway is started_ms + life_ms on the timeline.
CREATE TABLE consult.gateway (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node       text        NOT NULL,
    pid        int         NOT NULL,
    started_ms bigint      NOT NULL,
    life_ms    bigint      NOT NULL DEFAULT 0,
    -- silence after which this gateway takes a party in a live session for
    -- gone; a tick bills no nearer to the last renewal than this
    silence_ms int         NOT NULL CHECK (silence_ms >= 0),
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed     boolean     NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE INDEX gateway_open ON consult.gateway (id) WHERE NOT closed;

-- Who is connected where; ends with the gateway's lease.
CREATE TABLE consult.presence (
    account_id bigint NOT NULL,
    gateway_id bigint NOT NULL REFERENCES consult.gateway,
    PRIMARY KEY (account_id, gateway_id)
);

CREATE INDEX presence_gateway ON consult.presence (gateway_id);

CREATE TABLE consult.session (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint   NOT NULL REFERENCES consult.conversation,
    client_id       bigint   NOT NULL,
    advisor_id      bigint   NOT NULL,
    client_wallet   bigint   NOT NULL,
    advisor_wallet  bigint   NOT NULL,
    shard           smallint NOT NULL GENERATED ALWAYS AS
                    ((hashint8(client_wallet) & 255)::smallint) STORED,
    cid             uuid     NOT NULL,
    service         text     NOT NULL
                    CHECK (service IN ('chat', 'audio', 'video')),
    -- snapshot of the tariff when the session was started
    rate_minor      bigint   NOT NULL CHECK (rate_minor > 0),
    commission_bps  int      NOT NULL
                    CHECK (commission_bps BETWEEN 0 AND 10000),
    max_ms          bigint   CHECK (max_ms > 0),     -- client's own maximum

    state           text     NOT NULL CHECK (state IN ('requested', 'queued',
                    'ringing', 'accepted', 'connecting', 'active',
                    'reconnecting', 'paused', 'ended')),
    reason          text,
    ver             int      NOT NULL DEFAULT 1,     -- bumped with the state
    state_ms        bigint   NOT NULL,               -- when state was entered
    created_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    ended_by        bigint,
    end_ms          bigint,   -- nothing after this instant is billed

    -- written by the billing engine alone
    active_ms       bigint,   -- first instant both were present
    paid_until_ms   bigint,   -- the gateways stop relaying here
    charge_no       int      NOT NULL DEFAULT 0,
    billed_ms       bigint   NOT NULL DEFAULT 0,
    charged         bigint   NOT NULL DEFAULT 0,
    fee             bigint   NOT NULL DEFAULT 0,
    held            bigint   NOT NULL DEFAULT 0,     -- of wallet.held
    credited        bigint   NOT NULL DEFAULT 0,     -- reached the advisor
    low_sent        boolean  NOT NULL DEFAULT false,
    settled         boolean  NOT NULL DEFAULT false, -- ended and paid

    CHECK (charged >= 0 AND fee BETWEEN 0 AND charged AND held >= 0),
    CHECK (credited BETWEEN 0 AND charged - fee),
    CHECK (NOT settled OR (state = 'ended' AND held = 0
                           AND credited = charged - fee)),
    UNIQUE (client_id, cid)
) WITH (fillfactor = 70);

-- One live session for each client and for each advisor: the winner of a race
-- is decided here.  A tick changes no column that these name.
CREATE UNIQUE INDEX session_live_client
    ON consult.session (client_id) WHERE state <> 'ended';
CREATE UNIQUE INDEX session_live_advisor
    ON consult.session (advisor_id) WHERE state <> 'ended';
CREATE INDEX session_unsettled
    ON consult.session (shard, id) WHERE NOT settled;
-- What an advisor has earned and was not yet credited.
CREATE INDEX session_uncredited
    ON consult.session (advisor_id) WHERE NOT settled;
CREATE INDEX session_conversation ON consult.session (conversation_id, id);

-- When a party of a session was connected and had joined, in its gateway's
-- own life_ms.  close_life_ms NULL: still is, as far as the lease proves.
CREATE TABLE consult.interval (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id    bigint NOT NULL REFERENCES consult.session,
    account_id    bigint NOT NULL,
    gateway_id    bigint NOT NULL REFERENCES consult.gateway,
    open_life_ms  bigint NOT NULL CHECK (open_life_ms >= 0),
    close_life_ms bigint CHECK (close_life_ms >= open_life_ms),
    close_reason  text
);

CREATE INDEX interval_session ON consult.interval (session_id);
CREATE INDEX interval_open
    ON consult.interval (gateway_id) WHERE close_life_ms IS NULL;


-- billing: who meters which shard --------------------------------------------

CREATE TABLE billing.shard_lease (
    shard      smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 255),
    owner      text,
    epoch      bigint      NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 30);

INSERT INTO billing.shard_lease (shard) SELECT generate_series(0, 255);

INSERT INTO ledger.wallet (owner_id, kind) VALUES (NULL, 'clearing');


-- who the rows are for --------------------------------------------------------

-- The account on whose behalf the current transaction runs; functions in api
-- set it transaction-local before they touch a table.
CREATE FUNCTION consult.caller() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('astro.caller', true), '')::bigint
$$;

ALTER TABLE ledger.wallet        ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.transfer      ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.conversation ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.event        ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.session      ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.interval     ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.wallet        FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger.transfer      FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.conversation FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.event        FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.session      FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.interval     FORCE ROW LEVEL SECURITY;

-- Subqueries in the policies below are scalar ones on purpose: an EXISTS may be
-- turned into a hash of all that the caller may see.
CREATE POLICY own ON ledger.wallet FOR ALL TO astro_api
    USING (owner_id = consult.caller());
CREATE POLICY own ON ledger.transfer FOR SELECT TO astro_api
    USING (debit_account = ANY(ARRAY(SELECT w.id FROM ledger.wallet w))
           OR credit_account = ANY(ARRAY(SELECT w.id FROM ledger.wallet w)));
CREATE POLICY own ON consult.conversation FOR ALL TO astro_api
    USING (consult.caller() IN (client_id, advisor_id));
CREATE POLICY own ON consult.event FOR ALL TO astro_api
    USING ((SELECT true FROM consult.conversation c
             WHERE c.id = conversation_id));
CREATE POLICY own ON consult.session FOR ALL TO astro_api
    USING (consult.caller() IN (client_id, advisor_id));
CREATE POLICY own ON consult.interval FOR ALL TO astro_api
    USING ((SELECT true FROM consult.session s WHERE s.id = session_id));

-- The chat batch and the gateway's lease act for many people at once; the
-- engine for all.
CREATE POLICY gateway ON consult.conversation FOR ALL TO astro_gateway
    USING (true);
CREATE POLICY gateway ON consult.event    FOR ALL TO astro_gateway USING (true);
CREATE POLICY gateway ON consult.session  FOR ALL TO astro_gateway USING (true);
CREATE POLICY gateway ON consult.interval FOR ALL TO astro_gateway USING (true);

CREATE POLICY engine ON ledger.wallet    FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON ledger.transfer  FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON consult.conversation FOR ALL TO astro_engine
    USING (true);
CREATE POLICY engine ON consult.event    FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON consult.session  FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON consult.interval FOR ALL TO astro_engine USING (true);

RESET ROLE;

-- What each role may do at all, before any policy is asked.  Nobody who serves
-- traffic may UPDATE or DELETE a transfer.

GRANT USAGE ON SCHEMA identity, ledger, consult TO astro_api, astro_gateway,
      astro_engine;
GRANT USAGE, CREATE ON SCHEMA api     TO astro_api, astro_gateway;
-- for its lookups in consult
GRANT CREATE ON SCHEMA consult TO astro_engine;
GRANT USAGE, CREATE ON SCHEMA billing TO astro_engine;
GRANT USAGE ON SCHEMA api     TO astro_web;
GRANT USAGE ON SCHEMA billing TO astro_worker;

GRANT SELECT, INSERT ON identity.account TO astro_api;
GRANT SELECT ON identity.advisor TO astro_api;
GRANT SELECT ON ledger.deployment TO astro_api, astro_gateway, astro_engine;
-- Columns are named where a role writes only some: a function of theirs that
-- touched money by mistake would be refused.
GRANT SELECT, INSERT (owner_id, kind) ON ledger.wallet TO astro_api;
GRANT SELECT ON ledger.transfer TO astro_api;
GRANT SELECT, INSERT, UPDATE (head) ON consult.conversation TO astro_api;
GRANT SELECT, INSERT (conversation_id, client_id, advisor_id, client_wallet,
      advisor_wallet, cid, service, rate_minor, commission_bps, max_ms, state,
      state_ms),
      UPDATE (state, reason, ver, state_ms, ended_at, ended_by, end_ms, settled)
   ON consult.session TO astro_api;
GRANT SELECT, INSERT ON consult.event, consult.interval TO astro_api;
GRANT SELECT, INSERT, DELETE ON consult.presence TO astro_api;
-- To lock a row FOR SHARE takes UPDATE on some column; this one cannot be
-- written, being GENERATED ALWAYS.
GRANT SELECT, UPDATE (id) ON consult.gateway TO astro_api;

GRANT SELECT ON identity.account TO astro_gateway;
GRANT SELECT, UPDATE (head) ON consult.conversation TO astro_gateway;
GRANT SELECT, UPDATE (state, ver, state_ms) ON consult.session
   TO astro_gateway;
GRANT SELECT, INSERT ON consult.event TO astro_gateway;
GRANT SELECT, UPDATE (close_life_ms, close_reason) ON consult.interval
   TO astro_gateway;
GRANT SELECT, INSERT, UPDATE (life_ms, renewed_at, closed) ON consult.gateway
   TO astro_gateway;
GRANT SELECT, INSERT, DELETE ON consult.presence TO astro_gateway;

GRANT SELECT ON identity.account, identity.advisor TO astro_engine;
GRANT SELECT, UPDATE ON ledger.wallet TO astro_engine;
GRANT SELECT, INSERT ON ledger.transfer TO astro_engine;
GRANT SELECT, UPDATE ON consult.conversation, consult.session,
      consult.interval, consult.gateway TO astro_engine;
GRANT SELECT, INSERT ON consult.event TO astro_engine;
GRANT SELECT, DELETE ON consult.presence TO astro_engine;
GRANT SELECT, UPDATE ON billing.shard_lease TO astro_engine;
