
/*
 * Copyright (C) The Astro authors
 *
 * A child is killed before each of the stores that an operation makes to
 * shared memory, one after the other.  The memory is write-protected in the
 * child: each store traps, is counted, and is let through alone (by the
 * processor's single-step flag), until the one before which the child is to
 * die.  Between two stores nobody else could tell the difference, so what is
 * tried is every instant at which a SIGKILL could come, and nothing is built
 * into what is tested.
 *
 * What this does not show: the order in which two processors see the stores of
 * a process that lives.  That is for the threads' tests.
 */

#ifndef _ASTRO_UNIT_STEP_H_INCLUDED_
#define _ASTRO_UNIT_STEP_H_INCLUDED_


#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "unit.h"


#define STEP_FLAG  0x100        /* TF of the flags register */


typedef struct {
    void      *memory;          /* that is shared; from mmap() */
    size_t     size;
    void     (*op)(void *ctx);  /* in the child, which dies in it */
    void     (*check)(void *ctx, int stores, int whole);
    void      *ctx;
} step_t;


static const step_t  *step_now;
static int            step_left;


#if defined(__x86_64__)

/* handlers, in the child alone */

static void
step_store(int sig, siginfo_t *info, void *context)
{
    uint8_t     *p = info->si_addr;
    ucontext_t  *uc = context;

    (void) sig;

    if (p < (uint8_t *) step_now->memory
        || p >= (uint8_t *) step_now->memory + step_now->size)
    {
        _exit(2);
    }

    if (step_left-- == 0) {
        (void) kill(getpid(), SIGKILL);
    }

    (void) mprotect(step_now->memory, step_now->size, PROT_READ|PROT_WRITE);
    uc->uc_mcontext.gregs[REG_EFL] |= STEP_FLAG;
}


static void
step_stored(int sig, siginfo_t *info, void *context)
{
    ucontext_t  *uc = context;

    (void) sig;
    (void) info;

    uc->uc_mcontext.gregs[REG_EFL] &= ~STEP_FLAG;
    (void) mprotect(step_now->memory, step_now->size, PROT_READ);
}


/* Returns 1 if the operation came to its end before that store. */

static int
step_run(const step_t *step, int stores)
{
    int               status;
    pid_t             pid;
    struct sigaction  sa;

    pid = fork();

    if (pid == 0) {
        step_now = step;
        step_left = stores;

        memset(&sa, 0, sizeof(sa));
        sa.sa_flags = SA_SIGINFO;
        sa.sa_sigaction = step_store;
        (void) sigaction(SIGSEGV, &sa, NULL);
        sa.sa_sigaction = step_stored;
        (void) sigaction(SIGTRAP, &sa, NULL);

        (void) mprotect(step->memory, step->size, PROT_READ);
        step->op(step->ctx);
        _exit(0);
    }

    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);

    if (WIFSIGNALED(status)) {
        ck_assert_int_eq(WTERMSIG(status), SIGKILL);
        return 0;
    }

    ck_assert_int_eq(WEXITSTATUS(status), 0);

    return 1;
}

#endif


/* The number of stores that the operation makes; the child died at each. */

__attribute__((unused))
static int
step_all(const step_t *step)
{
#if defined(__x86_64__)
    int    stores, whole;
    void  *image;

    image = malloc(step->size);
    ck_assert_ptr_nonnull(image);
    memcpy(image, step->memory, step->size);

    for (stores = 0, whole = 0; !whole; stores++) {
        memcpy(step->memory, image, step->size);
        whole = step_run(step, stores);
        step->check(step->ctx, stores, whole);
    }

    free(image);

    return stores - 1;
#else
    (void) step;
    return INT_MAX;
#endif
}


#endif /* _ASTRO_UNIT_STEP_H_INCLUDED_ */
