"""Movies and tables on disk, localised after the fact."""
