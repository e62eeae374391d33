
/*
 * Copyright (C) The Astro authors
 *
 * permessage-deflate.
 *
 * Both directions are raw DEFLATE.  A message ends where zlib's sync flush put
 * an empty stored block: 00 00 ff ff, which is not sent (section 7.2.1).
 *
 * zlib allocates its windows for inflating late, in the middle of a message.
 * Here a stream takes all its memory when it is made, so that whether there is
 * enough is known at the handshake and never later.
 */


#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "astro_deflate.h"


#define ASTRO_DEFLATE_BITS_MIN  9
#define ASTRO_DEFLATE_BITS_MAX  15
#define ASTRO_DEFLATE_WINDOWS                                                 \
    (ASTRO_DEFLATE_BITS_MAX - ASTRO_DEFLATE_BITS_MIN + 1)

#define ASTRO_INFLATE_SPARES    4       /* idle, kept by a pool */
#define ASTRO_INFLATE_BITS      15      /* of those that are shared */

/*
 * zlib's hash table has 2^(level + 7) entries, and all are cleared before each
 * message that starts without context: as many as the window has octets.
 */
#define astro_deflate_mem_level(bits)  ((bits) - 7)


typedef struct astro_inflater_s  astro_inflater_t;

struct astro_inflater_s {
    z_stream            z;
    astro_inflater_t   *next;
};

struct astro_deflate_pool_s {
    size_t              limit;
    size_t              used;
    int                 level;
    unsigned            nspare;
    astro_inflater_t   *spare;
    astro_inflater_t   *reserve;
    z_stream           *shared[ASTRO_DEFLATE_WINDOWS];
};

struct astro_deflate_s {
    astro_deflate_pool_t  *pool;
    z_stream              *deflater;    /* own, or NULL */
    astro_inflater_t      *inflater;    /* own, or of the message under way */
    uint8_t                server_bits;
    unsigned               own:1;       /* the inflater is */
    unsigned               ended:1;     /* the last block had BFINAL */
};

/* in front of what zlib gets: it does not say how much it frees */
typedef union {
    size_t              size;
    max_align_t         align;
} astro_deflate_block_t;


static void *astro_deflate_alloc(void *data, unsigned n, unsigned size);
static void astro_deflate_free(void *data, void *p);
static z_stream *astro_deflater_create(astro_deflate_pool_t *pool, int bits);
static void astro_deflater_destroy(z_stream *z);
static astro_inflater_t *astro_inflater_create(astro_deflate_pool_t *pool,
    int bits);
static void astro_inflater_destroy(astro_inflater_t *inf);
static z_stream *astro_deflate_stream(astro_deflate_t *d);


/* zlib's allocator, and ours for the streams themselves */

static void *
astro_deflate_alloc(void *data, unsigned n, unsigned size)
{
    size_t                  len;
    astro_deflate_pool_t   *pool = data;
    astro_deflate_block_t  *block;

    len = (size_t) n * size + sizeof(astro_deflate_block_t);

    if (len > pool->limit - pool->used) {
        return NULL;
    }

    block = malloc(len);
    if (block == NULL) {
        return NULL;
    }

    block->size = len;
    pool->used += len;

    return block + 1;
}


static void
astro_deflate_free(void *data, void *p)
{
    astro_deflate_pool_t   *pool = data;
    astro_deflate_block_t  *block;

    block = (astro_deflate_block_t *) p - 1;
    pool->used -= block->size;

    free(block);
}


astro_deflate_pool_t *
astro_deflate_pool_create(size_t limit_bytes, int level)
{
    astro_deflate_pool_t  *pool;

    pool = calloc(1, sizeof(astro_deflate_pool_t));
    if (pool == NULL) {
        return NULL;
    }

    pool->limit = limit_bytes;
    pool->level = level;
    pool->reserve = astro_inflater_create(pool, ASTRO_INFLATE_BITS);

    if (pool->reserve == NULL) {
        free(pool);
        return NULL;
    }

    return pool;
}


