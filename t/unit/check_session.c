
/*
 * Copyright (C) The Astro authors
 *
 * The life of a session: every transition that the documents know of, one
 * line each, and nothing else, for all states, events and parties.
 */

#include "unit.h"

#include "astro_session.h"


typedef struct {
    const char  *state;
    const char  *event;
    const char  *parties;   /* c, a, s: client, advisor, the billing engine */
    const char  *next;
} legal_t;


static const legal_t  legal[] = {

    /* the advisor answers */
    { "ringing", "accept", "a", "accepted" },
    { "ringing", "reject", "a", "ended" },

    /* the client thinks better of it before anything is paid for */
    { "requested", "cancel", "c", "ended" },
    { "queued", "cancel", "c", "ended" },
    { "ringing", "cancel", "c", "ended" },
    { "accepted", "cancel", "c", "ended" },
    { "connecting", "cancel", "c", "ended" },

    /* either comes, or comes back */
    { "accepted", "join", "ca", "connecting" },
    { "connecting", "join", "ca", "connecting" },
    { "active", "join", "ca", "active" },
    { "reconnecting", "join", "ca", "reconnecting" },
    { "paused", "join", "ca", "paused" },

    /* either leaves */
    { "requested", "end", "ca", "ended" },
    { "queued", "end", "ca", "ended" },
    { "ringing", "end", "ca", "ended" },
    { "accepted", "end", "ca", "ended" },
    { "connecting", "end", "ca", "ended" },
    { "active", "end", "ca", "ended" },
    { "reconnecting", "end", "ca", "ended" },
    { "paused", "end", "ca", "ended" },

    /* either has it paused, and on again */
    { "active", "pause", "ca", "paused" },
    { "reconnecting", "pause", "ca", "paused" },
    { "paused", "resume", "ca", "reconnecting" },

    /* another service, and what they show */
    { "accepted", "mode", "ca", "accepted" },
    { "connecting", "mode", "ca", "connecting" },
    { "active", "mode", "ca", "active" },
    { "reconnecting", "mode", "ca", "reconnecting" },
    { "paused", "mode", "ca", "paused" },
    { "accepted", "media", "ca", "accepted" },
    { "connecting", "media", "ca", "connecting" },
    { "active", "media", "ca", "active" },
    { "reconnecting", "media", "ca", "reconnecting" },
    { "paused", "media", "ca", "paused" },

    /* the client has more time */
    { "requested", "extend", "c", "requested" },
    { "queued", "extend", "c", "queued" },
    { "ringing", "extend", "c", "ringing" },
    { "accepted", "extend", "c", "accepted" },
    { "connecting", "extend", "c", "connecting" },
    { "active", "extend", "c", "active" },
    { "reconnecting", "extend", "c", "reconnecting" },
    { "paused", "extend", "c", "paused" },

    /* nobody answers */
    { "ringing", "miss", "s", "ended" },

    /* both are there, and it is paid for */
    { "accepted", "activate", "s", "active" },
    { "connecting", "activate", "s", "active" },
    { "reconnecting", "activate", "s", "active" },
    { "paused", "activate", "s", "active" },

    /* one is gone */
    { "active", "lose", "s", "reconnecting" },

    /* the money is spent, or there is none to start with */
    { "accepted", "exhaust", "s", "ended" },
    { "connecting", "exhaust", "s", "ended" },
    { "active", "exhaust", "s", "ended" },
    { "reconnecting", "exhaust", "s", "ended" },
    { "paused", "exhaust", "s", "ended" },

    /* one does not come, or does not come back */
    { "accepted", "give_up", "s", "ended" },
    { "connecting", "give_up", "s", "ended" },
    { "reconnecting", "give_up", "s", "ended" },
    { "paused", "expire", "s", "ended" }
};

#define LEGAL  (sizeof(legal) / sizeof(legal[0]))


static const char *
expected(const char *state, const char *event, char party)
{
    size_t  i;

    for (i = 0; i < LEGAL; i++) {

        if (strcmp(legal[i].state, state) == 0
            && strcmp(legal[i].event, event) == 0
            && strchr(legal[i].parties, party))
        {
            return legal[i].next;
        }
    }

    return "";
}


START_TEST(all_there_are)
{
    int          state, event, party, found;
    const char  *next, *want;

    static const char  letters[] = "ca.s";

    found = 0;

    for (state = -1; state <= ASTRO_SESSION_STATES; state++) {
        for (event = -1; event <= ASTRO_SESSION_EVENTS; event++) {
            for (party = 1; party <= 4; party *= 2) {

                next = astro_session_state_name(
                           astro_session_next((astro_session_state_e) state,
                                              (astro_session_event_e) event,
                                              (astro_party_e) party));

                want = expected(
                    astro_session_state_name((astro_session_state_e) state),
                    astro_session_event_name((astro_session_event_e) event),
                    letters[party - 1]);

                ck_assert_msg(strcmp(next, want) == 0,
                              "state %d event %d party %d: \"%s\", not"
                              " \"%s\"", state, event, party, next, want);

                found += *next != '\0';
            }
        }
    }

    /* each line of the table was met: c and a count twice */

    ck_assert_int_eq(found, (int) LEGAL + 26);

    /* nobody at all may do nothing at all */

    ck_assert_int_eq(astro_session_next(ASTRO_SESSION_RINGING,
                                        ASTRO_SESSION_ACCEPT,
                                        (astro_party_e) 0),
                     ASTRO_SESSION_NONE);
}
END_TEST


