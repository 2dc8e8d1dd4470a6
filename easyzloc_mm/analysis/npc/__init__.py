"""Nuclear pores: found, judged, averaged, counted."""
