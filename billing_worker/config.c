
/*
 * Copyright (C) The Astro authors
 *
 * Settings: see config.h.
 */

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "log.h"
#include "settings.h"
#include "tariff.h"
#include "text.h"


#define BILLING_CONFIG_LINE  4096


static int billing_config_defaults(billing_config_t *config);
static int billing_config_file(billing_config_t *config, const char *file,
    char *error, size_t size);
static int billing_config_option(billing_config_t *config,
    const char *option, char *error, size_t size);
static int billing_config_line(billing_config_t *config, char *line,
    const char *where, char *error, size_t size);
static int billing_config_set(billing_config_t *config, const char *name,
    const char *value, const char *where, char *error, size_t size);
static int billing_config_parse(const billing_setting_t *s,
    const char *value, int64_t *n, char *expected, size_t size);
static int billing_config_address(const char *value);
static int billing_config_loopback(const char *value);
static int billing_config_check(const billing_config_t *config, char *error,
    size_t size);
static int billing_config_same(const billing_setting_t *s,
    const billing_config_t *a, const billing_config_t *b);
static char *billing_config_trim(char *s);


#define billing_config_text(config, s)                                        \
    (*(char **) ((char *) (config) + (s)->offset))
#define billing_config_number(config, s)                                      \
    (*(int64_t *) ((char *) (config) + (s)->offset))

#define billing_setting_is_text(s)                                            \
    ((s)->type != BILLING_SETTING_NUMBER && (s)->type != BILLING_SETTING_LEVEL)


int
billing_config_load(billing_config_t *config,
    const billing_config_source_t *source, char *error, size_t size)
{
    int  i, rc;

    memset(config, 0, sizeof(billing_config_t));

    config->source = source;

    rc = billing_config_defaults(config);

    if (rc != BILLING_OK) {
        snprintf(error, size, "out of memory");
    }

    if (rc == BILLING_OK && source->file != NULL) {
        rc = billing_config_file(config, source->file, error, size);
    }

    for (i = 0; rc == BILLING_OK && i < source->noptions; i++) {
        rc = billing_config_option(config, source->options[i], error, size);
    }

    if (rc == BILLING_OK) {
        rc = billing_config_check(config, error, size);
    }

    if (rc != BILLING_OK) {
        billing_config_free(config);
    }

    return rc;
}


