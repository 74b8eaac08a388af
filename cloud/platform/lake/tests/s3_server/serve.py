"""Serves S3 on a free port, makes the bucket `fleet`, prints its address, and ends with its standard input."""

import sys, threading
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
import logging
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
import urllib.request
address = f"127.0.0.1:{server.server_port}"
urllib.request.urlopen(urllib.request.Request(f"http://{address}/fleet", method="PUT"))
print(address, flush=True)
sys.stdin.read()
