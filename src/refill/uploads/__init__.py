"""Files of top-ups: taken in whole, worked off part by part, told row by row; a kill in between changes nothing."""

from refill.uploads.book import (
    PART_ROWS,
    Done,
    NotReady,
    Part,
    Progress,
    RefusedRow,
    Result,
    TooManyRows,
    forget,
    new_upload_id,
    part,
    progress,
    take,
)
from refill.uploads.work import LANES, Worker, refused_row

__all__ = [
    "LANES",
    "PART_ROWS",
    "Done",
    "NotReady",
    "Part",
    "Progress",
    "RefusedRow",
    "Result",
    "TooManyRows",
    "Worker",
    "forget",
    "new_upload_id",
    "part",
    "progress",
    "refused_row",
    "take",
]
