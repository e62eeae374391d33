
/*
 * Copyright (C) The Astro authors
 *
 * Settings: see config.h.  A row in the table is a setting.
 */

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "log.h"
#include "tariff.h"
#include "text.h"


#define BILLING_CONFIG_LINE  4096


typedef enum {
    BILLING_CONFIG_STRING,
    BILLING_CONFIG_NUMBER,
    BILLING_CONFIG_LEVEL
} billing_config_type_e;

typedef struct {
    const char             *name;
    size_t                  offset;
    billing_config_type_e   type;
    int64_t                 min;
    int64_t                 max;
    int64_t                 number;     /* the default */
    const char             *string;
} billing_config_setting_t;


static int billing_config_defaults(billing_config_t *config);
static int billing_config_file(billing_config_t *config, const char *file,
    char *error, size_t size);
static int billing_config_line(billing_config_t *config, char *line,
    const char *where, char *error, size_t size);
static int billing_config_set(billing_config_t *config, const char *name,
    const char *value, const char *where, char *error, size_t size);
static int billing_config_check(const billing_config_t *config, char *error,
    size_t size);
static char *billing_config_trim(char *s);


static const billing_config_setting_t  billing_config_settings[] = {

    { "pg", offsetof(billing_config_t, pg), BILLING_CONFIG_STRING,
      0, 0, 0, "" },

    { "redis", offsetof(billing_config_t, redis), BILLING_CONFIG_STRING,
      0, 0, 0, "" },

    { "redis_prefix", offsetof(billing_config_t, redis_prefix),
      BILLING_CONFIG_STRING, 0, 0, 0, "astro:" },

    { "tick_seconds", offsetof(billing_config_t, tick_seconds),
      BILLING_CONFIG_NUMBER, 1, 600, 15, NULL },

    { "paid_ahead_seconds", offsetof(billing_config_t, paid_ahead_seconds),
      BILLING_CONFIG_NUMBER, 5, 3600, 60, NULL },

    { "low_seconds", offsetof(billing_config_t, low_seconds),
      BILLING_CONFIG_NUMBER, 0, 86400, 120, NULL },

    { "ring_seconds", offsetof(billing_config_t, ring_seconds),
      BILLING_CONFIG_NUMBER, 1, 3600, 45, NULL },

    { "grace_seconds", offsetof(billing_config_t, grace_seconds),
      BILLING_CONFIG_NUMBER, 1, 3600, 60, NULL },

    { "log_level", offsetof(billing_config_t, log_level),
      BILLING_CONFIG_LEVEL, 0, 0, BILLING_LOG_INFO, NULL },

    { NULL, 0, BILLING_CONFIG_STRING, 0, 0, 0, NULL }
};


int
billing_config_load(billing_config_t *config, const char *file,
    char *const *options, int noptions, char *error, size_t size)
{
    int    i, rc;
    char  *line;

    memset(config, 0, sizeof(billing_config_t));

    rc = billing_config_defaults(config);

    if (rc != BILLING_OK) {
        snprintf(error, size, "out of memory");
    }

    if (rc == BILLING_OK && file != NULL) {
        rc = billing_config_file(config, file, error, size);
    }

    for (i = 0; rc == BILLING_OK && i < noptions; i++) {

        line = strdup(options[i]);
        if (line == NULL) {
            snprintf(error, size, "out of memory");
            rc = BILLING_ERROR;
            break;
        }

        rc = billing_config_line(config, line, "-o", error, size);
        free(line);
    }

    if (rc == BILLING_OK) {
        rc = billing_config_check(config, error, size);
    }

    if (rc != BILLING_OK) {
        billing_config_free(config);
    }

    return rc;
}


void
billing_config_free(billing_config_t *config)
{
    free(config->pg);
    free(config->redis);
    free(config->redis_prefix);

    memset(config, 0, sizeof(billing_config_t));
}


