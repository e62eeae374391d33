-- 0021: working hours, bookings of slots with a deposit, what people are told,
-- turns of those who wait.
--
-- Safe under the version before: it knows of none of the new tables, and no
-- money is held by a booking before there are functions that make one.

SET ROLE astro_owner;

-- What bookings, waiting and news go by; all in milliseconds, or 1/10000.
CREATE TABLE consult.booking_option (
    one              boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- of what the slot costs at the advisor's rate
    deposit_bps      int     NOT NULL DEFAULT 2500
                     CHECK (deposit_bps BETWEEN 0 AND 10000),
    -- an advisor who does not answer for so long has not confirmed
    answer_ms        bigint  NOT NULL DEFAULT 7200000 CHECK (answer_ms > 0),
    -- before the slot: both are reminded; the room opens
    remind_ms        bigint  NOT NULL DEFAULT 900000 CHECK (remind_ms >= 0),
    open_ms          bigint  NOT NULL DEFAULT 300000 CHECK (open_ms >= 0),
    -- after its start: who is not there by then does not come
    absent_ms        bigint  NOT NULL DEFAULT 600000 CHECK (absent_ms > 0),
    -- a client who cancels what is confirmed later than so long before the
    -- start loses this part of the deposit
    free_cancel_ms   bigint  NOT NULL DEFAULT 7200000
                     CHECK (free_cancel_ms >= 0),
    late_bps         int     NOT NULL DEFAULT 5000
                     CHECK (late_bps BETWEEN 0 AND 10000),
    -- who waits has an advisor to themselves for so long when it is their
    -- turn, and keeps the place without a connection for so long
    offer_ms         bigint  NOT NULL DEFAULT 30000 CHECK (offer_ms > 0),
    waiting_grace_ms bigint  NOT NULL DEFAULT 60000
                     CHECK (waiting_grace_ms > 0),
    -- that a favourite is there is told once in so long
    favorite_ms      bigint  NOT NULL DEFAULT 21600000
                     CHECK (favorite_ms > 0)
);

INSERT INTO consult.booking_option DEFAULT VALUES;

-- When an advisor works.  Minutes are of the day, by the clock of the zone.
CREATE TABLE consult.schedule (
    advisor_id bigint PRIMARY KEY REFERENCES identity.account,
    time_zone  text   NOT NULL,
    slot_min   int    NOT NULL CHECK (slot_min BETWEEN 10 AND 480),
    -- a slot is booked so long before it begins, and not further ahead
    lead_min   int    NOT NULL CHECK (lead_min BETWEEN 0 AND 20160),
    ahead_days int    NOT NULL CHECK (ahead_days BETWEEN 1 AND 90),
    ver        int    NOT NULL DEFAULT 1
);

-- Of a weekday (1: Monday), or of one date, which then has none of its
-- weekday's.  A date without minutes is a day off.
CREATE TABLE consult.hours (
    advisor_id bigint   NOT NULL REFERENCES consult.schedule,
    weekday    smallint CHECK (weekday BETWEEN 1 AND 7),
    day        date,
    from_min   int      CHECK (from_min >= 0),
    to_min     int      CHECK (to_min <= 1440),
    CHECK ((weekday IS NULL) <> (day IS NULL)),
    CHECK (from_min < to_min
           OR day IS NOT NULL AND from_min IS NULL AND to_min IS NULL)
);

CREATE INDEX hours_advisor ON consult.hours (advisor_id);

-- A span of one person's time as one range: of minutes, with the person's
-- number in front.
CREATE FUNCTION consult.span(who bigint, start_at timestamptz,
    end_at timestamptz) RETURNS int8range
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.int8range(
        (who << 28) + floor(extract(epoch FROM start_at AT TIME ZONE 'UTC')
                            / 60)::bigint,
        (who << 28) + ceil(extract(epoch FROM end_at AT TIME ZONE 'UTC')
                           / 60)::bigint)
$$;

