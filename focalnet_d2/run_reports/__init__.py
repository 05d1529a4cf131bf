"""The page `report.html` of a run, and the comparison of runs; made of what a run leaves in its folder."""
