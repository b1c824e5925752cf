"""A batch as the API shows it, faults included."""

from batchq.emulator.prices import snapshot
from batchq.emulator.records import Batch
from batchq.emulator.shapes import JsonObject


def vanished(batch: Batch) -> bool:
    return "batch_404" in batch.faults and batch.status != "validating"


def batch_view(batch: Batch, now: float) -> JsonObject:
    output_file_id, error_file_id = _file_ids(batch, now)
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": None if batch.model is None else snapshot(batch.model),
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": _status(batch),
        "output_file_id": output_file_id,
        "error_file_id": error_file_id,
        "created_at": int(batch.created_at),
        "in_progress_at": _moment(batch.in_progress_at),
        "expires_at": int(batch.expires_at),
        "finalizing_at": _moment(batch.finalizing_at),
        "completed_at": _moment(batch.completed_at),
        "failed_at": _moment(batch.failed_at),
        "expired_at": _moment(batch.expired_at),
        "cancelling_at": _moment(batch.cancelling_at),
        "cancelled_at": _moment(batch.cancelled_at),
        "request_counts": _counts(batch),
        "usage": _usage(batch),
        "metadata": batch.metadata,
    }


def _moment(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _status(batch: Batch) -> str:
    odd = batch.faults.get("unknown_status")
    if odd is not None and batch.polls <= odd["polls"]:
        return str(odd["status"])
    if "uppercase_status" in batch.faults:
        return batch.status.upper().replace("LL", "L")
    return batch.status


def _counts(batch: Batch) -> JsonObject:
    if "null_counts" in batch.faults:
        return {"total": None, "completed": None, "failed": None}
    return {"total": batch.total, "completed": batch.completed, "failed": batch.failed}


def _usage(batch: Batch) -> JsonObject:
    return {
        "input_tokens": batch.input_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.input_tokens + batch.output_tokens,
    }


def _file_ids(batch: Batch, now: float) -> tuple[str | None, str | None]:
    late = batch.faults.get("completed_before_files")
    if "missing_output_file_id" in batch.faults and batch.status == "completed":
        return None, None
    if late is not None and now < (batch.completed_at or 0) + late["seconds"]:
        return None, None
    otherwise = "" if "empty_string_file_ids" in batch.faults else None
    return batch.output_file_id or otherwise, batch.error_file_id or otherwise


def shown_faults(batch: Batch, now: float) -> list[str]:
    """The faults that show in this view, and nowhere else. Whoever answers counts them."""
    shown: list[str] = [
        name for name in ("uppercase_status", "null_counts") if name in batch.faults
    ]
    if vanished(batch):
        return ["batch_404"]
    odd = batch.faults.get("unknown_status")
    if odd is not None and batch.polls <= odd["polls"]:
        shown.append("unknown_status")
    if batch.status != "completed":
        return shown
    late = batch.faults.get("completed_before_files")
    if late is not None and now < (batch.completed_at or 0) + late["seconds"]:
        shown.append("completed_before_files")
    ids = ("missing_output_file_id", "empty_string_file_ids")
    return shown + [name for name in ids if name in batch.faults]
