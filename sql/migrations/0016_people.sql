-- 0016: people: profiles, what advisors offer, the list that is searched,
-- specialties, favourites, reviews, notes.
--
-- Safe under the version before: it inserts advisors with the columns it knows
-- (they are approved, as they were), and reads none of this.  Making the list
-- is one pass over the advisors.

SET ROLE astro_owner;


-- identity: profiles ----------------------------------------------------------

-- What people say of themselves and nobody else sees: when and where they were
-- born.  ver is what If-Match is compared with.
CREATE TABLE identity.profile (
    account_id  bigint PRIMARY KEY REFERENCES identity.account,
    about       text    NOT NULL DEFAULT '',
    language    text,
    birth_date  date,
    birth_time  text    CHECK (birth_time ~ '^[0-2][0-9]:[0-5][0-9]$'),
    birth_place text,
    birth_lat   numeric CHECK (birth_lat BETWEEN -90 AND 90),
    birth_lon   numeric CHECK (birth_lon BETWEEN -180 AND 180),
    birth_zone  text,
    charts      json    NOT NULL DEFAULT '[]',
    ver         int     NOT NULL DEFAULT 1
);

ALTER TABLE identity.profile ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity.profile FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON identity.profile FOR ALL TO astro_api
    USING (account_id = consult.caller());

ALTER TABLE identity.advisor
    ADD COLUMN languages    text[]   NOT NULL DEFAULT '{}',
    ADD COLUMN experience   smallint NOT NULL DEFAULT 0
               CHECK (experience BETWEEN 0 AND 100),        -- years
    ADD COLUMN city         text     NOT NULL DEFAULT '',
    ADD COLUMN lat          double precision CHECK (lat BETWEEN -90 AND 90),
    ADD COLUMN lon          double precision CHECK (lon BETWEEN -180 AND 180),
    -- NULL: signed up, and no admin has approved so far
    ADD COLUMN approved_at  timestamptz DEFAULT now(),
    -- the advisor's own wish: not to be found online, though connected
    ADD COLUMN away         boolean  NOT NULL DEFAULT false,
    -- of the reviews that are not hidden; kept by a trigger on consult.review
    ADD COLUMN rating_sum   bigint   NOT NULL DEFAULT 0,
    ADD COLUMN rating_count int      NOT NULL DEFAULT 0,
    ADD COLUMN ver          int      NOT NULL DEFAULT 1,
    ADD CHECK ((lat IS NULL) = (lon IS NULL)),
    ADD CHECK (rating_count >= 0 AND rating_sum BETWEEN rating_count
                                             AND 5 * rating_count::bigint);

CREATE INDEX advisor_waiting ON identity.advisor (account_id)
    WHERE approved_at IS NULL;
CREATE INDEX advisor_place ON identity.advisor (lat, lon)
    WHERE lat IS NOT NULL AND approved_at IS NOT NULL;


-- The words that advisors may describe themselves with.
CREATE TABLE identity.specialty (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text   NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    name text   NOT NULL
);

INSERT INTO identity.specialty (slug, name)
SELECT s.slug, initcap(replace(s.slug, '-', ' '))
  FROM (SELECT unnest(ARRAY['vedic', 'western', 'tarot', 'numerology',
               'palmistry', 'vastu', 'career', 'love', 'family', 'health'])
        UNION
        SELECT unnest(d.specialties) FROM identity.advisor d) AS s(slug)
 WHERE s.slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'
 ORDER BY 1;


-- The list that is searched: a version of each advisor for each time that
-- something changed by which the list is ordered or filtered.  A version was in
-- the list from the change "born" to the change "dead", counted by one clock,
-- so that somebody who pages through it goes through the list as it was at the
-- first page, whatever changes meanwhile.  Dead versions stay for an hour.
CREATE TABLE identity.listing (
    account_id  bigint NOT NULL,
    born        bigint NOT NULL,
    dead        bigint NOT NULL DEFAULT 9223372036854775807,
    died_at     timestamptz,
    name_key    text   NOT NULL COLLATE "C",
    specialties text[] NOT NULL,
    languages   text[] NOT NULL,
    chat        bigint,                 -- minor units a minute
    audio       bigint,
    video       bigint,
    price       bigint,                 -- the least of them
    rating      int    NOT NULL,        -- in 1/1000, 0: nobody has reviewed
    rank        bigint NOT NULL,        -- by rating, then by how many gave it
    PRIMARY KEY (account_id, born)
);

