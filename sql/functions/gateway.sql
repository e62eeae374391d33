-- gateway: the leases of nginx workers, what closes with them, and who is
-- connected where.
--
-- A lease is one row of consult.gateway for each run of an nginx worker, and
-- its clock.  Locks: the lease, then sessions by id.

SET ROLE astro_owner;

-- consult.close_intervals: closes those of these intervals that are this
-- gateway's and open, at lives (never beyond its life_ms or their cut, never
-- before their opening) for reasons; tells their sessions, whose new state begins at
-- instant.  The caller has locked the lease's row; sessions are locked here, in
-- id order.  Returns the ids of the sessions that had one of the intervals.
--
-- A party without an open interval is no longer present: ver is bumped, and an
-- active session becomes reconnecting.  Not so when the reason was 'unpaid':
-- then the parties are there and the money is not, which the engine decides.
-- An ended session is left as it is.
--
-- Ids go through arrays: as joins, a plan made on small tables compared every
-- live session with every interval, ten seconds of it when 400 sockets broke.
CREATE OR REPLACE FUNCTION consult.close_intervals(gateway bigint,
    life_ms bigint, instant bigint, ids bigint[], lives bigint[],
    reasons text[])
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_sessions bigint[];
    v_accounts bigint[];
    v_reasons  text[];
    v_quiet    bigint[];
BEGIN
    v_sessions := ARRAY(SELECT DISTINCT i.session_id FROM consult.interval i
                         WHERE i.id = ANY(close_intervals.ids)
                           AND i.gateway_id = close_intervals.gateway
                           AND i.close_life_ms IS NULL);

    PERFORM 1 FROM consult.session s
      WHERE s.id = ANY(v_sessions)
      ORDER BY s.id FOR NO KEY UPDATE;

    WITH closed AS (
        UPDATE consult.interval i
           SET close_life_ms = greatest(i.open_life_ms, least(c.life,
                                        close_intervals.life_ms,
                                        i.cut_life_ms)),
               close_reason = c.why
          FROM unnest(close_intervals.ids, close_intervals.lives,
                      close_intervals.reasons) AS c(id, life, why)
         WHERE i.id = c.id AND i.gateway_id = close_intervals.gateway
           AND i.close_life_ms IS NULL
        RETURNING i.session_id, i.account_id, i.close_reason)
    SELECT array_agg(c.session_id), array_agg(c.account_id),
           array_agg(c.close_reason)
      INTO v_sessions, v_accounts, v_reasons
      FROM closed c;

    IF v_sessions IS NULL THEN
        RETURN '{}';
    END IF;

    v_quiet := ARRAY(SELECT c.session
                       FROM unnest(v_sessions, v_accounts, v_reasons)
                            AS c(session, account, why)
                      WHERE c.why IS DISTINCT FROM 'unpaid'
                        AND (SELECT true FROM consult.interval i
                              WHERE i.session_id = c.session
                                AND i.account_id = c.account
                                AND i.close_life_ms IS NULL LIMIT 1) IS NULL);

    UPDATE consult.session s
       SET ver = s.ver + 1,
           state = CASE s.state WHEN 'active' THEN 'reconnecting'
                                ELSE s.state END,
           state_ms = CASE s.state WHEN 'active' THEN close_intervals.instant
                                   ELSE s.state_ms END
     WHERE s.id = ANY(v_quiet) AND s.state <> 'ended';

    RETURN v_sessions;
END
$$;

-- consult.look: one row for each of the sessions touched and watched; see
-- api.gateway_renew.
CREATE OR REPLACE FUNCTION consult.look(touched bigint[], watched bigint[],
    vers int[])
RETURNS SETOF api.session_outcome
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT CASE WHEN s.id IS NULL THEN 404 ELSE 200 END,
           CASE WHEN s.id IS NULL
                THEN consult.error('not_found', 'no such session') END,
           false, w.id, s.ver, s.state, s.paid_until_ms, s.client_id,
           s.advisor_id, s.conversation_id, c.head,
           -- touched ones have no known ver
           CASE WHEN s.ver > coalesce(w.ver, 0)
                THEN consult.snapshot(s) END,
           NULL::bigint, NULL::bigint, NULL::text
      FROM (SELECT u.id, CASE WHEN u.id = ANY(look.touched) THEN 0
                              ELSE min(u.ver) END AS ver
              FROM (SELECT x.id, x.ver
                      FROM unnest(look.watched, look.vers) AS x(id, ver)
                    UNION ALL
                    SELECT t.id, 0 FROM unnest(look.touched) AS t(id)) u
             WHERE u.id IS NOT NULL GROUP BY u.id) w
      LEFT JOIN consult.session s ON s.id = w.id
      LEFT JOIN consult.conversation c ON c.id = s.conversation_id
     ORDER BY w.id;
