-- 0037: what astro_private reads for people's exports, of tables that are always
-- in use: policies need a lock on each that everybody waits for.  So they are
-- here, in a transaction that has nothing else to do; the functions would make
-- what is missing.
-- Somebody who uses two of them the other way round may be a deadlock:
-- scripts/migrate.sh tries again.

SET ROLE astro_owner;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['consult.interval', 'consult.receipt',
        'consult.dispute', 'ledger.checkout', 'ledger.transfer',
        'stats.signin', 'stats.member', 'stats.active_day',
        'stats.advisor_day'] LOOP
        IF NOT EXISTS (SELECT FROM pg_policy p
                        WHERE p.polrelid = t::regclass
                          AND p.polname = 'private') THEN
            EXECUTE format('CREATE POLICY private ON %s FOR SELECT '
                           'TO astro_private USING (true)', t);
        END IF;
    END LOOP;
END
$$;

-- the same as payment_activity
DROP INDEX ledger.payment_owner;

RESET ROLE;
