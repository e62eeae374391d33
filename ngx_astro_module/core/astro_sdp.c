
/*
 * Copyright (C) The Astro authors
 *
 * One pass, line by line.  Of a line its first octets say all that is asked; in
 * what follows nothing but an escape can end it, and these are found by
 * memchr().
 */


#include <string.h>

#include "astro_sdp.h"


#define ASTRO_SDP_LINE  64      /* octets of a line that are looked at */
#define ASTRO_SDP_NAME  4       /* and of one that turns out to be another */


typedef struct {
    const uint8_t  *pos;
    const uint8_t  *last;
    size_t          n;
    uint8_t         line[ASTRO_SDP_LINE];   /* its beginning, unescaped */
    unsigned        whole:1;                /* all of it */
} astro_sdp_t;


static uint8_t astro_sdp_octet(astro_sdp_t *s);
static uint8_t astro_sdp_unicode(astro_sdp_t *s);
static void astro_sdp_line(astro_sdp_t *s);
static int astro_sdp_interesting(const astro_sdp_t *s);
static int astro_sdp_is(const astro_sdp_t *s, const char *name);
static int astro_sdp_fingerprint(const astro_sdp_t *s);
static int astro_sdp_media(const astro_sdp_t *s, int *silent);
static int astro_sdp_hex(uint8_t c);


astro_sdp_rc_e
astro_sdp_check(const uint8_t *raw, size_t len)
{
    int          any, all, here, media, silent;
    astro_sdp_t  s;

    s.pos = raw;
    s.last = raw + len;

    any = 0;        /* a fingerprint was seen: anywhere */
    all = 0;        /* before the first section, for all of them */
    here = 0;       /* in this section */
    media = 0;
    silent = 1;     /* the section sends nothing */

    while (s.pos < s.last) {

        astro_sdp_line(&s);

        if (s.n < 2 || s.line[1] != '=') {
            continue;
        }

        if (s.line[0] == 'k'
            || astro_sdp_is(&s, "a=crypto") || astro_sdp_is(&s, "a=key-mgmt"))
        {
            return ASTRO_SDP_CRYPTO;
        }

        if (s.line[0] == 'm') {

            if (!silent && !here && !all) {
                return ASTRO_SDP_FINGERPRINT;
            }

            if (astro_sdp_media(&s, &silent) != 0) {
                return ASTRO_SDP_PROFILE;
            }

            media = 1;
            here = 0;

        } else if (astro_sdp_fingerprint(&s)) {
            any = 1;
            here = 1;
            all |= !media;
        }
    }

    return any && (silent || here || all) ? ASTRO_SDP_OK
                                          : ASTRO_SDP_FINGERPRINT;
}


const char *
astro_sdp_error(astro_sdp_rc_e rc)
{
    switch (rc) {

    case ASTRO_SDP_FINGERPRINT:
        return "an SDP without a=fingerprint is refused";

    case ASTRO_SDP_CRYPTO:
        return "an SDP with keys in it (a=crypto, a=key-mgmt, k=) is refused";

    case ASTRO_SDP_PROFILE:
        return "an SDP with media that DTLS does not protect is refused";

    default:
        return "";
    }
}


static uint8_t
astro_sdp_octet(astro_sdp_t *s)
{
    uint8_t  c;

    c = *s->pos++;

    if (c != '\\' || s->pos == s->last) {
        return c;
    }

    c = *s->pos++;

    switch (c) {

    case 'n':
        return '\n';

    case 'r':
        return '\r';

    case 't':
        return '\t';

    case 'b':
        return '\b';

    case 'f':
        return '\f';

    case 'u':
        return astro_sdp_unicode(s);

    default:
        return c;
    }
}


/* What is not ASCII is of no interest: any such octet stands for it. */

static uint8_t
astro_sdp_unicode(astro_sdp_t *s)
{
    int       i, hex;
    unsigned  c;

    for (c = 0, i = 0; i < 4 && s->pos < s->last; i++) {

        hex = astro_sdp_hex(*s->pos);

        if (hex < 0) {
            break;
        }

        s->pos++;
        c = c * 16 + (unsigned) hex;
    }

    return c < 0x80 ? (uint8_t) c : 0x80;
}


