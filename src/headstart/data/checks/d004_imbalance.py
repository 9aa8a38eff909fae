"""Classes of very different size."""

from __future__ import annotations

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, class_counts, learning_rows

# Largest class to smallest. Accuracy of always answering the largest of two classes is 0.75 at 3 and 0.91 at 10.
TIP_RATIO, ISSUE_RATIO = 3.0, 10.0


def _look(check: Check, given: AuditInput) -> Outcome:
    data = given.data
    per_class = class_counts(data, learning_rows(data))
    named = {name: int(n) for name, n in zip(data.class_names, per_class, strict=True) if n}
    if len(named) < 2:
        return check.not_applicable("fewer than two classes have pictures")
    most, least = max(named, key=lambda c: named[c]), min(named, key=lambda c: named[c])
    ratio = named[most] / named[least]
    share = named[most] / sum(named.values())
    sizes = f"largest class `{most}` {named[most]:,}, smallest `{least}` {named[least]:,}, ratio {ratio:.1f}"
    if ratio < TIP_RATIO:
        return check.passed(sizes)
    sentence = f"{sizes}; always answering `{most}` would already be right in {share:.0%}"
    fix = "look at balanced accuracy; `--class-weight balanced` gives rare classes more weight"
    return (check.issue if ratio >= ISSUE_RATIO else check.tip)(sentence, fix)


PLUGIN = Check("D004", "imbalance", "files", _look)
