-- export: all that we hold of somebody, for him to have.
--
-- billing.private_map() says what that is: a document for each table that knows
-- of accounts, or why it has none.  A test compares it with the catalogue: a
-- table that is neither here nor there is a bug.
--
-- Made by a worker, a part at a time, each part a row: so one of a hundred
-- thousand messages keeps nobody waiting, and is sent in pieces that nginx can
-- hold.

SET ROLE astro_private;


-- billing.private_map: a row for each document, in order of no.
--
--   no, name     NULL: there is none
--   query        its entries, of account $1, as jsonb, in an order
--   covers       the tables that it is of
--   exempt       why these tables give no document
CREATE OR REPLACE FUNCTION billing.private_map()
RETURNS TABLE (no int, name text, query text, covers text[], exempt text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $map$
    SELECT row_number() OVER (ORDER BY x.place)::int, x.name, x.query,
           x.covers, NULL
      FROM (VALUES
        (1, 'account', $$ SELECT to_jsonb(t) - 'password_hash'
             FROM identity.account t WHERE t.id = $1 $$,
         ARRAY['identity.account']),
        (2, 'profile', $$ SELECT to_jsonb(t) FROM identity.profile t
            WHERE t.account_id = $1 $$, ARRAY['identity.profile']),
        (3, 'phone', $$ SELECT to_jsonb(t) FROM identity.phone t
            WHERE t.account_id = $1 $$, ARRAY['identity.phone']),
        (4, 'advisor', $$ SELECT to_jsonb(t) FROM identity.advisor t
            WHERE t.account_id = $1 $$, ARRAY['identity.advisor']),
        (5, 'issuers', $$ SELECT to_jsonb(t) FROM identity.outside t
            WHERE t.account_id = $1 ORDER BY t.issuer, t.sub $$,
         ARRAY['identity.outside']),
        (6, 'logins', $$ SELECT to_jsonb(t) - '{id,refresh}'::text[]
             FROM identity.login t WHERE t.account_id = $1
            ORDER BY t.made_at, t.id $$, ARRAY['identity.login']),
        (7, 'last_seen', $$ SELECT to_jsonb(t) FROM consult.last_seen t
            WHERE t.account_id = $1 $$, ARRAY['consult.last_seen']),
        (8, 'schedule', $$ SELECT to_jsonb(t) FROM consult.schedule t
            WHERE t.advisor_id = $1 $$, ARRAY['consult.schedule']),
        (9, 'hours', $$ SELECT to_jsonb(t) FROM consult.hours t
            WHERE t.advisor_id = $1 ORDER BY t.day, t.weekday, t.from_min $$,
         ARRAY['consult.hours']),
        (10, 'favourites', $$ SELECT to_jsonb(t) FROM consult.favorite t
            WHERE t.client_id = $1 ORDER BY t.id $$,
         ARRAY['consult.favorite']),
        (11, 'waiting', $$ SELECT to_jsonb(t) FROM consult.waiting t
            WHERE t.client_id = $1 ORDER BY t.id $$,
         ARRAY['consult.waiting']),
        (12, 'bookings', $$ SELECT to_jsonb(t) FROM consult.booking t
            WHERE t.client_id = $1 OR t.advisor_id = $1 ORDER BY t.id $$,
         ARRAY['consult.booking']),
        (13, 'notifications', $$ SELECT to_jsonb(t) FROM consult.notice t
            WHERE t.account_id = $1 ORDER BY t.id $$,
         ARRAY['consult.notice']),
        (14, 'conversations', $$ SELECT to_jsonb(t)
             FROM consult.conversation t
            WHERE t.client_id = $1 OR t.advisor_id = $1 ORDER BY t.id $$,
         ARRAY['consult.conversation']),
        -- what the other one has deleted, he does not see here either, nor
        -- where it is quoted; what is one's own is as we have it
        (15, 'messages', $$ SELECT to_jsonb(t) - 'payload'
                   || jsonb_build_object('payload', CASE
                      WHEN t.sender_id = $1 AND q.deleted_at IS NOT NULL
                      THEN jsonb_set(t.payload::jsonb, '{quote}',
                           jsonb_build_object('msg', q.seq, 'from',
                               t.payload -> 'quote' -> 'from',
                               'deleted', true))
                      WHEN t.sender_id = $1 OR m.payload IS NULL
                      THEN t.payload::jsonb ELSE m.payload::jsonb END,
                      'changed', CASE WHEN t.sender_id = $1
                                      THEN m.payload END)
             FROM consult.conversation c
             JOIN consult.event t ON t.conversation_id = c.id
             LEFT JOIN consult.message_change m
                    ON m.conversation_id = c.id AND m.seq = t.seq
             LEFT JOIN consult.message_change q
                    ON q.conversation_id = c.id
                   AND q.seq = (t.payload #>> '{quote,msg}')::bigint
            WHERE c.client_id = $1 OR c.advisor_id = $1
            ORDER BY t.conversation_id, t.seq $$,
         ARRAY['consult.event', 'consult.message_change']),
        (16, 'reactions', $$ SELECT to_jsonb(t)
             FROM consult.conversation c
             JOIN consult.reaction t ON t.conversation_id = c.id
                                    AND t.account_id = $1
            WHERE c.client_id = $1 OR c.advisor_id = $1
            ORDER BY t.conversation_id, t.seq $$,
         ARRAY['consult.reaction']),
        (17, 'receipts', $$ SELECT to_jsonb(t)
             FROM consult.conversation c
             JOIN consult.receipt t ON t.conversation_id = c.id
                                   AND t.account_id = $1
            WHERE c.client_id = $1 OR c.advisor_id = $1
            ORDER BY t.conversation_id $$, ARRAY['consult.receipt']),
        -- what the client can and wants to spend is the client's
        (18, 'sessions', $$ SELECT to_jsonb(t) - '{client_wallet,
                   advisor_wallet,shard,rev,low_sent}'::text[]
                   - CASE WHEN t.client_id = $1 THEN '{}'::text[]
                     ELSE '{cap_minor,max_minor,max_ms,held,promo}' END
             FROM consult.session t
            WHERE t.client_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
               OR t.advisor_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
            ORDER BY t.id $$, ARRAY['consult.session']),
        (19, 'presence', $$ SELECT jsonb_build_object('session',
                   t.session_id, 'from_ms', g.started_ms + t.open_life_ms,
                   'to_ms', g.started_ms + t.close_life_ms,
                   'why', t.close_reason)
             FROM consult.session s
             JOIN consult.interval t ON t.session_id = s.id
                                    AND t.account_id = $1
             JOIN consult.gateway g ON g.id = t.gateway_id
            WHERE s.client_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
               OR s.advisor_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
            ORDER BY t.id $$,
         ARRAY['consult.interval', 'consult.gateway']),
        (20, 'devices', $$ SELECT to_jsonb(t)
             FROM consult.session s
             JOIN consult.session_media t ON t.session_id = s.id
                                         AND t.account_id = $1
            WHERE s.client_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
               OR s.advisor_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
            ORDER BY t.id $$, ARRAY['consult.session_media']),
        (21, 'quality', $$ SELECT to_jsonb(t)
             FROM consult.session s
             JOIN consult.session_quality t ON t.session_id = s.id
                                           AND t.account_id = $1
            WHERE s.client_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
               OR s.advisor_wallet = ANY(ARRAY(SELECT w.id
                      FROM ledger.wallet w WHERE w.owner_id = $1))
            ORDER BY t.session_id, t.at $$,
         ARRAY['consult.session_quality']),
        (22, 'reviews', $$ SELECT to_jsonb(t) FROM consult.review t
            WHERE t.client_id = $1 OR t.advisor_id = $1
            ORDER BY t.session_id $$, ARRAY['consult.review']),
        -- an advisor's own words about a client are the advisor's
        (23, 'notes', $$ SELECT to_jsonb(t) FROM consult.note t
            WHERE t.advisor_id = $1 ORDER BY t.client_id $$,
         ARRAY['consult.note']),
        (24, 'wallets', $$ SELECT to_jsonb(t) FROM ledger.wallet t
            WHERE t.owner_id = $1 ORDER BY t.id $$, ARRAY['ledger.wallet']),
        -- charges of sessions are with the sessions, as sums
        (25, 'transfers', $$ SELECT to_jsonb(t) FROM (
             SELECT x.* FROM ledger.transfer x
              WHERE x.session_id IS NULL AND x.debit_account = ANY(ARRAY(
                    SELECT w.id FROM ledger.wallet w
                     WHERE w.owner_id = $1))
              UNION
             SELECT x.* FROM ledger.transfer x
              WHERE x.session_id IS NULL AND x.credit_account = ANY(ARRAY(
                    SELECT w.id FROM ledger.wallet w
                     WHERE w.owner_id = $1))) t
            ORDER BY t.id $$, ARRAY['ledger.transfer']),
        (26, 'payments', $$ SELECT to_jsonb(t) FROM ledger.payment t
            WHERE t.owner_id = $1 ORDER BY t.id $$,
         ARRAY['ledger.payment']),
        (27, 'payouts', $$ SELECT to_jsonb(t) FROM ledger.payout t
            WHERE t.advisor_id = $1 ORDER BY t.id $$,
         ARRAY['ledger.payout']),
        (28, 'payout_account', $$ SELECT to_jsonb(t) - 'url'
             FROM ledger.connect t WHERE t.account_id = $1 $$,
         ARRAY['ledger.connect', 'ledger.payee']),
        -- when the other one was connected, and how well, is the other's;
        -- one's own is above
        (29, 'disputes', $$ SELECT to_jsonb(t)
                   - '{evidence,decided_by}'::text[]
                   || jsonb_build_object('evidence', t.evidence::jsonb
                          - '{intervals,connected_ms,quality}'::text[])
             FROM consult.conversation c
             JOIN consult.dispute t ON t.conversation_id = c.id
            WHERE c.client_id = $1 OR c.advisor_id = $1 ORDER BY t.id $$,
         ARRAY['consult.dispute']),
        (30, 'checkouts', $$ SELECT to_jsonb(t) - 'secret'
             FROM ledger.checkout t WHERE t.owner_id = $1 ORDER BY t.id $$,
         ARRAY['ledger.checkout']),
        (31, 'refunds', $$ SELECT to_jsonb(t) - 'made_by'
             FROM ledger.payment p JOIN ledger.refund t ON t.payment_id = p.id
            WHERE p.owner_id = $1 ORDER BY t.id $$, ARRAY['ledger.refund']),
        (32, 'spend_limit', $$ SELECT to_jsonb(t) FROM ledger.spend_limit t
            WHERE t.account_id = $1 $$, ARRAY['ledger.spend_limit']),
        (33, 'coupons', $$ SELECT to_jsonb(t) FROM ledger.coupon_use t
            WHERE t.account_id = $1 ORDER BY t.id $$,
         ARRAY['ledger.coupon_use']),
        (34, 'signins', $$ SELECT to_jsonb(t) FROM stats.signin t
            WHERE t.account_id = $1 ORDER BY t.id $$,
         ARRAY['stats.signin']),
        (35, 'member', $$ SELECT to_jsonb(t) FROM stats.member t
            WHERE t.account_id = $1 $$, ARRAY['stats.member']),
        (36, 'active_days', $$ SELECT jsonb_build_object('day', t.day)
             FROM stats.member m
            CROSS JOIN generate_series(m.joined::timestamp,
                                       m.last_here::timestamp, '1 day') d
             JOIN stats.active_day t ON t.day = d::date
                                    AND t.account_id = m.account_id
            WHERE m.account_id = $1 ORDER BY t.day $$,
         ARRAY['stats.active_day'])
      ) AS x(place, name, query, covers)
     UNION ALL
    SELECT NULL, NULL, NULL, x.covers, x.exempt
      FROM (VALUES
        (ARRAY['consult.admin_log'],
         'what admins did, protected from any change'),
        (ARRAY['consult.advisor_here', 'consult.presence'],
         'who is connected at this moment'),
        (ARRAY['consult.disconnect'],
         'a word to workers of nginx, for a moment'),
        (ARRAY['consult.once'],
         'answers that the client has had, for a day'),
        (ARRAY['identity.listing'],
         'a copy of the advisor''s page, by which is searched'),
        (ARRAY['identity.otp', 'identity.revoked'],
         'codes and tokens, good for a moment'),
        (ARRAY['identity.hold'],
         'a matter between the law and us, which its subject is not told'),
        (ARRAY['identity.export', 'identity.export_part',
               'identity.erasure'],
         'this itself'),
        (ARRAY['consult.term'],
         'commission from an instant on: what was paid by it is in sessions'),
        (ARRAY['ledger.payment_flag'],
         'a suspicion, until an admin has seen to it'),
        (ARRAY['ledger.coupon'], 'an act of an admin, in admin_log'),
        (ARRAY['ledger.coupon_miss'],
         'how many wrong codes within the hour'),
        (ARRAY['ledger.payout_order'], 'an act of an admin, in admin_log'),
        (ARRAY['ledger.session_rollup'],
         'sums of charges, which are in the sessions'),
        (ARRAY['stats.advisor_day'],
         'figures that are made of what is in other tables'),
        (ARRAY['ledger.transfer_other'], 'a part of ledger.transfer')
      ) AS x(covers, exempt)
     ORDER BY 1
$map$;


-- billing.export_next: the next part of the oldest export that no other worker
-- is busy with, 2000 entries at most, in one transaction; those that are not to
-- be had any more go.  true: there may be more to do.
CREATE OR REPLACE FUNCTION billing.export_next(days int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    x      identity.export;
    m      record;
    v_body json;
    v_n    int;
BEGIN
    DELETE FROM identity.export e
     WHERE e.id IN (SELECT y.id FROM identity.export y
                     WHERE y.until < clock_timestamp()
                     ORDER BY y.until LIMIT 1 FOR UPDATE SKIP LOCKED);

    IF FOUND THEN
        RETURN true;
    END IF;

    SELECT * INTO x FROM identity.export e WHERE e.ready_at IS NULL
     ORDER BY e.account_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    SELECT * INTO m FROM billing.private_map() p WHERE p.no = x.doc;

    IF NOT FOUND THEN
        UPDATE identity.export e
           SET ready_at = clock_timestamp(),
               until = clock_timestamp() + make_interval(days => days)
         WHERE e.id = x.id;
        RETURN true;
    END IF;

    EXECUTE 'SELECT json_agg(y.doc), count(*)::int FROM (SELECT * FROM ('
            || m.query || ') q(doc) OFFSET $2 LIMIT 2000) y'
       INTO v_body, v_n USING x.account_id, x.skip;

    -- an empty document, too: it says that there is nothing
    IF v_n > 0 OR x.skip = 0 THEN
        x.parts := x.parts + 1;

        INSERT INTO identity.export_part (export_id, no, account_id, name,
                    entries, body)
        VALUES (x.id, x.parts, x.account_id, m.name, v_n,
                coalesce(v_body, '[]'::json));
    END IF;

    UPDATE identity.export e
       SET parts = x.parts,
           doc = CASE WHEN v_n = 2000 THEN x.doc ELSE x.doc + 1 END,
           skip = CASE WHEN v_n = 2000 THEN x.skip + 2000 ELSE 0 END
     WHERE e.id = x.id;

    RETURN true;
END
$$;


REVOKE ALL ON FUNCTION billing.private_map(), billing.export_next(int)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.export_next(int) TO astro_worker;
GRANT EXECUTE ON FUNCTION billing.private_map() TO astro_owner;

RESET ROLE;

GRANT USAGE ON SCHEMA billing TO astro_owner;
SET ROLE astro_owner;

GRANT USAGE ON SCHEMA stats TO astro_private;

-- What is in a document may be read, and no other table.
DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT DISTINCT unnest(m.covers) FROM billing.private_map() m
              WHERE m.no IS NOT NULL LOOP
        IF NOT has_table_privilege('astro_private', t, 'SELECT') THEN
            EXECUTE format('GRANT SELECT ON %s TO astro_private', t);
        END IF;

        IF (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = t::regclass)
           AND NOT EXISTS (SELECT FROM pg_policy p
                            WHERE p.polrelid = t::regclass
                              AND p.polcmd IN ('r', '*')
                              AND (SELECT r.oid FROM pg_roles r
                                    WHERE r.rolname = 'astro_private')
                                  = ANY(p.polroles)) THEN
            EXECUTE format('CREATE POLICY private ON %s FOR SELECT '
                           'TO astro_private USING (true)', t);
        END IF;
    END LOOP;
END
$$;


-- consult.export_body: an export as its owner sees it.
CREATE OR REPLACE FUNCTION consult.export_body(x identity.export)
RETURNS json
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT json_build_object('state',
               CASE WHEN x.id IS NULL THEN 'none'
                    WHEN x.ready_at IS NULL THEN 'making'
                    ELSE 'ready' END,
               'asked_at', consult.rfc3339(x.asked_at),
               'ready_at', consult.rfc3339(x.ready_at),
               'until', consult.rfc3339(x.until),
               'parts', CASE WHEN x.ready_at IS NULL THEN '[]'::json
                    ELSE (SELECT coalesce(json_agg(json_build_object(
                              'part', p.no, 'name', p.name,
                              'entries', p.entries) ORDER BY p.no), '[]')
                            FROM identity.export_part p
                           WHERE p.export_id = x.id) END)
$$;

REVOKE ALL ON FUNCTION consult.export_body(identity.export) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.export_body(identity.export) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.export_ask: the caller wants all that we hold of him.  One that is there
-- already is made anew.
--
--   202, or 200 if it is being made already: as api.export
--
-- Called by POST /api/me/export.
CREATE OR REPLACE FUNCTION api.export_ask(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    x      identity.export;
    v_made boolean;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    INSERT INTO identity.export (account_id) VALUES (caller)
    ON CONFLICT (account_id) WHERE ready_at IS NULL DO NOTHING;
    v_made := FOUND;

    DELETE FROM identity.export e
     WHERE e.account_id = export_ask.caller AND e.ready_at IS NOT NULL;

    SELECT * INTO x FROM identity.export e
     WHERE e.account_id = export_ask.caller ORDER BY e.id DESC LIMIT 1;

    RETURN QUERY SELECT CASE WHEN v_made THEN 202 ELSE 200 END,
                        consult.export_body(x);
END
$$;


-- api.export: what the caller asked for last.
--
--   200 {state,asked_at,ready_at,until,parts:[{part,name,entries}]}
--       state: none, making, ready; until: it can be had
--
-- Called by GET /api/me/export.
CREATE OR REPLACE FUNCTION api.export(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    x identity.export;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO x FROM identity.export e
     WHERE e.account_id = export.caller
       AND (e.until IS NULL OR e.until > clock_timestamp())
     ORDER BY e.id DESC LIMIT 1;

    RETURN QUERY SELECT 200, consult.export_body(x);
END
$$;


-- api.export_part: one part of it; query: part, its number.
--
--   200 {part,name,entries,data:[..]}
--   400 bad_request, field "/part"
--   404 not_found                         no such part, or not ready
--
-- Called by GET /api/me/export/part.
CREATE OR REPLACE FUNCTION api.export_part(caller bigint, query json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_no bigint := consult.q_int(query, 'part', 1, 1000000, true);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY
    SELECT 200, ('{"part":' || p.no || ',"name":"' || p.name
                 || '","entries":' || p.entries || ',"data":'
                 || p.body::text || '}')::json
      FROM identity.export x
      JOIN identity.export_part p ON p.export_id = x.id AND p.no = v_no
     WHERE x.account_id = export_part.caller
       AND x.until > clock_timestamp()
     ORDER BY x.id DESC LIMIT 1;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such part');
    END IF;
END
$$;


REVOKE ALL ON FUNCTION api.export_ask(bigint), api.export(bigint),
    api.export_part(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.export_ask(bigint), api.export(bigint),
    api.export_part(bigint, json) TO astro_web;

RESET ROLE;
