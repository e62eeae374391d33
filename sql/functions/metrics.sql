-- metrics: what the billing worker tells of the whole deployment when it is
-- asked for metrics.

SET ROLE astro_engine;


-- billing.gauges: the rows (name, labels, value) of which gauges.c of the
-- worker makes metrics.  Asked every 10 s by each worker that may be asked, so
-- each row must be cheap: a lookup by an index, or a sum of few rows.
CREATE OR REPLACE FUNCTION billing.gauges()
RETURNS TABLE (name text, labels text, value bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'shards_free', '', count(*)
      FROM billing.shard_lease l
     WHERE l.expires_at <= clock_timestamp();

    RETURN QUERY
    SELECT 'sessions', format('state="%s"', x.state), coalesce(n.n, 0)
      FROM unnest('{requested,queued,ringing,accepted,connecting,active,
                    reconnecting,paused}'::text[]) AS x(state)
      LEFT JOIN (SELECT s.state, count(*) AS n FROM consult.session s
                  WHERE s.state <> 'ended' GROUP BY s.state) n
             ON n.state = x.state;

    RETURN QUERY
    SELECT g.name, g.labels, g.value
      FROM billing.outbox_stats() s
     CROSS JOIN LATERAL (VALUES
           ('outbox', 'state="waiting"', s.waiting),
           ('outbox', 'state="parked"', s.parked),
           ('outbox_age_seconds', '', s.age_ms / 1000))
           AS g(name, labels, value);

    RETURN QUERY
    SELECT g.name, format('kind="%s"', t.kind), g.value
      FROM billing.totals() t
     CROSS JOIN LATERAL (VALUES ('ledger_amount', t.amount),
                                ('ledger_fee', t.fee)) AS g(name, value);

    RETURN QUERY
    SELECT g.name, g.labels, g.value
      FROM billing.inbox_stats() s
     CROSS JOIN LATERAL (VALUES
           ('inbox', 'state="waiting"', s.waiting),
           ('inbox', 'state="parked"', s.parked),
           ('inbox_age_seconds', '', s.age_s))
           AS g(name, labels, value);

    RETURN QUERY SELECT g.name, g.labels, g.value FROM billing.stats_gauges() g;
END
$$;


REVOKE ALL ON FUNCTION billing.gauges() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.gauges() TO astro_worker;

RESET ROLE;