static int
billing_config_defaults(billing_config_t *config)
{
    char                            *p;
    const billing_config_setting_t  *s;

    for (s = billing_config_settings; s->name != NULL; s++) {
        p = (char *) config + s->offset;

        if (s->type != BILLING_CONFIG_STRING) {
            *(int64_t *) p = s->number;
            continue;
        }

        *(char **) p = strdup(s->string);

        if (*(char **) p == NULL) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}


static int
billing_config_file(billing_config_t *config, const char *file, char *error,
    size_t size)
{
    int    n, rc;
    char   line[BILLING_CONFIG_LINE], where[512], *p;
    FILE  *f;

    f = fopen(file, "r");
    if (f == NULL) {
        snprintf(error, size, "cannot open \"%s\": %s", file,
                 strerror(errno));
        return BILLING_ERROR;
    }

    rc = BILLING_OK;

    for (n = 1; rc == BILLING_OK && fgets(line, sizeof(line), f) != NULL; n++)
    {
        snprintf(where, sizeof(where), "%s:%d", file, n);

        if (strchr(line, '\n') == NULL && !feof(f)) {
            snprintf(error, size, "%s: the line is too long", where);
            rc = BILLING_ERROR;
            break;
        }

        p = billing_config_trim(line);

        if (*p != '\0' && *p != '#') {
            rc = billing_config_line(config, p, where, error, size);
        }
    }

    if (rc == BILLING_OK && ferror(f)) {
        snprintf(error, size, "cannot read \"%s\": %s", file,
                 strerror(errno));
        rc = BILLING_ERROR;
    }

    fclose(f);

    return rc;
}


static int
billing_config_line(billing_config_t *config, char *line, const char *where,
    char *error, size_t size)
{
    char  *value;

    value = strchr(line, '=');

    if (value == NULL) {
        snprintf(error, size, "%s: \"%s\" is not \"key = value\"", where,
                 line);
        return BILLING_ERROR;
    }

    *value++ = '\0';

    return billing_config_set(config, billing_config_trim(line),
                              billing_config_trim(value), where, error, size);
}


static int
billing_config_set(billing_config_t *config, const char *name,
    const char *value, const char *where, char *error, size_t size)
{
    char                            *p, *copy;
    int64_t                          n;
    const billing_config_setting_t  *s;

    for (s = billing_config_settings; s->name != NULL; s++) {
        if (strcmp(s->name, name) == 0) {
            break;
        }
    }

    if (s->name == NULL) {
        snprintf(error, size, "%s: unknown setting \"%s\"", where, name);
        return BILLING_ERROR;
    }

    p = (char *) config + s->offset;

    switch (s->type) {

    case BILLING_CONFIG_STRING:
        copy = strdup(value);
        if (copy == NULL) {
            snprintf(error, size, "out of memory");
            return BILLING_ERROR;
        }

        free(*(char **) p);
        *(char **) p = copy;

        return BILLING_OK;

    case BILLING_CONFIG_LEVEL:
        n = billing_log_level(value);

        if (n == BILLING_ERROR) {
            snprintf(error, size, "%s: %s = \"%s\" is none of error, warn, "
                     "info, debug", where, name, value);
            return BILLING_ERROR;
        }

        break;

    default:
        if (billing_text_number(value, &n) != BILLING_OK || n < s->min
            || n > s->max)
        {
            snprintf(error, size, "%s: %s = \"%s\" is not a whole number "
                     "from %" PRId64 " to %" PRId64, where, name, value,
                     s->min, s->max);
            return BILLING_ERROR;
        }
    }

    *(int64_t *) p = n;

    return BILLING_OK;
}


/* what no setting alone can be blamed for */

static int
billing_config_check(const billing_config_t *config, char *error, size_t size)
{
    int64_t      port;
    const char  *colon;

    if (config->pg[0] == '\0') {
        snprintf(error, size, "no \"pg\": where is the database?");
        return BILLING_ERROR;
    }

    if (config->paid_ahead_seconds < config->tick_seconds + 2) {
        snprintf(error, size, "paid_ahead_seconds = %" PRId64 " must exceed "
                 "tick_seconds = %" PRId64 " by 2 or more, or sessions would "
                 "stop between two ticks", config->paid_ahead_seconds,
                 config->tick_seconds);
        return BILLING_ERROR;
    }

    if (config->redis[0] == '\0'
        || strncmp(config->redis, "unix:/", sizeof("unix:/") - 1) == 0)
    {
        return BILLING_OK;
    }

    colon = strrchr(config->redis, ':');

    if (colon == NULL || colon == config->redis
        || billing_text_number(colon + 1, &port) != BILLING_OK
        || port < 1 || port > 65535)
    {
        snprintf(error, size, "redis = \"%s\" is neither unix:/path nor "
                 "host:port", config->redis);
        return BILLING_ERROR;
    }

    return BILLING_OK;
}


static char *
billing_config_trim(char *s)
{
    size_t  n;

    s += strspn(s, " \t\r\n");
    n = strlen(s);

    while (n > 0 && strchr(" \t\r\n", s[n - 1]) != NULL) {
        n--;
    }

    s[n] = '\0';

    return s;
}
