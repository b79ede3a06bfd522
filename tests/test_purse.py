"""One budget of several processes: never over it, whoever dies."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from factory.meter import Meter, Spent
from factory.purse import Purse, spent_in


def meter(folder: Path, owner: str, tokens: int) -> Meter:
    return Meter(budget_tokens=tokens, purse=Purse(folder, owner))


def test_what_another_spent_or_promised_is_not_there(tmp_path: Path) -> None:
    one, two = meter(tmp_path, "1", 100), meter(tmp_path, "2", 100)
    worst = Spent(10, 50)
    assert one.affords(worst)
    one.promise(worst)
    assert not two.affords(worst) and two.waits_for_others()
    one.settle(worst, Spent(10, 20))
    assert two.affords(worst) and not two.waits_for_others()
    two.promise(worst)
    assert not one.affords(Spent(1, 10)) and one.affords(Spent(1, 9))
    two.settle(worst, Spent(10, 5))
    assert one.spent()[:2] == two.spent()[:2] == (20, 25)


def test_what_a_process_that_ended_spent_stays_spent(tmp_path: Path) -> None:
    for owner in ("1", "2", "2"):
        ended = meter(tmp_path, owner, 100)
        ended.affords(Spent(10, 10))
        ended.promise(Spent(10, 10))
        ended.settle(Spent(10, 10), Spent(10, 5))
        assert ended.purse is not None
        ended.purse.close()
    assert spent_in(tmp_path)[:2] == (30, 15)
    assert meter(tmp_path, "3", 100).affords(Spent(5, 50)) and not meter(tmp_path, "4", 100).affords(Spent(6, 50))


def test_a_killed_process_keeps_what_it_spent_and_frees_what_it_promised(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from factory.meter import Meter, Spent
        from factory.purse import Purse
        mine = Meter(budget_tokens=100, purse=Purse(Path(sys.argv[1]), "1"))
        for used in (Spent(10, 10), None):
            mine.affords(Spent(10, 30))
            mine.promise(Spent(10, 30))
            if used:
                mine.settle(Spent(10, 30), used)
        print(mine.purse.others(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], check=False)
    other = meter(tmp_path, "2", 100)
    assert not other.waits_for_others()
    assert other.affords(Spent(40, 40)) and not other.affords(Spent(40, 41))
    again = meter(tmp_path, "1", 100)
    assert again.spent()[:2] == (10, 10)
