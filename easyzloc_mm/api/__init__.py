"""The front door: what ``import easyzloc_mm as ez`` offers. Assembly only, the work is done in the other rooms."""
