
/*
 * Copyright (C) The Astro authors
 *
 * The table of session transitions.
 */


#include <string.h>

#include "astro_session.h"


#define ASTRO_PARTY_BOTH  (ASTRO_PARTY_CLIENT|ASTRO_PARTY_ADVISOR)

#define ASTRO_SESSION_IN_REQUESTED     (1u << ASTRO_SESSION_REQUESTED)
#define ASTRO_SESSION_IN_QUEUED        (1u << ASTRO_SESSION_QUEUED)
#define ASTRO_SESSION_IN_RINGING       (1u << ASTRO_SESSION_RINGING)
#define ASTRO_SESSION_IN_ACCEPTED      (1u << ASTRO_SESSION_ACCEPTED)
#define ASTRO_SESSION_IN_CONNECTING    (1u << ASTRO_SESSION_CONNECTING)
#define ASTRO_SESSION_IN_ACTIVE        (1u << ASTRO_SESSION_ACTIVE)
#define ASTRO_SESSION_IN_RECONNECTING  (1u << ASTRO_SESSION_RECONNECTING)
#define ASTRO_SESSION_IN_PAUSED        (1u << ASTRO_SESSION_PAUSED)


static const char  *astro_session_states[] = {
    [ASTRO_SESSION_NONE] = "",
    [ASTRO_SESSION_REQUESTED] = "requested",
    [ASTRO_SESSION_QUEUED] = "queued",
    [ASTRO_SESSION_RINGING] = "ringing",
    [ASTRO_SESSION_ACCEPTED] = "accepted",
    [ASTRO_SESSION_CONNECTING] = "connecting",
    [ASTRO_SESSION_ACTIVE] = "active",
    [ASTRO_SESSION_RECONNECTING] = "reconnecting",
    [ASTRO_SESSION_PAUSED] = "paused",
    [ASTRO_SESSION_ENDED] = "ended"
};


static const char  *astro_session_events[] = {
    [ASTRO_SESSION_ACCEPT] = "accept",
    [ASTRO_SESSION_REJECT] = "reject",
    [ASTRO_SESSION_CANCEL] = "cancel",
    [ASTRO_SESSION_JOIN] = "join",
    [ASTRO_SESSION_END] = "end",
    [ASTRO_SESSION_PAUSE] = "pause",
    [ASTRO_SESSION_RESUME] = "resume",
    [ASTRO_SESSION_MODE] = "mode",
    [ASTRO_SESSION_EXTEND] = "extend",
    [ASTRO_SESSION_MEDIA] = "media",
    [ASTRO_SESSION_MISS] = "miss",
    [ASTRO_SESSION_ACTIVATE] = "activate",
    [ASTRO_SESSION_LOSE] = "lose",
    [ASTRO_SESSION_EXHAUST] = "exhaust",
    [ASTRO_SESSION_GIVE_UP] = "give_up",
    [ASTRO_SESSION_EXPIRE] = "expire"
};


/* from and from_sql say the same; a test compares them */

