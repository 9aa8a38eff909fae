"""What a training job costs: a small table of prices, for an estimate that says how old it is."""

from __future__ import annotations

# On-demand prices of SageMaker training, us-east-1, USD an hour. Nobody is asked for them: `usd_per_hour` goes first.
DATE = "2025"
USD_PER_HOUR = {
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
    "ml.g4dn.xlarge": 0.736,
    "ml.g5.xlarge": 1.408,
    "ml.g5.2xlarge": 1.515,
}
START_S = 240.0  # a machine, the image and the requirements, before the job itself begins


def find_price(instance: str, named: float | None) -> tuple[float | None, str]:
    """USD an hour, None where it is not known; and the sentence that says where it comes from."""
    if named is not None:
        return named, f"{instance} at {named:g} USD an hour, as named"
    if instance in USD_PER_HOUR:
        usd = USD_PER_HOUR[instance]
        return (
            usd,
            f"{instance} at {usd:g} USD an hour, an on-demand price of us-east-1 noted in {DATE} and not checked since",
        )
    return None, f"the price of {instance} is not known here"
