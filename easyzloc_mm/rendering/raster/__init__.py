"""From depth-coloured localisations to pixels: canvas, colour maps, splats."""
