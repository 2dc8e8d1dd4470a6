"""Tests of `easyzloc_mm.passport`."""
