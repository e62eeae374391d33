-- Tables of what we are compared with, in a database of their own beside ours
-- in the same cluster, so with the same settings.

-- Socket.IO's messages
CREATE TABLE chat_message (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room   text        NOT NULL,
    sender text        NOT NULL,
    body   text        NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);

-- what chat_rows.sql fills: the columns and the indexes of our own events
CREATE TABLE event (
    conversation_id bigint      NOT NULL,
    seq             bigint      NOT NULL,
    at              timestamptz NOT NULL DEFAULT now(),
    type            text        NOT NULL,
    sender_id       bigint,
    cid             uuid,
    payload         json        NOT NULL,
    PRIMARY KEY (conversation_id, seq)
);

CREATE UNIQUE INDEX ON event (conversation_id, sender_id, cid)
    WHERE cid IS NOT NULL;

CREATE SEQUENCE event_seq CACHE 1000;

-- webhooks, as they came
CREATE TABLE webhook (
    event_id text PRIMARY KEY,
    type     text        NOT NULL,
    body     text        NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);

-- wallets, sessions and ticks of the three ways to tick
CREATE TABLE wallet (
    id      bigint PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 70);

CREATE TABLE session (
    id        bigint PRIMARY KEY,
    client    bigint NOT NULL,
    advisor   bigint NOT NULL,
    rate      bigint NOT NULL,
    bps       int    NOT NULL,
    billed_ms bigint NOT NULL DEFAULT 0,
    tick      int    NOT NULL DEFAULT 0,
    charged   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE tick (
    session bigint NOT NULL,
    seq     int    NOT NULL,
    amount  bigint NOT NULL,
    fee     bigint NOT NULL,
    balance bigint NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session, seq)
);

-- 50,000 sessions, each of a client and an advisor of its own
INSERT INTO wallet SELECT g, 1000000000 + g FROM generate_series(1, 100000) g;
INSERT INTO session (id, client, advisor, rate, bps)
SELECT g, g, 50000 + g, 2000, 1000 FROM generate_series(1, 50000) g;

VACUUM ANALYZE wallet;
VACUUM ANALYZE session;
