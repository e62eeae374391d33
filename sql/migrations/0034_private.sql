-- 0034: what is about one person is found by him; an erasure goes on where it
-- was, and waits for what must be kept.
--
-- Functions that were made anew with other arguments or columns go: nobody has
-- served with them.  The indexes keep writers of consult.notice, note and review
-- waiting while they are made.

DROP FUNCTION IF EXISTS api.erase(bigint, text, json);
DROP FUNCTION IF EXISTS consult.erase_begin(bigint, text, boolean);
DROP FUNCTION IF EXISTS consult.forfeit(bigint);
DROP FUNCTION IF EXISTS api.wallet_statement(bigint, json);

SET ROLE astro_owner;

CREATE INDEX notice_account ON consult.notice (account_id, id);
CREATE INDEX note_client    ON consult.note (client_id);
CREATE INDEX review_client  ON consult.review (client_id, session_id);

-- Within conv, the conversation that it is at: the last event that is done.
ALTER TABLE identity.erasure
    ADD COLUMN conv     bigint,
    ADD COLUMN seq      bigint NOT NULL DEFAULT 0,
    -- a conversation is kept for the other one's sake: when to look again
    ADD COLUMN again_at timestamptz;

RESET ROLE;
