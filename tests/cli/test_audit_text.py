"""The text of `headstart audit`: a finding is told once, with what to do."""

from headstart.cli.commands.audit import PLUGIN


def test_a_finding_is_told_once_with_its_fix():
    finding = {"severity": "warning", "sentence": "2 exact copies", "fix": "remove one of each"}
    checks = [
        {"code": "D101", "status": "issue", "name": "exact copies", "why": "2 exact copies", "findings": [finding]},
        {"code": "D005", "status": "passed", "name": "tiny", "why": "no side under 32 px", "findings": []},
    ]
    text = PLUGIN.format_result({"pictures": 9, "excused": [], "outcomes": checks})
    assert text.splitlines() == [
        "9 pictures, 0 files skipped",
        "D101 issue: exact copies",
        "  warning: 2 exact copies; remove one of each",
        "D005 passed: tiny; no side under 32 px",
    ]