CREATE TABLE consult.booking (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id      bigint      NOT NULL REFERENCES identity.account,
    advisor_id     bigint      NOT NULL REFERENCES identity.account,
    client_wallet  bigint      NOT NULL REFERENCES ledger.wallet,
    advisor_wallet bigint      NOT NULL REFERENCES ledger.wallet,
    service        text        NOT NULL
                   CHECK (service IN ('chat', 'audio', 'video')),
    -- as they were when it was made
    rate_minor     bigint      NOT NULL CHECK (rate_minor > 0),
    commission_bps int         NOT NULL
                   CHECK (commission_bps BETWEEN 0 AND 10000),
    start_at       timestamptz NOT NULL,
    end_at         timestamptz NOT NULL CHECK (end_at > start_at),
    note           text        NOT NULL DEFAULT '',
    deposit        bigint      NOT NULL CHECK (deposit >= 0),
    -- of the client's wallet, now; what of the deposit went to the advisor
    held           bigint      NOT NULL DEFAULT 0,
    charged        bigint      NOT NULL DEFAULT 0
                   CHECK (charged BETWEEN 0 AND deposit),
    state          text        NOT NULL DEFAULT 'requested'
                   CHECK (state IN ('requested', 'confirmed', 'declined',
                                    'expired', 'cancelled', 'met', 'missed',
                                    'client_absent', 'advisor_absent')),
    ver            int         NOT NULL DEFAULT 1,
    reason         text,
    answer_by      timestamptz NOT NULL,
    -- when the engine looks at it next; NULL: it is over
    due_at         timestamptz,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    answered_at    timestamptz,
    reminded_at    timestamptz,
    opened_at      timestamptz,
    client_came_at timestamptz,
    advisor_came_at timestamptz,
    ended_at       timestamptz,
    ended_by       bigint      REFERENCES identity.account,
    session_id     bigint      REFERENCES consult.session,
    CONSTRAINT booking_live CHECK ((state IN ('requested', 'confirmed'))
                                   = (ended_at IS NULL)),
    CONSTRAINT booking_due CHECK ((due_at IS NULL) = (ended_at IS NOT NULL)),
    CONSTRAINT booking_money CHECK (held = CASE WHEN ended_at IS NULL
                                                THEN deposit ELSE 0 END),
    -- who asks under the advisory locks is told before; this is for all others
    CONSTRAINT booking_advisor EXCLUDE USING gist
        (consult.span(advisor_id, start_at, end_at) WITH &&)
        WHERE (ended_at IS NULL),
    CONSTRAINT booking_client EXCLUDE USING gist
        (consult.span(client_id, start_at, end_at) WITH &&)
        WHERE (ended_at IS NULL)
);

CREATE INDEX booking_of_client  ON consult.booking (client_id, id);
CREATE INDEX booking_of_advisor ON consult.booking (advisor_id, id);
CREATE INDEX booking_taken      ON consult.booking (advisor_id, start_at)
    WHERE ended_at IS NULL;
CREATE INDEX booking_next       ON consult.booking (due_at)
    WHERE due_at IS NOT NULL;
CREATE INDEX booking_session    ON consult.booking (session_id)
    WHERE session_id IS NOT NULL;
CREATE INDEX booking_purse      ON consult.booking (client_wallet)
    WHERE held > 0;

-- What somebody is told: kept as a list (type notification), and sent once to
-- whoever is connected.
CREATE TABLE consult.notice (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint      NOT NULL REFERENCES identity.account,
    type       text        NOT NULL
               CHECK (type IN ('notification', 'queue_state')),
    kind       text        NOT NULL DEFAULT '',
    payload    json        NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at    timestamptz,
    read_at    timestamptz
);

CREATE INDEX notice_untold ON consult.notice (id) WHERE told_at IS NULL;
CREATE INDEX notice_list   ON consult.notice (account_id, id)
    WHERE type = 'notification';
CREATE INDEX notice_unread ON consult.notice (account_id)
    WHERE type = 'notification' AND read_at IS NULL;

