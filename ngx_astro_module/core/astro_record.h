
/*
 * Copyright (C) The Astro authors
 *
 * What one node tells another through Redis: a head of fixed size, in little
 * endian, and a text.
 *
 *      0  u32  "astr"
 *      4  u8   version, 1
 *      5  u8   kind
 *      6  u16  flags
 *      8  u64  node that sent it
 *     16  u64  user
 *     24  u64  session
 *     32  u64  conv
 *     40  i64  seq
 *     48  u64  arg
 *     56  u32  octets of text that follow
 *     60  u32  0
 *
 * Two versions that do not understand each other drop what the other says, and
 * what was durable in it is read from the database: so any change of the head
 * is a new version, and none needs to be compatible.
 */

#ifndef _ASTRO_RECORD_H_INCLUDED_
#define _ASTRO_RECORD_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_RECORD_HEAD     64
#define ASTRO_RECORD_VERSION  1

#define ASTRO_RECORD_DURABLE  1         /* flags: has a place in "conv" */


typedef enum {
    /* routes, as in the rings of a host; on the channel of a user */
    ASTRO_RECORD_USER = 0,
    ASTRO_RECORD_SESSION,
    ASTRO_RECORD_WATCHERS,              /* this one on the channel of nodes */
    ASTRO_RECORD_DEVICE,

    /* between nodes */
    ASTRO_RECORD_BEAT,                  /* alive; arg: see ngx_astro_nodes.c */
    ASTRO_RECORD_HELLO,                 /* the same, and: who else is there? */
    ASTRO_RECORD_BYE,
    ASTRO_RECORD_HERE,                  /* text: users as u64 */
    ASTRO_RECORD_FORGET,                /* what is believed to be nowhere */
    ASTRO_RECORD_HEAL,                  /* something may have been missed */
    ASTRO_RECORD_MAX
} astro_record_kind_e;

typedef struct {
    uint32_t             kind;
    uint32_t             flags;
    uint64_t             node;
    uint64_t             user;
    uint64_t             session;
    uint64_t             conv;
    int64_t              seq;
    uint64_t             arg;
    const uint8_t       *text;          /* decode: points into the input */
    size_t               len;
} astro_record_t;


/* Writes ASTRO_RECORD_HEAD octets; the caller writes r->len octets after. */
void astro_record_head(uint8_t *p, const astro_record_t *r);

/* 0, or -1: another version, or not a record. */
int astro_record_decode(const uint8_t *p, size_t len, astro_record_t *r);

/* One u64 of a text of such; the caller has seen to 8 octets. */
uint64_t astro_record_u64(const uint8_t *p);
void astro_record_put_u64(uint8_t *p, uint64_t n);


#endif /* _ASTRO_RECORD_H_INCLUDED_ */
