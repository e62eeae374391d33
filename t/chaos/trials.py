#!/usr/bin/python3
"""Crash trials: short lives in which something dies.  After each: everything
settled, the audit clean, every number equal to what an oracle made of exact
fractions says, nobody charged for what was not there, nobody served unpaid.

    t/chaos/trials.py [--count N] [--jobs N] [--seed N] [--kind TEXT]...
                      [--list] [--keep]

--seed S --count 1 --kind "its name" plays a trial again: the same people, money
and strikes; what the machine makes of them is not.  --keep leaves a trial that
failed as it is, and says where.
"""

import argparse
import collections
import json
import multiprocessing
import os
import queue
import random
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from trial import bed, nginx, payouts, strikes      # noqa: E402
from trial.life import Life         # noqa: E402

BUILD = os.environ.get("ASTRO_BUILD") or os.environ.get("BUILD") or "build"
POINTS = os.path.join(BUILD, "points")


def build_points():
    """A worker that can be told where to die."""
    subprocess.run(["make", "-s", f"BUILD={POINTS}", "POINTS=1", "SANITIZE=",
                    f"{POINTS}/billing_worker"], cwd=bed.ROOT, check=True,
                   stdout=subprocess.DEVNULL)


def kinds():
    """[(name, weight)]: every named point is one, to be killed at; some are
    stopped at, too, until others have taken over."""
    found = [(name, weight) for name, (_, weight, _) in
             [*strikes.KINDS.items(), *nginx.KINDS.items(),
              *payouts.KINDS.items()]]
    for point in strikes.points():
        found.append((f"killed at {point}", 2))
        if not point.startswith(("hand", "connected", "reap")):
            found.append((f"stopped at {point}", 1))
    for point in payouts.points():
        found += [(f"killed at {point}", 2), (f"stopped at {point}", 1)]
    return found


def plan(count, seed, wanted):
    """[(kind, seed)].  Every kind comes before any comes twice."""
    chance = random.Random(seed)
    known = [k for k in kinds()
             if not wanted or any(w == k[0] for w in wanted)
             or any(w in k[0] for w in wanted)
             and not any(w == o[0] for w in wanted for o in kinds())]
    assert known, f"no such kind: {wanted}"
    chosen = []

    while len(chosen) < count:
        turn = [name for name, weight in known for _ in range(
            1 if len(chosen) < len(known) else weight)]
        chance.shuffle(turn)
        chosen += turn

    return [(name, chance.randrange(10**9)) for name in chosen[:count]] \
        if count > 1 else [(chosen[0], seed)]


def play(on, name, seed, keep):
    """One trial; what was wrong, and of how many sessions."""
    if name in nginx.KINDS:
        try:
            return nginx.play(on, name, random.Random(seed))
        except AssertionError as error:
            return [f"the trial itself: {error}"], nginx.PAIRS
        except Exception:
            return [traceback.format_exc()], nginx.PAIRS

    how = "killed at " if name.startswith("killed at ") else "stopped at "
    point = name.partition(how)[2] if name.startswith(how) else None
    where = payouts if point in payouts.points() else strikes
    function, _, shape = (None, 0, getattr(where, "SHAPE", {})) if point \
        else {**strikes.KINDS, **payouts.KINDS}[name]
    life = Life(on, seed, **shape)
    wrong = ["interrupted"]

    try:
        if point:
            where.at_point(life, point, bed.ROOT / POINTS /
                           "billing_worker",
                           ":STOP" if how.startswith("stop") else "")
        else:
            function(life)
        wrong = life.finish()
    except AssertionError as error:
        wrong = [f"the trial itself: {error}"]
    except Exception:
        wrong = [traceback.format_exc()]
    finally:
        left = life.close(keep and wrong)
        if left:
            wrong.append(f"left at {left}")

    return wrong, len(life.talks)


