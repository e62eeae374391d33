-- 0023: reads that are answered many at a time; who is away, found at once.
--
-- Safe under the version before, which calls none of it.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'astro_group') THEN
        CREATE ROLE astro_group NOLOGIN NOINHERIT;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('astro_group', 'MEMBER') THEN
        GRANT astro_group TO CURRENT_USER;
    END IF;
END
$$;

SET ROLE astro_owner;

-- The accounts on whose behalf the current transaction reads; functions of
-- astro_group set it transaction-local before they touch a table.
CREATE FUNCTION consult.callers() RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('astro.callers', true), '')::bigint[]
$$;

REVOKE ALL ON FUNCTION consult.callers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.callers() TO astro_group;

-- Rows of those who ask, and of nobody else: a join that was forgotten mixes
-- up those of one group at the worst.  The subquery is evaluated once.  "+ 0"
-- keeps it out of the index's conditions, where the whole array would be
-- sorted anew for each row.
CREATE POLICY callers ON ledger.wallet FOR SELECT TO astro_group
    USING (owner_id + 0 = ANY ((SELECT consult.callers())::bigint[]));
CREATE POLICY callers ON consult.session FOR SELECT TO astro_group
    USING (advisor_id + 0 = ANY ((SELECT consult.callers())::bigint[])
           OR client_id + 0 = ANY ((SELECT consult.callers())::bigint[]));

RESET ROLE;

GRANT USAGE ON SCHEMA identity, ledger, consult TO astro_group;
GRANT USAGE, CREATE ON SCHEMA api TO astro_group;
GRANT SELECT (id, email, name, role, created_at, blocked)
   ON identity.account TO astro_group;
GRANT SELECT ON ledger.deployment TO astro_group;
GRANT SELECT (id, owner_id, kind, balance, held) ON ledger.wallet
   TO astro_group;
GRANT SELECT (client_id, advisor_id, charged, fee, credited, settled)
   ON consult.session TO astro_group;

-- Searches ask of everybody who is online whether they are away: few are.
SET ROLE astro_owner;
CREATE INDEX advisor_away ON identity.advisor (account_id) WHERE away;
RESET ROLE;
