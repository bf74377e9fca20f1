"""Stream classes in the style of Circus's documentation, and some that misbehave."""

import os
import time


class Redactor:
    """Writes everything to a file, but for one word."""

    def __init__(self, filename, word, **_):
        self.file = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.word = word.encode()
        # Whoever wrote before may have been killed within a line.
        size = os.fstat(self.file).st_size
        if size and os.pread(self.file, 1, size - 1) != b"\n":
            os.write(self.file, b"\n")

    def __call__(self, data):
        text = data["data"].replace(self.word, b"***")
        while text:
            text = text[os.write(self.file, text):]

    def close(self):
        os.close(self.file)


class Patient(Redactor):
    """Does nothing before there is a file."""

    def __init__(self, until, **settings):
        super().__init__(**settings)
        self.until = until

    def __call__(self, data):
        while not os.path.exists(self.until):
            time.sleep(0.01)
        super().__call__(data)


class Slow(Redactor):
    """Is nearly always in a call, before the write or after it."""

    def __call__(self, data):
        time.sleep(0.004)
        super().__call__(data)
        time.sleep(0.004)


class Raiser(Redactor):
    def __call__(self, data):
        super().__call__(data)
        raise ValueError("no such luck")
