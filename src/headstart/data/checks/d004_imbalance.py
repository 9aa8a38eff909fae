"""Classes of very different size."""

from __future__ import annotations

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count_per_class, find_learning_rows

# Largest class to smallest. Accuracy of always answering the largest of two classes is 0.75 at 3 and 0.91 at 10.
TIP_RATIO, ISSUE_RATIO = 3.0, 10.0


def _check_imbalance(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    per_class = count_per_class(data, find_learning_rows(data))
    class_sizes = {name: int(n) for name, n in zip(data.class_names, per_class, strict=True) if n}
    if len(class_sizes) < 2:
        return check.make_not_applicable("fewer than two classes have pictures")
    most, least = max(class_sizes, key=lambda c: class_sizes[c]), min(class_sizes, key=lambda c: class_sizes[c])
    ratio = class_sizes[most] / class_sizes[least]
    share = class_sizes[most] / sum(class_sizes.values())
    sizes = (
        f"largest class `{most}` {class_sizes[most]:,}, smallest `{least}` {class_sizes[least]:,}, ratio {ratio:.1f}"
    )
    if ratio < TIP_RATIO:
        return check.make_passed(sizes)
    sentence = f"{sizes}; always answering `{most}` would already be right in {share:.0%}"
    fix = "look at balanced accuracy; `--class-weight balanced` gives rare classes more weight"
    return (check.make_issue if ratio >= ISSUE_RATIO else check.make_tip)(sentence, fix)


PLUGIN = Check("D004", "imbalance", "files", _check_imbalance, of_classes=True)
