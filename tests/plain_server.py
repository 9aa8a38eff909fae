"""A folder served over HTTP on this machine, for tests of mirrors."""

import contextlib
import functools
import http.server
import threading


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given):
        pass


@contextlib.contextmanager
def serving(folder):
    """Serve a folder while the block runs; gives the address, and the lines of the requests as they come."""
    requests = []

    class Handler(_Quiet):
        def do_GET(self):
            requests.append(f"GET {self.path}")
            super().do_GET()

        def do_HEAD(self):
            requests.append(f"HEAD {self.path}")
            super().do_HEAD()

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()
