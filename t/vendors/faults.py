"""What may go wrong between a vendor and those who call it; all off at first,
each a chance from 0 to 1 unless said otherwise.  They are switched at run
time, and drawn from a generator with a seed.

  delay          the answer takes delay_ms longer, before anything is done
  late           it is done at once, and the answer takes delay_ms longer
  error          500, nothing was done
  error_after    500, but it was done
  hangup         the connection is closed, nothing was done
  lost           the connection is closed, but it was done
  half           it was done, and half of the answer comes
  limit          429 with Retry-After: retry_after_s, nothing was done
  closed         true: connections are refused

and for webhooks (see webhooks.py)

  hook_lost      never sent
  hook_twice     sent once more
  hook_shuffle   how many are kept and sent in another order (a number)
"""

import random

DEFAULTS = {"delay": 0, "late": 0, "delay_ms": 1000, "error": 0,
            "error_after": 0, "hangup": 0, "lost": 0, "half": 0, "limit": 0,
            "retry_after_s": 1, "closed": False, "hook_lost": 0,
            "hook_twice": 0, "hook_shuffle": 0}


class Faults:
    def __init__(self, seed=None):
        self.random = random.Random(seed)
        self.now = dict(DEFAULTS)
        self.happened = {}

    def set(self, changes):
        unknown = set(changes) - set(DEFAULTS)

        if unknown:
            raise ValueError(f"no such fault: {sorted(unknown)}")

        self.now.update(changes)

    def clear(self):
        self.now = dict(DEFAULTS)

    def happens(self, name):
        chance = self.now[name]

        if not chance or self.random.random() >= chance:
            return False

        self.happened[name] = self.happened.get(name, 0) + 1
        return True