/* A line ends with LF, CR LF, or CR alone, which some read so. */

static void
astro_sdp_line(astro_sdp_t *s)
{
    size_t          most;
    uint8_t         c;
    const uint8_t  *next;

    s->n = 0;
    s->whole = 1;
    most = ASTRO_SDP_NAME;

    while (s->pos < s->last) {

        if (s->n == ASTRO_SDP_NAME && astro_sdp_interesting(s)) {
            most = ASTRO_SDP_LINE;
        }

        if (s->n == most) {
            s->whole = 0;

            next = memchr(s->pos, '\\', s->last - s->pos);

            if (next == NULL) {
                s->pos = s->last;
                return;
            }

            s->pos = next;
        }

        c = astro_sdp_octet(s);

        if (c == '\n' || c == '\r') {
            return;
        }

        if (s->n < most) {
            s->line[s->n++] = c;
        }
    }
}


/* The first octets of those that are asked for; "k=" says all with two. */

static int
astro_sdp_interesting(const astro_sdp_t *s)
{
    return (s->line[0] == 'm' && s->line[1] == '=')
           || memcmp(s->line, "a=fi", ASTRO_SDP_NAME) == 0
           || memcmp(s->line, "a=cr", ASTRO_SDP_NAME) == 0
           || memcmp(s->line, "a=ke", ASTRO_SDP_NAME) == 0;
}


/* Also "a=crypto" with nothing behind it; not "a=cryptography". */

static int
astro_sdp_is(const astro_sdp_t *s, const char *name)
{
    size_t  len;

    len = strlen(name);

    return s->n >= len && memcmp(s->line, name, len) == 0
           && (s->n == len || s->line[len] == ':' || s->line[len] == ' ');
}


/* "a=fingerprint:<hash> <hex>..": at least the beginning of a value */

static int
astro_sdp_fingerprint(const astro_sdp_t *s)
{
    size_t  i, len;

    len = sizeof("a=fingerprint:") - 1;

    if (s->n < len || memcmp(s->line, "a=fingerprint:", len) != 0) {
        return 0;
    }

    for (i = len; i < s->n && s->line[i] != ' '; i++) { /* void */ }

    return i > len && i + 1 < s->n && astro_sdp_hex(s->line[i + 1]) >= 0;
}


/*
 * "m=<media> <port> <profile> ..": 0 if it is one of those with DTLS below.
 * RTP/SAVP and RTP/SAVPF are what they were called once (RFC 8829 section
 * 5.1.2): with a fingerprint, and no other key, it is DTLS.
 */

static int
astro_sdp_media(const astro_sdp_t *s, int *silent)
{
    size_t    i, len, start[2];
    unsigned  n;

    static const char *const  profiles[] = {
        "UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP",
        "RTP/SAVPF", "RTP/SAVP",
        "UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"
    };

    for (i = 2, n = 0; i < s->n && n < 2; i++) {
        if (s->line[i] == ' ') {
            start[n++] = i + 1;
        }
    }

    if (n < 2) {
        return -1;
    }

    *silent = start[1] - start[0] == 2 && s->line[start[0]] == '0';

    for (i = start[1]; i < s->n && s->line[i] != ' '; i++) { /* void */ }

    if (i == s->n && !s->whole) {
        return -1;
    }

    len = i - start[1];

    for (n = 0; n < sizeof(profiles) / sizeof(profiles[0]); n++) {

        if (strlen(profiles[n]) == len
            && memcmp(profiles[n], s->line + start[1], len) == 0)
        {
            return 0;
        }
    }

    return -1;
}


static int
astro_sdp_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') ? c - '0'
           : (c >= 'a' && c <= 'f') ? c - 'a' + 10
           : (c >= 'A' && c <= 'F') ? c - 'A' + 10
           : -1;
}
