"""The real MMCore with demo devices whose images come from our optics."""
