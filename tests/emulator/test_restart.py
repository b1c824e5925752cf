"""What survives a kill -9, and what it costs: with --data, nothing is lost or billed twice."""

from pathlib import Path

import pytest

from batchq.emulator import running
from tests.emulator.support import HOUR, desk, lines, wait_until


def test_a_killed_emulator_goes_on_where_it_was(tmp_path: Path) -> None:
    with running(data=tmp_path, run_seconds=HOUR) as emulator:
        api = desk(emulator)
        batch = api.submit(lines(100))
        api.reach(batch, "in_progress")
        for share in range(1, 4):
            emulator.advance(HOUR / 4)
            wait_until(
                lambda: len(emulator.ledger()["lines"]) >= 25 * share,  # noqa: B023
                description=f"{share} quarters have run",
            )
            before = emulator.ledger()
            emulator.kill()
            emulator.start()
            after = emulator.ledger()
            assert after["lines"].items() >= before["lines"].items()
        emulator.advance(HOUR)
        done = api.finish(batch)
        assert done.status == "completed"
        assert sorted(api.ids(done.output_file_id)) == sorted(f"line-{n}" for n in range(100))
        assert api.billed() == {f"line-{number}": 1 for number in range(100)}
        assert done.usage is not None
        total = emulator.ledger()["totals"]["batch"]
        assert total["input_tokens"] == done.usage.input_tokens


def test_a_kill_in_the_middle_of_the_run_bills_nothing_twice(tmp_path: Path) -> None:
    """Killed at moments nobody chose, while slices of lines are being written."""
    with running(data=tmp_path) as emulator:
        api = desk(emulator)
        batch = api.submit(lines(6000))
        for least in (500, 2500, 4500):
            wait_until(
                lambda: emulator.ledger(summary=True)["lines_known"] >= least,  # noqa: B023
                description=f"{least} lines have run",
            )
            emulator.kill()
            emulator.start()
        done = api.finish(batch)
        ids = api.ids(done.output_file_id)
        assert len(ids) == len(set(ids)) == 6000
        ledger = emulator.ledger(summary=True)
        assert ledger["duplicates"] == {}
        assert ledger["totals"]["batch"]["ok"] == 6000


def test_torn_rows_are_cut_off(tmp_path: Path) -> None:
    """Rows written but not yet billed when the process died are not handed out twice."""
    with running(data=tmp_path, run_seconds=HOUR) as emulator:
        api = desk(emulator)
        batch = api.submit(lines(10))
        api.reach(batch, "in_progress")
        emulator.advance(HOUR / 2)
        wait_until(lambda: len(emulator.ledger()["lines"]) >= 5, description="half has run")
        emulator.kill()
        part = tmp_path / "files" / f"{batch.id}.output"
        with part.open("ab") as rows:
            rows.write(b'{"id": "batch_req_torn", "custom_id": "line-5", "resp')
        emulator.start()
        emulator.advance(HOUR)
        done = api.finish(batch)
        assert sorted(api.ids(done.output_file_id)) == sorted(f"line-{n}" for n in range(10))


def test_files_faults_and_the_clock_survive(tmp_path: Path) -> None:
    with running(data=tmp_path) as emulator:
        api = desk(emulator)
        file = api.upload(lines(3))
        done = api.run(lines(2))
        emulator.fault("rows_500", times=3)
        emulator.advance(1000)
        listed = api.client.batches.retrieve(done.id)
        emulator.kill()
        emulator.start()
        assert api.client.files.retrieve(file.id) == file
        assert api.client.batches.retrieve(done.id) == listed
        assert len(api.ids(done.output_file_id)) == 2
        assert emulator.faults()["rows_500"]["times_left"] == 3
        assert api.run(lines(1)).created_at >= done.created_at + 1000


def test_a_directory_has_one_emulator(tmp_path: Path) -> None:
    with (
        running(data=tmp_path),
        pytest.raises(RuntimeError, match="did not start"),
        running(data=tmp_path),
    ):
        pass


def test_without_a_directory_nothing_is_left_behind() -> None:
    with running() as emulator:
        held = [path.resolve() for path in Path(f"/proc/{emulator.pid}/fd").iterdir()]
        directory = next(path.parent for path in held if path.name == "lock")
        desk(emulator).upload(lines(1))
        assert directory.exists()
    assert not directory.exists()
