-- maintenance: partitions of the journal, made ahead and rolled up.
--
-- The worker calls billing.maintain() now and then; it decides what is due by
-- the rows.  What needs the owner of the tables is in two functions that only
-- astro_engine may call, and that look again before they act.

SET ROLE astro_owner;


-- ledger.part_name: of the partition of sessions n * 2^20 <= id < (n+1) * 2^20.
CREATE OR REPLACE FUNCTION ledger.part_name(part int) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'transfer_s' || lpad(part::text, 6, '0')
$$;


-- ledger.part_make: a partition, like those of migration 0005.
--
-- It is made apart and then attached: that takes no lock on the journal which
-- a tick would wait for.  transfer_other is locked for a moment; it is not
-- read, as its CHECK says that no charge can be in it.
--
-- Raises 55P03 if somebody keeps transfer_other locked; nothing is lost by
-- trying later.
CREATE OR REPLACE FUNCTION ledger.part_make(part int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms' AS $$
DECLARE
    v_name text := ledger.part_name(part);
BEGIN
    IF part IS NULL OR part < 0 THEN
        RAISE EXCEPTION 'no partition has the number %', part
              USING ERRCODE = '22023';
    END IF;

    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.transfer INCLUDING '
                   'DEFAULTS INCLUDING CONSTRAINTS)', v_name);
    EXECUTE format('ALTER TABLE ledger.%I ENABLE ROW LEVEL SECURITY, '
                   'FORCE ROW LEVEL SECURITY', v_name);
    EXECUTE format('CREATE UNIQUE INDEX %I ON ledger.%I '
                   '(session_id, charge_no)', v_name || '_charge', v_name);
    EXECUTE format('CREATE POLICY owner ON ledger.%I FOR SELECT '
                   'TO astro_owner USING (true)', v_name);
    EXECUTE format('ALTER TABLE ledger.transfer ATTACH PARTITION ledger.%I '
                   'FOR VALUES FROM (%s) TO (%s)', v_name,
                   part * 1048576::bigint, (part + 1) * 1048576::bigint);
END
$$;


