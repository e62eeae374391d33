-- pay_review: payments that look odd, for admins.  What is odd is decided when a
-- payment is begun (billing.checkout_begin, pay.sql).

SET ROLE astro_api;


-- api.payments_flagged: what nobody has cleared, newest first.
--
--   200 {data:[{id:"p_1",client:"u_1",rule,found,allowed,provider,state,
--       amount,at}],next_cursor}
--       rule "count": so many payments within 24 hours; "amount": of so much,
--       in minor units
--   400 bad_request, field "/cursor"
--   403 forbidden                          no admin any more
--
-- Called by GET /api/admin/payments/flagged.
CREATE OR REPLACE FUNCTION api.payments_flagged(caller bigint, cap int,
    cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cap    int    := least(greatest(coalesce(cap, 50), 1), 200);
    v_before bigint := consult.cursor_id(cursor, 9223372036854775807);
BEGIN
    PERFORM consult.need_admin(caller);

    IF v_before IS NULL THEN
        PERFORM consult.fail('bad_request', 'no such cursor', '/cursor');
    END IF;

    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY
    SELECT 200, consult.page(array_agg(f.doc::text ORDER BY f.id DESC),
                             array_agg(f.id ORDER BY f.id DESC), v_cap)
      FROM billing.payments_flagged(v_before, v_cap + 1) f;
END
$$;


-- api.payment_clear: {"note"?}: an admin has looked at it; it is in the log.
--
--   200 {id:"p_1",client:"u_1"}
--   400 bad_request, with its field
--   404 not_found                          it is not flagged (any more)
--
-- Called by POST /api/admin/payments/{p}/clear.
CREATE OR REPLACE FUNCTION api.payment_clear(caller bigint, payment bigint,
    doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_note  text := consult.f_text(doc, 'note', 1, 500, false);
    v_owner bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    v_owner := billing.payment_unflag(caller, payment, v_note);

    IF v_owner IS NULL THEN
        PERFORM consult.fail('not_found', 'no such payment is flagged');
    END IF;

    PERFORM consult.admin_act(caller, 'payment_clear', 'p_' || payment,
                              jsonb_build_object('client', 'u_' || v_owner,
                                                 'note', v_note));

    RETURN QUERY SELECT 200, json_build_object('id', 'p_' || payment,
                                               'client', 'u_' || v_owner);
END
$$;


REVOKE ALL ON FUNCTION api.payments_flagged(bigint, int, text),
    api.payment_clear(bigint, bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.payments_flagged(bigint, int, text),
    api.payment_clear(bigint, bigint, json) TO astro_web;

RESET ROLE;
