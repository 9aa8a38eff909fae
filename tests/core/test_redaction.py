"""What others read of a job names no path of the machine."""

import pytest

from headstart.core import job, redaction


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("auto", "auto"),
        ("bundled:efficientnet_lite0", "bundled:efficientnet_lite0"),
        ("run:/mnt/me/task a", "run:task a"),
        ("random:run:../me/a", "random:run:a"),
        ("keras_hub:/mnt/me/my_preset", "keras_hub:my_preset"),
        ("keras_hub:resnet_18_imagenet", "keras_hub:resnet_18_imagenet"),
        ("keras_hub:hf://org/name", "keras_hub:hf://org/name"),
        ("huggingface:org/name", "huggingface:org/name"),
    ],
)
def test_a_backbone_keeps_its_name_and_loses_its_folder(asked, told):
    assert redaction.redact_backbone(asked) == told


def test_settings_are_told_without_folders():
    asked = job.make_job(
        data="/mnt/me/cloth", costs="/mnt/me/costs.csv", strategy="finetune", recipe="backbone=run:/mnt/me/a,blocks=2"
    )
    told = [redaction.redact_setting(asked, option.name) for option in job.list_options()] + [
        redaction.redact_setting(asked, "data")
    ]
    assert "/mnt" not in str(told)
    assert redaction.redact_setting(asked, "recipe") == ("backbone=run:a", "blocks=2")
    assert redaction.redact_setting(asked, "costs") == "costs.csv"
    assert redaction.redact_setting(asked, "seed") == 0
