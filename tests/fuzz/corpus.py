"""The corpus of a fuzz target, between its file in the repository and a folder for libFuzzer.

    corpus.py unpack TARGET FOLDER    a file for each line of corpus/TARGET.hex
    corpus.py pack TARGET FOLDER      corpus/TARGET.hex from the files; lines under a comment stay
    corpus.py add TARGET FILE WHAT    one more line, under a comment that says what it once broke
"""

import hashlib
import pathlib
import sys

HERE = pathlib.Path(__file__).parent / "corpus"


def lines(target):
    """Pairs of the comment above, if any, and the bytes."""
    path = HERE / f"{target}.hex"
    comment = None
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("#"):
            comment = line
        else:
            yield comment, bytes.fromhex(line)
            comment = None


def write(target, entries):
    HERE.mkdir(exist_ok=True)
    text = "".join((f"{comment}\n" if comment else "") + data.hex() + "\n" for comment, data in entries)
    (HERE / f"{target}.hex").write_text(text)


def main(action, target, place, what=None):
    place = pathlib.Path(place)
    kept = list(lines(target))
    if action == "unpack":
        place.mkdir(parents=True, exist_ok=True)
        for _, data in kept:
            (place / hashlib.sha1(data).hexdigest()).write_bytes(data)
    elif action == "pack":
        findings = [entry for entry in kept if entry[0]]
        known = {data for _, data in findings}
        files = sorted({path.read_bytes() for path in place.iterdir()} - known, key=lambda data: (len(data), data))
        write(target, findings + [(None, data) for data in files])
    elif action == "add" and what:
        write(target, [(f"# {what}", place.read_bytes())] + kept)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
