"""Speaks ZMQ and the real circus.client for the tests: one JSON object a line in, one a line out.

Requests: {"op": "subscribe", "endpoint"} | {"op": "events", "for": seconds, "count": n}
        | {"op": "exchange", "endpoint", "socket", "frames": [hex], "wait": seconds}
        | {"op": "call", "endpoint", "command", "properties", "timeout"} | {"op": "round_trips", "endpoint", "count"}
Events arrive all the time and are kept until "events" asks for them; it waits at most `for` seconds, less when `count`
events are there.
"""
import json
import sys
import time
import uuid

import zmq
from circus.client import CircusClient
from circus.exc import CallError

context = zmq.Context()
subscriptions = zmq.Poller()
kept = []


def take_events(timeout):
    """Moves what has arrived within `timeout` seconds into `kept`."""
    for socket, _ in subscriptions.poll(max(0, int(timeout * 1000))):
        frames = socket.recv_multipart()
        kept.append({'at': time.time(), 'frames': [frame.hex() for frame in frames]})


def subscribe(request):
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.rcvhwm = 0
    # A subscriber that waits long between two attempts would miss the first events of a daemon that starts.
    socket.reconnect_ivl = 1
    socket.reconnect_ivl_max = 20
    socket.setsockopt(zmq.SUBSCRIBE, request.get('topic', '').encode())
    socket.connect(request['endpoint'])
    subscriptions.register(socket, zmq.POLLIN)
    return {}


def events(request):
    until = time.monotonic() + request['for']
    wanted = request.get('count')
    while True:
        left = until - time.monotonic()
        if left <= 0 or (wanted is not None and len(kept) >= wanted):
            break
        if subscriptions.sockets:
            take_events(left)
        else:
            zmq.select([], [], [], left)
    while subscriptions.sockets and subscriptions.poll(0):
        take_events(0)
    answer = {'events': list(kept)}
    kept.clear()
    return answer


def exchange(request):
    socket = context.socket(getattr(zmq, request['socket']))
    socket.linger = 0
    if request['socket'] == 'DEALER':
        socket.setsockopt(zmq.IDENTITY, uuid.uuid4().hex.encode())
    socket.connect(request['endpoint'])
    started = time.monotonic()
    socket.send_multipart([bytes.fromhex(frame) for frame in request['frames']])
    replies = []
    until = started + request['wait']
    while True:
        left = until - time.monotonic()
        if left <= 0 or not socket.poll(int(left * 1000) + 1):
            break
        frames = socket.recv_multipart()
        replies.append({'dt': time.monotonic() - started, 'frames': [frame.hex() for frame in frames]})
        # A second answer to one request would come at once.
        until = time.monotonic() + 0.01
    socket.close()
    return {'replies': replies}


def call(request):
    client = CircusClient(endpoint=request['endpoint'], timeout=request.get('timeout', 5))
    try:
        message = {'command': request['command'], 'properties': request.get('properties', {})}
        return {'reply': client.call(message)}
    except CallError as error:
        return {'call_error': str(error)}
    finally:
        client.stop()


def round_trips(request):
    client = CircusClient(endpoint=request['endpoint'], timeout=10)
    times = []
    try:
        for _ in range(request['count']):
            started = time.perf_counter()
            client.call({'command': 'numwatchers', 'properties': {}})
            times.append(time.perf_counter() - started)
    finally:
        client.stop()
    return {'seconds': times}


OPERATIONS = {function.__name__: function for function in (subscribe, events, exchange, call, round_trips)}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = OPERATIONS[request['op']](request)
        except Exception as error:
            answer = {'error': '%s: %s' % (type(error).__name__, error)}
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()


main()
