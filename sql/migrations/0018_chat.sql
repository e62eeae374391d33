-- What becomes of messages after they were stored: edits, deletions, reactions,
-- quotes, receipts.  consult.event stays what it was, append only: a message
-- that was deleted is still there for disputes, and nobody is shown it.

SET ROLE astro_owner;

-- What is read in place of an event's payload.  No row: the event as it is.
CREATE TABLE consult.message_change (
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    ver             int    NOT NULL,    -- 1 as stored; an edit or deletion: + 1
    payload         json   NOT NULL,
    edited_at       timestamptz,
    deleted_at      timestamptz,
    edits           bigint[] NOT NULL DEFAULT '{}', -- seq of its chat_edit
    PRIMARY KEY (conversation_id, seq)
) WITH (fillfactor = 70);

-- Which messages quote which: what is deleted is quoted no longer.
CREATE TABLE consult.quote (
    conversation_id bigint NOT NULL,
    msg             bigint NOT NULL,
    seq             bigint NOT NULL,
    PRIMARY KEY (conversation_id, msg, seq)
);

CREATE TABLE consult.reaction (
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    account_id      bigint NOT NULL,
    emoji           text   NOT NULL,
    PRIMARY KEY (conversation_id, seq, account_id)
);

-- How far somebody has got, and read, a conversation.  Only ever rises.
CREATE TABLE consult.receipt (
    conversation_id bigint NOT NULL REFERENCES consult.conversation,
    account_id      bigint NOT NULL,
    delivered       bigint NOT NULL,
    read            bigint NOT NULL,
    PRIMARY KEY (conversation_id, account_id),
    CHECK (read BETWEEN 0 AND delivered)
) WITH (fillfactor = 45);

-- One row: for how long the two may write to each other after a session, and
-- for how long a message may be edited.
CREATE TABLE consult.chat_option (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    followup_ms bigint  NOT NULL DEFAULT 0      CHECK (followup_ms >= 0),
    edit_ms     bigint  NOT NULL DEFAULT 600000 CHECK (edit_ms >= 0)
);

INSERT INTO consult.chat_option DEFAULT VALUES;

ALTER TABLE consult.message_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.message_change FORCE  ROW LEVEL SECURITY;
ALTER TABLE consult.quote          ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.quote          FORCE  ROW LEVEL SECURITY;
ALTER TABLE consult.reaction       ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.reaction       FORCE  ROW LEVEL SECURITY;
ALTER TABLE consult.receipt        ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.receipt        FORCE  ROW LEVEL SECURITY;

CREATE POLICY own ON consult.message_change FOR SELECT TO astro_api
    USING ((SELECT true FROM consult.conversation c
             WHERE c.id = conversation_id));
CREATE POLICY own ON consult.reaction FOR SELECT TO astro_api
    USING ((SELECT true FROM consult.conversation c
             WHERE c.id = conversation_id));
CREATE POLICY own ON consult.receipt FOR SELECT TO astro_api
    USING ((SELECT true FROM consult.conversation c
             WHERE c.id = conversation_id));

CREATE POLICY gateway ON consult.message_change FOR ALL TO astro_gateway
    USING (true);
CREATE POLICY gateway ON consult.quote    FOR ALL TO astro_gateway USING (true);
CREATE POLICY gateway ON consult.reaction FOR ALL TO astro_gateway USING (true);
CREATE POLICY gateway ON consult.receipt  FOR ALL TO astro_gateway USING (true);

RESET ROLE;

GRANT SELECT ON consult.message_change, consult.reaction, consult.receipt
   TO astro_api;
GRANT SELECT, INSERT, UPDATE ON consult.message_change, consult.receipt
   TO astro_gateway;
GRANT SELECT, INSERT ON consult.quote TO astro_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON consult.reaction TO astro_gateway;
GRANT SELECT ON consult.chat_option TO astro_gateway;
