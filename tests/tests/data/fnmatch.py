"""Answers of Python's own fnmatch for 200,000 seeded random cases, one bit each.

    python3.11 fnmatch.py > fnmatch.bits

The cases are not stored: `all/props/fnmatch.rs` makes the same ones with the same generator. They are
hostile: brackets, hyphens, negations and reversed ranges all over, and texts that were made to fit. Bit n of the
file, counted from the lowest bit of the first byte, is 1 if case n matches.
"""

import fnmatch
import sys
import warnings

# The rule goes through regular expressions, which warn of sets that may mean something else one day.
warnings.simplefilter("ignore", FutureWarning)

SEED = 0x5EED
CASES = 200_000
MASK = (1 << 64) - 1

CHARACTERS = "abcxyzABZ019_.abcz--!!??**[[]]^{},\\|&~$()+# \n\r\t/:é\u0436\u4e2d\U0001f600\x00\x7f\u2028"
IN_BRACKETS = "abcz-!^]\\[&|~é-"


class Generator:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, limit):
        return self.next() % limit

    def pick(self, characters):
        return characters[self.below(len(characters))]


def bracket(generator):
    piece = "[" + ["", "", "!", "^", "]"][generator.below(5)]
    if generator.below(10) == 0:
        piece += "b-a!" + ["", "-"][generator.below(2)]
    for _ in range(1 + generator.below(7)):
        piece += generator.pick(IN_BRACKETS)
    return piece + ["]", "]", "]", ""][generator.below(4)]


def pattern(generator):
    pieces = ""
    for _ in range(generator.below(9)):
        pieces += bracket(generator) if generator.below(5) < 2 else generator.pick(CHARACTERS)
    return pieces


def fitting_text(generator, pattern):
    """A text with a fair chance to match: brackets give one of their own characters, stars a few of any."""
    text, place = [], 0
    while place < len(pattern):
        character = pattern[place]
        closing = pattern.find("]", place + 2)
        if character == "[" and closing > 0 and generator.below(10) > 0:
            text.append(generator.pick(pattern[place + 1 : closing] + "abm^-é"))
            place = closing
        elif character == "*":
            for _ in range(generator.below(4)):
                text.append(generator.pick(CHARACTERS))
        elif character == "?":
            text.append(generator.pick(CHARACTERS))
        else:
            text.append(character)
        place += 1
    if text and generator.below(7) == 0:
        del text[generator.below(len(text))]
    return "".join(text)


def main():
    generator = Generator(SEED)
    bits = bytearray((CASES + 7) // 8)
    for case in range(CASES):
        shell_pattern = pattern(generator)
        text = fitting_text(generator, shell_pattern)
        if fnmatch.fnmatchcase(text, shell_pattern):
            bits[case // 8] |= 1 << case % 8
    sys.stdout.buffer.write(bits)


main()
