"""A web server that can be told to stop listening while its process lives on.

usage: web.py PORT
"""
import http.server
import sys
import threading


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = {"/": 200, "/moved": 302, "/go-deaf": 200}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"page\n")
        if self.path == "/go-deaf":
            self.server.socket.close()
            threading.Event().wait()

    def log_message(self, *arguments):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