def job(made_from, tasks, results, keep):
    """One process: a bed, and one trial after the other on it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    on = None

    try:
        on = bed.Bed(made_from, bed.ROOT / BUILD)

        while True:
            try:
                number, name, seed = tasks.get_nowait()
            except queue.Empty:
                break
            began = time.monotonic()
            wrong, sessions = play(on, name, seed, keep)
            results.put({"number": number, "kind": name, "seed": seed,
                         "seconds": round(time.monotonic() - began, 1),
                         "sessions": sessions, "wrong": wrong})
    except BaseException as error:
        if not stopping(error):
            raise
    finally:
        if on is not None and not keep:
            on.close()


def stopping(error):
    """Somebody has had enough; what else went wrong did because of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def run(count, seed, jobs=6, wanted=(), keep=False, say=print):
    """Plays them; a list of what became of each."""
    build_points()
    made_from = bed.mould()
    context = multiprocessing.get_context("fork")
    tasks, results = context.Queue(), context.Queue()
    planned = plan(count, seed, wanted)
    done = []

    for number, (name, its_seed) in enumerate(planned):
        tasks.put((number, name, its_seed))

    time.sleep(0.2)                 # a queue is filled by a thread
    processes = [context.Process(target=job, args=(made_from, tasks, results,
                                                   keep))
                 for _ in range(min(jobs, count))]

    try:
        for process in processes:
            process.start()

        while len(done) < len(planned):
            try:
                one = results.get(timeout=1)
            except queue.Empty:
                if not any(p.is_alive() for p in processes):
                    break
                continue
            done.append(one)
            say(f"{len(done)}/{len(planned)} {one['kind']}, seed"
                f" {one['seed']}, {one['seconds']} s: "
                + ("held" if not one["wrong"] else "VIOLATED"))
            for what in one["wrong"][:8]:
                say(f"    {what}")
    except KeyboardInterrupt:
        say("stopped")
        planned = [planned[one["number"]] for one in done]
        for process in processes:
            process.terminate()
    finally:
        for process in processes:
            if process.is_alive() and len(done) < len(planned):
                process.terminate()
        for process in processes:
            process.join(60)
        made_from.close()

    played = {one["number"] for one in done}

    if len(planned) == len(done):
        return sorted(done, key=lambda one: one["number"])

    done += [{"number": n, "kind": name, "seed": its_seed, "seconds": 0,
              "sessions": 0, "wrong": ["was not played"]}
             for n, (name, its_seed) in enumerate(planned) if n not in played]
    return sorted(done, key=lambda one: one["number"])


def table(done):
    """Markdown: kind of trial, how many, how many violated."""
    kinds_of = collections.OrderedDict()

    for one in sorted(done, key=lambda one: one["kind"]):
        row = kinds_of.setdefault(one["kind"], [0, 0, 0])
        row[0] += 1
        row[1] += one["sessions"]
        row[2] += bool(one["wrong"])

    lines = ["| kind of trial | trials | sessions | violated |",
             "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(str, row))} |"
              for name, row in kinds_of.items()]
    total = [sum(row[i] for row in kinds_of.values()) for i in range(3)]
    lines.append(f"| all | {' | '.join(map(str, total))} |")
    return "\n".join(lines)


def main():
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--count", type=int, default=30)
    words.add_argument("--jobs", type=int, default=6)
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--kind", action="append", default=[])
    words.add_argument("--list", action="store_true")
    words.add_argument("--keep", action="store_true")
    words.add_argument("--json")
    args = words.parse_args()

    if args.list:
        for name, weight in kinds():
            print(f"{weight} x {name}")
        return 0

    seed = random.randrange(10**9) if args.seed is None else args.seed
    print(f"{args.count} trials, --seed {seed}", flush=True)
    began = time.monotonic()
    done = run(args.count, seed, args.jobs, args.kind, args.keep,
               lambda text: print(text, flush=True))
    print(table(done))
    bad = sum(bool(one["wrong"]) for one in done)
    print(f"{len(done) - bad} of {len(done)} held,"
          f" {time.monotonic() - began:.0f} s")

    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(done, f)

    return bool(bad)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
