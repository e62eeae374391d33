
/*
 * Copyright (C) The Astro authors
 *
 * By what a request is known to whoever looks for it: its id, and the trace of
 * W3C Trace Context (level 1) that it is a part of.
 */

#ifndef _ASTRO_TRACE_H_INCLUDED_
#define _ASTRO_TRACE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_REQUEST_ID_MAX   64
#define ASTRO_TRACEPARENT_LEN  55       /* "00-<32>-<16>-<2>" */

typedef struct {
    char  id[32];                       /* of the trace: hexadecimal digits */
    char  span[16];
    char  flags[2];
} astro_trace_t;


/*
 * Reads a traceparent; 0, or -1: it is malformed, and means nothing then.  Of a
 * version after 00 what follows the flags is not looked at.
 */
int astro_trace_parse(astro_trace_t *t, const uint8_t *s, size_t len);

/* Writes one, without a NUL; returns its end. */
char *astro_trace_write(char *p, const astro_trace_t *t);

/* 1 to 64 of A-Z a-z 0-9 - _ . */
int astro_request_id_ok(const uint8_t *s, size_t len);


#endif /* _ASTRO_TRACE_H_INCLUDED_ */
