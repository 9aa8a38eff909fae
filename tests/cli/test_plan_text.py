from headstart.cli.commands.fit import format_plan

ESTIMATE = {"seconds": 3.0, "bytes": 0, "assumptions": ["2 cores"]}
PLAN = {
    "data": "photos",
    "pictures": 90,
    "new_domain": None,
    "candidates": ["bundled:efficientnet_lite0"],
    "seconds": 30.0,
    "unbounded": "",
    "estimate": ESTIMATE,
}


def test_a_plan_tells_the_time_and_what_it_rests_on():
    text = format_plan(PLAN)
    assert "about 30 s for the whole run" in text
    assert "new domain" not in text
    assert "at most 3.0 s of that for embedding" in text
    assert text.endswith("  2 cores")


def test_a_plan_counts_the_pictures_of_the_new_domain():
    text = format_plan(PLAN | {"new_domain": {"pictures": 1380, "labelled": 20}})
    assert text.startswith(
        "90 pictures in photos\n1,380 pictures of the new domain: 20 with a label, 1,360 without\ncandidates\n"
    )
