-- old_paths: what paths of the platforms that we replace ask otherwise than we
-- do.  Owned by astro_api.

SET ROLE astro_api;


-- api.messages_between: api.messages of the conversation of two people, for
-- one of the two.  In whichever order they are named.
--
--   200, 400                              as api.messages
--   404 not_found                         the caller is neither, or they have
--                                         never talked
--
-- Called by GET /api/messages/{u}/{u}.
CREATE OR REPLACE FUNCTION api.messages_between(caller bigint, one bigint,
    other bigint, cap int, cursor text)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_conv bigint;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF caller IN (one, other) THEN
        SELECT c.id INTO v_conv FROM consult.conversation c
         WHERE c.client_id = one AND c.advisor_id = other
            OR c.client_id = other AND c.advisor_id = one;
    END IF;

    IF v_conv IS NULL THEN
        PERFORM consult.fail('not_found', 'no such conversation');
    END IF;

    RETURN QUERY SELECT * FROM api.messages(caller, v_conv, cap, cursor);
END
$$;


-- api.conversation_of: the conversation that a session of the caller's is part
-- of; nothing if there is no such session.
--
-- Called by POST /api/communication/chat/message.
CREATE OR REPLACE FUNCTION api.conversation_of(caller bigint, session bigint)
RETURNS TABLE (conv bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    RETURN QUERY SELECT s.conversation_id FROM consult.session s
                  WHERE s.id = conversation_of.session;
END
$$;


REVOKE ALL ON FUNCTION
    api.messages_between(bigint, bigint, bigint, int, text),
    api.conversation_of(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    api.messages_between(bigint, bigint, bigint, int, text),
    api.conversation_of(bigint, bigint) TO astro_web;

RESET ROLE;