-- An advisor who came, and whose clients were not told yet.  A row goes when
-- the advisor has been away for a minute, so the next one is new.  Those who
-- are here now have been here before this.
ALTER TABLE consult.advisor_here
    ADD COLUMN told boolean NOT NULL DEFAULT true;
ALTER TABLE consult.advisor_here ALTER COLUMN told SET DEFAULT false;
CREATE INDEX advisor_here_untold ON consult.advisor_here (account_id)
    WHERE NOT told;

ALTER TABLE consult.favorite ADD COLUMN told_at timestamptz;

-- Who was in a session that is over is asked how it was.  The function is in
-- sql/functions/prompts.sql.
RESET ROLE;
SET ROLE astro_engine;

CREATE FUNCTION consult.session_over() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION consult.session_over() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.session_over() TO astro_owner;

RESET ROLE;
SET ROLE astro_owner;

CREATE TRIGGER session_over
    AFTER UPDATE OF settled ON consult.session
    FOR EACH ROW
    WHEN (NEW.settled AND NOT OLD.settled AND NEW.active_ms IS NOT NULL)
    EXECUTE FUNCTION consult.session_over();

-- A deposit that the advisor gets.  Not validated: there are no such rows, and
-- nothing else is allowed less than before.
ALTER TABLE ledger.transfer DROP CONSTRAINT transfer_kind;
ALTER TABLE ledger.transfer ADD CONSTRAINT transfer_kind CHECK (kind IN
    ('session', 'topup', 'adjustment', 'promo', 'promo_back', 'gift', 'refund',
     'freeze', 'release', 'reversal', 'reversal_fee', 'payout',
     'payout_return', 'debt', 'recovery', 'deposit')) NOT VALID;

ALTER TABLE consult.schedule ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.hours    ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.booking  ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.notice   ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.schedule FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.hours    FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.booking  FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.notice   FORCE ROW LEVEL SECURITY;

-- Anybody may ask when an advisor works; the advisor alone says so.
CREATE POLICY public ON consult.schedule FOR SELECT TO astro_api USING (true);
CREATE POLICY public ON consult.hours    FOR SELECT TO astro_api USING (true);
CREATE POLICY added ON consult.schedule FOR INSERT TO astro_api
    WITH CHECK (advisor_id = consult.caller());
CREATE POLICY changed ON consult.schedule FOR UPDATE TO astro_api
    USING (advisor_id = consult.caller());
CREATE POLICY added ON consult.hours FOR INSERT TO astro_api
    WITH CHECK (advisor_id = consult.caller());
CREATE POLICY dropped ON consult.hours FOR DELETE TO astro_api
    USING (advisor_id = consult.caller());
CREATE POLICY own ON consult.booking FOR SELECT TO astro_api
    USING (consult.caller() IN (client_id, advisor_id));
CREATE POLICY own ON consult.notice FOR ALL TO astro_api
    USING (account_id = consult.caller());
CREATE POLICY engine ON consult.booking FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON consult.notice FOR ALL TO astro_engine USING (true);
CREATE POLICY engine ON consult.favorite FOR ALL TO astro_engine USING (true);

REVOKE ALL ON FUNCTION consult.span(bigint, timestamptz, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.span(bigint, timestamptz, timestamptz)
    TO astro_api, astro_engine;

RESET ROLE;

GRANT SELECT ON consult.booking_option TO astro_api, astro_engine;
GRANT SELECT, INSERT, UPDATE ON consult.schedule TO astro_api;
GRANT SELECT, INSERT, DELETE ON consult.hours TO astro_api;
-- all of a booking's ways go with money: the engine's
GRANT SELECT ON consult.booking TO astro_api;
GRANT SELECT, INSERT, UPDATE ON consult.booking TO astro_engine;
GRANT SELECT, UPDATE (read_at) ON consult.notice TO astro_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON consult.notice TO astro_engine;
GRANT SELECT, UPDATE (told_at) ON consult.favorite TO astro_engine;
GRANT UPDATE (told) ON consult.advisor_here TO astro_engine;
