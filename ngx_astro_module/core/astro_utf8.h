
/*
 * Copyright (C) The Astro authors
 *
 * UTF-8 as it arrives (RFC 3629): no overlong forms, no surrogates, nothing
 * above U+10FFFF.
 */

#ifndef _ASTRO_UTF8_H_INCLUDED_
#define _ASTRO_UTF8_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_UTF8_ACCEPT  0    /* also the state to start from */
#define ASTRO_UTF8_REJECT  0xffffffffu

/*
 * Feeds n octets in state; returns the new state: ACCEPT between characters,
 * REJECT as soon as no continuation could make the text valid, any other value
 * within a character.
 */
uint32_t astro_utf8_feed(uint32_t state, const uint8_t *p, size_t n);


#endif /* _ASTRO_UTF8_H_INCLUDED_ */
