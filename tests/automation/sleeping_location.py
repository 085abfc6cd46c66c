"""A code location of its own for tests of the run queue: the pipeline's assets, pools and jobs, without its work.

``model`` takes an hour, and so does ``raw_data`` of a range.
"""

import time

import dagster as dg

from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.automation.jobs import build_jobs
from mlops_assets.names import Names

NAMES = Names()
PARENTS = {
    "raw_data": (),
    "processed": ("raw_data",),
    "split": ("processed",),
    "model": ("split",),
    "metrics": ("split", "model"),
    "production_model": ("metrics",),
    "predictions": ("raw_data", "production_model"),
}
TRAINING = {"processed", "split", "model", "metrics"}
HOUR = 3_600


def stand_in(name):
    @dg.asset(
        key=NAMES.asset_key(name),
        deps=[NAMES.asset_key(parent) for parent in PARENTS[name]],
        partitions_def=daily_partitions("2025-01-01"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=NAMES.of("training") if name in TRAINING else None,
    )
    def asset(context):
        if name == "model" or (name == "raw_data" and len(context.partition_keys) > 1):
            time.sleep(HOUR)

    return asset


defs = dg.Definitions(
    assets=[stand_in(name) for name in PARENTS], jobs=build_jobs(NAMES), executor=dg.in_process_executor
)
