
/*
 * Copyright (C) The Astro authors
 *
 * The life of a consultation as a table: who may do what in which state, and
 * what comes of it.  Decided here, made atomic by api.session_apply(), which
 * lets exactly one of several racing transitions win.
 *
 *   ringing -> accepted -> connecting -> active <-> reconnecting, paused
 *      \__________\____________\____________\___________\-> ended
 */

#ifndef _ASTRO_SESSION_H_INCLUDED_
#define _ASTRO_SESSION_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef enum {
    ASTRO_SESSION_NONE = 0,
    ASTRO_SESSION_REQUESTED,
    ASTRO_SESSION_QUEUED,
    ASTRO_SESSION_RINGING,
    ASTRO_SESSION_ACCEPTED,
    ASTRO_SESSION_CONNECTING,
    ASTRO_SESSION_ACTIVE,
    ASTRO_SESSION_RECONNECTING,
    ASTRO_SESSION_PAUSED,
    ASTRO_SESSION_ENDED,
    ASTRO_SESSION_STATES
} astro_session_state_e;

typedef enum {
    ASTRO_SESSION_ACCEPT = 0,
    ASTRO_SESSION_REJECT,
    ASTRO_SESSION_CANCEL,
    ASTRO_SESSION_JOIN,
    ASTRO_SESSION_END,
    ASTRO_SESSION_PAUSE,
    ASTRO_SESSION_RESUME,
    ASTRO_SESSION_MODE,         /* another service, at another rate */
    ASTRO_SESSION_EXTEND,       /* the client's maximum */
    ASTRO_SESSION_MEDIA,        /* what they show; how well it goes */
    /* by the billing engine */
    ASTRO_SESSION_MISS,         /* rang too long */
    ASTRO_SESSION_ACTIVATE,     /* both present and paid for */
    ASTRO_SESSION_LOSE,         /* a party's last interval closed */
    ASTRO_SESSION_EXHAUST,      /* the money is spent */
    ASTRO_SESSION_GIVE_UP,      /* a party did not come (back) in time */
    ASTRO_SESSION_EXPIRE,       /* it was paused for too long */
    ASTRO_SESSION_EVENTS
} astro_session_event_e;

typedef enum {
    ASTRO_PARTY_CLIENT  = 0x1,
    ASTRO_PARTY_ADVISOR = 0x2,
    ASTRO_PARTY_SYSTEM  = 0x4
} astro_party_e;

typedef struct {
    uint32_t                from;       /* bit 1 << state for each */
    uint32_t                parties;    /* astro_party_e bits */
    astro_session_state_e   to;         /* NONE: stays as it is */
    const char             *reason;     /* NULL: the caller's, or none */
    const char             *from_sql;   /* "{ringing,accepted}" */
} astro_session_rule_t;

#define astro_session_bit(state)  (1u << (state))

/* states in which signals are relayed, and in which chat is taken */
#define ASTRO_SESSION_SIGNAL_STATES                                           \
    (astro_session_bit(ASTRO_SESSION_ACCEPTED)                                \
     |astro_session_bit(ASTRO_SESSION_CONNECTING)                             \
     |astro_session_bit(ASTRO_SESSION_ACTIVE)                                 \
     |astro_session_bit(ASTRO_SESSION_RECONNECTING))
#define ASTRO_SESSION_CHAT_STATES                                             \
    (astro_session_bit(ASTRO_SESSION_ACTIVE)                                  \
     |astro_session_bit(ASTRO_SESSION_RECONNECTING))
#define ASTRO_SESSION_CHAT_STATES_SQL  "{active,reconnecting}"

const astro_session_rule_t *astro_session_rule(astro_session_event_e event);

/* The state after event, or NONE if that party may not, then. */
astro_session_state_e astro_session_next(astro_session_state_e state,
    astro_session_event_e event, astro_party_e party);

const char *astro_session_state_name(astro_session_state_e state);
astro_session_state_e astro_session_state_parse(const uint8_t *s, size_t len);
const char *astro_session_event_name(astro_session_event_e event);


#endif /* _ASTRO_SESSION_H_INCLUDED_ */
