-- connect: an advisor's account at the vendor of payouts (Stripe's Connect),
-- from the wish to have one to being paid.  Functions owned by astro_engine, but
-- for those that the module calls.
--
-- Two calls by the outbox: one makes the account, under one key however often
-- it is sent; one makes an address, good for a short time, where the advisor
-- tells the vendor the rest.  Whether the account can be paid to is the
-- vendor's to say, in account.updated: billing.payee_set follows it, so that
-- nobody is paid before, nor after it was taken away.
--
-- Locks: a row of the outbox or of the inbox, the advisory lock (3, hash) of the
-- account's name, then one of ledger.connect.

SET ROLE astro_engine;


-- consult.connect_ask: one more call to the vendor about an account.
CREATE OR REPLACE FUNCTION consult.connect_ask(account bigint, what text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c ledger.connect;
    o ledger.connect_option;
BEGIN
    SELECT * INTO o FROM ledger.connect_option x WHERE x.one;

    UPDATE ledger.connect x SET asked = x.asked + 1
     WHERE x.account_id = connect_ask.account RETURNING x.* INTO STRICT c;

    INSERT INTO billing.outbox (vendor, path, body, key, kind, about, until)
    VALUES ('stripe',
            CASE what WHEN 'account' THEN '/v1/accounts'
                 WHEN 'link' THEN '/v1/account_links'
                 ELSE '/v1/accounts/' || c.name END,
            CASE what WHEN 'account' THEN
                'type=express&country=' || c.country
                || '&capabilities[transfers][requested]=true'
                || '&metadata[account]=' || account
            WHEN 'link' THEN
                'type=account_onboarding&account=' || c.name
                || '&refresh_url=' || consult.form_text(o.refresh_url)
                || '&return_url=' || consult.form_text(o.return_url)
            ELSE 'metadata[account]=' || account END,
            'connect-' || account || '-' || c.asked, 'connect_' || what,
            account,
            -- who wants one later asks for another
            CASE what WHEN 'link'
                 THEN clock_timestamp() + interval '10 minutes' END);
END
$$;


-- consult.form_text: what stands in a form for a text without blanks.
CREATE OR REPLACE FUNCTION consult.form_text(said text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT replace(replace(replace(replace(said, '%', '%25'), '&', '%26'),
                           '+', '%2B'), '=', '%3D')
$$;


-- consult.connect_open: this advisor wants an account, or to go on with it.
CREATE OR REPLACE FUNCTION consult.connect_open(account bigint, country text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c      ledger.connect;
    v_made boolean;
BEGIN
    INSERT INTO ledger.connect (account_id, country)
    VALUES (connect_open.account, connect_open.country)
    ON CONFLICT DO NOTHING;
    v_made := FOUND;

    SELECT x.* INTO STRICT c FROM ledger.connect x
     WHERE x.account_id = connect_open.account FOR NO KEY UPDATE;

    IF v_made OR c.state = 'failed' THEN
        UPDATE ledger.connect x
           SET state = 'creating', reason = NULL,
               country = connect_open.country
         WHERE x.account_id = connect_open.account;
        PERFORM consult.connect_ask(account, 'account');

    ELSIF c.name IS NOT NULL
          -- no address is on its way, nor good for a while
          AND (c.url IS NULL AND c.url_until IS NULL
               OR c.url_until < clock_timestamp() + interval '30 s') THEN
        UPDATE ledger.connect x
           SET url = NULL,
               url_until = clock_timestamp() + interval '10 minutes'
         WHERE x.account_id = connect_open.account;
        PERFORM consult.connect_ask(account, 'link');
    END IF;
END
$$;


-- billing.connect_done: the vendor has answered a call about an account.
CREATE OR REPLACE FUNCTION billing.connect_done(kind text, account bigint,
    answer jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c      ledger.connect;
    v_name text := answer ->> 'id';
BEGIN
    IF kind = 'connect_account' THEN
        PERFORM billing.payment_lock('stripe', v_name);
    END IF;

    SELECT x.* INTO c FROM ledger.connect x
     WHERE x.account_id = connect_done.account FOR NO KEY UPDATE;

    IF kind = 'connect_link' THEN
        UPDATE ledger.connect x
           SET url = answer ->> 'url',
               url_until = to_timestamp(least((answer ->> 'expires_at')::bigint,
                   extract(epoch FROM clock_timestamp())::bigint + 86400))
         WHERE x.account_id = connect_done.account
           AND length(answer ->> 'url') <= 2048
           AND answer ->> 'expires_at' ~ '^[0-9]{1,12}$';

    ELSIF kind = 'connect_look' AND v_name = c.name THEN
        PERFORM billing.connect_said(c.name, billing.connect_can(answer),
                                     c.said_s);

    ELSIF kind = 'connect_account' AND c.name IS NULL THEN
        IF coalesce(v_name, '') !~ '^acct_[A-Za-z0-9]{1,250}$'
           OR EXISTS (SELECT FROM ledger.connect x WHERE x.name = v_name) THEN
            PERFORM billing.connect_refused(kind, account,
                                            'no account of its own');
            RETURN;
        END IF;

        UPDATE ledger.connect x
           SET name = v_name, state = 'onboarding',
               url_until = clock_timestamp() + interval '10 minutes'
         WHERE x.account_id = connect_done.account;

        PERFORM billing.connect_said(v_name, billing.connect_can(answer), 0);
        PERFORM consult.connect_ask(account, 'link');
        -- what the vendor told of it before it told us its name
        PERFORM billing.inbox_revive('stripe', v_name,
                                     'the account is unknown');
    END IF;
END
$$;


-- billing.connect_refused: the vendor said no.
CREATE OR REPLACE FUNCTION billing.connect_refused(kind text, account bigint,
    why text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    UPDATE ledger.connect x
       SET state = CASE WHEN x.name IS NULL THEN 'failed' ELSE x.state END,
           reason = left(why, 500),
           -- another may be asked for at once
           url_until = CASE WHEN x.url IS NOT NULL THEN x.url_until END
     WHERE x.account_id = connect_refused.account
       AND connect_refused.kind IN ('connect_account', 'connect_link');
END
$$;


-- billing.connect_can: can an account that is like this be paid to?
CREATE OR REPLACE FUNCTION billing.connect_can(said jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(said -> 'charges_enabled' = 'true'::jsonb
                    AND said -> 'payouts_enabled' = 'true'::jsonb, false)
$$;


-- billing.connect_said: the vendor says, at this second of its clock, whether an
-- account can be paid to.  What it said earlier and comes later counts for
-- nothing.  Two words of one second: the one that came last counts, and the
-- vendor is asked which is right.  Returns the wallet of whose it is, NULL if
-- nothing was changed; 0 if nobody has such an account.
CREATE OR REPLACE FUNCTION billing.connect_said(name text, can boolean,
    said_s bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c       ledger.connect;
    v_state text;
BEGIN
    SELECT x.* INTO c FROM ledger.connect x
     WHERE x.name = connect_said.name FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RETURN 0;
    END IF;

    v_state := CASE WHEN can THEN 'enabled'
                    WHEN c.state IN ('enabled', 'restricted')
                    THEN 'restricted' ELSE c.state END;

    IF said_s < c.said_s THEN
        RETURN NULL;
    END IF;

    UPDATE ledger.connect x
       SET state = v_state, said_s = connect_said.said_s,
           reason = CASE WHEN can THEN NULL ELSE x.reason END
     WHERE x.account_id = c.account_id;

    IF v_state = c.state THEN
        RETURN NULL;
    END IF;

    IF can THEN
        PERFORM billing.payee_set(c.account_id, c.name);
    ELSE
        DELETE FROM ledger.payee p
         WHERE p.account_id = c.account_id AND p.destination = c.name;
    END IF;

    RETURN (SELECT w.id FROM ledger.wallet w
             WHERE w.owner_id = c.account_id AND w.kind = 'advisor');
END
$$;


-- billing.inbox_connect: of inbox_do: account.updated and what else says how an
-- account is.
CREATE OR REPLACE FUNCTION billing.inbox_connect(name text, v jsonb,
    OUT outcome text, OUT reason text, OUT wallet_id bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    o     jsonb   := v #> '{data,object}';
    v_s   bigint  := coalesce(billing.webhook_amount(v ->> 'created'), 0);
    v_can boolean := v ->> 'type' = 'account.updated'
                     AND billing.connect_can(o);
    v_tie boolean;
BEGIN
    -- who learns the account's name meanwhile revives what is parked here
    v_tie := EXISTS (SELECT FROM ledger.connect x
                      WHERE x.name = inbox_connect.name AND x.said_s = v_s
                        AND (x.state = 'enabled') <> v_can);
    wallet_id := billing.connect_said(name, v_can, v_s);

    IF wallet_id = 0 THEN
        wallet_id := NULL;
        outcome := CASE WHEN o #>> '{metadata,account}' ~ '^[0-9]{1,18}$'
                        THEN 'parked' ELSE 'ignored' END;
        reason := 'the account is unknown';
        RETURN;
    END IF;

    IF v_tie THEN
        PERFORM consult.connect_ask(x.account_id, 'look')
           FROM ledger.connect x WHERE x.name = inbox_connect.name;
    END IF;

    outcome := CASE WHEN wallet_id IS NULL THEN 'ignored' ELSE 'applied' END;
    reason := CASE WHEN wallet_id IS NULL THEN 'nothing new' END;
END
$$;


REVOKE ALL ON FUNCTION consult.connect_ask(bigint, text),
    consult.form_text(text), consult.connect_open(bigint, text),
    billing.connect_done(text, bigint, jsonb),
    billing.connect_refused(text, bigint, text),
    billing.connect_can(jsonb), billing.connect_said(text, boolean, bigint),
    billing.inbox_connect(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.connect_open(bigint, text) TO astro_api;

RESET ROLE;
SET ROLE astro_api;


-- api.payout_account: the caller's account for payouts, an advisor's.
--
--   200 {state,country,url,url_until,reason}
--       state: none; creating; onboarding: the advisor has to tell the vendor
--       more, at url if there is one; enabled; restricted: it was, and is not
--       paid to now; failed: the vendor made none, reason says why
--   404 not_found                         no advisor
--
-- Called by GET /api/advisors/me/payouts/account.
CREATE OR REPLACE FUNCTION api.payout_account(caller bigint)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c ledger.connect;
BEGIN
    PERFORM set_config('astro.caller', caller::text, true);

    IF NOT EXISTS (SELECT FROM ledger.wallet w
                    WHERE w.owner_id = payout_account.caller
                      AND w.kind = 'advisor') THEN
        PERFORM consult.fail('not_found', 'no advisor');
    END IF;

    SELECT x.* INTO c FROM ledger.connect x
     WHERE x.account_id = payout_account.caller;

    IF c.url IS NULL OR c.url_until < clock_timestamp() THEN
        c.url := NULL;
        c.url_until := NULL;
    END IF;

    RETURN QUERY
    SELECT 200, json_build_object('state', coalesce(c.state, 'none'),
               'country', c.country, 'url', c.url,
               'url_until', consult.rfc3339(c.url_until),
               'reason', c.reason);
END
$$;


-- api.payout_account_open: {country}: the caller, an advisor, wants an account
-- for payouts there, or a new address where to go on with the one that he has.
--
--   202 as of api.payout_account; the address comes a moment later
--   400 bad_request, field "/country"     not two capitals
--   404 not_found                         no advisor
--   422 unsupported                       no accounts are made here
--
-- Called by POST /api/advisors/me/payouts/account.
CREATE OR REPLACE FUNCTION api.payout_account_open(caller bigint, doc json)
RETURNS TABLE (status int, body json)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_country text := consult.f_text(doc, 'country', 2, 2);
    v_body    json;
BEGIN
    IF v_country !~ '^[A-Z]{2}$' THEN
        PERFORM consult.fail('bad_request', 'country is a code like "IN"',
                             '/country');
    END IF;

    -- refuses who is no advisor
    PERFORM 1 FROM api.payout_account(caller);

    IF EXISTS (SELECT FROM ledger.connect_option o
                WHERE o.return_url = '' OR o.refresh_url = '') THEN
        PERFORM consult.fail('unsupported',
                             'accounts for payouts are not made here');
    END IF;

    PERFORM consult.connect_open(caller, v_country);
    SELECT a.body INTO STRICT v_body FROM api.payout_account(caller) a;

    RETURN QUERY SELECT 202, v_body;
END
$$;


REVOKE ALL ON FUNCTION api.payout_account(bigint),
    api.payout_account_open(bigint, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.payout_account(bigint),
    api.payout_account_open(bigint, json) TO astro_web;

RESET ROLE;