-- ledger.part_drop: a partition goes, if what it came to was written down in
-- this transaction, and is still what it comes to.
--
-- To drop it takes a lock on the journal that ticks do wait for: it is asked
-- for in moments of 50 ms, with pauses, and when it is there all that is left
-- to do is the drop itself.  Nothing of the partition may be locked before:
-- everybody else comes to it through the journal, and would wait here with the
-- journal in hand.
--
-- Raises AS002 if what is written down is something else, or ledger.daily has not
-- all of it, 55P03 if somebody keeps the journal locked.
CREATE OR REPLACE FUNCTION ledger.part_drop(part int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '50ms' AS $$
DECLARE
    v_name text := ledger.part_name(part);
    v_same boolean;
    v_try  int := 0;
BEGIN
    EXECUTE format('SELECT (r.transfers, r.amount, r.fee, r.promo) = '
                   '(SELECT count(*), coalesce(sum(t.amount), 0)::bigint, '
                   'coalesce(sum(t.fee), 0)::bigint, '
                   'coalesce(sum(t.promo), 0)::bigint FROM ledger.%I t) '
                   'AND NOT EXISTS (SELECT FROM ledger.%I t, '
                   'ledger.daily_mark m WHERE t.id > m.rolled_id) '
                   'FROM ledger.part_rollup r WHERE r.part = $1 '
                   'AND r.xmin::text = (pg_current_xact_id()::xid)::text',
                   v_name, v_name)
       INTO v_same USING part;

    IF v_same IS NOT TRUE THEN
        RAISE EXCEPTION '% was not rolled up', v_name USING ERRCODE = 'AS002';
    END IF;

    LOOP
        BEGIN
            LOCK TABLE ONLY ledger.transfer IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            v_try := v_try + 1;

            IF v_try = 20 THEN
                RAISE;
            END IF;

            PERFORM pg_sleep(0.5);
        END;
    END LOOP;

    EXECUTE format('DROP TABLE ledger.%I', v_name);
END
$$;


REVOKE ALL ON FUNCTION ledger.part_name(int), ledger.part_make(int),
    ledger.part_drop(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.part_name(int), ledger.part_make(int),
    ledger.part_drop(int) TO astro_engine;

RESET ROLE;
SET ROLE astro_engine;


-- billing.roll_up: the charges of a partition become a row a session in
-- ledger.session_rollup, and the partition goes; all or nothing.  Returns how
-- many transfers there were.
--
-- Raises AS002, and nothing happens, if a session is not settled, or its
-- transfers do not come to what its row says: that is for the audit to explain,
-- as long as the transfers are there.
CREATE OR REPLACE FUNCTION billing.roll_up(part int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    v_from  bigint := part * 1048576::bigint;
    v_till  bigint := v_from + 1048576;
    v_wrong bigint;
    v_sum   ledger.part_rollup;
BEGIN
    -- charges that are not numbered 1, 2, ..., or are of several wallets, come
    -- to an amount that no session has
    INSERT INTO ledger.session_rollup (session_id, debit_account,
                credit_account, amount, fee, promo, first_id, last_id,
                first_at, last_at, charges)
    SELECT t.session_id, min(t.debit_account), min(t.credit_account),
           CASE WHEN (min(t.charge_no), max(t.charge_no), min(t.debit_account),
                      min(t.credit_account))
                     = (1, count(*), max(t.debit_account),
                        max(t.credit_account))
                THEN sum(t.amount) ELSE -1 END,
           sum(t.fee), sum(t.promo), min(t.id), max(t.id), min(t.at),
           max(t.at), count(*)
      FROM ledger.transfer t
     WHERE t.session_id >= v_from AND t.session_id < v_till
     GROUP BY t.session_id;

    SELECT coalesce(s.id, r.session_id) INTO v_wrong
      FROM (SELECT * FROM consult.session x
             WHERE x.id >= v_from AND x.id < v_till) s
      FULL JOIN (SELECT * FROM ledger.session_rollup x
                  WHERE x.session_id >= v_from AND x.session_id < v_till) r
        ON r.session_id = s.id
     WHERE s.settled IS NOT TRUE
        OR (s.charge_no, s.charged, s.fee, s.promo)
           IS DISTINCT FROM (coalesce(r.charges, 0), coalesce(r.amount, 0),
                             coalesce(r.fee, 0), coalesce(r.promo, 0))
        OR r.debit_account <> s.client_wallet
        OR r.credit_account <> s.advisor_wallet
     LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION 'session % is not settled, or contradicts its '
              'transfers: run the audit', v_wrong USING ERRCODE = 'AS002';
    END IF;

    INSERT INTO ledger.day_rollup (part, day, transfers, amount, fee, promo)
    SELECT roll_up.part, (t.at AT TIME ZONE 'UTC')::date, count(*),
           sum(t.amount), sum(t.fee), sum(t.promo)
      FROM ledger.transfer t
     WHERE t.session_id >= v_from AND t.session_id < v_till
     GROUP BY 2;

    -- of the few that went on over midnight, for statements
    INSERT INTO ledger.session_day_rollup (session_id, day, at, amount, fee,
                promo)
    SELECT t.session_id, (t.at AT TIME ZONE 'UTC')::date, min(t.at),
           sum(t.amount), sum(t.fee), sum(t.promo)
      FROM ledger.session_rollup r
      JOIN ledger.transfer t ON t.session_id = r.session_id
     WHERE r.session_id >= v_from AND r.session_id < v_till
       AND t.session_id >= v_from AND t.session_id < v_till
       AND (r.first_at AT TIME ZONE 'UTC')::date
           <> (r.last_at AT TIME ZONE 'UTC')::date
     GROUP BY 1, 2;

    INSERT INTO ledger.part_rollup (part, sessions, transfers, amount, fee,
                promo)
    SELECT roll_up.part, count(*), coalesce(sum(r.charges), 0),
           coalesce(sum(r.amount), 0), coalesce(sum(r.fee), 0),
           coalesce(sum(r.promo), 0)
      FROM ledger.session_rollup r
     WHERE r.session_id >= v_from AND r.session_id < v_till
    RETURNING * INTO v_sum;

    PERFORM ledger.part_drop(part);

    RETURN v_sum.transfers;
END
$$;


-- billing.settled_fill: notes of up to so many sessions of before migration 0028
-- when they were settled; their last charge was not later.  false: all have it.
CREATE OR REPLACE FUNCTION billing.settled_fill(cap int) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    m      consult.settled_walk;
    v_last bigint;
BEGIN
    SELECT x.* INTO m FROM consult.settled_walk x
     WHERE x.one AND x.after < x.until FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    SELECT max(x.id) INTO v_last
      FROM (SELECT s.id FROM consult.session s
             WHERE s.id > m.after AND s.id <= m.until
             ORDER BY s.id LIMIT cap) x;

    -- they are locked by id
    PERFORM 1 FROM consult.session s
      WHERE s.id > m.after AND s.id <= v_last
        AND s.settled AND s.settled_at IS NULL
      ORDER BY s.id FOR NO KEY UPDATE;

    UPDATE consult.session s
       SET settled_at = greatest(s.created_at, s.ended_at,
               (SELECT t.at FROM ledger.transfer t
                 WHERE t.session_id = s.id AND t.charge_no = s.charge_no),
               (SELECT r.last_at FROM ledger.session_rollup r
                 WHERE r.session_id = s.id))
     WHERE s.id > m.after AND s.id <= v_last
       AND s.settled AND s.settled_at IS NULL;

    UPDATE consult.settled_walk x SET after = coalesce(v_last, x.until)
     WHERE x.one;

    RETURN true;
END
$$;


-- billing.maintain: makes the partitions of the next four million sessions, and
-- rolls up the oldest one all of whose sessions ended more than
-- rollup_after_days ago (0: never), and are in ledger.daily, one at a call.  A row for each thing done:
-- 'made' or 'rolled up', the partition's number, its transfers.  Advisors who
-- have left go from consult.advisor_here.  As long as there are sessions that
-- billing.settled_fill() has not seen, it sees 5000, and nothing is rolled up.
--
-- One caller works, the others get no row.  Nothing is rolled up while an audit
-- reads.
CREATE OR REPLACE FUNCTION billing.maintain(rollup_after_days int)
RETURNS TABLE (what text, part int, transfers bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_part  int := (SELECT coalesce(max(s.id), 0) / 1048576
                      FROM consult.session s);
    v_since timestamptz;
    v_from  bigint;
    v_more  boolean;
BEGIN
    IF rollup_after_days IS NULL OR rollup_after_days < 0 THEN
        RAISE EXCEPTION 'rollup_after_days is 0 or more'
              USING ERRCODE = '22023';
    END IF;

    IF NOT pg_try_advisory_xact_lock(2, 0) THEN
        RETURN;
    END IF;

    v_more := billing.settled_fill(5000);

    PERFORM billing.notices_sweep();

    -- advisors who have left; whose hello comes meanwhile has a newer "at"
    DELETE FROM consult.advisor_here h
     WHERE h.at < clock_timestamp() - interval '1 minute'
       AND (SELECT true FROM consult.presence p
             WHERE p.account_id = h.account_id LIMIT 1) IS NULL;

    FOR n IN v_part .. v_part + 4 LOOP
        IF to_regclass('ledger.' || ledger.part_name(n)) IS NULL THEN
            PERFORM ledger.part_make(n);

            what := 'made';
            part := n;
            transfers := 0;
            RETURN NEXT;
        END IF;
    END LOOP;

    IF rollup_after_days = 0 OR v_more THEN
        RETURN;
    END IF;

    v_since := clock_timestamp() - make_interval(days => rollup_after_days);

    FOR n IN 0 .. v_part - 1 LOOP
        v_from := n * 1048576::bigint;

        CONTINUE WHEN to_regclass('ledger.' || ledger.part_name(n)) IS NULL;

        -- ids go with time: the last one first, that is mostly enough
        EXIT WHEN (SELECT NOT s.settled OR s.ended_at > v_since
                     FROM consult.session s
                    WHERE s.id >= v_from AND s.id < v_from + 1048576
                    ORDER BY s.id DESC LIMIT 1);

        CONTINUE WHEN (SELECT true FROM consult.session s
                        WHERE s.id >= v_from AND s.id < v_from + 1048576
                          AND (NOT s.settled
                               OR s.ended_at > v_since) LIMIT 1);

        -- billing.totals_roll() counts what is there: when it has, later
        CONTINUE WHEN (SELECT true FROM ledger.transfer t
                        WHERE t.session_id >= v_from
                          AND t.session_id < v_from + 1048576
                          AND t.id > (SELECT m.rolled_id
                                        FROM ledger.daily_mark m) LIMIT 1);

        IF NOT pg_try_advisory_xact_lock(2, 1) THEN
            RETURN;
        END IF;

        what := 'rolled up';
        part := n;
        transfers := billing.roll_up(n);
        RETURN NEXT;
        RETURN;
    END LOOP;
END
$$;


REVOKE ALL ON FUNCTION billing.roll_up(int), billing.settled_fill(int),
    billing.maintain(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.maintain(int) TO astro_worker;

RESET ROLE;
