-- trace: which request was the reason for something that a worker does later.
-- The rows have it by default (migration 0032); the module sets astro.trace in
-- each transaction that is one request's.

SET ROLE astro_engine;


-- billing.outbox_trace, inbox_trace: of a row; NULL: of none.
CREATE OR REPLACE FUNCTION billing.outbox_trace(id bigint) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT o.trace FROM billing.outbox o
             WHERE o.id = outbox_trace.id);
END
$$;


CREATE OR REPLACE FUNCTION billing.inbox_trace(id bigint) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT i.trace FROM ledger.webhook_inbox i
             WHERE i.id = inbox_trace.id);
END
$$;


REVOKE ALL ON FUNCTION billing.outbox_trace(bigint),
    billing.inbox_trace(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.outbox_trace(bigint),
    billing.inbox_trace(bigint) TO astro_worker;

RESET ROLE;
