"""Training: labelled traffic in, a bundle out. The only room that imports torch."""
