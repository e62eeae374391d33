-- clients: whom clients keep in mind, and what advisors see of their own
-- clients, work and earnings.  Functions of api, owned by astro_api.

SET ROLE astro_api;


-- api.favorite_add: keeps an advisor in mind; once, however often it is said.
--
--   200 {advisor,at}
--   404 not_found                         no such advisor
--
-- Called by PUT /api/favorites/{id}.
CREATE OR REPLACE FUNCTION api.favorite_add(caller bigint, advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_at timestamptz;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    PERFORM 1 FROM identity.advisor d
      JOIN identity.account a ON a.id = d.account_id
     WHERE d.account_id = favorite_add.advisor AND a.role = 'advisor'
       AND NOT a.blocked AND d.approved_at IS NOT NULL;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such advisor');
    END IF;

    INSERT INTO consult.favorite (client_id, advisor_id)
    VALUES (favorite_add.caller, favorite_add.advisor)
    ON CONFLICT DO NOTHING;

    SELECT f.at INTO v_at FROM consult.favorite f
     WHERE f.client_id = favorite_add.caller
       AND f.advisor_id = favorite_add.advisor;

    RETURN QUERY
    SELECT 200, ('{"advisor":"u_' || advisor || '","at":"'
                 || consult.rfc3339(v_at) || '"}')::json;
END
$$;


-- api.favorite_remove: 204, also if there was none.
--
-- Called by DELETE /api/favorites/{id}.
CREATE OR REPLACE FUNCTION api.favorite_remove(caller bigint, advisor bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    DELETE FROM consult.favorite f
     WHERE f.client_id = favorite_remove.caller
       AND f.advisor_id = favorite_remove.advisor;

    RETURN QUERY SELECT 204, '{}'::json;
END
$$;


-- api.favorites: the caller's, the latest first.  cap: 1 to 200.
--
--   200 {"data":[as api.advisors],"next_cursor":null|".."}; who is listed no
--       more is left out
--   400 bad_request, field "/cursor"
--
-- Called by GET /api/favorites.
CREATE OR REPLACE FUNCTION api.favorites(caller bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before   bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_ids      bigint[];
    v_advisors bigint[];
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    SELECT array_agg(f.id ORDER BY f.id DESC),
           array_agg(f.advisor_id ORDER BY f.id DESC)
      INTO v_ids, v_advisors
      FROM (SELECT x.* FROM consult.favorite x
             WHERE x.client_id = favorites.caller AND x.id < v_before
             ORDER BY x.id DESC LIMIT cap + 1) f;

    RETURN QUERY
    SELECT 200, ('{"data":['
                 || coalesce(string_agg(d.doc, ',' ORDER BY d.ord), '')
                 || '],"next_cursor":'
                 || CASE WHEN cardinality(v_ids) > cap
                         THEN '"' || v_ids[cap] || '"' ELSE 'null' END
                 || '}')::json
      FROM consult.advisor_docs(v_advisors[:cap], false, false) d;
END
$$;


-- api.clients: those whom the caller, an advisor, has had a session with, the
-- latest acquaintance first.  cap: 1 to 200.
--
--   200 {"data":[{client:{id,name},conv,sessions,billed_ms,charged,earned,
--        last_at,note}],"next_cursor":null|".."}
--       sessions: how many; earned: charged without the platform's part;
--       note: there is one
--   400 bad_request, field "/cursor"
--
-- Called by GET /api/advisors/me/clients.
CREATE OR REPLACE FUNCTION api.clients(caller bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before   bigint := consult.cursor_id(cursor, 9223372036854775807);
    v_currency text   := consult.currency();
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    RETURN QUERY
    SELECT 200, consult.page(array_agg(x.doc ORDER BY x.id DESC),
                             array_agg(x.id ORDER BY x.id DESC), cap)
      FROM (SELECT c.id, '{"client":{"id":"u_' || c.client_id || '","name":'
                   || to_json((SELECT a.name FROM identity.account a
                                WHERE a.id = c.client_id))
                   || '},"conv":"c_' || c.id || '","sessions":' || s.n
                   || ',"billed_ms":' || s.billed_ms || ',"charged":'
                   || consult.money(s.charged, v_currency) || ',"earned":'
                   || consult.money(s.earned, v_currency) || ',"last_at":"'
                   || consult.rfc3339(s.last_at) || '","note":'
                   || ((SELECT true FROM consult.note t
                         WHERE t.advisor_id = clients.caller
                           AND t.client_id = c.client_id) IS NOT NULL)
                   || '}' AS doc
              FROM consult.conversation c,
                   LATERAL (SELECT count(*) AS n, max(y.created_at) AS last_at,
                                   sum(y.billed_ms)::bigint AS billed_ms,
                                   sum(y.charged)::bigint AS charged,
                                   sum(y.charged - y.fee)::bigint AS earned
                              FROM consult.session y
                             WHERE y.conversation_id = c.id) s
             WHERE c.advisor_id = clients.caller AND c.id < v_before
               AND s.n > 0
             ORDER BY c.id DESC LIMIT cap + 1) x;
END
$$;


-- api.note: what the caller, an advisor, has noted about a client.
--
--   200 {client,text,at}, with an ETag; text '' and at null: nothing
--   404 not_found                         no client of the caller's
--
-- Called by GET /api/advisors/me/clients/{id}/note.
CREATE OR REPLACE FUNCTION api.note(caller bigint, client bigint)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    t consult.note;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    PERFORM 1 FROM consult.conversation c
      WHERE c.client_id = note.client AND c.advisor_id = note.caller;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no client of yours');
    END IF;

    SELECT * INTO t FROM consult.note x
     WHERE x.advisor_id = note.caller AND x.client_id = note.client;

    RETURN QUERY
    SELECT 200, (SELECT row_to_json(x) FROM (
               SELECT 'u_' || note.client AS client,
                      coalesce(t.text, '') AS text,
                      consult.rfc3339(t.at) AS at) x),
           'n' || coalesce(t.ver, 0);
END
$$;


-- api.note_edit: {"text"}: the note about a client is this from now on.
--
--   200 as api.note
--   400 bad_request, field "/text"
--   404 not_found                         no client of the caller's
--   412 precondition_failed               If-Match is of another version
--
-- Called by PUT /api/advisors/me/clients/{id}/note.
CREATE OR REPLACE FUNCTION api.note_edit(caller bigint, client bigint,
    doc json, match text)
RETURNS TABLE (status int, body json, etag text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_text text := consult.f_text(doc, 'text', 0, 10000);
    v_ver  int;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    PERFORM 1 FROM consult.conversation c
      WHERE c.client_id = note_edit.client
        AND c.advisor_id = note_edit.caller;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no client of yours');
    END IF;

    INSERT INTO consult.note (advisor_id, client_id, text, ver)
    VALUES (note_edit.caller, note_edit.client, '', 0)
    ON CONFLICT DO NOTHING;

    SELECT t.ver INTO v_ver FROM consult.note t
     WHERE t.advisor_id = note_edit.caller AND t.client_id = note_edit.client
       FOR NO KEY UPDATE;

    PERFORM consult.f_match(match, 'n' || v_ver);

    UPDATE consult.note t
       SET text = v_text, ver = t.ver + 1, at = clock_timestamp()
     WHERE t.advisor_id = note_edit.caller
       AND t.client_id = note_edit.client;

    RETURN QUERY SELECT * FROM api.note(caller, client);
END
$$;


-- api.dashboard: what the caller, an advisor, has done and earned; query: from
-- and to, optional times; sessions that were started, and transfers made, from
-- the first to before the second.
--
--   200 {from,to,sessions,clients,billed_ms,charged,fee,gifts,deposits,reversed,
--        earned,balance,rating:{average,count}}
--       earned = charged - fee + gifts + deposits of bookings (without the
--       platform's part) - reversed.  Without from and to it is what the journal has moved to
--       the advisor's wallet, and from it for reversals.
--   400 bad_request, with its field
--   404 not_found                         no advisor
--
-- Called by GET /api/advisors/me/dashboard.
CREATE OR REPLACE FUNCTION api.dashboard(caller bigint, query json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_from     timestamptz := consult.f_time(query, 'from', false);
    v_to       timestamptz := consult.f_time(query, 'to', false);
    v_since    timestamptz := coalesce(v_from, '-infinity');
    v_until    timestamptz := coalesce(v_to, 'infinity');
    v_currency text        := consult.currency();
    v_wallet   bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    v_wallet := (SELECT w.id FROM ledger.wallet w
                  WHERE w.owner_id = dashboard.caller
                    AND w.kind = 'advisor');

    IF v_wallet IS NULL THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    -- one statement: all of it is of one moment
    RETURN QUERY
    SELECT 200, (SELECT row_to_json(x) FROM (
        SELECT consult.rfc3339(v_from) AS "from", consult.rfc3339(v_to) AS "to",
               s.n AS sessions, s.clients, s.billed_ms,
               consult.money(s.charged, v_currency)::json AS charged,
               consult.money(s.fee, v_currency)::json AS fee,
               consult.money(g.given, v_currency)::json AS gifts,
               consult.money(g.deposits, v_currency)::json AS deposits,
               consult.money(r.taken, v_currency)::json AS reversed,
               consult.money(s.charged - s.fee + g.given + g.deposits
                             - r.taken, v_currency)::json AS earned,
               (SELECT consult.wallet_body(caller) -> 'balance') AS balance,
               (SELECT row_to_json(y) FROM (
                   SELECT trim_scale(round(d.rating_sum::numeric
                              / nullif(d.rating_count, 0), 3)) AS average,
                          d.rating_count AS count
                     FROM identity.advisor d
                    WHERE d.account_id = dashboard.caller) y) AS rating
          FROM (SELECT count(*) AS n, count(DISTINCT z.client_id) AS clients,
                       coalesce(sum(z.billed_ms), 0)::bigint AS billed_ms,
                       coalesce(sum(z.charged), 0)::bigint AS charged,
                       coalesce(sum(z.fee), 0)::bigint AS fee
                  FROM consult.session z
                 WHERE z.advisor_wallet = v_wallet
                   AND z.created_at >= v_since AND z.created_at < v_until) s,
               (SELECT coalesce(sum(t.amount - t.fee) FILTER (
                           WHERE t.kind = 'gift'), 0)::bigint AS given,
                       coalesce(sum(t.amount - t.fee) FILTER (
                           WHERE t.kind = 'deposit'), 0)::bigint AS deposits
                  FROM ledger.transfer t
                 WHERE t.credit_account = v_wallet AND t.session_id IS NULL
                   AND t.kind IN ('gift', 'deposit')
                   AND t.at >= v_since AND t.at < v_until) g,
               (SELECT coalesce(sum(t.amount), 0)::bigint AS taken
                  FROM ledger.transfer t
                 WHERE t.debit_account = v_wallet AND t.session_id IS NULL
                   AND t.kind = 'reversal'
                   AND t.at >= v_since AND t.at < v_until) r) x);
END
$$;


-- api.figures: how the caller, an advisor, does.
--
--   200 {asked,answered,completed,rejected,missed,cancelled,completion,
--        response_ms,response_median_ms,clients,repeat_clients,repeat}
--       asked: sessions that rang and are over; answered: accepted; completed:
--       both were there; completion: completed of asked, repeat: clients with
--       two or more completed of those with any; 0 to 1, null of none.
--       response: from the ring to the acceptance
--   404 not_found                         no advisor
--
-- Called by GET /api/advisors/me/figures.
CREATE OR REPLACE FUNCTION api.figures(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_wallet bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    v_wallet := (SELECT w.id FROM ledger.wallet w
                  WHERE w.owner_id = figures.caller AND w.kind = 'advisor');

    IF v_wallet IS NULL THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    RETURN QUERY
    WITH mine AS (
        SELECT s.client_id, s.active_ms IS NOT NULL AS done, s.reason,
               s.accepted_at IS NOT NULL OR s.active_ms IS NOT NULL AS answered,
               extract(epoch FROM s.accepted_at - s.created_at) * 1000 AS took
          FROM consult.session s
         WHERE s.advisor_wallet = v_wallet AND s.state = 'ended'),
    each AS (
        SELECT count(*) AS n FROM mine m WHERE m.done GROUP BY m.client_id)
    SELECT 200, (SELECT row_to_json(x) FROM (
        SELECT count(*) AS asked,
               count(*) FILTER (WHERE m.answered) AS answered,
               count(*) FILTER (WHERE m.done) AS completed,
               count(*) FILTER (WHERE m.reason = 'rejected') AS rejected,
               count(*) FILTER (WHERE m.reason = 'missed') AS missed,
               count(*) FILTER (WHERE m.reason = 'cancelled') AS cancelled,
               trim_scale(round(count(*) FILTER (WHERE m.done)::numeric
                          / nullif(count(*), 0), 4)) AS completion,
               round(avg(m.took))::bigint AS response_ms,
               round(percentile_cont(0.5) WITHIN GROUP (ORDER BY m.took)
                     )::bigint AS response_median_ms,
               (SELECT count(*) FROM each) AS clients,
               (SELECT count(*) FROM each e WHERE e.n > 1) AS repeat_clients,
               (SELECT trim_scale(round(count(*) FILTER (WHERE e.n > 1)
                           ::numeric / nullif(count(*), 0), 4))
                  FROM each e) AS repeat
          FROM mine m) x);
END
$$;


REVOKE ALL ON FUNCTION api.favorite_add(bigint, bigint),
    api.favorite_remove(bigint, bigint), api.favorites(bigint, int, text),
    api.clients(bigint, int, text), api.note(bigint, bigint),
    api.note_edit(bigint, bigint, json, text), api.dashboard(bigint, json),
    api.figures(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.favorite_add(bigint, bigint),
    api.favorite_remove(bigint, bigint), api.favorites(bigint, int, text),
    api.clients(bigint, int, text), api.note(bigint, bigint),
    api.note_edit(bigint, bigint, json, text), api.dashboard(bigint, json),
    api.figures(bigint) TO astro_web;

RESET ROLE;
