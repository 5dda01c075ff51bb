"""Figures of runs, as PNG and SVG; no display is needed."""