static const astro_session_rule_t  astro_session_rules[] = {

    [ASTRO_SESSION_ACCEPT] = {
        ASTRO_SESSION_IN_RINGING,
        ASTRO_PARTY_ADVISOR,
        ASTRO_SESSION_ACCEPTED, NULL,
        "{ringing}"
    },

    [ASTRO_SESSION_REJECT] = {
        ASTRO_SESSION_IN_RINGING,
        ASTRO_PARTY_ADVISOR,
        ASTRO_SESSION_ENDED, "rejected",
        "{ringing}"
    },

    /* while nothing was paid for */

    [ASTRO_SESSION_CANCEL] = {
        ASTRO_SESSION_IN_REQUESTED
        |ASTRO_SESSION_IN_QUEUED
        |ASTRO_SESSION_IN_RINGING
        |ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING,
        ASTRO_PARTY_CLIENT,
        ASTRO_SESSION_ENDED, "cancelled",
        "{requested,queued,ringing,accepted,connecting}"
    },

    /* see astro_session_next() for the one state that a join changes */

    [ASTRO_SESSION_JOIN] = {
        ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_BOTH,
        ASTRO_SESSION_NONE, NULL,
        "{accepted,connecting,active,reconnecting,paused}"
    },

    /* whatever goes on, either party may leave it; the reason says who did */

    [ASTRO_SESSION_END] = {
        ASTRO_SESSION_IN_REQUESTED
        |ASTRO_SESSION_IN_QUEUED
        |ASTRO_SESSION_IN_RINGING
        |ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_BOTH,
        ASTRO_SESSION_ENDED, NULL,
        "{requested,queued,ringing,accepted,connecting,active,reconnecting,"
        "paused}"
    },

    [ASTRO_SESSION_PAUSE] = {
        ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING,
        ASTRO_PARTY_BOTH,
        ASTRO_SESSION_PAUSED, NULL,
        "{active,reconnecting}"
    },

    /* of the two, who paused it: SQL knows */

    [ASTRO_SESSION_RESUME] = {
        ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_BOTH,
        ASTRO_SESSION_RECONNECTING, NULL,
        "{paused}"
    },

    [ASTRO_SESSION_MODE] = {
        ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_BOTH,
        ASTRO_SESSION_NONE, NULL,
        "{accepted,connecting,active,reconnecting,paused}"
    },

    [ASTRO_SESSION_EXTEND] = {
        ASTRO_SESSION_IN_REQUESTED
        |ASTRO_SESSION_IN_QUEUED
        |ASTRO_SESSION_IN_RINGING
        |ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_CLIENT,
        ASTRO_SESSION_NONE, NULL,
        "{requested,queued,ringing,accepted,connecting,active,reconnecting,"
        "paused}"
    },

    [ASTRO_SESSION_MEDIA] = {
        ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_BOTH,
        ASTRO_SESSION_NONE, NULL,
        "{accepted,connecting,active,reconnecting,paused}"
    },

    [ASTRO_SESSION_MISS] = {
        ASTRO_SESSION_IN_RINGING,
        ASTRO_PARTY_SYSTEM,
        ASTRO_SESSION_ENDED, "missed",
        "{ringing}"
    },

    [ASTRO_SESSION_ACTIVATE] = {
        ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_SYSTEM,
        ASTRO_SESSION_ACTIVE, NULL,
        "{accepted,connecting,reconnecting,paused}"
    },

    [ASTRO_SESSION_LOSE] = {
        ASTRO_SESSION_IN_ACTIVE,
        ASTRO_PARTY_SYSTEM,
        ASTRO_SESSION_RECONNECTING, NULL,
        "{active}"
    },

    [ASTRO_SESSION_EXHAUST] = {
        ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_ACTIVE
        |ASTRO_SESSION_IN_RECONNECTING
        |ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_SYSTEM,
        ASTRO_SESSION_ENDED, "low_balance",
        "{accepted,connecting,active,reconnecting,paused}"
    },

    [ASTRO_SESSION_GIVE_UP] = {
        ASTRO_SESSION_IN_ACCEPTED
        |ASTRO_SESSION_IN_CONNECTING
        |ASTRO_SESSION_IN_RECONNECTING,
        ASTRO_PARTY_SYSTEM,
        ASTRO_SESSION_ENDED, "peer_lost",
        "{accepted,connecting,reconnecting}"
    },

    [ASTRO_SESSION_EXPIRE] = {
        ASTRO_SESSION_IN_PAUSED,
        ASTRO_PARTY_SYSTEM,
        ASTRO_SESSION_ENDED, "pause_expired",
        "{paused}"
    }
};


const astro_session_rule_t *
astro_session_rule(astro_session_event_e event)
{
    if ((unsigned) event >= ASTRO_SESSION_EVENTS) {
        return NULL;
    }

    return &astro_session_rules[event];
}


astro_session_state_e
astro_session_next(astro_session_state_e state, astro_session_event_e event,
    astro_party_e party)
{
    const astro_session_rule_t  *rule;

    rule = astro_session_rule(event);

    if (rule == NULL || (unsigned) state >= ASTRO_SESSION_STATES) {
        return ASTRO_SESSION_NONE;
    }

    if (!(rule->from & astro_session_bit(state)) || !(rule->parties & party)) {
        return ASTRO_SESSION_NONE;
    }

    if (rule->to != ASTRO_SESSION_NONE) {
        return rule->to;
    }

    /* the first to join is connecting; all else waits for the engine */

    return (event == ASTRO_SESSION_JOIN && state == ASTRO_SESSION_ACCEPTED)
           ? ASTRO_SESSION_CONNECTING : state;
}


const char *
astro_session_state_name(astro_session_state_e state)
{
    if ((unsigned) state >= ASTRO_SESSION_STATES) {
        return "";
    }

    return astro_session_states[state];
}


astro_session_state_e
astro_session_state_parse(const uint8_t *s, size_t len)
{
    int  state;

    for (state = ASTRO_SESSION_REQUESTED; state < ASTRO_SESSION_STATES;
         state++)
    {
        if (strlen(astro_session_states[state]) == len
            && memcmp(astro_session_states[state], s, len) == 0)
        {
            return (astro_session_state_e) state;
        }
    }

    return ASTRO_SESSION_NONE;
}


const char *
astro_session_event_name(astro_session_event_e event)
{
    if ((unsigned) event >= ASTRO_SESSION_EVENTS) {
        return "";
    }

    return astro_session_events[event];
}
