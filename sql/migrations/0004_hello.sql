-- 0004: who signs people in, many at a time.
--
-- Safe under the version before: it goes on calling api.hello, which changes
-- hands with its new body, in functions/hello.sql, and not before.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'astro_hello') THEN
        CREATE ROLE astro_hello NOLOGIN NOINHERIT;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('astro_hello', 'MEMBER') THEN
        GRANT astro_hello TO CURRENT_USER;
    END IF;
END
$$;

SET ROLE astro_owner;

-- Written with the gateway's own row at hand, swept when that is closed, and
-- no gateway is ever deleted: looking it up once more for each of hundreds of
-- rows was most of the time that a batch took.
ALTER TABLE consult.presence DROP CONSTRAINT presence_gateway_id_fkey;

-- It acts for many people at once, and only looks.
CREATE POLICY hello ON ledger.wallet FOR SELECT TO astro_hello USING (true);
CREATE POLICY hello ON consult.conversation FOR SELECT TO astro_hello
    USING (true);
CREATE POLICY hello ON consult.session FOR SELECT TO astro_hello USING (true);

RESET ROLE;

GRANT USAGE ON SCHEMA identity, ledger, consult TO astro_hello;
GRANT USAGE, CREATE ON SCHEMA api TO astro_hello;
GRANT SELECT (id, role, name, blocked, tokens_valid_from) ON identity.account
   TO astro_hello;
GRANT SELECT ON ledger.deployment, ledger.wallet, consult.conversation,
      consult.session, consult.gateway TO astro_hello;
GRANT SELECT, INSERT ON consult.presence TO astro_hello;
