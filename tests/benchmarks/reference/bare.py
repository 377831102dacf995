"""Nothing but imports: what the libraries alone keep resident. The modules are the only argument, comma separated."""

import importlib
import signal
import sys

for module in sys.argv[1].split(","):
    importlib.import_module(module)
sys.stdout.write("ready\n")
sys.stdout.flush()
signal.pause()
