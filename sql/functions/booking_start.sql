-- booking_start: a booked consultation begins, or does not: reminders, the room,
-- who did not come.
--
-- What is due is found by the rows and the database's clock: any number of
-- workers ask, each row is one's at a time, and all that was done is in it.

SET ROLE astro_engine;


-- consult.booking_joined: a party has joined this session: if it is of a
-- booking, that one is in the room; when both are, the deposit is released, so
-- that the session can hold it.  The caller has locked the session.
CREATE OR REPLACE FUNCTION consult.booking_joined(session bigint, who bigint,
    met boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    b consult.booking;
BEGIN
    UPDATE consult.booking x
       SET client_came_at = CASE WHEN who = x.client_id
                THEN coalesce(x.client_came_at, clock_timestamp())
                ELSE x.client_came_at END,
           advisor_came_at = CASE WHEN who = x.advisor_id
                THEN coalesce(x.advisor_came_at, clock_timestamp())
                ELSE x.advisor_came_at END
     WHERE x.session_id = booking_joined.session AND x.ended_at IS NULL
    RETURNING * INTO b;

    IF FOUND AND met THEN
        PERFORM consult.booking_close(b, 'met', NULL, 0, NULL);
    END IF;
END
$$;


-- consult.booking_funds: what a client can spend in a booking's session: what
-- is available, and the deposit.
CREATE OR REPLACE FUNCTION consult.booking_funds(b consult.booking)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT w.balance - w.held + b.held FROM ledger.wallet w
             WHERE w.id = b.client_wallet);
END
$$;


