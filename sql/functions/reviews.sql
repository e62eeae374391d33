-- reviews: what clients say of sessions that are over.  Functions of api, owned
-- by astro_api.  An advisor's sum and count of ratings are kept by a trigger
-- (migration 0016): exact after every edit and every hiding.

SET ROLE astro_owner;

-- consult.review_body: a review; why it is hidden is for those who see it
-- though it is: its parties, and admins.
CREATE OR REPLACE FUNCTION consult.review_body(v consult.review) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT row_to_json(x) FROM (
        SELECT 's_' || v.session_id AS session, 'u_' || v.advisor_id
                   AS advisor,
               (SELECT row_to_json(c) FROM (
                   SELECT 'u_' || v.client_id AS id,
                          (SELECT a.name FROM identity.account a
                            WHERE a.id = v.client_id) AS name) c) AS client,
               v.rating, v.text, v.reply, v.hidden IS NOT NULL AS hidden,
               v.hidden AS hidden_reason,
               consult.rfc3339(v.at) AS created_at,
               consult.rfc3339(v.edited_at) AS edited_at,
               consult.rfc3339(v.replied_at) AS replied_at) x);
END
$$;

REVOKE ALL ON FUNCTION consult.review_body(consult.review) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.review_body(consult.review) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.review_create: {"rating":1..5,"text"?}: the client of a session that is
-- over says how it was; once, within 30 days of its end, and only if both were
-- there.
--
--   201 {session,advisor,client:{id,name},rating,text,reply,hidden,
--        hidden_reason,created_at,edited_at,replied_at}
--   400 bad_request, with its field
--   403 forbidden                         its advisor
--   404 not_found                         no such session of the caller's
--   409 session_state                     not over, or it never began
--   409 conflict                          there is a review
--   410 gone                              too late
--
-- Called by POST /api/sessions/{id}/review.
CREATE OR REPLACE FUNCTION api.review_create(caller bigint, session bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_rating int  := consult.f_int(doc, 'rating', 1, 5);
    v_text   text := coalesce(consult.f_text(doc, 'text', 0, 4000, false),
                              '');
    s        consult.session;
    v        consult.review;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO s FROM consult.session x
     WHERE x.id = review_create.session;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such session of yours');
    END IF;

    IF s.client_id <> caller THEN
        PERFORM consult.fail('forbidden', 'the client reviews a session');
    END IF;

    IF s.state <> 'ended' OR s.active_ms IS NULL THEN
        PERFORM consult.fail('session_state', CASE s.state WHEN 'ended'
                    THEN 'this session never began'
                    ELSE 'this session is not over' END);
    END IF;

    IF s.ended_at < now() - interval '30 days' THEN
        PERFORM consult.fail('gone', 'sessions are reviewed within 30 days');
    END IF;

    INSERT INTO consult.review (session_id, client_id, advisor_id, rating,
                                text)
    VALUES (s.id, caller, s.advisor_id, v_rating, v_text)
    ON CONFLICT DO NOTHING RETURNING * INTO v;

    IF v.session_id IS NULL THEN
        PERFORM consult.fail('conflict', 'there is a review of this session');
    END IF;

    RETURN QUERY SELECT 201, consult.review_body(v);
END
$$;


-- api.review_edit: {"rating"?,"text"?}: its author says it otherwise.
--
--   200 as api.review_create
--   400 bad_request, with its field
--   404 not_found                         no such review of the caller's
--
-- Called by PUT /api/sessions/{id}/review.
CREATE OR REPLACE FUNCTION api.review_edit(caller bigint, session bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_rating int  := consult.f_int(doc, 'rating', 1, 5, false);
    v_text   text := consult.f_text(doc, 'text', 0, 4000, false);
    v        consult.review;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    UPDATE consult.review x
       SET rating = coalesce(v_rating, x.rating),
           text = coalesce(v_text, x.text), edited_at = clock_timestamp()
     WHERE x.session_id = review_edit.session
       AND x.client_id = review_edit.caller RETURNING * INTO v;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such review of yours');
    END IF;

    RETURN QUERY SELECT 200, consult.review_body(v);
END
$$;


-- api.review: the review of a session.
--
--   200 as api.review_create
--   404 not_found                         none, or hidden from the caller
--
-- Called by GET /api/sessions/{id}/review.
CREATE OR REPLACE FUNCTION api.review(caller bigint, session bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v consult.review;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    SELECT * INTO v FROM consult.review x WHERE x.session_id = review.session;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such review');
    END IF;

    RETURN QUERY SELECT 200, consult.review_body(v);
END
$$;


-- api.review_reply: {"reply"}: the advisor answers; null takes it back.
--
--   200 as api.review_create
--   400 bad_request, field "/reply"
--   404 not_found                         no such review of the caller
--
-- Called by PUT /api/sessions/{id}/review/reply.
CREATE OR REPLACE FUNCTION api.review_reply(caller bigint, session bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_reply text := consult.f_text(doc, 'reply', 1, 4000, false);
    v       consult.review;
BEGIN
    IF NOT consult.has(doc, 'reply') THEN
        PERFORM consult.fail('bad_request', 'reply is missing', '/reply');
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    UPDATE consult.review x
       SET reply = v_reply,
           replied_at = CASE WHEN v_reply IS NOT NULL
                             THEN clock_timestamp() END
     WHERE x.session_id = review_reply.session
       AND x.advisor_id = review_reply.caller RETURNING * INTO v;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such review of you');
    END IF;

    RETURN QUERY SELECT 200, consult.review_body(v);
END
$$;


-- api.review_hide: {"hidden":bool,"reason"?}: an admin hides a review from all
-- but its parties, and from the average; or shows it again.
--
--   200 as api.review_create
--   400 bad_request, with its field; 403 forbidden
--   404 not_found                         no such review
--
-- Called by PUT /api/sessions/{id}/review/hidden.
CREATE OR REPLACE FUNCTION api.review_hide(caller bigint, session bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_hide   boolean := consult.f_bool(doc, 'hidden');
    v_reason text    := coalesce(consult.f_text(doc, 'reason', 0, 500,
                                                false), '');
    v        consult.review;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);
    PERFORM consult.need_admin(caller);

    UPDATE consult.review x
       SET hidden = CASE WHEN v_hide THEN v_reason END
     WHERE x.session_id = review_hide.session RETURNING * INTO v;

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such review');
    END IF;

    PERFORM consult.admin_act(caller, 'review_hide', 's_' || session,
                jsonb_build_object('hidden', v_hide, 'reason',
                                   nullif(v_reason, '')));

    RETURN QUERY SELECT 200, consult.review_body(v);
END
$$;


-- api.reviews: the reviews of an advisor, of the newest session first; hidden
-- ones are for admins, the advisor and who wrote them.  cap: 1 to 200.
--
--   200 {"data":[as api.review_create],"next_cursor":null|".."}
--   400 bad_request, field "/cursor"
--   404 not_found                         no such advisor; one who is not
--                                         approved, or blocked, to others
--
-- Called by GET /api/advisors/{id}/reviews.
CREATE OR REPLACE FUNCTION api.reviews(caller bigint, advisor bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    -- as the advisor's page, but for the advisor and admins
    PERFORM 1
       FROM identity.advisor d JOIN identity.account a ON a.id = d.account_id
      WHERE d.account_id = reviews.advisor
        AND (d.approved_at IS NOT NULL AND NOT a.blocked
             OR d.account_id = reviews.caller
             OR consult.is_admin(reviews.caller));

    IF NOT FOUND THEN
        PERFORM consult.fail('not_found', 'no such advisor');
    END IF;

    RETURN QUERY
    SELECT 200, consult.page(
               array_agg(consult.review_body(v)::text
                         ORDER BY v.session_id DESC),
               array_agg(v.session_id ORDER BY v.session_id DESC), cap)
      FROM (SELECT x.* FROM consult.review x
             WHERE x.advisor_id = reviews.advisor
               AND x.session_id < v_before
             ORDER BY x.session_id DESC LIMIT cap + 1) v;
END
$$;


REVOKE ALL ON FUNCTION api.review_create(bigint, bigint, json),
    api.review_edit(bigint, bigint, json), api.review(bigint, bigint),
    api.review_reply(bigint, bigint, json),
    api.review_hide(bigint, bigint, json),
    api.reviews(bigint, bigint, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.review_create(bigint, bigint, json),
    api.review_edit(bigint, bigint, json), api.review(bigint, bigint),
    api.review_reply(bigint, bigint, json),
    api.review_hide(bigint, bigint, json),
    api.reviews(bigint, bigint, int, text) TO astro_web;

RESET ROLE;
