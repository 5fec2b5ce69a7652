"""A file per analysis: how what it found is drawn. Its name is the analysis', and its VIEWS are what `report.views` looks for."""
