"""A stream class on the base of the real circus package."""

from circus.stream import FileStream


class Shouting(FileStream):
    def write_data(self, data):
        super().write_data(dict(data, data=data["data"].upper()))
