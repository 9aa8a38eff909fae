from headstart.cli.commands.fit import plan_text

ESTIMATE = {"seconds": 3.0, "bytes": 0, "assumptions": ["2 cores"]}
PLAN = {"data": "photos", "pictures": 90, "candidates": ["bundled:efficientnet_lite0"], "estimate": ESTIMATE}


def test_a_plan_tells_what_to_expect_and_what_that_rests_on():
    forecast = {"name": "balanced_accuracy", "value": 0.81, "low": 0.5, "high": 0.97, "rests_on": ["no earlier run"]}
    text = plan_text({**PLAN, "forecast": forecast, "time": {"value_s": 30.0, "low_s": 10.0, "high_s": 90.0}})
    assert "expected balanced accuracy 0.810 [0.500, 0.970]" in text
    assert "expected time 30 s [10 s, 90 s]" in text
    assert text.endswith("  no earlier run")


def test_of_one_class_nothing_is_expected():
    assert "expected" not in plan_text({**PLAN, "forecast": None, "time": None})
