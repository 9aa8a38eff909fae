"""Services that all tests here share: an open one with two models, and one with a key and small limits."""

import pytest

from headstart.testing.tiny_model import write_tiny_model
from serving_bench import KEY, Service


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The tiny model's folder; nobody writes to it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def service(tiny):
    """A service with two models, `tiny` and `other`, and no key."""
    with Service(f"tiny={tiny}", f"other={tiny}", words=["--log", "json"]) as started:
        yield started
        assert started.stop() == 0, started.lines[-5:]


@pytest.fixture(scope="session")
def strict(tiny, tmp_path_factory):
    """A service with a key and small limits."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{KEY}\nanother-key-that-is-long-enough\n")
    small = ["--max-upload", "300kB", "--max-megapixels", "0.5", "--max-files", "20", "--timeout", "5s"]
    with Service(f"tiny={tiny}", words=["--api-key-file", file, *small], key=KEY) as started:
        yield started
        assert started.stop() == 0, started.lines[-5:]
