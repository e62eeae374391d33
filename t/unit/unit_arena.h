
/*
 * Copyright (C) The Astro authors
 *
 * Arenas for the tests of its three parts: shared with the children of a test,
 * so that these can be killed.
 */

#ifndef _ASTRO_UNIT_ARENA_H_INCLUDED_
#define _ASTRO_UNIT_ARENA_H_INCLUDED_


#include <stdatomic.h>
#include <sys/mman.h>

#include "unit.h"

#include "astro_arena_private.h"


static const astro_arena_conf_t  small = { 8, 4096, 1024 };


static void *
memory(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);
    ck_assert_ptr_ne(p, MAP_FAILED);

    return p;
}


static astro_arena_t *
make(const astro_arena_conf_t *conf)
{
    void    *p;
    size_t   size;

    size = astro_arena_footprint(conf);
    ck_assert_uint_gt(size, 0);

    p = memory(size);
    ck_assert_int_eq(astro_arena_format(p, size, conf), ASTRO_ARENA_OK);

    return p;
}


#endif /* _ASTRO_UNIT_ARENA_H_INCLUDED_ */
