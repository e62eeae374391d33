-- booking: a slot of an advisor is booked with a deposit, confirmed or
-- declined, cancelled.  When it begins: booking_start.sql.
--
--   requested       the advisor has until answer_by to say something
--   confirmed       the room opens shortly before start_at
--   declined, expired, cancelled
--   met             both were in the room: from there on it is a session
--   client_absent   the advisor was there and the client was not: the deposit
--                   is the advisor's, less the commission
--   advisor_absent, missed   the advisor was not; both were, but never together
--
-- While it is requested or confirmed the deposit is held of the client's
-- wallet: wallet.held is what sessions hold and what bookings hold.  All ways
-- out release it, in the transaction that is the way out; what goes to the
-- advisor is one transfer of kind 'deposit' about the booking.
--
-- Locks: the advisory locks of the client (1, as a session's start) and of the
-- advisor (4) for a new one; the session, if there is one; the booking; wallets
-- by id.

SET ROLE astro_owner;


-- consult.booking_body: a booking as both its parties see it.
CREATE OR REPLACE FUNCTION consult.booking_body(b consult.booking)
RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_currency text := consult.currency();
    o          consult.booking_option;
BEGIN
    SELECT x.* INTO o FROM consult.booking_option x WHERE x.one;

    RETURN (SELECT row_to_json(x) FROM (
        SELECT 'b_' || b.id AS id, b.state,
               (SELECT row_to_json(p) FROM (
                   SELECT 'u_' || a.id AS id, a.name FROM identity.account a
                    WHERE a.id = b.client_id) p) AS client,
               (SELECT row_to_json(p) FROM (
                   SELECT 'u_' || a.id AS id, a.name FROM identity.account a
                    WHERE a.id = b.advisor_id) p) AS advisor,
               b.service,
               consult.money(b.rate_minor, v_currency)::json AS rate,
               consult.rfc3339(b.start_at) AS start,
               consult.rfc3339(b.end_at) AS "end", b.note,
               consult.money(b.deposit, v_currency)::json AS deposit,
               consult.money(b.held, v_currency)::json AS held,
               consult.money(b.charged, v_currency)::json AS charged,
               b.reason,
               consult.rfc3339(b.answer_by) AS answer_by,
               consult.rfc3339(b.start_at - o.open_ms
                               * interval '1 millisecond') AS opens_at,
               consult.rfc3339(b.start_at + o.absent_ms
                               * interval '1 millisecond') AS absent_at,
               consult.rfc3339(b.start_at - o.free_cancel_ms
                               * interval '1 millisecond') AS free_until,
               consult.money(div(b.deposit::numeric * o.late_bps,
                                 10000)::bigint, v_currency)::json
                   AS late_charge,
               's_' || b.session_id AS session,
               consult.rfc3339(b.created_at) AS created_at,
               consult.rfc3339(b.ended_at) AS ended_at,
               'u_' || b.ended_by AS ended_by) x);
END
$$;


-- consult.booking_next: when the engine must look at it again.
CREATE OR REPLACE FUNCTION consult.booking_next(b consult.booking)
RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT CASE WHEN b.ended_at IS NOT NULL THEN NULL
                        WHEN b.state = 'requested' THEN b.answer_by
                        WHEN b.reminded_at IS NULL
                        THEN b.start_at - o.remind_ms
                             * interval '1 millisecond'
                        WHEN b.opened_at IS NULL
                        THEN b.start_at - o.open_ms
                             * interval '1 millisecond'
                        ELSE b.start_at + o.absent_ms
                             * interval '1 millisecond' END
              FROM consult.booking_option o WHERE o.one);
END
$$;


REVOKE ALL ON FUNCTION consult.booking_body(consult.booking),
    consult.booking_next(consult.booking) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.booking_body(consult.booking),
    consult.booking_next(consult.booking) TO astro_api, astro_engine;

RESET ROLE;
SET ROLE astro_engine;


-- consult.booking_tell: somebody is told how a booking is now.
CREATE OR REPLACE FUNCTION consult.booking_tell(account bigint, kind text,
    b consult.booking) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM consult.tell(account, kind, consult.booking_body(b));
END
$$;


