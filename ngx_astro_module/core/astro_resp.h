
/*
 * Copyright (C) The Astro authors
 *
 * RESP2, the protocol of Redis: what its server sends to us.  One reply at a
 * time is found in a buffer and told by pointers into it; nothing is copied and
 * nothing allocated.  Of arrays only the shape that subscriptions have is read:
 * flat, at most ASTRO_RESP_MAX elements.
 */

#ifndef _ASTRO_RESP_H_INCLUDED_
#define _ASTRO_RESP_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_RESP_MAX       4
#define ASTRO_RESP_MAX_BULK  (64 * 1024 * 1024)


typedef enum {
    ASTRO_RESP_NIL = 0,
    ASTRO_RESP_INT,
    ASTRO_RESP_STATUS,          /* +OK */
    ASTRO_RESP_REFUSAL,         /* -ERR ... */
    ASTRO_RESP_BULK,
    ASTRO_RESP_ARRAY
} astro_resp_kind_e;

typedef struct {
    astro_resp_kind_e   kind;
    uint8_t            *data;   /* of a status, refusal or bulk */
    size_t              len;
    int64_t             n;      /* of an int; elements of an array */
} astro_resp_value_t;

typedef struct {
    astro_resp_value_t  value;
    astro_resp_value_t  element[ASTRO_RESP_MAX];
} astro_resp_t;

typedef enum {
    ASTRO_RESP_MORE = 0,        /* not there yet as a whole */
    ASTRO_RESP_REPLY,
    ASTRO_RESP_ERROR            /* not RESP2, or not a shape that we read */
} astro_resp_rc_e;


/*
 * Reads the reply that starts at *pos.  REPLY: *pos is moved behind it, and
 * what it points to lives as long as the buffer.  MORE: *pos stays, and *need
 * octets from *pos on are known to be necessary (at least one more than there
 * are).
 */
astro_resp_rc_e astro_resp_read(uint8_t **pos, uint8_t *last,
    astro_resp_t *reply, size_t *need);


#endif /* _ASTRO_RESP_H_INCLUDED_ */
