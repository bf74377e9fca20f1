"""Circus's own client classes, unchanged, against the endpoints on the command line: one line of output for each."""
import asyncio
import json
import sys

from circus.client import AsyncCircusClient
from circus.consumer import CircusConsumer
from circus.plugins import CircusPlugin
from tornado.ioloop import IOLoop

endpoint, pubsub, check_delay = sys.argv[1], sys.argv[2], 1.0


async def asynchronous():
    client = AsyncCircusClient(endpoint=endpoint, timeout=20.0)
    stopped = await client.send_message("stop", name="a", waiting=True)
    started = await client.send_message("start", name="a", waiting=True)
    status = await client.send_message("status", name="a")
    client.stop()
    return [stopped["status"], len(started["info"]["started"]), status["status"]]


class Plugin(CircusPlugin):
    """Asks and listens as every plugin does; ends after the first `stop` event."""

    name = "story"
    seen = []

    def handle_init(self):
        self.seen.append(self.call("list")["watchers"])
        self.cast("restart", name="a")

    def handle_recv(self, data):
        watcher, action, message = self.split_data(data)
        self.load_message(message)
        self.seen.append([watcher, action])
        if action == "stop":
            self.loop.add_callback(self.stop)


async def run_plugin():
    plugin = Plugin(endpoint, pubsub, check_delay, None)
    loop = plugin.loop = IOLoop.current()
    plugin.initialize()
    # A subscription takes a moment to arrive: what counts is that the events do.
    while ["a", "stop"] not in plugin.seen:
        plugin.handle_init()
        await asyncio.sleep(0.5)
    del loop
    return [plugin.seen[0], ["a", "stop"] in plugin.seen]


def consume():
    """The consumer is an iterator that blocks; the restarts come from the plugin's process."""
    with CircusConsumer(["watcher.a."], endpoint=pubsub) as consumer:
        topics = set()
        for topic, message in consumer:
            json.loads(message)
            topics.add(topic.decode() if isinstance(topic, bytes) else topic)
            if {"watcher.a.spawn", "watcher.a.reap"} <= topics:
                return True


what = sys.argv[3]
if what == "async":
    print(json.dumps(asyncio.run(asynchronous())))
elif what == "plugin":
    print(json.dumps(asyncio.run(run_plugin())))
else:
    print(json.dumps(consume()))