-- consult.booking_make: books, holds the deposit, and tells the advisor.  b has
-- what api.booking_create knows.  Raises 23P01 if the time is taken; refuses
-- with insufficient_balance.
CREATE OR REPLACE FUNCTION consult.booking_make(b consult.booking)
RETURNS consult.booking
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o consult.booking_option;
BEGIN
    SELECT x.* INTO o FROM consult.booking_option x WHERE x.one;

    b.deposit := div(b.rate_minor::numeric
                     * ceil(extract(epoch FROM b.end_at - b.start_at) / 60)
                     * o.deposit_bps, 10000);
    b.answer_by := least(clock_timestamp()
                         + o.answer_ms * interval '1 millisecond', b.start_at);

    -- what the live session has charged and holds stays as it is
    PERFORM 1 FROM consult.session s
      WHERE s.client_id = b.client_id AND s.state <> 'ended'
      ORDER BY s.id FOR NO KEY UPDATE;

    PERFORM consult.cap_spend(b.client_id, b.deposit, 'infinity');

    INSERT INTO consult.booking (client_id, advisor_id, client_wallet,
           advisor_wallet, service, rate_minor, commission_bps, start_at,
           end_at, note, deposit, held, answer_by, due_at)
    VALUES (b.client_id, b.advisor_id,
            consult.wallet_of(b.client_id, 'client'),
            consult.wallet_of(b.advisor_id, 'advisor'), b.service,
            b.rate_minor, b.commission_bps, b.start_at, b.end_at, b.note,
            b.deposit, b.deposit, b.answer_by, b.answer_by)
    RETURNING * INTO b;

    UPDATE ledger.wallet w SET held = w.held + b.held
     WHERE w.id = b.client_wallet AND w.balance - w.held >= b.held;

    IF NOT FOUND THEN
        PERFORM consult.fail('insufficient_balance',
                             'top up: the deposit is ' || b.deposit);
    END IF;

    PERFORM consult.cap_again(b.client_id);
    PERFORM consult.booking_tell(b.advisor_id, 'booking_requested', b);

    RETURN b;
END
$$;


-- consult.booking_lock: a booking of one of its parties, locked; refuses all
-- others as if there were none.
CREATE OR REPLACE FUNCTION consult.booking_lock(caller bigint, booking bigint)
RETURNS consult.booking
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b consult.booking;
BEGIN
    SELECT x.* INTO b FROM consult.booking x
     WHERE x.id = booking_lock.booking
       AND booking_lock.caller IN (x.client_id, x.advisor_id)
       FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such booking of yours');
    END IF;

    RETURN b;
END
$$;


-- consult.booking_confirm: a requested one, which is locked.
CREATE OR REPLACE FUNCTION consult.booking_confirm(b consult.booking)
RETURNS consult.booking
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    b.state := 'confirmed';

    UPDATE consult.booking x
       SET state = b.state, ver = x.ver + 1, answered_at = clock_timestamp(),
           due_at = consult.booking_next(b)
     WHERE x.id = b.id RETURNING * INTO b;

    PERFORM consult.booking_tell(b.client_id, 'booking_confirmed', b);

    RETURN b;
END
$$;


-- consult.booking_close: the end of a booking, which is locked and not over:
-- releases what is held, of which charge goes to the advisor.  The only way for
-- a deposit to move.
CREATE OR REPLACE FUNCTION consult.booking_close(b consult.booking,
    state text, by bigint, charge bigint, reason text)
RETURNS consult.booking
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_promo bigint;
BEGIN
    IF b.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'booking % is over', b.id USING ERRCODE = 'AS002';
    END IF;

    IF charge > 0 THEN
        PERFORM billing.ledger_lock(b.client_id, b.advisor_id);
    END IF;

    UPDATE ledger.wallet w SET held = w.held - b.held
     WHERE w.id = b.client_wallet AND b.held > 0;

    IF charge > 0 THEN
        SELECT least(w.promo, charge) INTO v_promo FROM ledger.wallet w
         WHERE w.id = b.client_wallet;

        PERFORM billing.ledger_post('deposit', b.client_wallet,
                    b.advisor_wallet, charge,
                    div(charge::numeric * b.commission_bps, 10000)::bigint,
                    v_promo, b.id, 'booking:' || b.id);
    END IF;

    UPDATE consult.booking x
       SET state = booking_close.state, ver = x.ver + 1, held = 0,
           charged = booking_close.charge, reason = booking_close.reason,
           ended_at = clock_timestamp(), ended_by = booking_close.by,
           answered_at = CASE booking_close.state WHEN 'declined'
                              THEN clock_timestamp() ELSE x.answered_at END,
           due_at = NULL
     WHERE x.id = b.id RETURNING * INTO b;

    IF by IS DISTINCT FROM b.client_id THEN
        PERFORM consult.booking_tell(b.client_id, 'booking_' || b.state, b);
    END IF;

    IF by IS DISTINCT FROM b.advisor_id THEN
        PERFORM consult.booking_tell(b.advisor_id, 'booking_' || b.state, b);
    END IF;

    RETURN b;
END
$$;


