from headstart.cli.commands.fit import format_plan

ESTIMATE = {"seconds": 3.0, "bytes": 0, "assumptions": ["2 cores"]}
PLAN = {
    "data": "photos",
    "pictures": 90,
    "candidates": ["bundled:efficientnet_lite0"],
    "seconds": 30.0,
    "unbounded": "",
    "estimate": ESTIMATE,
}


def test_a_plan_tells_the_time_and_what_it_rests_on():
    text = format_plan(PLAN)
    assert "about 30 s for the whole run" in text
    assert "at most 3.0 s of that for embedding" in text
    assert text.endswith("  2 cores")
