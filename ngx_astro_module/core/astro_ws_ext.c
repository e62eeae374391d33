
/*
 * Copyright (C) The Astro authors
 *
 * Sec-WebSocket-Extensions:
 *
 *     extensions = 1#( token *( ";" token [ "=" ( token | quoted-string ) ] ) )
 *
 * where blanks may stand between any two of these, list elements may be empty
 * as long as one is not (RFC 2616 section 2.1), and what a quoted string says
 * has to be a token as well.
 */


#include <stdio.h>
#include <string.h>

#include "astro_ws_ext.h"


#define ASTRO_WS_EXT_TOKEN  64      /* bytes; what is longer is none of ours */

#define astro_ws_ext_is(t, literal)                                           \
    ((t)->len == sizeof(literal) - 1                                          \
     && memcmp((t)->text, literal, sizeof(literal) - 1) == 0)


/* A token in lower case, as names of extensions and parameters are any case. */
typedef struct {
    size_t     len;             /* may be more than is kept in text */
    uint8_t    text[ASTRO_WS_EXT_TOKEN];
} astro_ws_ext_token_t;

/* One offer as far as it was read. */
typedef struct {
    unsigned   ours:1;          /* permessage-deflate */
    unsigned   bad:1;           /* and can't be met */
    unsigned   server_takeover_not:1;
    unsigned   client_takeover_not:1;
    unsigned   server_bits_given:1;
    unsigned   client_bits_given:1;
    uint8_t    server_bits;
    uint8_t    client_bits;
} astro_ws_ext_read_t;


static const uint8_t *astro_ws_ext_blanks(const uint8_t *p,
    const uint8_t *last);
static int astro_ws_ext_token_char(uint8_t c);
static const uint8_t *astro_ws_ext_token(const uint8_t *p,
    const uint8_t *last, astro_ws_ext_token_t *t);
static const uint8_t *astro_ws_ext_quoted(const uint8_t *p,
    const uint8_t *last, astro_ws_ext_token_t *t);
static const uint8_t *astro_ws_ext_read(const uint8_t *p, const uint8_t *last,
    astro_ws_ext_read_t *offer);
static void astro_ws_ext_param(astro_ws_ext_read_t *offer,
    const astro_ws_ext_token_t *name, const astro_ws_ext_token_t *value);
static unsigned astro_ws_ext_bits(const astro_ws_ext_token_t *value);
static void astro_ws_ext_agree(const astro_ws_ext_conf_t *conf,
    const astro_ws_ext_read_t *offer, astro_ws_ext_t *agreed);


int
astro_ws_ext_offer(const astro_ws_ext_conf_t *conf, const uint8_t *line,
    size_t len, astro_ws_ext_t *agreed)
{
    size_t                n;
    const uint8_t        *p, *last;
    astro_ws_ext_read_t   offer;

    p = line;
    last = line + len;
    n = 0;

    for ( ;; ) {
        p = astro_ws_ext_blanks(p, last);

        if (p < last && *p == ',') {
            p++;
            continue;
        }

        if (p == last) {
            return n ? 0 : -1;
        }

        p = astro_ws_ext_read(p, last, &offer);

        /* what ends an offer is a comma, or the line's end */

        if (p == NULL || (p < last && *p != ',')) {
            return -1;
        }

        n++;

        if (conf && offer.ours && !offer.bad && !agreed->on) {
            astro_ws_ext_agree(conf, &offer, agreed);
        }
    }
}


static const uint8_t *
astro_ws_ext_blanks(const uint8_t *p, const uint8_t *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* RFC 2616 section 2.2: no control characters, separators, or octets > 126 */

static int
astro_ws_ext_token_char(uint8_t c)
{
    return c > ' ' && c < 127 && strchr("()<>@,;:\\\"/[]?={}", c) == NULL;
}


/* NULL: there is none. */

static const uint8_t *
astro_ws_ext_token(const uint8_t *p, const uint8_t *last,
    astro_ws_ext_token_t *t)
{
    uint8_t  c;

    for (t->len = 0; p < last && astro_ws_ext_token_char(*p); p++) {
        c = *p;

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }

        if (t->len < ASTRO_WS_EXT_TOKEN) {
            t->text[t->len] = c;
        }

        t->len++;
    }

    return t->len ? p : NULL;
}


/* After the first quote; NULL: no end, or not a token inside. */

static const uint8_t *
astro_ws_ext_quoted(const uint8_t *p, const uint8_t *last,
    astro_ws_ext_token_t *t)
{
    for (t->len = 0; p < last && *p != '"'; p++) {

        if (*p == '\\') {
            p++;
        }

        if (p == last || !astro_ws_ext_token_char(*p)) {
            return NULL;
        }

        if (t->len < ASTRO_WS_EXT_TOKEN) {
            t->text[t->len] = *p;
        }

        t->len++;
    }

    return (p < last && t->len) ? p + 1 : NULL;
}


/* One offer, from its first octet up to what cannot belong to it. */