CREATE INDEX listing_chat  ON identity.listing (chat, account_id);
CREATE INDEX listing_audio ON identity.listing (audio, account_id);
CREATE INDEX listing_video ON identity.listing (video, account_id);
CREATE INDEX listing_price ON identity.listing (price, account_id);
CREATE INDEX listing_rank  ON identity.listing (rank, account_id);
CREATE INDEX listing_name  ON identity.listing (name_key, account_id);
CREATE INDEX listing_words ON identity.listing
    USING gin (specialties) WITH (fastupdate = off);
CREATE INDEX listing_tongues ON identity.listing
    USING gin (languages) WITH (fastupdate = off);
CREATE INDEX listing_died ON identity.listing (died_at)
    WHERE died_at IS NOT NULL;

CREATE TABLE identity.listing_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    no  bigint  NOT NULL
) WITH (fillfactor = 10);

INSERT INTO identity.listing_clock (no) VALUES (1);

-- What the list should say of an advisor now: one row, or none.
CREATE VIEW identity.listable AS
SELECT d.account_id, lower(a.name) COLLATE "C" AS name_key, d.specialties,
       d.languages, d.rate_chat_minor AS chat, d.rate_audio_minor AS audio,
       d.rate_video_minor AS video,
       least(d.rate_chat_minor, d.rate_audio_minor, d.rate_video_minor)
           AS price,
       coalesce(1000 * d.rating_sum / nullif(d.rating_count, 0), 0)::int
           AS rating,
       coalesce(1000 * d.rating_sum / nullif(d.rating_count, 0), 0)
           * 10000000 + least(d.rating_count, 9999999) AS rank
  FROM identity.advisor d
  JOIN identity.account a ON a.id = d.account_id
 WHERE a.role = 'advisor' AND NOT a.blocked AND d.approved_at IS NOT NULL;

INSERT INTO identity.listing (account_id, born, name_key, specialties,
       languages, chat, audio, video, price, rating, rank)
SELECT v.account_id, 1, v.name_key, v.specialties, v.languages, v.chat,
       v.audio, v.video, v.price, v.rating, v.rank
  FROM identity.listable v;

-- Locks: the row that was changed, then the clock, to the end of the
-- transaction: the numbers are in order of commits.
CREATE FUNCTION identity.relist() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_who bigint;
    v_no  bigint;
    v_old identity.listing;
    v_new identity.listable;
BEGIN
    IF TG_TABLE_NAME = 'account' THEN
        v_who := NEW.id;
    ELSE
        v_who := NEW.account_id;
    END IF;

    UPDATE identity.listing_clock c SET no = c.no + 1 WHERE c.one
    RETURNING c.no INTO STRICT v_no;

    SELECT * INTO v_old FROM identity.listing l
     WHERE l.account_id = v_who AND l.dead = 9223372036854775807;
    SELECT * INTO v_new FROM identity.listable v WHERE v.account_id = v_who;

    IF v_old.account_id = v_new.account_id
       AND (v_old.name_key, v_old.specialties, v_old.languages, v_old.chat,
            v_old.audio, v_old.video, v_old.rank)
           IS NOT DISTINCT FROM
           (v_new.name_key, v_new.specialties, v_new.languages, v_new.chat,
            v_new.audio, v_new.video, v_new.rank) THEN
        RETURN NULL;
    END IF;

    IF v_old.born = v_no THEN
        -- changed twice within one statement
        DELETE FROM identity.listing l
         WHERE l.account_id = v_who AND l.born = v_no;

    ELSIF v_old.account_id IS NOT NULL THEN
        UPDATE identity.listing l
           SET dead = v_no, died_at = clock_timestamp()
         WHERE l.account_id = v_who AND l.born = v_old.born;
    END IF;

    IF v_new.account_id IS NOT NULL THEN
        INSERT INTO identity.listing (account_id, born, name_key, specialties,
               languages, chat, audio, video, price, rating, rank)
        VALUES (v_who, v_no, v_new.name_key, v_new.specialties,
               v_new.languages, v_new.chat, v_new.audio, v_new.video,
               v_new.price, v_new.rating, v_new.rank);
    END IF;

    DELETE FROM identity.listing l
     WHERE (l.account_id, l.born) IN
           (SELECT x.account_id, x.born FROM identity.listing x
             WHERE x.died_at < clock_timestamp() - interval '1 hour'
             ORDER BY x.died_at LIMIT 10);

    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION identity.relist() FROM PUBLIC;