-- consult.live_of: the live session of somebody, or NULL.
CREATE OR REPLACE FUNCTION consult.live_of(account bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    RETURN coalesce(
        (SELECT s.id FROM consult.session s
          WHERE s.client_id = account AND s.state <> 'ended' LIMIT 1),
        (SELECT s.id FROM consult.session s
          WHERE s.advisor_id = account AND s.state <> 'ended' LIMIT 1));
END
$$;


-- consult.booking_began: this session is the booking's; who has started it is
-- there.
CREATE OR REPLACE FUNCTION consult.booking_began(b consult.booking,
    session bigint, who bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE consult.booking x
       SET session_id = booking_began.session,
           client_came_at = CASE WHEN who = x.client_id
                THEN coalesce(x.client_came_at, clock_timestamp())
                ELSE x.client_came_at END,
           advisor_came_at = CASE WHEN who = x.advisor_id
                THEN coalesce(x.advisor_came_at, clock_timestamp())
                ELSE x.advisor_came_at END
     WHERE x.id = b.id;
END
$$;


-- consult.session_begun: a client has started a session with an advisor in the
-- usual way.  If they have booked just now, it is the booking's; and they wait
-- no more.
CREATE OR REPLACE FUNCTION consult.session_begun(session bigint,
    client bigint, advisor bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    UPDATE consult.booking b
       SET session_id = session_begun.session,
           client_came_at = coalesce(b.client_came_at, clock_timestamp())
      FROM consult.booking_option o
     WHERE b.advisor_id = session_begun.advisor AND b.ended_at IS NULL
       AND b.client_id = session_begun.client AND b.state = 'confirmed'
       AND o.one
       AND b.start_at <= clock_timestamp()
                         + o.open_ms * interval '1 millisecond'
       AND b.start_at > clock_timestamp()
                        - o.absent_ms * interval '1 millisecond';

    PERFORM consult.queue_served(client, advisor);
END
$$;


-- consult.reserved_for: who alone may start a session with this advisor now: the
-- client of a booking whose room is open, then whose turn it is of those who
-- wait.  NULL: anybody.
CREATE OR REPLACE FUNCTION consult.reserved_for(advisor bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    RETURN coalesce(
        (SELECT b.client_id FROM consult.booking b, consult.booking_option o
          WHERE b.advisor_id = advisor AND b.ended_at IS NULL
            AND b.state = 'confirmed' AND o.one
            AND b.start_at <= clock_timestamp()
                              + o.open_ms * interval '1 millisecond'
            AND b.start_at > clock_timestamp()
                             - o.absent_ms * interval '1 millisecond'
          ORDER BY b.start_at LIMIT 1),
        (SELECT w.client_id FROM consult.waiting w
          WHERE w.advisor_id = advisor
            AND w.offer_until > clock_timestamp()
          ORDER BY w.id LIMIT 1));
END
$$;


-- billing.bookings_due: what has come due of up to cap bookings: who was not
-- answered expires, both are reminded, the room opens, and who is not there
-- when it is too late does not come.  Returns how many.
CREATE OR REPLACE FUNCTION billing.bookings_due(cap int) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    b      consult.booking;
    o      consult.booking_option;
    v_now  timestamptz := clock_timestamp();
    v_ids  bigint[];
    v_over bigint[];
    v_who  bigint[];
BEGIN
    SELECT x.* INTO o FROM consult.booking_option x WHERE x.one;

    v_ids := ARRAY(SELECT x.id FROM consult.booking x
                    WHERE x.due_at <= v_now
                    ORDER BY x.due_at LIMIT bookings_due.cap
                      FOR NO KEY UPDATE SKIP LOCKED);

    IF cardinality(v_ids) = 0 THEN
        RETURN 0;
    END IF;

    SELECT array_agg(x.id), array_agg(x.client_id) || array_agg(x.advisor_id)
      INTO v_over, v_who
      FROM consult.booking x
     WHERE x.id = ANY(v_ids)
       AND (x.state = 'requested' AND x.answer_by <= v_now
            OR x.state = 'confirmed'
               AND x.start_at + o.absent_ms * interval '1 millisecond'
                   <= v_now);

    -- all wallets at once: by id
    IF v_over IS NOT NULL THEN
        PERFORM billing.ledger_lock(VARIADIC v_who);
    END IF;

    FOR b IN SELECT x.* FROM consult.booking x WHERE x.id = ANY(v_ids)
              ORDER BY x.id
    LOOP
        IF b.id = ANY(v_over) THEN
            PERFORM consult.booking_close(b,
                CASE WHEN b.state = 'requested' THEN 'expired'
                     WHEN b.advisor_came_at IS NULL THEN 'advisor_absent'
                     WHEN b.client_came_at IS NULL THEN 'client_absent'
                     ELSE 'missed' END, NULL,
                CASE WHEN b.state = 'confirmed'
                          AND b.advisor_came_at IS NOT NULL
                          AND b.client_came_at IS NULL
                     THEN b.deposit ELSE 0 END, NULL);
            CONTINUE;
        END IF;

        IF b.state = 'confirmed' AND b.reminded_at IS NULL
           AND b.start_at - o.remind_ms * interval '1 millisecond' <= v_now
        THEN
            b.reminded_at := v_now;
            PERFORM consult.booking_tell(b.client_id, 'booking_reminder', b);
            PERFORM consult.booking_tell(b.advisor_id, 'booking_reminder', b);
        END IF;

        IF b.state = 'confirmed' AND b.opened_at IS NULL
           AND b.start_at - o.open_ms * interval '1 millisecond' <= v_now THEN
            b.opened_at := v_now;
            PERFORM consult.booking_tell(b.client_id, 'booking_open', b);
            PERFORM consult.booking_tell(b.advisor_id, 'booking_open', b);
        END IF;

        UPDATE consult.booking x
           SET reminded_at = b.reminded_at, opened_at = b.opened_at,
               due_at = consult.booking_next(b)
         WHERE x.id = b.id;
    END LOOP;

    RETURN cardinality(v_ids);
END
$$;


REVOKE ALL ON FUNCTION consult.booking_joined(bigint, bigint, boolean),
    consult.booking_funds(consult.booking), consult.live_of(bigint),
    consult.booking_began(consult.booking, bigint, bigint),
    consult.session_begun(bigint, bigint, bigint),
    consult.reserved_for(bigint), billing.bookings_due(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.booking_joined(bigint, bigint, boolean),
    consult.booking_funds(consult.booking), consult.live_of(bigint),
    consult.booking_began(consult.booking, bigint, bigint),
    consult.session_begun(bigint, bigint, bigint),
    consult.reserved_for(bigint) TO astro_api;
GRANT EXECUTE ON FUNCTION billing.bookings_due(int) TO astro_worker;

RESET ROLE;
SET ROLE astro_api;


-- api.booking_start: a party of a confirmed booking goes into the room, from
-- shortly before its start until it is too late to come.  The session is there
-- for both, accepted, at the booking's rate: nobody is rung, who joins takes
-- part, and it ends like any other if the other one does not come in time.
-- Then it can be started again.
--
--   201 the session's snapshot;  200, dup: it is there
--   402 insufficient_balance              of the client, with the deposit
--   404 not_found                         no such booking of the caller's
--   409 session_state                     not confirmed, or the room is closed
--   409 busy                              one of them is in another session
--
-- Called by POST /api/bookings/{id}/start.
CREATE OR REPLACE FUNCTION api.booking_start(caller bigint, booking bigint,
    ready_ms bigint)
RETURNS api.session_outcome
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s      consult.session;
    b      consult.booking;
    o      consult.booking_option;
    t      ledger.tariff;
    v_now  timestamptz;
    v_live bigint;
    v_conv bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    -- as every start of a session of this client
    PERFORM pg_advisory_xact_lock(1, hashint8(
        (SELECT x.client_id FROM consult.booking x
          WHERE x.id = booking_start.booking)));

    b := consult.booking_lock(caller, booking);
    v_now := clock_timestamp();

    SELECT x.* INTO o FROM consult.booking_option x WHERE x.one;

    SELECT x.* INTO s FROM consult.session x
     WHERE x.id = b.session_id AND x.state <> 'ended';

    IF FOUND THEN
        IF b.ended_at IS NULL THEN
            PERFORM consult.booking_began(b, s.id, caller);
        END IF;

        RETURN consult.outcome(s, 200, true);
    END IF;

    IF b.state <> 'confirmed' THEN
        PERFORM consult.fail('session_state', 'the booking is ' || b.state);
    END IF;

    IF v_now < b.start_at - o.open_ms * interval '1 millisecond'
       OR v_now >= b.start_at + o.absent_ms * interval '1 millisecond' THEN
        PERFORM consult.fail('session_state', 'the room is closed');
    END IF;

    IF consult.live_of(b.client_id) IS NOT NULL THEN
        PERFORM consult.fail('busy', 'the client is in a session');
    END IF;

    IF consult.live_of(b.advisor_id) IS NOT NULL THEN
        PERFORM consult.fail('busy', 'the advisor is in a session');
    END IF;

    SELECT x.* INTO STRICT t FROM ledger.tariff x WHERE x.service = b.service;

    t.free_ms := least(t.free_ms + consult.free_given(b.client_id,
                             b.advisor_id), 86400000);

    IF t.free_ms > 0 THEN
        SELECT greatest(t.free_ms - coalesce(sum(
                   CASE WHEN x.settled THEN least(x.billed_ms, x.free_ms)
                        ELSE x.free_ms END), 0), 0) INTO t.free_ms
          FROM consult.conversation c
          JOIN consult.session x ON x.conversation_id = c.id
         WHERE c.client_id = b.client_id AND c.advisor_id = b.advisor_id;
    END IF;

    IF coalesce(consult.booking_funds(b), 0)
       < consult.price(t, b.rate_minor, NULL, ready_ms) THEN
        PERFORM consult.fail('insufficient_balance',
                             'the client has to top up');
    END IF;

    INSERT INTO consult.conversation (client_id, advisor_id)
    VALUES (b.client_id, b.advisor_id)
    ON CONFLICT DO NOTHING;

    SELECT c.id INTO STRICT v_conv FROM consult.conversation c
     WHERE c.client_id = b.client_id AND c.advisor_id = b.advisor_id;

    BEGIN
        INSERT INTO consult.session (conversation_id, client_id, advisor_id,
               client_wallet, advisor_wallet, cid, service, rate_minor,
               commission_bps, whole_minute, min_minor, free_ms, state,
               state_ms)
        VALUES (v_conv, b.client_id, b.advisor_id, b.client_wallet,
               b.advisor_wallet, gen_random_uuid(), b.service, b.rate_minor,
               b.commission_bps, t.whole_minute, t.min_minor, t.free_ms,
               'accepted', consult.ms(v_now))
        RETURNING * INTO s;
    EXCEPTION WHEN unique_violation THEN
        PERFORM consult.fail('busy', 'the advisor is in a session');
    END;

    PERFORM consult.booking_began(b, s.id, caller);
    PERFORM consult.cap_begin(s.id, consult.price(t, b.rate_minor, NULL,
                                                  ready_ms));

    RETURN consult.outcome(s, 201, false);
END
$$;


REVOKE ALL ON FUNCTION api.booking_start(bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.booking_start(bigint, bigint, bigint)
    TO astro_web;

RESET ROLE;
