"""Runs `vigil serve` for a test script, on the model of $VIGIL_MODEL, and says when the script has to be skipped."""
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def model():
    """The real model's path; skips the test where it is not."""
    path = Path(os.environ.get("VIGIL_MODEL", ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))
    if not path.is_file():
        skip(f"no model at {path} (scripts/fetch_model.sh fetches it)")
    return str(path)


class Serving:
    """`with Serving(binary, *flags) as server`: server.url answers until the end of the block."""

    def __init__(self, binary, *flags):
        self.binary = binary
        self.process = subprocess.Popen(
            [binary, "serve", model(), "--port", "0", "--device", os.environ.get("VIGIL_TEST_DEVICE", "cpu"), *flags],
            stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stdout.readline()
        found = re.match(r"listening on (http://\S+)", line)
        if not found:
            raise RuntimeError(f"vigil serve says {line!r} and ends with {self.process.wait()}")
        self.url = found[1]
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        if code != 0:
            raise RuntimeError(f"vigil serve ended with {code}")
