#!/bin/sh
#
# Copyright (C) The Astro authors
#
# What `make bench` calls: run.py with Debian's Python, which has the modules
# that it needs.  All arguments are run.py's; see README.md.

exec /usr/bin/python3 "$(dirname -- "$0")/run.py" "$@"