END
$$;

REVOKE ALL ON FUNCTION consult.close_intervals(bigint, bigint, bigint,
        bigint[], bigint[], text[]),
    consult.look(bigint[], bigint[], int[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.close_intervals(bigint, bigint, bigint,
        bigint[], bigint[], text[]),
    consult.look(bigint[], bigint[], int[]) TO astro_gateway;

RESET ROLE;
SET ROLE astro_gateway;


-- api.gateway_open: a new lease.  started_ms is the database's clock, read
-- once; life_ms counts from the moment this returns.  silence_ms: after how
-- long a silent party of a live session is taken for gone.
--
-- Called when an nginx worker starts, and again when its lease was closed
-- behind its back.  Sweeps presence rows that a hello wrote while its gateway
-- was being closed.
CREATE OR REPLACE FUNCTION api.gateway_open(node text, pid int, silence_ms int)
RETURNS TABLE (gateway bigint, started_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM consult.presence p USING consult.gateway g
     WHERE g.id = p.gateway_id AND g.closed;

    RETURN QUERY
    INSERT INTO consult.gateway AS g (node, pid, started_ms, silence_ms)
    VALUES (gateway_open.node, gateway_open.pid,
            consult.ms(clock_timestamp()), gateway_open.silence_ms)
    RETURNING g.id, g.started_ms;
END
$$;


-- api.gateway_renew: the lease goes on; what closed since the last time is
-- written, and some sessions are looked at.
--
--   life_ms          now; the row keeps the greatest it has seen
--   interval_ids, close_lives, close_reasons
--                    intervals that have closed: last | gone | left | unpaid
--                    or whatever C calls it; only this gateway's open ones
--                    are touched, so that a repeat does nothing
--                    None closes earlier than the last renewal less the
--                    gateway's silence: a tick may have billed so far, and a
--                    worker that was frozen meanwhile cannot take it back.
--                    But nothing beyond paid_until was billed: an unpaid one
--                    ends there, so that money that comes later, and moves
--                    paid_until on, does not buy the pause
--   sessions, vers   watched sessions and the ver known of each
--
--   410  one row, alone: the lease is closed or gone; nothing was done.  Open
--        a new one
--   200  a row for each session of which this call closed an interval, and for
--        each watched one; in order of id, each once.  paid_until_ms and head
--        are always set; snapshot only if ver is above the known one or an
--        interval was closed.  body is NULL
--   404  with session_id: there is no such session (body is the error)
--
-- Called by each nginx worker every second, and at once when something closed.
CREATE OR REPLACE FUNCTION api.gateway_renew(gateway bigint, life_ms bigint,
    interval_ids bigint[], close_lives bigint[], close_reasons text[],
    sessions bigint[], vers int[])
RETURNS SETOF api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_life    bigint;
    v_started bigint;
    v_proven  bigint;
    v_touched bigint[] := '{}';
BEGIN
    UPDATE consult.gateway g
       SET life_ms = greatest(g.life_ms, gateway_renew.life_ms),
           renewed_at = clock_timestamp()
      FROM (SELECT o.id, o.life_ms FROM consult.gateway o
             WHERE o.id = gateway_renew.gateway FOR NO KEY UPDATE) old
     WHERE g.id = old.id AND NOT g.closed
    RETURNING g.life_ms, g.started_ms, old.life_ms - g.silence_ms
         INTO v_life, v_started, v_proven;

    IF NOT FOUND THEN
        RETURN NEXT consult.refusal(410, 'gone',
                                    'the lease of this gateway is closed');
        RETURN;
    END IF;

    IF cardinality(interval_ids) > 0 THEN
        -- paid_until is read under the lock that it is moved under
        PERFORM 1 FROM consult.session s
          WHERE s.id = ANY(ARRAY(SELECT i.session_id FROM consult.interval i
                                  WHERE i.id = ANY(interval_ids)
                                    AND i.gateway_id = gateway_renew.gateway
                                    AND i.close_life_ms IS NULL))
          ORDER BY s.id FOR NO KEY UPDATE;

        v_touched := consult.close_intervals(gateway, v_life,
                         v_started + v_life, interval_ids,
                         ARRAY(SELECT greatest(l.life, CASE WHEN l.why =
                                      'unpaid' THEN least(v_proven,
                                          (SELECT s.paid_until_ms - v_started
                                             FROM consult.interval i
                                             JOIN consult.session s
                                               ON s.id = i.session_id
                                            WHERE i.id = l.interval))
                                      ELSE v_proven END)
                                 FROM unnest(interval_ids, close_lives,
                                             close_reasons)
                                      WITH ORDINALITY
                                      AS l(interval, life, why, nth)
                                ORDER BY l.nth),
                         close_reasons);
    END IF;

    IF cardinality(sessions) > 0 OR cardinality(v_touched) > 0 THEN
        RETURN QUERY SELECT * FROM consult.look(v_touched, sessions, vers);
    END IF;
END
$$;


-- api.gateway_close: the lease ends, by the worker itself as it exits: closes
-- what is open at life_ms (reason 'exit'), removes its presence.  Rows as
-- gateway_renew's, for the sessions touched; none if it was closed already.
--
-- Called once, when an nginx worker has drained.
CREATE OR REPLACE FUNCTION api.gateway_close(gateway bigint, life_ms bigint)
RETURNS SETOF api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_life    bigint;
    v_started bigint;
    v_open    bigint[];
BEGIN
    UPDATE consult.gateway g
       SET life_ms = greatest(g.life_ms, gateway_close.life_ms),
           renewed_at = clock_timestamp(), closed = true
     WHERE g.id = gateway_close.gateway AND NOT g.closed
    RETURNING g.life_ms, g.started_ms INTO v_life, v_started;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- who is still entered had no time to leave
    WITH gone AS (
        DELETE FROM consult.presence p
         WHERE p.gateway_id = gateway_close.gateway
        RETURNING p.account_id)
    INSERT INTO consult.last_seen AS l (account_id, seen_at, left_at)
    SELECT g.account_id, clock_timestamp(), clock_timestamp()
      FROM gone g ORDER BY g.account_id
    ON CONFLICT (account_id) DO UPDATE
       SET seen_at = greatest(l.seen_at, excluded.seen_at),
           left_at = greatest(l.left_at, excluded.left_at);

    v_open := ARRAY(SELECT i.id FROM consult.interval i
                     WHERE i.gateway_id = gateway_close.gateway
                       AND i.close_life_ms IS NULL);

    IF cardinality(v_open) > 0 THEN
        v_open := consult.close_intervals(gateway, v_life, v_started + v_life,
                      v_open, array_fill(v_life, ARRAY[cardinality(v_open)]),
                      array_fill('exit'::text, ARRAY[cardinality(v_open)]));

        RETURN QUERY SELECT * FROM consult.look(v_open, NULL, NULL);
    END IF;
END
$$;


-- api.gateway_intervals: which intervals of these sessions are this gateway's
-- and open.  Rows (session_id, interval_id, open_life_ms).
--
-- Called by an nginx worker that has lost the answer to a session_join: what it
-- does not know of, nobody would close before the lease ends.
CREATE OR REPLACE FUNCTION api.gateway_intervals(gateway bigint,
    sessions bigint[])
RETURNS TABLE (session_id bigint, interval_id bigint, open_life_ms bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.session_id, i.id, i.open_life_ms
      FROM consult.interval i
     WHERE i.gateway_id = gateway_intervals.gateway
       AND i.session_id = ANY(gateway_intervals.sessions)
       AND i.close_life_ms IS NULL;
END
$$;


-- api.presence: who has come to this gateway and who has gone from it, since
-- the last time.  An account in both is online.  Does nothing for a lease that
-- is closed.
--
-- Called by each nginx worker, batched.  Send offline only for accounts whose
-- hello is not in flight: hello writes its own row.
CREATE OR REPLACE FUNCTION api.presence(gateway bigint, online bigint[],
    offline bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM consult.presence p
     WHERE p.gateway_id = presence.gateway
       AND p.account_id = ANY(presence.offline)
       AND p.account_id <> ALL(coalesce(presence.online, '{}'));

    INSERT INTO consult.presence (account_id, gateway_id)
    SELECT DISTINCT o.id, g.id
      FROM unnest(presence.online) AS o(id)
      JOIN consult.gateway g ON g.id = presence.gateway AND NOT g.closed
     ORDER BY o.id
    ON CONFLICT DO NOTHING;

    INSERT INTO consult.advisor_here (account_id)
    SELECT DISTINCT o.id
      FROM unnest(presence.online) AS o(id)
      JOIN identity.advisor d ON d.account_id = o.id
     ORDER BY o.id
    ON CONFLICT (account_id) DO UPDATE SET at = excluded.at;
END
$$;


REVOKE ALL ON FUNCTION api.gateway_open(text, int, int),
    api.gateway_renew(bigint, bigint, bigint[], bigint[], text[], bigint[],
        int[]),
    api.gateway_close(bigint, bigint),
    api.gateway_intervals(bigint, bigint[]),
    api.presence(bigint, bigint[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.gateway_open(text, int, int),
    api.gateway_renew(bigint, bigint, bigint[], bigint[], text[], bigint[],
        int[]),
    api.gateway_close(bigint, bigint),
    api.gateway_intervals(bigint, bigint[]),
    api.presence(bigint, bigint[], bigint[]) TO astro_web;

RESET ROLE;
