-- books: whether the books are right, as far as anybody has looked: what the last
-- audit came to, when the vendors were asked for what nobody told us, what waits
-- for somebody to look at it.

SET ROLE astro_engine;


-- billing.audit_done: an audit has looked at all of the books.  said: the first
-- violation, NULL if there are none.  1: it is kept.  0: this is a standby, which
-- keeps nothing.
--
-- Called by `billing_worker audit`, after its snapshot.
CREATE OR REPLACE FUNCTION billing.audit_done(ms bigint, sessions bigint,
    transfers bigint, wallets bigint, violations bigint, said text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN 0;
    END IF;

    INSERT INTO ledger.audit_run (ms, sessions, transfers, wallets, violations,
                                  said)
    VALUES (greatest(ms, 0), sessions, transfers, wallets, violations,
            left(nullif(said, ''), 1000));

    RETURN 1;
END
$$;


-- billing.books: the document of GET /api/admin/books.
CREATE OR REPLACE FUNCTION billing.books() RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN json_build_object(
        'audit', (SELECT json_build_object(
                      'at', consult.rfc3339(a.ended_at), 'ms', a.ms,
                      'sessions', a.sessions, 'transfers', a.transfers,
                      'wallets', a.wallets, 'violations', a.violations,
                      'said', a.said)
                    FROM ledger.audit_run a ORDER BY a.id DESC LIMIT 1),
        'reconcile', (SELECT json_build_object(
                          'day', r.day,
                          'begun_at', consult.rfc3339(r.taken_at),
                          'finished_at', consult.rfc3339(r.finished_at))
                        FROM ledger.reconcile_run r
                       ORDER BY r.day DESC LIMIT 1),
        'webhooks', (SELECT json_build_object('waiting', i.waiting,
                                              'parked', i.parked,
                                              'oldest_s', i.age_s)
                       FROM billing.inbox_stats() i),
        'calls', (SELECT json_build_object('waiting', o.waiting,
                                           'parked', o.parked,
                                           'oldest_s', o.age_ms / 1000)
                    FROM billing.outbox_stats() o));
END
$$;


REVOKE ALL ON FUNCTION billing.books(),
    billing.audit_done(bigint, bigint, bigint, bigint, bigint, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.books() TO astro_api;
GRANT EXECUTE ON FUNCTION billing.audit_done(bigint, bigint, bigint, bigint,
    bigint, text) TO astro_worker;

RESET ROLE;
SET ROLE astro_api;


-- api.admin_books: see billing.books.
--
--   200 {audit:{at,ms,sessions,transfers,wallets,violations,said} or null,
--       reconcile:{day,begun_at,finished_at} or null,
--       webhooks:{waiting,parked,oldest_s},calls:{waiting,parked,oldest_s}}
--   403 forbidden                          no admin any more
--
-- Called by GET /api/admin/books.
CREATE OR REPLACE FUNCTION api.admin_books(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM consult.need_admin(caller);

    RETURN QUERY SELECT 200, billing.books();
END
$$;


REVOKE ALL ON FUNCTION api.admin_books(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.admin_books(bigint) TO astro_web;

RESET ROLE;
