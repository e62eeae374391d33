-- heal: what a worker of nginx may have missed.  Everything here has been
-- said once, by Redis or a ring; this finds what was lost on the way.

SET ROLE astro_gateway;


-- api.heal: what is news to a worker about some of the users connected to it.
-- Only what it does not know comes back: for an idle user nothing, and three
-- index probes.
--
--   users, iats   accounts, and when the oldest token in use by each was
--                 issued (epoch seconds)
--   told_users, told, vers, heads
--                 who of them was told of which session, the ver, and the
--                 last seq that was written of its conversation (-1: the
--                 worker does not know where that conversation began)
--   since         epoch ms: also all accounts barred or unbarred after that;
--                 NULL: don't ask
--
-- Rows (unused columns are NULL):
--
--   session   id, num = the user.  A live session of the user that was not
--             told, or a told one that has changed or has ended for good.
--             doc: the snapshot if ver is above the one told.  settled: it has
--             ended and its session_end event is stored, so that nothing more
--             is to come.  start: where the conversation's events of this
--             session begin, for one who does not know: the highest seq
--             before it; NULL if the worker knows
--   account   id, num = tokens_valid_from, state = blocked | revoked | good
--   token     id = the account, num = when it has expired (epoch seconds),
--             doc = the "sid" or "jti" of tokens that were revoked, if since
--             was given
--   drop      id = the account (NULL: all), num = the instant: sockets of
--             those who said hello up to then are to be closed, if since was
--             given
--   clock     num: the database's clock, epoch ms, if since was given
--
-- A session is given only together with one of its parties: a worker that
-- mixes them up is told nothing.
--
-- Called by each nginx worker: each of its users every 4 s, all of them after
-- a break; since is given twice a second.  256 users a call cost 1.8 us each when idle, 18 when in a session
-- (15,000 users, 217,000 sessions, 720,000 events; no table is scanned).
CREATE OR REPLACE FUNCTION api.heal(users bigint[], iats bigint[],
    told_users bigint[], told bigint[], vers int[], heads bigint[],
    since bigint)
RETURNS TABLE (kind text, id bigint, num bigint, ver int, state text,
    paid_until_ms bigint, client_id bigint, advisor_id bigint,
    conversation_id bigint, head bigint, start bigint, settled boolean,
    doc text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'session', s.id, w.who, s.ver, s.state, s.paid_until_ms,
           s.client_id, s.advisor_id, c.id, c.head,
           CASE WHEN coalesce(w.head, -1) < 0
                THEN coalesce((SELECT e.seq FROM consult.event e
                                WHERE e.conversation_id = c.id
                                  AND e.at < s.created_at
                                ORDER BY e.seq DESC LIMIT 1), 0) END,
           s.settled,
           CASE WHEN s.ver > coalesce(w.ver, -1)
                THEN consult.snapshot(s)::text END
      FROM (SELECT x.who, x.session, max(x.ver) AS ver, max(x.head) AS head
              FROM (SELECT u.id AS who, l.id AS session, NULL::int AS ver,
                           NULL::bigint AS head
                      FROM unnest(heal.users) AS u(id)
                      JOIN consult.session l
                        ON l.client_id = u.id AND l.state <> 'ended'
                    UNION ALL
                    SELECT u.id, l.id, NULL::int, NULL::bigint
                      FROM unnest(heal.users) AS u(id)
                      JOIN consult.session l
                        ON l.advisor_id = u.id AND l.state <> 'ended'
                    UNION ALL
                    SELECT t.who, t.session, t.ver, t.head
                      FROM unnest(heal.told_users, heal.told, heal.vers,
                                  heal.heads) AS t(who, session, ver, head)) x
             GROUP BY x.who, x.session) w
      JOIN consult.session s
        ON s.id = w.session AND w.who IN (s.client_id, s.advisor_id)
      JOIN consult.conversation c ON c.id = s.conversation_id
     WHERE w.ver IS NULL OR s.ver > w.ver OR c.head > w.head OR w.head < 0
        OR s.settled
     ORDER BY s.id;

    -- the first condition is the index's
    RETURN QUERY
    SELECT 'account', a.id, a.tokens_valid_from, NULL::int,
           CASE WHEN a.blocked THEN 'blocked' ELSE 'revoked' END,
           NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
           NULL::bigint, NULL::bigint, NULL::boolean, NULL::text
      FROM unnest(heal.users, heal.iats) AS u(id, iat)
      JOIN identity.account a ON a.id = u.id
     WHERE (a.blocked OR a.tokens_valid_from IS NOT NULL)
       AND (a.blocked OR a.tokens_valid_from > u.iat);

    IF since IS NULL THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 'account', a.id, a.tokens_valid_from, NULL::int,
           CASE WHEN a.blocked THEN 'blocked'
                WHEN a.tokens_valid_from IS NULL THEN 'good'
                ELSE 'revoked' END,
           NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
           NULL::bigint, NULL::bigint, NULL::boolean, NULL::text
      FROM identity.account a
     WHERE a.barred_at > to_timestamp(heal.since / 1000.0)
    UNION ALL
    SELECT 'token', r.account_id, consult.ms(r.until) / 1000, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, r.id
      FROM identity.revoked r
     WHERE r.at > to_timestamp(heal.since / 1000.0) AND r.until > now()
    UNION ALL
    SELECT 'drop', d.account_id, consult.ms(d.at), NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL
      FROM consult.disconnect d
     WHERE d.at > to_timestamp(heal.since / 1000.0)
    UNION ALL
    SELECT 'clock', NULL, consult.ms(clock_timestamp()), NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL;
END
$$;


REVOKE ALL ON FUNCTION api.heal(bigint[], bigint[], bigint[], bigint[], int[],
    bigint[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.heal(bigint[], bigint[], bigint[], bigint[],
    int[], bigint[], bigint) TO astro_web;

RESET ROLE;
