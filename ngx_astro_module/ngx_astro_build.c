
/*
 * Copyright (C) The Astro authors
 *
 * Which build of the module is running: a reload keeps the library that is
 * mapped, so the file on disk may be another one (readelf -n shows its id).
 */

#include "ngx_astro_metrics.h"

#include <elf.h>
#include <link.h>


#define NGX_ASTRO_BUILD_MAX  20         /* octets of an id that are shown */


typedef struct {
    uintptr_t   inside;                 /* an address of ours */
    char        hex[NGX_ASTRO_BUILD_MAX * 2 + 1];
} ngx_astro_build_t;


static int ngx_astro_build_object(struct dl_phdr_info *info, size_t size,
    void *data);
static void ngx_astro_build_note(const uint8_t *p, const uint8_t *last,
    ngx_astro_build_t *build);


static ngx_astro_build_t  ngx_astro_build;


const char *
ngx_astro_build_id(void)
{
    if (ngx_astro_build.inside == 0) {
        ngx_astro_build.inside = (uintptr_t) &ngx_astro_module;
        (void) dl_iterate_phdr(ngx_astro_build_object, &ngx_astro_build);
    }

    return ngx_astro_build.hex[0] ? ngx_astro_build.hex : "unknown";
}


/* Called for each library that is loaded, until it returns 1. */

static int
ngx_astro_build_object(struct dl_phdr_info *info, size_t size, void *data)
{
    ngx_astro_build_t  *build = data;

    uintptr_t           at;
    ngx_uint_t          i, ours;
    const ElfW(Phdr)   *ph;

    (void) size;

    ours = 0;

    for (i = 0; i < info->dlpi_phnum; i++) {
        ph = &info->dlpi_phdr[i];
        at = info->dlpi_addr + ph->p_vaddr;

        if (ph->p_type == PT_LOAD && build->inside >= at
            && build->inside < at + ph->p_memsz)
        {
            ours = 1;
        }
    }

    for (i = 0; ours && i < info->dlpi_phnum; i++) {
        ph = &info->dlpi_phdr[i];

        if (ph->p_type == PT_NOTE) {
            at = info->dlpi_addr + ph->p_vaddr;
            ngx_astro_build_note((uint8_t *) at, (uint8_t *) at + ph->p_memsz,
                                 build);
        }
    }

    return (int) ours;
}


/* Notes are {name's length, description's, type}, name, description. */

static void
ngx_astro_build_note(const uint8_t *p, const uint8_t *last,
    ngx_astro_build_t *build)
{
    size_t                name, len;
    const ElfW(Nhdr)     *note;

    while ((size_t) (last - p) > sizeof(ElfW(Nhdr))) {
        note = (const ElfW(Nhdr) *) (const void *) p;
        p += sizeof(ElfW(Nhdr));

        name = ngx_align(note->n_namesz, 4);
        len = ngx_align(note->n_descsz, 4);

        if (name + len > (size_t) (last - p)) {
            return;
        }

        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4
            && ngx_memcmp(p, "GNU", 4) == 0)
        {
            *ngx_hex_dump((u_char *) build->hex, (u_char *) p + name,
                          ngx_min(note->n_descsz, NGX_ASTRO_BUILD_MAX)) = '\0';
            return;
        }

        p += name + len;
    }
}