/* from and from_sql are one list */

START_TEST(rules)
{
    int                          event, state, n;
    char                         sql[128];
    const astro_session_rule_t  *rule;

    for (event = 0; event < ASTRO_SESSION_EVENTS; event++) {
        rule = astro_session_rule((astro_session_event_e) event);
        ck_assert_ptr_nonnull(rule);

        n = 0;

        for (state = 0; state < ASTRO_SESSION_STATES; state++) {

            if (rule->from & astro_session_bit(state)) {
                n += snprintf(sql + n, sizeof(sql) - (size_t) n, "%c%s",
                              n ? ',' : '{',
                              astro_session_state_name(
                                  (astro_session_state_e) state));
            }
        }

        (void) snprintf(sql + n, sizeof(sql) - (size_t) n, "}");

        ck_assert_str_eq(sql, rule->from_sql);

        /* what the system ends has a reason of its own */

        if (rule->to == ASTRO_SESSION_ENDED) {
            ck_assert(rule->reason || event == ASTRO_SESSION_END);

        } else {
            ck_assert_ptr_null(rule->reason);
        }

        ck_assert_int_eq((rule->parties & ASTRO_PARTY_SYSTEM) != 0,
                         event >= ASTRO_SESSION_MISS);
    }

    ck_assert_ptr_null(astro_session_rule(ASTRO_SESSION_EVENTS));
    ck_assert_ptr_null(astro_session_rule((astro_session_event_e) -1));

    ck_assert_str_eq(astro_session_rule(ASTRO_SESSION_REJECT)->reason,
                     "rejected");
    ck_assert_str_eq(astro_session_rule(ASTRO_SESSION_CANCEL)->reason,
                     "cancelled");
    ck_assert_str_eq(astro_session_rule(ASTRO_SESSION_MISS)->reason,
                     "missed");
    ck_assert_str_eq(astro_session_rule(ASTRO_SESSION_EXHAUST)->reason,
                     "low_balance");
    ck_assert_str_eq(astro_session_rule(ASTRO_SESSION_GIVE_UP)->reason,
                     "peer_lost");

    /* and so are the two of those in which chat is taken */

    ck_assert_uint_eq(ASTRO_SESSION_CHAT_STATES,
                      astro_session_bit(ASTRO_SESSION_ACTIVE)
                      | astro_session_bit(ASTRO_SESSION_RECONNECTING));
    ck_assert_str_eq(ASTRO_SESSION_CHAT_STATES_SQL, "{active,reconnecting}");
}
END_TEST


/* from every state there is a way to the end */

START_TEST(all_ends)
{
    int       state, event, party, round;
    uint32_t  ends;

    ends = astro_session_bit(ASTRO_SESSION_ENDED);

    for (round = 0; round < ASTRO_SESSION_STATES; round++) {
        for (state = 1; state < ASTRO_SESSION_STATES; state++) {
            for (event = 0; event < ASTRO_SESSION_EVENTS; event++) {
                for (party = 1; party <= 4; party *= 2) {

                    if (ends & astro_session_bit(
                            astro_session_next((astro_session_state_e) state,
                                               (astro_session_event_e) event,
                                               (astro_party_e) party)))
                    {
                        ends |= astro_session_bit(state);
                    }
                }
            }
        }
    }

    ck_assert_uint_eq(ends, (1u << ASTRO_SESSION_STATES) - 2);
}
END_TEST


START_TEST(names)
{
    int          i, k;
    const char  *s;

    for (i = 1; i < ASTRO_SESSION_STATES; i++) {
        s = astro_session_state_name((astro_session_state_e) i);

        ck_assert_int_gt(strlen(s), 0);
        ck_assert_int_eq(astro_session_state_parse((const uint8_t *) s,
                                                   strlen(s)), i);
        ck_assert_int_eq(astro_session_state_parse((const uint8_t *) s,
                                                   strlen(s) - 1), 0);
    }

    for (i = 0; i < ASTRO_SESSION_EVENTS; i++) {
        for (k = 0; k < i; k++) {
            ck_assert_str_ne(
                astro_session_event_name((astro_session_event_e) i),
                astro_session_event_name((astro_session_event_e) k));
        }
    }

    ck_assert_int_eq(astro_session_state_parse((const uint8_t *) "", 0), 0);
    ck_assert_int_eq(astro_session_state_parse((const uint8_t *) "Active", 6),
                     0);
    ck_assert_int_eq(astro_session_state_parse((const uint8_t *) "activex",
                                               7), 0);
    ck_assert_str_eq(astro_session_state_name(ASTRO_SESSION_STATES), "");
    ck_assert_str_eq(astro_session_event_name(ASTRO_SESSION_EVENTS), "");
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("session");

    unit_add(s, "all_there_are", all_there_are);
    unit_add(s, "rules", rules);
    unit_add(s, "all_ends", all_ends);
    unit_add(s, "names", names);

    return unit_main(s);
}
