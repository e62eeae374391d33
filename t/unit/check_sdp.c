
/*
 * Copyright (C) The Astro authors
 *
 * Session descriptions: which are relayed, and that escapes hide nothing.
 */

#include "sdp_plainly.h"


#define V      "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
#define PRINT  "a=fingerprint:sha-256 AB:CD\r\n"
#define AUDIO  "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n"
#define VIDEO  "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"
#define DATA   "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
#define LONG   "a=ssrc:1 cname:0123456789012345678901234567890123456789"     \
               "01234567890123456789\r\n"


static unsigned
never(void)
{
    return 1;
}


static unsigned
random_choice(void)
{
    return (unsigned) unit_random();
}


static astro_sdp_rc_e
check_text(const char *text, unsigned (*choose)(void))
{
    size_t          n;
    uint8_t        *raw;
    astro_sdp_rc_e  rc;

    raw = malloc(strlen(text) * 6 + 1);
    n = escaped(text, strlen(text), raw, choose);
    rc = astro_sdp_check(raw, n);
    free(raw);

    return rc;
}


static const struct {
    const char      *text;
    astro_sdp_rc_e   rc;
} cases[] = {

    { V PRINT AUDIO, ASTRO_SDP_OK },
    { V PRINT AUDIO VIDEO DATA, ASTRO_SDP_OK },
    { V AUDIO PRINT VIDEO PRINT DATA PRINT, ASTRO_SDP_OK },
    { V PRINT, ASTRO_SDP_OK },
    { V LONG PRINT LONG AUDIO LONG LONG, ASTRO_SDP_OK },
    { V "a=fingerprint:sha-512 0a\n" AUDIO, ASTRO_SDP_OK },
    { V AUDIO "a=fingerprint:sha-256 AB:CD", ASTRO_SDP_OK },
    { V PRINT "m=audio 9 RTP/SAVPF 0\r\n", ASTRO_SDP_OK },
    { V PRINT "m=audio 9 TCP/DTLS/RTP/SAVPF 0\r\n", ASTRO_SDP_OK },
    { V PRINT "m=application 9 DTLS/SCTP 5000\r\n", ASTRO_SDP_OK },
    { V PRINT "m=audio 9/2 UDP/TLS/RTP/SAVP 0\r\n", ASTRO_SDP_OK },

    /* a section that was turned down needs none */
    { V "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n" VIDEO PRINT, ASTRO_SDP_OK },
    { V VIDEO PRINT "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", ASTRO_SDP_OK },
    { V "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", ASTRO_SDP_FINGERPRINT },

    { "", ASTRO_SDP_FINGERPRINT },
    { V, ASTRO_SDP_FINGERPRINT },
    { V AUDIO, ASTRO_SDP_FINGERPRINT },
    { V AUDIO PRINT VIDEO, ASTRO_SDP_FINGERPRINT },
    { V AUDIO VIDEO PRINT, ASTRO_SDP_FINGERPRINT },
    { V AUDIO PRINT VIDEO DATA PRINT, ASTRO_SDP_FINGERPRINT },
    { V "s=a=fingerprint:sha-256 AB\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=x:a=fingerprint:sha-256 AB\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V " a=fingerprint:sha-256 AB\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "A=fingerprint:sha-256 AB\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=fingerprint:\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=fingerprint: AB\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=fingerprint:sha-256\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=fingerprint:sha-256 \r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=fingerprint:sha-256 xx\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },
    { V "a=fingerprints:sha-256 AB\r\n" AUDIO, ASTRO_SDP_FINGERPRINT },

    { V PRINT AUDIO "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
      ASTRO_SDP_CRYPTO },
    { V "a=crypto:1 x inline:x\r\n" PRINT AUDIO, ASTRO_SDP_CRYPTO },
    { V PRINT AUDIO "a=crypto", ASTRO_SDP_CRYPTO },
    { V PRINT AUDIO "a=x\ra=crypto:1\r\n", ASTRO_SDP_CRYPTO },
    { V PRINT AUDIO LONG "a=crypto:1 x\n", ASTRO_SDP_CRYPTO },
    { V PRINT AUDIO "a=key-mgmt:mikey AQAF\r\n", ASTRO_SDP_CRYPTO },
    { V PRINT "k=clear:secret\r\n" AUDIO, ASTRO_SDP_CRYPTO },
    { V PRINT "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=crypto:1 x\r\n",
      ASTRO_SDP_CRYPTO },
    { V PRINT AUDIO "a=cryptography:no\r\n", ASTRO_SDP_OK },
    { V PRINT AUDIO "a=x:a=crypto:1\r\n", ASTRO_SDP_OK },

    { V PRINT "m=audio 9 RTP/AVP 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio 9 RTP/AVPF 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio 0 RTP/AVP 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT AUDIO "m=video 9 RTP/AVP 96\r\n", ASTRO_SDP_PROFILE },
    { V "m=audio 9 RTP/AVP 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio 9 UDP/TLS/RTP/SAVPFX 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio 9 udp/tls/rtp/savpf 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=application 9 SCTP 5000\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio 9 udp 0\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio 9\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=\r\n", ASTRO_SDP_PROFILE },
    { V PRINT "m=audio  UDP/TLS/RTP/SAVPF 0\r\n", ASTRO_SDP_OK },
    { V PRINT "m=a0123456789012345678901234567890123456789012345678901234"
      " 9 UDP/TLS/RTP/SAVPF 0\r\n", ASTRO_SDP_PROFILE },
};

#define NCASES  (sizeof(cases) / sizeof(cases[0]))


START_TEST(descriptions)
{
    size_t          i;
    astro_sdp_rc_e  rc;

    for (i = 0; i < NCASES; i++) {
        rc = check_text(cases[i].text, never);
        ck_assert_msg(rc == cases[i].rc, "%s is: %s", cases[i].text,
                      astro_sdp_error(rc));
    }

    ck_assert_str_eq(astro_sdp_error(ASTRO_SDP_OK), "");
    ck_assert_str_ne(astro_sdp_error(ASTRO_SDP_CRYPTO),
                     astro_sdp_error(ASTRO_SDP_PROFILE));
}
END_TEST


/* However its characters are written, a description is the same. */

START_TEST(escapes)
{
    size_t  i, round;

    for (round = 0; round < (size_t) (200 * unit_effort); round++) {
        for (i = 0; i < NCASES; i++) {
            must(check_text(cases[i].text, random_choice) == cases[i].rc);
        }
    }
}
END_TEST


/* Lines at random, against the plain reader. */

START_TEST(against_the_plain_reader)
{
    int         n;
    size_t      round;
    char        text[4096], again[4096];

    static const char *const  lines[] = {
        "a=fingerprint:sha-256 AB:CD", "a=fingerprint:sha-256 ",
        "a=fingerprint:x", "a=crypto:1 x", "a=cryptox", "k=x", "k",
        "m=audio 9 UDP/TLS/RTP/SAVPF 1", "m=audio 0 UDP/TLS/RTP/SAVPF 1",
        "m=x 9 UDP/DTLS/SCTP", "m=x 9 RTP/SAVP 1", "m=x 0 RTP/AVP 1",
        "m=x 9 RTP/AVP", "m= ", "m=a  DTLS/SCTP", "s=-", "", "=", "a=",
        "a=mid:0123456789012345678901234567890123456789012345678901234567890",
        "m=x 9999999999999999999999999999999999999999 UDP/TLS/RTP/SAVPF 9 9",
        "m=x 99999999999999999999999999999999999999999999 UDP/TLS/RTP/SAVPF",
        "m=x 999999999999999999999999999999999999999999 UDP/TLS/RTP/SAVPFxx"
    };
    static const char *const  ends[] = { "\r\n", "\n", "\r", "\n\n", " " };

    for (round = 0; round < (size_t) (200000 * unit_effort); round++) {
        text[0] = '\0';

        for (n = (int) (unit_random() % 8); n >= 0; n--) {
            strcat(text, lines[unit_random()
                               % (sizeof(lines) / sizeof(lines[0]))]);
            strcat(text, ends[unit_random() % 16 ? unit_random() % 2
                              : unit_random() % 5]);
        }

        strcpy(again, text);

        if (check_text(text, random_choice) != plainly(again)) {
            ck_abort_msg("otherwise: %s", text);
        }
    }
}
END_TEST


/* What no valid JSON has is only not to be read beyond. */

START_TEST(cut_anywhere)
{
    size_t         i, len;
    uint8_t       *raw, *part;
    static uint8_t  buf[4096];

    raw = buf;
    len = escaped(cases[1].text, strlen(cases[1].text), raw, random_choice);

    for (i = 0; i <= len; i++) {
        part = malloc(i ? i : 1);
        memcpy(part, raw, i);
        (void) astro_sdp_check(part, i);
        free(part);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("sdp");

    unit_add(s, "descriptions", descriptions);
    unit_add(s, "escapes", escapes);
    unit_add(s, "against_the_plain_reader", against_the_plain_reader);
    unit_add(s, "cut_anywhere", cut_anywhere);

    return unit_main(s);
}
