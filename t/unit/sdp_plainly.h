
/*
 * Copyright (C) The Astro authors
 *
 * A second reader of session descriptions, which has the text unescaped and
 * whole, cuts it into lines and words, and looks at all of them at leisure.
 * And a writer of JSON strings that escapes as it pleases.
 */

#ifndef _ASTRO_SDP_PLAINLY_H_INCLUDED_
#define _ASTRO_SDP_PLAINLY_H_INCLUDED_


#include "unit.h"

#include "astro_sdp.h"


/* the word of that number of a line, with a zero at its end; where it ends */

static const char *
word(const char *line, int n, char *buf, size_t size)
{
    size_t  len;

    while (n-- && *line) {
        line += strcspn(line, " ");
        line += *line == ' ';
    }

    len = strcspn(line, " ");
    len = len < size ? len : size - 1;
    memcpy(buf, line, len);
    buf[len] = '\0';

    return line + len;
}


static int
named(const char *line, const char *name)
{
    return strncmp(line, name, strlen(name)) == 0
           && (strlen(line) == strlen(name) || line[strlen(name)] == ':'
               || line[strlen(name)] == ' ');
}


/*
 * text is unescaped, without a zero octet before its end; it is changed.  A
 * line is looked at as far as the checker looks: 64 octets.
 */

static astro_sdp_rc_e
plainly(char *text)
{
    int          sections, prints, before, sends, ever;
    char        *line, *next, name[80], hash[80], port[80], profile[80];
    size_t       length;
    const char  *end;

    sections = prints = before = sends = ever = 0;

    for (line = text; line; line = next) {
        next = strpbrk(line, "\r\n");

        if (next) {
            *next++ = '\0';
        }

        length = strlen(line);

        if (length > 64) {
            line[64] = '\0';
        }

        if (strncmp(line, "k=", 2) == 0 || named(line, "a=crypto")
            || named(line, "a=key-mgmt"))
        {
            return ASTRO_SDP_CRYPTO;
        }

        (void) word(line, 0, name, sizeof(name));
        (void) word(line, 1, hash, sizeof(hash));

        if (strncmp(name, "a=fingerprint:", 14) == 0 && name[14]
            && hash[0] && strchr("0123456789abcdefABCDEF", hash[0]))
        {
            prints++;
            ever = 1;
            before += sections == 0;
        }

        if (strncmp(line, "m=", 2) != 0) {
            continue;
        }

        if (sends && !prints && !before) {
            return ASTRO_SDP_FINGERPRINT;
        }

        (void) word(line, 1, port, sizeof(port));
        end = word(line, 2, profile, sizeof(profile));

        if (strcmp(profile, "UDP/TLS/RTP/SAVPF")
            && strcmp(profile, "UDP/TLS/RTP/SAVP")
            && strcmp(profile, "TCP/DTLS/RTP/SAVPF")
            && strcmp(profile, "TCP/DTLS/RTP/SAVP")
            && strcmp(profile, "RTP/SAVPF") && strcmp(profile, "RTP/SAVP")
            && strcmp(profile, "UDP/DTLS/SCTP")
            && strcmp(profile, "TCP/DTLS/SCTP")
            && strcmp(profile, "DTLS/SCTP"))
        {
            return ASTRO_SDP_PROFILE;
        }

        /* the profile might go on where nobody looks */

        if (length > 64 && *end == '\0') {
            return ASTRO_SDP_PROFILE;
        }

        sections++;
        sends = strcmp(port, "0") != 0;
        prints = 0;
    }

    return ever && (!sends || prints || before) ? ASTRO_SDP_OK
                                                : ASTRO_SDP_FINGERPRINT;
}


/*
 * The inside of a JSON string with that text; what need not be escaped is, when
 * choose() says so.  out has room for six octets of each.
 */

static size_t
escaped(const char *text, size_t len, uint8_t *out, unsigned (*choose)(void))
{
    size_t       i, n;
    const char  *p;

    static const char  plain[] = "\"\\/\b\f\n\r\t", letter[] = "\"\\/bfnrt";

    for (i = 0, n = 0; i < len; i++) {
        p = text[i] ? strchr(plain, text[i]) : NULL;

        if ((p && *p != '/' && choose() % 4)
            || (p && *p == '/' && choose() % 8 == 0))
        {
            out[n++] = '\\';
            out[n++] = (uint8_t) letter[p - plain];

        } else if ((unsigned char) text[i] < 0x20 || (p && *p != '/')
                   || ((unsigned char) text[i] < 0x80 && choose() % 16 == 0))
        {
            n += (size_t) sprintf((char *) out + n,
                                  choose() & 1 ? "\\u%04x" : "\\u%04X",
                                  (unsigned char) text[i]);

        } else {
            out[n++] = (uint8_t) text[i];
        }
    }

    return n;
}


#endif /* _ASTRO_SDP_PLAINLY_H_INCLUDED_ */
