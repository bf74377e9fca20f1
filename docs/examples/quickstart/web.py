"""A small web server that accepts on a socket it inherits: web.py FD."""
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'Hello from process %d\n' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Type', 'text/plain')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print('%d: %s' % (os.getpid(), format % args), flush=True)


server = HTTPServer(('127.0.0.1', 0), Hello, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[1]))
# The socket is shared and does not block, so another worker may be faster; accept waits instead of failing then.
server.socket.setblocking(True)
server.serve_forever()
