-- hello: what a connection is told first.

-- It was astro_api's in the version before, whose body astro_hello may not run.
DO $$
BEGIN
    IF to_regprocedure('api.hello(bigint, bigint, bigint[])') IS NOT NULL THEN
        ALTER FUNCTION api.hello(bigint, bigint, bigint[])
            OWNER TO astro_hello;
    END IF;
END
$$;

SET ROLE astro_hello;


-- api.hello_batch: all that new connections start from, and their presence
-- rows, for the hellos that a gateway has received since the last batch.
-- callers: one account for each hello, an account may say it twice.  The
-- hello "asker" (from 1) asks about conversation "conv".  Rows in order
-- of ord, the place in callers, and for each hello in this order:
--
--   account  id    now   {"role","name","currency","blocked","valid_from"};
--                        the last: older tokens are no good (epoch seconds).
--                        now: epoch ms; of two sockets the later is the newer
--   wallet   id    NULL  {"balance","held","available"}, as api.wallet's; for
--                        a client or an advisor
--   conv     id    head  NULL
--   session  id    ver   snapshot
--
-- conv: those asked about that the caller is in, those of the caller's live
-- sessions, and the caller's 100 newest; each once.  session: the caller's
-- live ones.  No row at all: no such account.  A blocked one gets the account
-- row alone.
--
-- One statement for all of them: a call for each took twelve times as long,
-- most of it for starting statements.  Its role sees everybody's rows, so
-- each part below says whose they are.
--
-- Presence need not be on disk when this returns: should the database lose
-- it, it has lost its connections, too, and a gateway that comes back tells
-- it again.
--
-- The settings, and LIMIT 1 where one row is all there can be: a plan made
-- while the tables were small must look up by key when they have grown.  The
-- bitmap: an index in order of id stops at the 100th.
CREATE OR REPLACE FUNCTION api.hello_batch(callers bigint[], gateway bigint,
    asker int[], conv bigint[])
RETURNS TABLE (ord int, kind text, id bigint, num bigint, doc text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET synchronous_commit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT h.ord::int, a.id, a.role, a.name, a.blocked,
               a.tokens_valid_from
          FROM unnest(hello_batch.callers) WITH ORDINALITY AS h(id, ord),
               LATERAL (SELECT x.id, x.role, x.name, x.blocked,
                               x.tokens_valid_from
                          FROM identity.account x
                         WHERE x.id = h.id LIMIT 1) a
    ), who AS MATERIALIZED (
        SELECT k.ord, k.id, k.role FROM known k WHERE NOT k.blocked
    ), here AS (
        INSERT INTO consult.presence (account_id, gateway_id)
        SELECT DISTINCT w.id, g.id
          FROM consult.gateway g, who w
         WHERE g.id = hello_batch.gateway AND NOT g.closed
         ORDER BY w.id
        ON CONFLICT DO NOTHING
    ), advisors AS (
        -- where searches look for who is online; swept by billing.maintain
        INSERT INTO consult.advisor_here AS h (account_id)
        SELECT DISTINCT w.id FROM who w WHERE w.role = 'advisor'
         ORDER BY w.id
        ON CONFLICT (account_id) DO UPDATE SET at = excluded.at
    ), live AS MATERIALIZED (
        SELECT w.ord, s.id, s.conversation_id, s.session
          FROM who w,
               LATERAL (SELECT x.id, x.conversation_id, x AS session
                          FROM consult.session x
                         WHERE x.client_id = w.id AND x.state <> 'ended'
                         LIMIT 1) s
        UNION ALL
        SELECT w.ord, s.id, s.conversation_id, s.session
          FROM who w,
               LATERAL (SELECT x.id, x.conversation_id, x AS session
                          FROM consult.session x
                         WHERE x.advisor_id = w.id AND x.state <> 'ended'
                         LIMIT 1) s
    ), convs AS (
        -- UNION: each once
        SELECT w.ord, c.id, c.head
          FROM unnest(hello_batch.asker, hello_batch.conv) AS q(ord, id)
          JOIN who w ON w.ord = q.ord,
               LATERAL (SELECT * FROM consult.conversation x
                         WHERE x.id = q.id LIMIT 1) c
         WHERE w.id IN (c.client_id, c.advisor_id)
        UNION
        SELECT l.ord, c.id, c.head
          FROM live l,
               LATERAL (SELECT * FROM consult.conversation x
                         WHERE x.id = l.conversation_id LIMIT 1) c
        UNION
        SELECT w.ord, c.id, c.head
          FROM who w,
               LATERAL (SELECT * FROM consult.conversation x
                         WHERE x.client_id = w.id
                         ORDER BY x.id DESC LIMIT 100) c
        UNION
        SELECT w.ord, c.id, c.head
          FROM who w,
               LATERAL (SELECT * FROM consult.conversation x
                         WHERE x.advisor_id = w.id
                         ORDER BY x.id DESC LIMIT 100) c
    ), wallets AS (
        -- what sessions have earned an advisor is theirs, though not credited
        SELECT w.ord, m.id, m.held,
               m.balance + CASE w.role WHEN 'advisor' THEN
                   (SELECT coalesce(sum(s.charged - s.fee - s.credited),
                                    0)::bigint
                      FROM consult.session s
                     WHERE s.advisor_id = w.id AND NOT s.settled)
               ELSE 0 END AS balance
          FROM who w,
               LATERAL (SELECT * FROM ledger.wallet x
                         WHERE x.owner_id = w.id AND x.kind = w.role
                         LIMIT 1) m
    )
    SELECT r.ord, r.kind, r.id, r.num, r.doc
      FROM (SELECT k.ord, 1 AS part, 'account' AS kind, k.id,
                   consult.ms(clock_timestamp()) AS num,
                   '{"role":"' || k.role || '","name":' || to_json(k.name)
                   || ',"currency":"' || d.currency || '","blocked":'
                   || k.blocked || ',"valid_from":'
                   || coalesce(k.tokens_valid_from, 0) || '}' AS doc
              FROM known k, ledger.deployment d WHERE d.one
            UNION ALL
            SELECT w.ord, 2, 'wallet', w.id, NULL,
                   '{"balance":' || w.balance || ',"held":' || w.held
                   || ',"available":' || (w.balance - w.held) || '}'
              FROM wallets w
            UNION ALL
            SELECT c.ord, 3, 'conv', c.id, c.head, NULL FROM convs c
            UNION ALL
            SELECT l.ord, 4, 'session', l.id, (l.session).ver,
                   consult.snapshot(l.session)::text
              FROM live l) r
     ORDER BY r.ord, r.part, r.id;
END
$$;


-- api.hello: the rows of a single one.
--
-- Called by nginx workers of the version before.
CREATE OR REPLACE FUNCTION api.hello(caller bigint, gateway bigint,
    convs bigint[])
RETURNS TABLE (kind text, id bigint, num bigint, doc text)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.kind, h.id, h.num, h.doc
      FROM api.hello_batch(ARRAY[hello.caller], hello.gateway,
               array_fill(1, ARRAY[coalesce(cardinality(hello.convs), 0)]),
               hello.convs) WITH ORDINALITY
           AS h(ord, kind, id, num, doc, n)
     ORDER BY h.n
$$;


REVOKE ALL ON FUNCTION api.hello_batch(bigint[], bigint, int[], bigint[]),
    api.hello(bigint, bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.hello_batch(bigint[], bigint, int[], bigint[]),
    api.hello(bigint, bigint, bigint[]) TO astro_web;

RESET ROLE;
