from headstart.selection.run_time import estimate_run_seconds

LITE0 = "bundled:efficientnet_lite0"


def test_the_estimate_follows_the_request(context):
    def seconds(**settings):
        return estimate_run_seconds(context(**settings).job, 100, 120, [LITE0], 10.0)

    assert seconds() < 20
    assert seconds(strategy="auto", budget="10m") == 600
    few, many = (seconds(strategy="finetune", recipe=f"epochs={n}") for n in (2, 20))
    assert seconds() < few < many
