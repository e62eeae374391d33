-- 0007: who has decided from memory can tell whether it was right.
--
-- ver goes up with what people are told of a session; rev with every other
-- thing that a charge depends on and of which nobody is told: an interval that
-- closes while its party has another one, or because the paid time was over; a
-- segment; the client's role.  billing.tick() is conditional on both.
--
-- Triggers, so that no function, and nobody with psql, can forget it.  They run
-- in the transaction that moves the interval, and lock the session's row, which
-- every function has locked before.
--
-- Safe under the version before: its functions fire the triggers, too, and its
-- worker, which reads before each decision, does not need them.

SET ROLE astro_owner;

ALTER TABLE consult.session ADD COLUMN rev int NOT NULL DEFAULT 0;

RESET ROLE;
SET ROLE astro_engine;

-- It updates as the role that sees all sessions: who may write an interval may
-- not write a session's rev.
CREATE FUNCTION consult.moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    UPDATE consult.session s SET rev = s.rev + 1
     WHERE s.id = ANY(ARRAY(SELECT m.session_id FROM moved m));

    RETURN NULL;
END
$$;

-- A client who is made something else pays nothing any more.
CREATE FUNCTION consult.role_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    UPDATE consult.session s SET rev = s.rev + 1
     WHERE s.client_id = new.id AND s.state <> 'ended';

    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION consult.moved(), consult.role_changed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.moved(), consult.role_changed()
   TO astro_owner;

RESET ROLE;
SET ROLE astro_owner;

CREATE TRIGGER role_changed AFTER UPDATE OF role ON identity.account
    FOR EACH ROW WHEN (old.role IS DISTINCT FROM new.role)
    EXECUTE FUNCTION consult.role_changed();

CREATE TRIGGER opened AFTER INSERT ON consult.interval
    REFERENCING NEW TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION consult.moved();
CREATE TRIGGER closed AFTER UPDATE ON consult.interval
    REFERENCING NEW TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION consult.moved();
CREATE TRIGGER removed AFTER DELETE ON consult.interval
    REFERENCING OLD TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION consult.moved();

CREATE TRIGGER opened AFTER INSERT ON consult.segment
    REFERENCING NEW TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION consult.moved();
CREATE TRIGGER closed AFTER UPDATE ON consult.segment
    REFERENCING NEW TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION consult.moved();
CREATE TRIGGER removed AFTER DELETE ON consult.segment
    REFERENCING OLD TABLE AS moved
    FOR EACH STATEMENT EXECUTE FUNCTION consult.moved();

RESET ROLE;
