"""A bare ZMQ ROUTER that sends everything back: ENDPOINT."""
import sys

import zmq

socket = zmq.Context().socket(zmq.ROUTER)
socket.bind(sys.argv[1])
while True:
    socket.send_multipart(socket.recv_multipart())
