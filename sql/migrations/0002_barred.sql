-- 0002: accounts that are blocked, and tokens that were revoked.
--
-- Safe under the version before: it reads none of this.  Both indexes are
-- partial and nearly empty, so making them costs one pass over the accounts.

SET ROLE astro_owner;

ALTER TABLE identity.account
    -- tokens issued before (iat, epoch seconds) are no good; NULL: all are
    ADD COLUMN tokens_valid_from bigint,
    -- when that or "blocked" was last changed; NULL: never
    ADD COLUMN barred_at         timestamptz;

UPDATE identity.account SET barred_at = clock_timestamp() WHERE blocked;

-- whose sockets must go, asked for a few hundred accounts at a time
CREATE INDEX account_barred ON identity.account (id)
    WHERE blocked OR tokens_valid_from IS NOT NULL;
-- what has changed since the last look
CREATE INDEX account_barred_at ON identity.account (barred_at)
    WHERE barred_at IS NOT NULL;

-- Whoever changes these columns, the change is found: by a function of api, by
-- hand, by a tool of tomorrow.
CREATE FUNCTION identity.account_barred() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.barred_at := clock_timestamp();
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION identity.account_barred() FROM PUBLIC;

CREATE TRIGGER account_barred
    BEFORE UPDATE OF blocked, tokens_valid_from ON identity.account
    FOR EACH ROW
    WHEN (OLD.blocked <> NEW.blocked
          OR OLD.tokens_valid_from IS DISTINCT FROM NEW.tokens_valid_from)
    EXECUTE FUNCTION identity.account_barred();

RESET ROLE;

GRANT UPDATE (blocked, tokens_valid_from) ON identity.account TO astro_api;