int
billing_config_reload(billing_config_t *config, char *error, size_t size)
{
    int                       n;
    char                     *text, *where;
    billing_config_t          fresh;
    const billing_setting_t  *s;

    if (billing_config_load(&fresh, config->source, error, size)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    for (s = billing_settings, n = 0; s->name != NULL; s++, n++) {

        if (billing_config_same(s, config, &fresh)) {
            continue;
        }

        if (s->start) {
            billing_log(BILLING_LOG_WARN, "a setting is taken at the next "
                        "start only", billing_log_str("setting", s->name));
            continue;
        }

        where = config->where[n];
        config->where[n] = fresh.where[n];
        fresh.where[n] = where;

        if (billing_setting_is_text(s)) {
            text = billing_config_text(config, s);
            billing_config_text(config, s) = billing_config_text(&fresh, s);
            billing_config_text(&fresh, s) = text;

        } else {
            billing_config_number(config, s)
                = billing_config_number(&fresh, s);
        }
    }

    billing_config_free(&fresh);

    return BILLING_OK;
}


void
billing_config_free(billing_config_t *config)
{
    int                       n;
    const billing_setting_t  *s;

    for (s = billing_settings, n = 0; s->name != NULL; s++, n++) {

        if (billing_setting_is_text(s)) {
            free(billing_config_text(config, s));
        }

        free(config->where[n]);
    }

    memset(config, 0, sizeof(billing_config_t));
}


void
billing_config_help(FILE *f)
{
    const billing_setting_t  *s;

    for (s = billing_settings; s->name != NULL; s++) {

        fprintf(f, "  %c %s = ", s->start ? '*' : ' ', s->name);

        if (s->type == BILLING_SETTING_NUMBER) {
            fprintf(f, "%" PRId64, s->number);

        } else if (s->type == BILLING_SETTING_LEVEL) {
            fprintf(f, "%s", billing_log_level_name(s->number));

        } else {
            fprintf(f, "%s", s->text);
        }

        if (s->type == BILLING_SETTING_NUMBER) {
            fprintf(f, "  (%s, %" PRId64 "-%" PRId64 ")\n", s->unit, s->min,
                    s->max);

        } else {
            fprintf(f, "  (%s)\n", s->unit);
        }

        fprintf(f, "        %s\n", s->help);
    }
}


static int
billing_config_defaults(billing_config_t *config)
{
    const billing_setting_t  *s;

    for (s = billing_settings; s->name != NULL; s++) {

        if (!billing_setting_is_text(s)) {
            billing_config_number(config, s) = s->number;
            continue;
        }

        billing_config_text(config, s) = strdup(s->text);

        if (billing_config_text(config, s) == NULL) {
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
billing_config_option(billing_config_t *config, const char *option,
    char *error, size_t size)
{
    int    rc;
    char  *line;

    line = strdup(option);
    if (line == NULL) {
        snprintf(error, size, "out of memory");
        return BILLING_ERROR;
    }

    rc = billing_config_line(config, line, "-o", error, size);

    free(line);

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
    int                       i;
    char                      expected[160], *copy, *place;
    int64_t                   n;
    const billing_setting_t  *s;

    for (s = billing_settings, i = 0; s->name != NULL; s++, i++) {
        if (strcmp(s->name, name) == 0) {
            break;
        }
    }

    if (s->name == NULL) {
        snprintf(error, size, "%s: unknown setting \"%s\"", where, name);
        return BILLING_ERROR;
    }

    if (billing_config_parse(s, value, &n, expected, sizeof(expected))
        != BILLING_OK)
    {
        snprintf(error, size, "%s: %s = \"%s\" is not %s", where, name, value,
                 expected);
        return BILLING_ERROR;
    }

    place = strdup(where);
    copy = billing_setting_is_text(s) ? strdup(value) : NULL;

    if (place == NULL || (copy == NULL && billing_setting_is_text(s))) {
        free(place);
        free(copy);
        snprintf(error, size, "out of memory");
        return BILLING_ERROR;
    }

    free(config->where[i]);
    config->where[i] = place;

    if (copy == NULL) {
        billing_config_number(config, s) = n;
        return BILLING_OK;
    }

    free(billing_config_text(config, s));
    billing_config_text(config, s) = copy;

    return BILLING_OK;
}


/* BILLING_ERROR: expected gets what the value had to be. */

static int
billing_config_parse(const billing_setting_t *s, const char *value,
    int64_t *n, char *expected, size_t size)
{
    *n = 0;

    switch (s->type) {

    case BILLING_SETTING_NUMBER:
        snprintf(expected, size, "a whole number from %" PRId64 " to %" PRId64
                 " (%s)", s->min, s->max, s->unit);

        return (billing_text_number(value, n) == BILLING_OK && *n >= s->min
                && *n <= s->max) ? BILLING_OK : BILLING_ERROR;

    case BILLING_SETTING_LEVEL:
        snprintf(expected, size, "one of %s", s->unit);
        *n = billing_log_level(value);

        return (*n == BILLING_ERROR) ? BILLING_ERROR : BILLING_OK;

    case BILLING_SETTING_ADDRESS:
        snprintf(expected, size, "unix:/path, host:port, or nothing");

        return billing_config_address(value);

    case BILLING_SETTING_LOOPBACK:
        snprintf(expected, size, "unix:/path, 127.0.0.1:port, [::1]:port, or "
                 "nothing");

        return (billing_config_address(value) == BILLING_OK
                && billing_config_loopback(value)) ? BILLING_OK
                                                   : BILLING_ERROR;

    default:
        return BILLING_OK;
    }
}


static int
billing_config_address(const char *value)
{
    int64_t      port;
    const char  *colon;

    if (value[0] == '\0'
        || strncmp(value, "unix:/", sizeof("unix:/") - 1) == 0)
    {
        return BILLING_OK;
    }

    colon = strrchr(value, ':');

    if (colon == NULL || colon == value
        || billing_text_number(colon + 1, &port) != BILLING_OK
        || port < 1 || port > 65535)
    {
        return BILLING_ERROR;
    }

    return BILLING_OK;
}


/* value is an address */

static int
billing_config_loopback(const char *value)
{
    return value[0] == '\0' || strncmp(value, "unix:", 5) == 0
           || strncmp(value, "[::1]:", 6) == 0
           || (strncmp(value, "127.", 4) == 0
               && value[strspn(value, "0123456789.")] == ':');
}


static int
billing_config_check(const billing_config_t *config, char *error, size_t size)
{
    int                       i;
    char                      what[512];
    const char               *blamed;
    const billing_setting_t  *s;

    blamed = NULL;

    if (billing_settings_check(config, &blamed, what, sizeof(what))
        == BILLING_OK)
    {
        return BILLING_OK;
    }

    for (s = billing_settings, i = 0; s->name != NULL; s++, i++) {

        if (blamed != NULL && strcmp(s->name, blamed) == 0
            && config->where[i] != NULL)
        {
            snprintf(error, size, "%s: %s", config->where[i], what);
            return BILLING_ERROR;
        }
    }

    snprintf(error, size, "%s", what);

    return BILLING_ERROR;
}


static int
billing_config_same(const billing_setting_t *s, const billing_config_t *a,
    const billing_config_t *b)
{
    if (billing_setting_is_text(s)) {
        return strcmp(billing_config_text(a, s), billing_config_text(b, s))
               == 0;
    }

    return billing_config_number(a, s) == billing_config_number(b, s);
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
