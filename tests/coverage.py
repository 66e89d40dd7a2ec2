"""Which lines of vae.h the tests run, section by section: python3 tests/coverage.py FOLDER, after `make coverage` has
built the tests into FOLDER with gcc's --coverage and run them. A line counts as run when one test ran it, and counts at
all when one of them compiled it: not the kernel sets of other processors, nor what another option would have compiled.

tests/uncovered.txt lists the lines that no test runs, each under the reason for it, by function and text:

    # The reason, until the next one.
    vaei_function | text of the line
    vaei_function | *                   every line of it

Some of them are run on another machine. Fails where a line of the files' section that was not run is missing in that
list, where the list names what vae.h no longer has, and below 95 % of all lines; prints every other line that was not
run."""
import glob
import json
import os
import re
import subprocess
import sys

LEAST = 95.0
WHOLE = "files-implementation"         # what reads the files of strangers


def sections(lines):
    """The banners, as (first line, number, tag)."""
    found = [(1, "", "before the first")]
    for number, line in enumerate(lines, 1):
        banner = re.match(r"/\* ==== (\d+) >>(\S+)", line)
        if banner:
            found.append((number, banner.group(1), banner.group(2)))
    return found


def counts_of(folder):
    """{line: (count, {function})} over all the programs in the folder."""
    counts, functions, programs = {}, {}, 0
    for data in sorted(glob.glob(os.path.join(folder, "*.gcda"))):
        said = subprocess.run(["gcov", "--json-format", "--stdout", data], capture_output=True, check=True).stdout
        programs += 1
        for one in said.decode().splitlines():
            for file in json.loads(one)["files"]:
                if os.path.basename(file["file"]) != "vae.h":
                    continue
                names = {f["name"]: f["demangled_name"] for f in file["functions"]}
                for line in file["lines"]:
                    number = line["line_number"]
                    counts[number] = counts.get(number, 0) + line["count"]
                    name = line.get("function_name", "")
                    if name:
                        functions.setdefault(number, set()).add(names.get(name, name).split(".")[0])
    return counts, functions, programs


def read_list(path):
    """{(function, text): reason}"""
    allowed, reason, within = {}, "", False
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith("#"):
                reason = (reason + " " if within else "") + line[1:].strip()
                within = True
            elif line.strip():
                within = False
                function, text = line.split(" | ", 1)
                allowed[function.strip(), text.strip()] = reason
    return allowed


def main():
    folder = sys.argv[1]
    source = open("vae.h", encoding="utf-8").read().splitlines()
    counts, functions, programs = counts_of(folder)
    if not counts:
        sys.exit("no figures in " + folder)
    allowed, used = read_list("tests/uncovered.txt"), set()
    unlisted, table, wanting = [], [], 0
    starts = sections(source)
    for i, (first, number, tag) in enumerate(starts):
        end = starts[i + 1][0] if i + 1 < len(starts) else len(source) + 1
        lines = [n for n in range(first, end) if n in counts]
        missed = [n for n in lines if not counts[n]]
        listed = 0
        for n in missed:
            text = source[n - 1].strip()
            keys = [(f, t) for f in functions.get(n, {"?"}) for t in (text, "*") if (f, t) in allowed]
            used.update(keys)
            listed += bool(keys)
            wanting += not keys and tag == WHOLE
            if not keys:
                unlisted.append((n, "/".join(sorted(functions.get(n, {"?"}))), text))
        if lines:
            table.append((number, tag, len(lines), len(lines) - len(missed), listed))
    print("%2s %-26s %7s %7s %8s %10s" % ("", "section of vae.h", "lines", "run", "of 100", "explained"))
    total = [sum(row[k] for row in table) for k in (2, 3, 4)]
    for number, tag, lines, run, listed in table + [("", "all", *total)]:
        print("%2s %-26s %7d %7d %8.2f %10d" % (number, tag, lines, run, 100.0 * run / lines, listed))
    for number, function, text in unlisted:
        print("not run: %d %s | %s" % (number, function, text))
    texts = {line.strip() for line in source}
    gone = [key for key in sorted(allowed) if key[1] != "*" and key[1] not in texts]
    for function, text in gone:
        print("listed, but not in vae.h: %s | %s" % (function, text))
    for function, text in sorted(set(allowed) - used - set(gone)):
        print("listed, but run here: %s | %s" % (function, text))
    share = 100.0 * total[1] / total[0]
    print("%d programs; %d of %d lines run, %.2f %%; %d explained in tests/uncovered.txt, %d not"
          % (programs, total[1], total[0], share, total[2], len(unlisted)))
    return 1 if wanting or gone or share < LEAST else 0


sys.exit(main())
