"""Which licences count as permissive."""

import pytest

from headstart.backbones.licences import is_permissive


@pytest.mark.parametrize(
    "licence",
    [
        *("MIT", "mit", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "MIT OR GPL-3.0-only", "gpl-3.0 or mit"),
        *("MIT AND CC-BY-4.0", "(MIT OR Apache-2.0)", "Apache-2.0 WITH LLVM-exception", " MIT "),
    ],
)
def test_permissive(licence):
    assert is_permissive(licence)


@pytest.mark.parametrize(
    "licence",
    [
        *(
            "",
            "other",
            "GPL-3.0-only",
            "AGPL-3.0",
            "CC-BY-NC-4.0",
            "CC-BY-SA-4.0",
            "CC-BY-ND-4.0",
            "see the model card",
        ),
        *("MIT AND CC-BY-NC-4.0", "MIT-like", "not MIT", "MIT WITH terms of our own", "openrail", "OR", "()"),
        *("(MIT OR GPL-3.0) AND CC-BY-NC-4.0", "MIT, but not for sale", "CC-BY-NC-4.0 OR"),
    ],
)
def test_not_permissive(licence):
    assert not is_permissive(licence)
