"""Generates cases for fnmatch from Python's own rule.

Each line is a pattern, a text and 1 or 0, between tabs, with \\\\, \\t, \\n and \\r escaped. The cases are
hostile: brackets, hyphens, negations and reversed ranges all over, and texts that were made to fit.

    python3.11 fnmatch.py 4000 > fnmatch.tsv        # the committed cases
    python3.11 fnmatch.py 200000 > /tmp/many.tsv    # many more, for a run by hand:
    CALLBOX_FNMATCH_CASES=/tmp/many.tsv cargo test -p callbox-core --test fnmatch
"""

import fnmatch
import random
import sys
import warnings

# The rule goes through regular expressions, which warn of sets that may mean something else one day.
warnings.simplefilter("ignore", FutureWarning)

PLAIN = list("abcxyzABZ019_.")
SPECIAL = list("*?[]!^-{},\\|&~$()+#") + ["[", "]", "-", "!", "*", "?"]
OTHER = list(" \n\r\t/:é\u0436\u4e2d\U0001f600\x00\x7f\u2028")


def character(rng):
    return rng.choice(rng.choices([PLAIN, SPECIAL, OTHER], [5, 5, 1])[0])


def bracket(rng):
    body = "".join(rng.choice("abcz-!^]\\[&|~é-") for _ in range(rng.randint(1, 7)))
    if rng.random() < 0.1:
        body = "b-a!" + rng.choice(["", "-"]) + body
    return "[" + rng.choice(["", "", "!", "^", "]"]) + body + rng.choice(["]", "]", "]", ""])


def pattern(rng):
    piece = lambda: bracket(rng) if rng.random() < 0.4 else character(rng)
    return "".join(piece() for _ in range(rng.randint(0, 8)))


def fitting_text(rng, pattern):
    """A text with a fair chance to match: brackets give one of their own characters, stars a few of any."""
    text, place = [], 0
    while place < len(pattern):
        c = pattern[place]
        closing = pattern.find("]", place + 2)
        if c == "[" and closing > 0 and rng.random() < 0.9:
            text.append(rng.choice(pattern[place + 1 : closing] + "abm^-é"))
            place = closing
        elif c == "*":
            text.extend(character(rng) for _ in range(rng.randint(0, 3)))
        elif c == "?":
            text.append(character(rng))
        else:
            text.append(c)
        place += 1
    if text and rng.random() < 0.15:
        del text[rng.randrange(len(text))]
    return "".join(text)


def escaped(text):
    for plain, escape in [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")]:
        text = text.replace(plain, escape)
    return text


def main():
    count = int(sys.argv[1])
    rng = random.Random(20_251_204)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for _ in range(count):
        p = pattern(rng)
        t = fitting_text(rng, p) if rng.random() < 0.8 else "".join(character(rng) for _ in range(rng.randint(0, 6)))
        print(escaped(p), escaped(t), int(fnmatch.fnmatchcase(t, p)), sep="\t")


main()
