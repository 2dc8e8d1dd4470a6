"""At the microscope: beads, the camera, molecules, and the pages that show them."""
