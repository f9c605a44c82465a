#!/usr/bin/env python3
"""A sample app without any login of its own. It prints what a proxy passes on to it.

  python3 echo.py [PORT]

/            the headers that arrived, as JSON; for a browser, a page
/events      an event stream with one event a second
/ws          a WebSocket that sends back each message
/upload      the number of bytes that arrived
/download    as many bytes as the query says: /download?bytes=1000
/slow        an answer after as many seconds as the query says: /slow?seconds=2
"""

import base64
import hashlib
import http.server
import json
import socketserver
import struct
import sys
import time
import urllib.parse


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, kind="application/json", headers=()):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        """The pieces of the request's body, with a length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def handle_request(self):
        url = urllib.parse.urlsplit(self.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        page = {"/events": self.events, "/ws": self.websocket, "/download": self.download, "/slow": self.slow}
        if url.path in page:
            return page[url.path](query)
        size = sum(len(piece) for piece in self.body())
        if url.path == "/upload":
            return self.answer(json.dumps({"bytes": size}))
        if "text/html" in self.headers.get("Accept", ""):
            name = self.headers.get("Remote-User", "")
            return self.answer(f"<!doctype html><title>App</title><h1>Hello {name}</h1>", "text/html")
        seen = {"method": self.command, "path": self.path, "bytes": size, "headers": self.headers.items()}
        cookies = [("Set-Cookie", "app=1; Path=/")] if "cookie" in query else []
        self.answer(json.dumps(seen), headers=cookies)

    def slow(self, query):
        time.sleep(float(query.get("seconds", 1)))
        self.answer("{}")

    def download(self, query):
        left = int(query.get("bytes", 0))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(left))
        self.end_headers()
        piece = bytes(1 << 16)
        while left and self.command != "HEAD":
            self.wfile.write(piece[: min(left, len(piece))])
            left -= min(left, len(piece))

    def events(self, _):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(1 << 30):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(1)

    def websocket(self, _):
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        while head := self.rfile.read(2):
            size = head[1] & 127
            if size == 126:
                size = struct.unpack(">H", self.rfile.read(2))[0]
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(size)))
            if head[0] & 15 == 8:
                return
            length = bytes([size]) if size < 126 else bytes([126]) + struct.pack(">H", size)
            self.wfile.write(bytes([head[0]]) + length + data)
            self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_request


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        # Browsers and proxies close connections at any time.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    server = Server(("127.0.0.1", port), App)
    print(f"The app listens on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
