-- retained: what retention.sql does, has it been done?

SET ROLE astro_private;


-- billing.retained: has the walk of today been finished of each kind that has
-- days?  billing.retain_next says nothing, too, while others are at it.
CREATE OR REPLACE FUNCTION billing.retained(messages int, notices int,
    logins int, traces int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
    RETURN NOT EXISTS (
        SELECT FROM (VALUES ('messages', messages), ('notices', notices),
                            ('logins', logins), ('traces', traces))
                    AS x(kind, days)
         WHERE x.days > 0
           AND NOT EXISTS (SELECT FROM billing.retention r
                            WHERE r.kind = x.kind AND r.day >= v_today
                              AND r.finished_at IS NOT NULL));
END
$$;


REVOKE ALL ON FUNCTION billing.retained(int, int, int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.retained(int, int, int, int)
   TO astro_worker;

RESET ROLE;