CREATE TRIGGER advisor_listed
    AFTER INSERT OR UPDATE OF specialties, languages, rate_chat_minor,
          rate_audio_minor, rate_video_minor, rating_sum, rating_count,
          approved_at
    ON identity.advisor
    FOR EACH ROW EXECUTE FUNCTION identity.relist();

CREATE TRIGGER account_listed
    AFTER UPDATE OF name, role, blocked ON identity.account
    FOR EACH ROW
    WHEN ((OLD.role = 'advisor' OR NEW.role = 'advisor')
          AND (OLD.name <> NEW.name OR OLD.role <> NEW.role
               OR OLD.blocked <> NEW.blocked))
    EXECUTE FUNCTION identity.relist();


-- consult: what people say of each other --------------------------------------

-- Advisors who may be connected: all who are have a row, some who are not may.
CREATE TABLE consult.advisor_here (
    account_id bigint      PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

INSERT INTO consult.advisor_here (account_id)
SELECT DISTINCT p.account_id FROM consult.presence p
  JOIN identity.advisor d ON d.account_id = p.account_id;

CREATE TABLE consult.favorite (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    client_id  bigint NOT NULL REFERENCES identity.account,
    advisor_id bigint NOT NULL REFERENCES identity.account,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (client_id, advisor_id)
);

CREATE INDEX favorite_order ON consult.favorite (client_id, id);
CREATE INDEX favorite_of ON consult.favorite (advisor_id);

-- One for each session, by its client.
CREATE TABLE consult.review (
    session_id bigint PRIMARY KEY REFERENCES consult.session,
    client_id  bigint NOT NULL REFERENCES identity.account,
    advisor_id bigint NOT NULL REFERENCES identity.account,
    rating     smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    text       text NOT NULL DEFAULT '',
    reply      text,
    hidden     text,            -- why it is hidden; NULL: it is not
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    edited_at  timestamptz,
    replied_at timestamptz
);

CREATE INDEX review_advisor ON consult.review (advisor_id, session_id);

-- What an advisor keeps about a client; nobody else reads it.
CREATE TABLE consult.note (
    advisor_id bigint NOT NULL REFERENCES identity.account,
    client_id  bigint NOT NULL REFERENCES identity.account,
    text       text   NOT NULL,
    ver        int    NOT NULL DEFAULT 1,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (advisor_id, client_id)
);

ALTER TABLE consult.favorite ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.review   ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.note     ENABLE ROW LEVEL SECURITY;
ALTER TABLE consult.favorite FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.review   FORCE ROW LEVEL SECURITY;
ALTER TABLE consult.note     FORCE ROW LEVEL SECURITY;

CREATE FUNCTION consult.caller_is_admin() RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT a.role = 'admin' AND NOT a.blocked
                       FROM identity.account a
                      WHERE a.id = consult.caller()), false);
END
$$;

REVOKE ALL ON FUNCTION consult.caller_is_admin() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION consult.caller_is_admin() TO astro_api;

