#!/usr/bin/python3
"""Plants bugs, one at a time, each in a copy of the tree, and runs the test
that is to catch it.  Prints bug -> test that caught it -> time.

    t/planted/planted.py [--jobs N] [NAME]...     NAME: part of a bug's name

Exit status 0 only if each was caught.  A bug whose text is no longer in the
sources, or that does not build, counts as not caught.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bugs import BUGS       # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ASTRO_BUILD") or "build")
BUILD = BUILD if BUILD.is_absolute() else ROOT / BUILD
PYTHON = "/usr/bin/python3"

# what is built already, so that only what changed is built again
MADE = {"worker": ["worker", "billing_worker", "ngx_astro_module.so",
                   "astro_password"],
        "unit": ["unit", "astro_password"],
        "module": ["nginx-module", "ngx_astro_module.so", "billing_worker",
                   "astro_password"],
        "nothing": ["billing_worker"]}


class Rotten(Exception):
    pass


def copy_tree(to, makes):
    def skip(folder, names):
        return {n for n in names if n in (".git", "__pycache__", "var")
                or pathlib.Path(folder) == ROOT and n == "build"}

    shutil.copytree(ROOT, to, ignore=skip, symlinks=True)
    (to / "build").mkdir()

    for name in MADE[makes]:
        if (BUILD / name).is_dir():
            shutil.copytree(BUILD / name, to / "build" / name)
        elif (BUILD / name).exists():
            shutil.copy2(BUILD / name, to / "build" / name)

    # nginx's Makefile knows its folders by their full names
    for path in (to / "build").glob("nginx-module/**/Makefile"):
        when = path.stat()
        path.write_text(path.read_text().replace(str(BUILD),
                                                 str(to / "build"))
                        .replace(str(ROOT), str(to)))
        os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))


def change(tree, bug):
    for name, text, other in bug.changes:
        path = tree / name
        if not path.exists():
            raise Rotten(f"there is no {name}")
        source = path.read_text(encoding="utf-8")
        if source.count(text) != 1:
            raise Rotten(f"{name} has {source.count(text)} times:\n{text}")
        path.write_text(source.replace(text, other), encoding="utf-8")


def run(command, tree, log, limit):
    """Its exit status; what it says goes to the log."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "SANITIZE")}
    env.update(BUILD="build", ASTRO_BUILD=str(tree / "build"), CC="gcc")
    with open(log, "ab") as out:
        with subprocess.Popen(command, cwd=tree, env=env, stdout=out,
                              stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL) as process:
            try:
                return process.wait(limit)
            except BaseException:
                process.terminate()
                raise


def build(tree, bug, log):
    targets = {"worker": ["build/billing_worker"], "module": ["module"],
               "unit": ["unit-build", f"UNIT={bug.test}"]}.get(bug.makes)

    if targets and run(["make", "-s", "BUILD=build", *targets], tree, log,
                       600) != 0:
        raise Rotten(f"it does not build\n{tail(log)}")


def caught(tree, bug, log):
    """Did the test fail, as a test does?"""
    if bug.makes == "unit":
        status = run(["make", "-s", "BUILD=build", f"UNIT={bug.test}",
                      "unit"], tree, log, 600)
        text = log.read_text(errors="replace")
        # Check's own summary; a run that broke off says none
        return status != 0 and "Failures: " in text \
            and "Failures: 0, Errors: 0" not in text

    # 1: tests were run, and some failed
    return run([PYTHON, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                "--tb=short", bug.test], tree, log, 600) == 1


def tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])


def plant(bug, logs):
    """(bug, what is wrong or None, s)"""
    began = time.monotonic()
    log = logs / f"{bug.name.replace(' ', '-')}.log"
    log.write_bytes(b"")
    home = pathlib.Path(tempfile.mkdtemp(prefix="astro-planted-", dir="/tmp"))
    home.chmod(0o755)
    wrong = None

    try:
        tree = home / "tree"
        copy_tree(tree, bug.makes)
        change(tree, bug)
        build(tree, bug, log)

        for i in range(3 if bug.luck else 1):
            if not caught(tree, bug, log):
                wrong = f"NOT CAUGHT, try {i + 1}: {tail(log)}"
                break
    except Rotten as error:
        wrong = f"ROTTEN: {error}"
    finally:
        shutil.rmtree(home, ignore_errors=True)

    return bug, wrong, time.monotonic() - began


def table(done):
    lines = ["| bug | what was changed | caught by | s |", "|---|---|---|---|"]
    for bug, wrong, seconds in done:
        how = wrong.split(":")[0] if wrong else f"`{bug.test}`"
        how += ", 3 of 3" if bug.luck and not wrong else ""
        lines.append(f"| {bug.name} | {bug.what} | {how} | {seconds:.0f} |")
    return "\n".join(lines)


def plant_all(bugs, jobs, say=print):
    logs = BUILD / "test-logs" / "planted"
    logs.mkdir(parents=True, exist_ok=True)
    done = []

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        # the slowest first
        order = ["module", "worker", "unit", "nothing"]
        for one in concurrent.futures.as_completed(
                [pool.submit(plant, bug, logs) for bug in
                 sorted(bugs, key=lambda b: order.index(b.makes))]):
            bug, wrong, seconds = one.result()
            done.append((bug, wrong, seconds))
            say(f"{bug.name}: {wrong or 'caught by ' + bug.test},"
                f" {seconds:.0f} s")

    done.sort(key=lambda row: bugs.index(row[0]))
    return done


def main():
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--jobs", type=int, default=3)
    words.add_argument("name", nargs="*")
    args = words.parse_args()
    bugs = [b for b in BUGS if not args.name
            or any(n in b.name for n in args.name)]
    done = plant_all(bugs, args.jobs, lambda text: print(text, flush=True))
    print(table(done))
    return any(wrong for _, wrong, _ in done)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