static const uint8_t *
astro_ws_ext_read(const uint8_t *p, const uint8_t *last,
    astro_ws_ext_read_t *offer)
{
    astro_ws_ext_token_t  name, value;

    memset(offer, 0, sizeof(astro_ws_ext_read_t));

    p = astro_ws_ext_token(p, last, &name);

    if (p == NULL) {
        return NULL;
    }

    offer->ours = astro_ws_ext_is(&name, "permessage-deflate");

    for ( ;; ) {
        p = astro_ws_ext_blanks(p, last);

        if (p == last || *p != ';') {
            return p;
        }

        p = astro_ws_ext_blanks(p + 1, last);
        p = astro_ws_ext_token(p, last, &name);

        if (p == NULL) {
            return NULL;
        }

        p = astro_ws_ext_blanks(p, last);
        value.len = 0;

        if (p < last && *p == '=') {
            p = astro_ws_ext_blanks(p + 1, last);

            if (p < last && *p == '"') {
                p = astro_ws_ext_quoted(p + 1, last, &value);

            } else {
                p = astro_ws_ext_token(p, last, &value);
            }

            if (p == NULL) {
                return NULL;
            }
        }

        if (offer->ours) {
            astro_ws_ext_param(offer, &name, &value);
        }
    }
}


/* value->len is 0 if there is none: the grammar knows no empty values. */

static void
astro_ws_ext_param(astro_ws_ext_read_t *offer,
    const astro_ws_ext_token_t *name, const astro_ws_ext_token_t *value)
{
    if (astro_ws_ext_is(name, "server_no_context_takeover")) {
        offer->bad |= offer->server_takeover_not || value->len;
        offer->server_takeover_not = 1;

    } else if (astro_ws_ext_is(name, "client_no_context_takeover")) {
        offer->bad |= offer->client_takeover_not || value->len;
        offer->client_takeover_not = 1;

    } else if (astro_ws_ext_is(name, "server_max_window_bits")) {
        offer->bad |= offer->server_bits_given;
        offer->server_bits_given = 1;
        offer->server_bits = (uint8_t) astro_ws_ext_bits(value);

        /*
         * 8 would be valid, but zlib takes 9 for it in a raw stream, and
         * section 7.1.2.1 lets a server decline what it cannot do.
         */

        offer->bad |= offer->server_bits < 9;

    } else if (astro_ws_ext_is(name, "client_max_window_bits")) {
        offer->bad |= offer->client_bits_given;
        offer->client_bits_given = 1;
        offer->client_bits = (uint8_t) (value->len ? astro_ws_ext_bits(value)
                                                   : 15);
        offer->bad |= offer->client_bits == 0;

    } else {
        offer->bad = 1;
    }
}


/* 8 .. 15 without leading zeros, or 0. */

static unsigned
astro_ws_ext_bits(const astro_ws_ext_token_t *value)
{
    if (value->len == 1 && (value->text[0] == '8' || value->text[0] == '9')) {
        return value->text[0] - (unsigned) '0';
    }

    if (value->len == 2 && value->text[0] == '1' && value->text[1] >= '0'
        && value->text[1] <= '5')
    {
        return 10 + value->text[1] - (unsigned) '0';
    }

    return 0;
}


static void
astro_ws_ext_agree(const astro_ws_ext_conf_t *conf,
    const astro_ws_ext_read_t *offer, astro_ws_ext_t *agreed)
{
    memset(agreed, 0, sizeof(astro_ws_ext_t));

    agreed->on = 1;
    agreed->server_takeover = conf->takeover && !offer->server_takeover_not;
    agreed->client_takeover = conf->takeover && !offer->client_takeover_not;

    /* who asks for a window is to be told which, also of the largest */

    agreed->server_bits = conf->bits;
    agreed->say_server_bits = offer->server_bits_given || conf->bits < 15;

    if (offer->server_bits_given && offer->server_bits < conf->bits) {
        agreed->server_bits = offer->server_bits;
    }

    /* who did not offer to be told compresses with what window it likes */

    agreed->client_bits = 15;

    if (offer->client_bits_given) {
        agreed->client_bits = offer->client_bits < conf->bits
                              ? offer->client_bits : conf->bits;
        agreed->say_client_bits = agreed->client_bits < 15;
    }
}


size_t
astro_ws_ext_answer(const astro_ws_ext_t *agreed,
    uint8_t buf[ASTRO_WS_EXT_ANSWER])
{
    int   n;
    char  server[32], client[32];

    server[0] = '\0';
    client[0] = '\0';

    if (agreed->say_server_bits) {
        (void) snprintf(server, sizeof(server), "; server_max_window_bits=%d",
                        agreed->server_bits);
    }

    if (agreed->say_client_bits) {
        (void) snprintf(client, sizeof(client), "; client_max_window_bits=%d",
                        agreed->client_bits);
    }

    n = snprintf((char *) buf, ASTRO_WS_EXT_ANSWER,
                 "permessage-deflate%s%s%s%s",
                 agreed->server_takeover ? "" : "; server_no_context_takeover",
                 agreed->client_takeover ? "" : "; client_no_context_takeover",
                 server, client);

    return (size_t) n;
}