void
astro_deflate_pool_destroy(astro_deflate_pool_t *pool)
{
    unsigned           i;
    astro_inflater_t  *inf;

    while (pool->spare) {
        inf = pool->spare;
        pool->spare = inf->next;
        astro_inflater_destroy(inf);
    }

    for (i = 0; i < ASTRO_DEFLATE_WINDOWS; i++) {
        if (pool->shared[i]) {
            astro_deflater_destroy(pool->shared[i]);
        }
    }

    astro_inflater_destroy(pool->reserve);
    free(pool);
}


size_t
astro_deflate_pool_used(const astro_deflate_pool_t *pool)
{
    return pool->used;
}


static z_stream *
astro_deflater_create(astro_deflate_pool_t *pool, int bits)
{
    z_stream  *z;

    z = astro_deflate_alloc(pool, 1, sizeof(z_stream));
    if (z == NULL) {
        return NULL;
    }

    memset(z, 0, sizeof(z_stream));

    z->zalloc = astro_deflate_alloc;
    z->zfree = astro_deflate_free;
    z->opaque = pool;

    if (deflateInit2(z, pool->level, Z_DEFLATED, -bits,
                     astro_deflate_mem_level(bits), Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        astro_deflate_free(pool, z);
        return NULL;
    }

    return z;
}


static void
astro_deflater_destroy(z_stream *z)
{
    (void) deflateEnd(z);
    astro_deflate_free(z->opaque, z);
}


static astro_inflater_t *
astro_inflater_create(astro_deflate_pool_t *pool, int bits)
{
    uint8_t            nothing;
    astro_inflater_t  *inf;

    inf = astro_deflate_alloc(pool, 1, sizeof(astro_inflater_t));
    if (inf == NULL) {
        return NULL;
    }

    memset(inf, 0, sizeof(astro_inflater_t));

    inf->z.zalloc = astro_deflate_alloc;
    inf->z.zfree = astro_deflate_free;
    inf->z.opaque = pool;

    if (inflateInit2(&inf->z, -bits) != Z_OK) {
        astro_deflate_free(pool, inf);
        return NULL;
    }

    /* a dictionary of nothing has zlib allocate the window now */

    nothing = 0;

    if (inflateSetDictionary(&inf->z, &nothing, 0) != Z_OK) {
        astro_inflater_destroy(inf);
        return NULL;
    }

    return inf;
}


static void
astro_inflater_destroy(astro_inflater_t *inf)
{
    (void) inflateEnd(&inf->z);
    astro_deflate_free(inf->z.opaque, inf);
}


astro_deflate_t *
astro_deflate_create(astro_deflate_pool_t *pool, const astro_ws_ext_t *agreed)
{
    astro_deflate_t  *d;

    d = astro_deflate_alloc(pool, 1, sizeof(astro_deflate_t));
    if (d == NULL) {
        return NULL;
    }

    memset(d, 0, sizeof(astro_deflate_t));

    d->pool = pool;
    d->server_bits = agreed->server_bits;

    if (agreed->server_takeover) {
        d->deflater = astro_deflater_create(pool, agreed->server_bits);

        if (d->deflater == NULL) {
            goto failed;
        }
    }

    if (agreed->client_takeover) {
        d->inflater = astro_inflater_create(pool, agreed->client_bits);

        if (d->inflater == NULL) {
            goto failed;
        }

        d->own = 1;
    }

    return d;

failed:

    astro_deflate_destroy(d);

    return NULL;
}


void
astro_deflate_destroy(astro_deflate_t *d)
{
    if (d->deflater) {
        astro_deflater_destroy(d->deflater);
    }

    if (d->own) {
        astro_inflater_destroy(d->inflater);

    } else {
        (void) astro_inflate_end(d);
    }

    astro_deflate_free(d->pool, d);
}


/* The stream to compress a message in, ready to begin; NULL: none. */

static z_stream *
astro_deflate_stream(astro_deflate_t *d)
{
    z_stream  **shared;

    if (d->deflater) {
        return d->deflater;
    }

    shared = &d->pool->shared[d->server_bits - ASTRO_DEFLATE_BITS_MIN];

    if (*shared == NULL) {
        *shared = astro_deflater_create(d->pool, d->server_bits);
        return *shared;
    }

    return deflateReset(*shared) == Z_OK ? *shared : NULL;
}


size_t
astro_deflate_message(astro_deflate_t *d, const struct iovec *part,
    unsigned n, uint8_t *out, size_t size)
{
    size_t     len;
    unsigned   i;
    z_stream  *z;

    for (len = 0, i = 0; i < n; i++) {
        len += part[i].iov_len;
    }

    if (size == 0 || len > 0x7fffffff || size > 0x7fffffff) {
        return 0;
    }

    /* section 7.2.3.6; zlib flushes nothing a second time */

    if (len == 0) {
        out[0] = 0;
        return 1;
    }

    z = astro_deflate_stream(d);

    if (z == NULL) {
        return 0;
    }

    z->next_out = out;
    z->avail_out = (unsigned) size;

    for (i = 0; i < n; i++) {
        z->next_in = part[i].iov_base;
        z->avail_in = (unsigned) part[i].iov_len;

        /* Z_BUF_ERROR: a part is empty, or out is full */

        if (deflate(z, Z_NO_FLUSH) == Z_STREAM_ERROR) {
            break;
        }
    }

    if (i == n && z->avail_out) {
        (void) deflate(z, Z_SYNC_FLUSH);
    }

    /*
     * An output that is full to the last octet may not be all there is.  The
     * other side has seen nothing of what this stream has now in its window,
     * so it starts anew; what the other side remembers besides does no harm.
     */

    if (i < n || z->avail_out == 0 || z->avail_in) {
        (void) deflateReset(z);
        return 0;
    }

    return size - z->avail_out - ASTRO_INFLATE_TAIL_LEN;
}


int
astro_inflate_begin(astro_deflate_t *d, int last)
{
    astro_inflater_t      *inf;
    astro_deflate_pool_t  *pool;

    pool = d->pool;
    d->ended = 0;

    if (d->own) {
        return 0;
    }

    if (last) {
        inf = pool->reserve;

    } else if (pool->spare) {
        inf = pool->spare;
        pool->spare = inf->next;
        pool->nspare--;

    } else {
        inf = astro_inflater_create(pool, ASTRO_INFLATE_BITS);
    }

    d->inflater = inf;

    return (inf == NULL || inflateReset(&inf->z) != Z_OK) ? -1 : 0;
}


astro_inflate_rc_e
astro_inflate(astro_deflate_t *d, const uint8_t **in, size_t *n, uint8_t **out,
    size_t *size)
{
    int        rc;
    z_stream  *z;

    z = &d->inflater->z;

    z->next_in = (uint8_t *) *in;
    z->avail_in = (unsigned) *n;
    z->next_out = *out;
    z->avail_out = (unsigned) *size;

    do {

        if (d->ended) {

            if (z->avail_in == 0) {
                break;
            }

            /*
             * Section 7.2.3.4 lets a block with BFINAL end a message, and a
             * block of the next stream follow at the next octet.  The window
             * stays: only the state of the parser is reset.
             */

            (void) inflateResetKeep(z);
            d->ended = 0;
        }

        rc = inflate(z, Z_SYNC_FLUSH);

        /* rc == Z_BUF_ERROR: nothing was left to do */

        if (rc == Z_STREAM_END) {
            d->ended = 1;

        } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return ASTRO_INFLATE_BAD;
        }

    } while (d->ended && z->avail_out);

    *in = z->next_in;
    *n = z->avail_in;
    *out = z->next_out;
    *size = z->avail_out;

    return z->avail_out ? ASTRO_INFLATE_MORE : ASTRO_INFLATE_FULL;
}


int
astro_inflate_end(astro_deflate_t *d)
{
    int                    type;
    astro_inflater_t      *inf;
    astro_deflate_pool_t  *pool;

    inf = d->inflater;

    if (inf == NULL) {
        return 0;
    }

    /* zlib: 128 between two blocks, and bits of the last octet not yet used */

    type = inf->z.data_type;

    if (!d->own) {
        pool = d->pool;
        d->inflater = NULL;

        if (inf == pool->reserve) {
            /* void */

        } else if (pool->nspare < ASTRO_INFLATE_SPARES) {
            inf->next = pool->spare;
            pool->spare = inf;
            pool->nspare++;

        } else {
            astro_inflater_destroy(inf);
        }
    }

    return ((type & 128) && (type & 63) == 0) ? 0 : -1;
}