REVOKE ALL ON FUNCTION
    consult.booking_tell(bigint, text, consult.booking),
    consult.booking_make(consult.booking),
    consult.booking_lock(bigint, bigint),
    consult.booking_confirm(consult.booking),
    consult.booking_close(consult.booking, text, bigint, bigint, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.booking_make(consult.booking),
    consult.booking_lock(bigint, bigint),
    consult.booking_confirm(consult.booking),
    consult.booking_close(consult.booking, text, bigint, bigint, text)
    TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.booking_create: a client books a slot: {"advisor":"u_5","start":time,
-- "service":"chat|audio|video","note"?}.  start is that of one of api.slots;
-- the deposit is held at once.
--
--   201 consult.booking_body()
--   400 bad_request, with its field
--   402 insufficient_balance
--   403 invalid_user_role
--   404 not_found                         no such advisor
--   409 conflict, field "/start"          outside of the advisor's hours, too
--                                         near, too far, or taken; or the
--                                         client is booked elsewhere then
--   422 unsupported, field "/service"
--
-- Of many at once for one slot one is first; the others find it taken.
--
-- Called by POST /api/bookings.
CREATE OR REPLACE FUNCTION api.booking_create(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b consult.booking;
    a identity.advisor;
BEGIN
    b.client_id := caller;
    b.advisor_id := consult.f_id(doc, 'advisor', 'u');
    b.start_at := consult.f_time(doc, 'start');
    b.service := consult.f_enum(doc, 'service', '{chat,audio,video}');
    b.note := coalesce(consult.f_text(doc, 'note', 0, 1000, false), '');

    PERFORM set_config('astro.caller', caller::text, true);

    -- an exclusion constraint alone would let two find each other, and wait
    PERFORM pg_advisory_xact_lock(1, hashint8(caller));
    PERFORM pg_advisory_xact_lock(4, hashint8(b.advisor_id));

    PERFORM 1 FROM identity.account p
      WHERE p.id = booking_create.caller AND p.role = 'client'
        AND NOT p.blocked;

    IF NOT FOUND THEN
        PERFORM consult.fail('invalid_user_role', 'clients book');
    END IF;

    SELECT d.* INTO a
      FROM identity.advisor d
      JOIN identity.account p ON p.id = d.account_id
     WHERE d.account_id = b.advisor_id AND p.role = 'advisor'
       AND NOT p.blocked AND d.approved_at IS NOT NULL;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such advisor');
    END IF;

    b.commission_bps := consult.commission(b.advisor_id, b.service,
                                           a.commission_bps);
    b.rate_minor := CASE b.service WHEN 'chat'  THEN a.rate_chat_minor
                                   WHEN 'audio' THEN a.rate_audio_minor
                                   WHEN 'video' THEN a.rate_video_minor END;

    IF b.rate_minor IS NULL THEN
        PERFORM consult.fail('unsupported',
            'the advisor does not offer this service', '/service');
    END IF;

    SELECT s.end_at INTO b.end_at
      FROM consult.slots(b.advisor_id, b.start_at,
                         b.start_at + interval '1 millisecond') s
     WHERE s.start_at = b.start_at;

    IF NOT FOUND THEN
        PERFORM consult.fail('conflict',
            'no slot of the advisor that is free begins then', '/start');
    END IF;

    BEGIN
        b := consult.booking_make(b);
    EXCEPTION WHEN exclusion_violation THEN
        PERFORM consult.fail('conflict', 'you are booked at that time',
                             '/start');
    END;

    RETURN QUERY SELECT 201, consult.booking_body(b);
END
$$;


-- api.bookings: the caller's, as a client or an advisor, newest first; query:
-- state, one of the words above, or "live": requested and confirmed.
--
--   200 {data:[..],next_cursor}
--   400 bad_request, with its field
--
-- Called by GET /api/bookings.
CREATE OR REPLACE FUNCTION api.bookings(caller bigint, query json, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_state  text   := consult.f_enum(query, 'state', '{live,requested,'
        'confirmed,declined,expired,cancelled,met,missed,client_absent,'
        'advisor_absent}', false);
BEGIN
    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY
    SELECT 200, consult.page(
               array_agg(consult.booking_body(x::consult.booking)::text
                         ORDER BY x.id DESC),
               array_agg(x.id ORDER BY x.id DESC), v_cap)
      FROM (SELECT u.* FROM (
                (SELECT b.* FROM consult.booking b
                  WHERE b.client_id = bookings.caller AND b.id < v_before
                    AND (v_state IS NULL OR b.state = v_state
                         OR v_state = 'live' AND b.ended_at IS NULL)
                  ORDER BY b.id DESC LIMIT v_cap + 1)
                UNION ALL
                (SELECT b.* FROM consult.booking b
                  WHERE b.advisor_id = bookings.caller AND b.id < v_before
                    AND (v_state IS NULL OR b.state = v_state
                         OR v_state = 'live' AND b.ended_at IS NULL)
                  ORDER BY b.id DESC LIMIT v_cap + 1)) u
             ORDER BY u.id DESC LIMIT v_cap + 1) x;
END
$$;


-- api.booking: one of the caller's.
--
--   200 consult.booking_body();  404 not_found
--
-- Called by GET /api/bookings/{id}.
CREATE OR REPLACE FUNCTION api.booking(caller bigint, booking bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b consult.booking;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT x.* INTO b FROM consult.booking x WHERE x.id = booking.booking;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such booking of yours');
    END IF;

    RETURN QUERY SELECT 200, consult.booking_body(b);
END
$$;


-- api.booking_confirm, api.booking_decline: the advisor's answer; decline takes
-- {"reason"?}.  The client is told.
--
--   200 consult.booking_body(), also if that was the answer before
--   400 bad_request, with its field
--   404 not_found                         no such booking of the caller's
--   409 session_state                     it is not requested any more
--
-- Called by POST /api/bookings/{id}/confirm, /decline.
CREATE OR REPLACE FUNCTION api.booking_confirm(caller bigint, booking bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    b consult.booking;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    b := consult.booking_lock(caller, booking);

    IF b.advisor_id <> caller THEN
        PERFORM consult.fail('forbidden', 'the advisor answers');
    END IF;

    IF b.state <> 'confirmed' THEN
        IF b.state <> 'requested' OR b.answer_by <= clock_timestamp() THEN
            PERFORM consult.fail('session_state', 'the booking is '
                || CASE b.state WHEN 'requested' THEN 'expired'
                        ELSE b.state END);
        END IF;

        b := consult.booking_confirm(b);
    END IF;

    RETURN QUERY SELECT 200, consult.booking_body(b);
END
$$;


CREATE OR REPLACE FUNCTION api.booking_decline(caller bigint, booking bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    b        consult.booking;
    v_reason text := consult.f_text(doc, 'reason', 0, 200, false);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    b := consult.booking_lock(caller, booking);

    IF b.advisor_id <> caller THEN
        PERFORM consult.fail('forbidden', 'the advisor answers');
    END IF;

    IF b.state <> 'declined' THEN
        IF b.state <> 'requested' THEN
            PERFORM consult.fail('session_state',
                                 'the booking is ' || b.state);
        END IF;

        b := consult.booking_close(b, 'declined', caller, 0, v_reason);
    END IF;

    RETURN QUERY SELECT 200, consult.booking_body(b);
END
$$;


-- api.booking_cancel: {"reason"?}: either party gives it up, and the other one
-- is told.  The deposit is released; but a client who cancels what was
-- confirmed, later than free_cancel_ms before its start, loses late_bps of it
-- to the advisor, and all of it from the start on; but nothing who came by then
-- to an advisor who has not.
--
--   200 consult.booking_body(), also if it was cancelled before
--   400 bad_request, with its field
--   404 not_found                         no such booking of the caller's
--   409 session_state                     it is over
--
-- Called by POST /api/bookings/{id}/cancel.
CREATE OR REPLACE FUNCTION api.booking_cancel(caller bigint, booking bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b        consult.booking;
    o        consult.booking_option;
    v_now    timestamptz;
    v_charge bigint := 0;
    v_reason text   := consult.f_text(doc, 'reason', 0, 200, false);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    b := consult.booking_lock(caller, booking);
    v_now := clock_timestamp();

    IF b.state <> 'cancelled' THEN
        IF b.ended_at IS NOT NULL THEN
            PERFORM consult.fail('session_state',
                                 'the booking is ' || b.state);
        END IF;

        SELECT x.* INTO o FROM consult.booking_option x WHERE x.one;

        IF b.state = 'confirmed' AND caller = b.client_id THEN
            v_charge := CASE
                WHEN v_now >= b.start_at AND b.client_came_at IS NOT NULL
                     AND b.advisor_came_at IS NULL THEN 0
                WHEN v_now >= b.start_at THEN b.deposit
                WHEN v_now > b.start_at - o.free_cancel_ms
                             * interval '1 millisecond'
                THEN div(b.deposit::numeric * o.late_bps, 10000)
                ELSE 0 END;
        END IF;

        b := consult.booking_close(b, 'cancelled', caller, v_charge,
                                   v_reason);
    END IF;

    RETURN QUERY SELECT 200, consult.booking_body(b);
END
$$;


REVOKE ALL ON FUNCTION api.booking_create(bigint, json),
    api.bookings(bigint, json, int, text), api.booking(bigint, bigint),
    api.booking_confirm(bigint, bigint),
    api.booking_decline(bigint, bigint, json),
    api.booking_cancel(bigint, bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.booking_create(bigint, json),
    api.bookings(bigint, json, int, text), api.booking(bigint, bigint),
    api.booking_confirm(bigint, bigint),
    api.booking_decline(bigint, bigint, json),
    api.booking_cancel(bigint, bigint, json) TO astro_web;

RESET ROLE;
