"""What an evaluation says in words."""

from __future__ import annotations

import pytest

from easyzloc_mm.model.accuracy import EvaluationResult, HeldOut


def result(rmse_nm: float | None, limit_nm: float | None) -> EvaluationResult:
    return EvaluationResult(
        rmse_z_nm=rmse_nm, robust_z_nm=rmse_nm, limit_z_nm=limit_nm, coverage_68=None, coverage_95=None, flagged=0.1,
        mistakes_flagged=None, good_flagged=None, rmse_with_flagged_z_nm=None, rmse_offset_removed_z_nm=None,
        bead_rmse_z_nm=None, bead_rmse_offset_removed_z_nm=None, beads=9, held_out=HeldOut.BY_BEAD, bins=(),
        by_photons=(), by_field=(),
    )  # fmt: skip


def test_a_limit_above_the_error_is_not_given_without_a_sentence() -> None:
    above = result(30.0, 44.0)
    assert above.remark is not None
    assert "information limit (44 nm) lies above the error (30 nm)" in above.remark
    assert above.remark in above.summary


@pytest.mark.parametrize(("rmse_nm", "limit_nm"), [(44.0, 30.0), (None, 30.0), (30.0, None)])
def test_where_there_is_nothing_to_remark_nothing_is(rmse_nm: float | None, limit_nm: float | None) -> None:
    told = result(rmse_nm, limit_nm)
    assert told.remark is None
    assert ("not defined" in told.summary) == (limit_nm is None)
