-- The request that was the reason for a row, as the module names it:
-- "<request id> <traceparent>".  A default, so that whoever inserts need not
-- know of it.  Not of sessions: their rows are written anew with every tick,
-- and the shorter they are, the better.

SET ROLE astro_owner;

ALTER TABLE billing.outbox ADD COLUMN trace text;
ALTER TABLE billing.outbox ALTER COLUMN trace
    SET DEFAULT nullif(current_setting('astro.trace', true), '');

ALTER TABLE ledger.webhook_inbox ADD COLUMN trace text;
ALTER TABLE ledger.webhook_inbox ALTER COLUMN trace
    SET DEFAULT nullif(current_setting('astro.trace', true), '');

ALTER TABLE consult.notice ADD COLUMN trace text;
ALTER TABLE consult.notice ALTER COLUMN trace
    SET DEFAULT nullif(current_setting('astro.trace', true), '');

RESET ROLE;