CREATE POLICY own ON consult.favorite FOR ALL TO astro_api
    USING (client_id = consult.caller());
CREATE POLICY own ON consult.note FOR ALL TO astro_api
    USING (advisor_id = consult.caller());
CREATE POLICY public ON consult.review FOR SELECT TO astro_api
    USING (hidden IS NULL OR consult.caller() IN (client_id, advisor_id)
           OR (SELECT consult.caller_is_admin()));
CREATE POLICY own ON consult.review FOR INSERT TO astro_api
    WITH CHECK (client_id = consult.caller());
CREATE POLICY parties ON consult.review FOR UPDATE TO astro_api
    USING (consult.caller() IN (client_id, advisor_id)
           OR (SELECT consult.caller_is_admin()));

-- The advisor's sum and count change with the review itself, so they are exact
-- whoever writes it.
CREATE FUNCTION consult.review_counted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sum   int := 0;
    v_count int := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.hidden IS NULL THEN
        v_sum := v_sum - OLD.rating;
        v_count := v_count - 1;
    END IF;

    IF TG_OP <> 'DELETE' AND NEW.hidden IS NULL THEN
        v_sum := v_sum + NEW.rating;
        v_count := v_count + 1;
    END IF;

    IF v_sum <> 0 OR v_count <> 0 THEN
        UPDATE identity.advisor d
           SET rating_sum = d.rating_sum + v_sum,
               rating_count = d.rating_count + v_count
         WHERE d.account_id = coalesce(NEW.advisor_id, OLD.advisor_id);
    END IF;

    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION consult.review_counted() FROM PUBLIC;

CREATE TRIGGER review_counted
    AFTER INSERT OR DELETE OR UPDATE OF rating, hidden ON consult.review
    FOR EACH ROW EXECUTE FUNCTION consult.review_counted();

-- How long an advisor took to answer: whatever accepts a session.
ALTER TABLE consult.session ADD COLUMN accepted_at timestamptz;

CREATE FUNCTION consult.session_accepted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.accepted_at := clock_timestamp();
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION consult.session_accepted() FROM PUBLIC;

CREATE TRIGGER session_accepted
    BEFORE UPDATE OF state ON consult.session
    FOR EACH ROW
    WHEN (NEW.state = 'accepted' AND OLD.accepted_at IS NULL)
    EXECUTE FUNCTION consult.session_accepted();

RESET ROLE;


-- rights -----------------------------------------------------------------------

GRANT UPDATE (name) ON identity.account TO astro_api;
GRANT INSERT (account_id, headline, bio, specialties, rate_chat_minor,
      rate_audio_minor, rate_video_minor, languages, experience, city, lat,
      lon, approved_at),
      UPDATE (headline, bio, specialties, rate_chat_minor, rate_audio_minor,
      rate_video_minor, languages, experience, city, lat, lon, approved_at,
      away, ver)
   ON identity.advisor TO astro_api;
GRANT SELECT, INSERT, UPDATE ON identity.profile TO astro_api;
GRANT SELECT, INSERT (slug, name), UPDATE (name), DELETE
   ON identity.specialty TO astro_api;
GRANT SELECT ON identity.listing, identity.listing_clock TO astro_api;
GRANT SELECT, INSERT, DELETE ON consult.favorite TO astro_api;
GRANT SELECT, INSERT, UPDATE (rating, text, reply, hidden, edited_at,
      replied_at) ON consult.review TO astro_api;
GRANT SELECT, INSERT, UPDATE (text, ver, at), DELETE ON consult.note
   TO astro_api;
GRANT SELECT ON consult.advisor_here TO astro_api;
GRANT SELECT, INSERT, UPDATE ON consult.advisor_here TO astro_gateway,
      astro_hello;
GRANT SELECT, DELETE ON consult.advisor_here TO astro_engine;
GRANT SELECT ON identity.advisor TO astro_gateway;
-- whether a specialty is in use, to be asked while it is locked
GRANT UPDATE (id) ON identity.specialty TO astro_api;
